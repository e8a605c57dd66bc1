"""What ``export`` wrote is read back: to the bits of the plan, with any number of images."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
from graph_files import attribute, graph, node, onnx_file, tensor, value

import minigrad as mg
from minigrad.engine.export import to_onnx
from minigrad.errors import FormatError, GraphError
from minigrad.models import create, names
from minigrad.ops.resampling import resample, take
from minigrad.sampling import Taps

QUICK = ("mobilenet_v2_0_35", "mobilenet_v3_small", "efficientnet_b0", "squeezenext_1_0_23")
rng = np.random.default_rng(8)


def written(tmp_path, model, shape, **words):
    path = tmp_path / "net.onnx"
    path.write_bytes(to_onnx(model, shape, **words).SerializeToString())
    return path


def check_round_trip(tmp_path, name):
    model, shape = create(name, num_classes=5, rng=1).eval(), (1, 3, 64, 64)
    x = rng.normal(size=shape).astype("f4")
    back = mg.load_graph(written(tmp_path, model, shape))
    assert np.array_equal(mg.compile(back, shape)(x), mg.compile(model, shape)(x))


@pytest.mark.parametrize("name", QUICK)
def test_a_network_is_read_back_to_its_bits(tmp_path, name):
    check_round_trip(tmp_path, name)


@pytest.mark.full
@pytest.mark.parametrize("name", [name for name in names() if name not in QUICK])
def test_every_network_is_read_back_to_its_bits(tmp_path, name):
    check_round_trip(tmp_path, name)


def test_a_free_batch_takes_any_number_of_images(tmp_path):
    model = create("mobilenet_v3_small", num_classes=5, rng=1).eval()
    back = mg.load_graph(written(tmp_path, model, (1, 3, 64, 64), batch="free"))
    assert list(back.inputs.values()) == [(None, 3, 64, 64)]
    x = rng.normal(size=(3, 3, 64, 64)).astype("f4")
    assert np.array_equal(mg.compile(back)(x), mg.compile(model)(x))
    five = mg.load_graph(written(tmp_path, model, (1, 3, 64, 64), batch=5))
    assert list(five.inputs.values()) == [(5, 3, 64, 64)]


def test_a_batch_cannot_be_free_where_images_mix(tmp_path):
    with pytest.raises(GraphError, match="mixes its images"):
        to_onnx(lambda x: mg.relu(x).sum(), (1, 2), batch="free")


def test_a_constant_that_is_joined_to_an_image_is_joined_to_all(tmp_path):
    def model(x):
        return mg.concat([x, constant(1, 2, 4, 5), mg.relu(x)], 1)

    x = rng.normal(size=(3, 3, 4, 5)).astype("f4")
    path = written(tmp_path, model, (1, 3, 4, 5), batch="free")
    y = mg.compile(mg.load_graph(path))(x)
    for k in range(len(x)):
        np.testing.assert_array_equal(y[k : k + 1], model(mg.from_numpy(x[k : k + 1])).numpy())
    (elsewhere,) = onnxruntime.InferenceSession(str(path)).run(None, {"input": x})
    np.testing.assert_array_equal(elsewhere, y)


def test_a_constant_beside_every_image_leaves_the_batch_free(tmp_path):
    def model(x):
        return (x + constant(3, 4, 5)) * constant(1, 3, 1, 1) - mg.maximum(x, 0.5)

    x = rng.normal(size=(4, 3, 4, 5)).astype("f4")
    back = mg.load_graph(written(tmp_path, model, (1, 3, 4, 5), batch="free"))
    np.testing.assert_array_equal(mg.compile(back)(x), mg.compile(model, x.shape, fold=False)(x))


def constant(*shape):
    return mg.from_numpy(np.random.default_rng(2).uniform(0.5, 1, shape).astype("f4"))


STEPS = {
    "clamp": lambda x: mg.clamp(x, -0.5, 0.25),
    "compare": lambda x: mg.choose(mg.compare(x, 0.1, "!="), x, 2 * x),
    "compare with a row": lambda x: mg.compare(x, constant(5), "<="),
    "concat and pad": lambda x: mg.pad(mg.concat([x, x], 1), [(0, 0), (1, 0), (0, 2), (1, 1)], 3.0),
    "slices": lambda x: x[:, ::2, 1:, ::-1],
    "an index and an ellipsis": lambda x: x[:, 1][..., :2] * 1.5,
    "places": lambda x: mg.places(x, 1, 1, last=True),
    "prelu": lambda x: mg.prelu(x, constant(3)),
    "a leak fused": lambda x: mg.prelu(mg.conv2d(x, constant(3, 3, 1, 1)) - 1, constant(3)) + x,
    "a sum activated": lambda x: mg.silu(mg.conv2d(x, constant(3, 3, 1, 1)) - 2 + x),
    "leaky_relu": lambda x: mg.leaky_relu(x, 0.2),
    "nearest": lambda x: mg.resize(x, (8, 10), coordinates="asymmetric", rounding="floor"),
    "linear": lambda x: mg.resize(x, (7, 3), mode="linear", coordinates="align_corners"),
    "cubic": lambda x: mg.resize(x, (7, 11), mode="cubic"),
    "antialiased": lambda x: mg.resize(x, (2, 3), mode="linear", antialias=True),
    "taken": lambda x: take(x, [0, 0, 1, 2], 2),
    "rounded": lambda x: mg.rounded(3 * x, "zero") + mg.rounded(x, "up"),
    "largest and smallest": lambda x: mg.max(x, axis=1, keepdims=True) - mg.minimum(x, 0.2),
    "transposed": lambda x: mg.relu(mg.conv_transpose2d(x, constant(3, 2, 2, 2), None, 2)),
    "transposed by 3": lambda x: mg.conv_transpose2d(x, constant(3, 2, 3, 3), constant(2), 2, 1, 1),
    "sums": lambda x: mg.sum(x, (1, 3), keepdims=True) + mg.sqrt(mg.absolute(x)),
}


@pytest.mark.parametrize("name", STEPS)
def test_a_step_is_exported_and_read_back_and_saved(tmp_path, name):
    model, x = STEPS[name], rng.normal(size=(2, 3, 4, 5)).astype("f4")
    plan = mg.compile(model, x.shape)
    y = plan(x)
    np.testing.assert_allclose(y, model(mg.from_numpy(x)).numpy(), rtol=1e-5, atol=1e-6)
    path = written(tmp_path, model, x.shape)
    back = mg.compile(mg.load_graph(path), x.shape)(x)
    np.testing.assert_allclose(back, y, rtol=1e-5, atol=1e-6)
    (elsewhere,) = onnxruntime.InferenceSession(str(path)).run(None, {"input": x})
    np.testing.assert_allclose(elsewhere, y, rtol=1e-4, atol=1e-5)
    plan.save(tmp_path / "net.plan")
    assert np.array_equal(mg.load_plan(tmp_path / "net.plan")(x), y)


@pytest.mark.parametrize(
    "taps",
    [Taps(4, ((0,), (4,)), ((1.0,), (1.0,))), Taps(4, ((-1,),), ((1.0,),)),
     Taps(4, ((0, 1), (2,)), ((0.5, 0.5), (1.0,))), Taps(4, ((0,),), ((float("nan"),),)),
     Taps(4, ((0,), (1,)), ((1.0,),)), Taps(4, ((),), ((),))],
)  # fmt: skip
def test_a_plan_file_cannot_resize_by_pixels_that_are_not_there(tmp_path, monkeypatch, taps):
    sound = Taps(4, ((0,), (3,)), ((1.0,), (1.0,)))
    plan = mg.compile(lambda x: resample(x, sound, sound), (1, 1, 4, 4))
    (step,) = plan.unfused.steps.values()
    step.params["rows"] = taps
    plan.save(tmp_path / "net.plan")
    with pytest.raises(FormatError):
        mg.load_plan(tmp_path / "net.plan")


# --- what others write in several steps ---------------------------------------------------------


def integer(name, number):
    return attribute(name, 2, 3, int(number))


FORMULAS = {
    "silu": [node("Sigmoid", ["c"], ["s"]), node("Mul", ["c", "s"], ["y"])],
    "relu6": [node("Clip", ["c", "zero", "six"], ["y"])],
    "hardswish": [
        node("Add", ["c", "three"], ["a"]), node("Clip", ["a", "zero", "six"], ["b"]),
        node("Mul", ["c", "b"], ["d"]), node("Div", ["d", "six"], ["y"]),
    ],
    "hardsigmoid": [
        node("Add", ["c", "three"], ["a"]), node("Clip", ["a", "zero", "six"], ["b"]),
        node("Div", ["b", "six"], ["y"]),
    ],
    "hardsigmoid of another slope": [node("HardSigmoid", ["c"], ["y"])],
}  # fmt: skip


@pytest.mark.parametrize("name", FORMULAS)
def test_a_formula_of_several_nodes_is_one_step(tmp_path, name):
    """With a bias that is added by a node of its own: all of it becomes one convolution."""
    w, bias = rng.normal(size=(4, 3, 1, 1)), rng.normal(size=(1, 4, 1, 1))
    constants = {"w": w, "t": bias, "three": 3, "zero": 0, "six": 6}
    tensors = [tensor(key, np.asarray(v, "f4")) for key, v in constants.items()]
    nodes = [node("Conv", ["x", "w"], ["p"]), node("Add", ["p", "t"], ["c"]), *FORMULAS[name]]
    shape = (2, 3, 5, 4)
    path = tmp_path / "net.onnx"
    sizes = [value("x", ("n", 3, "h", "w"))]
    path.write_bytes(onnx_file(graph(nodes, tensors, sizes, [value("y", ())])))
    net, x = mg.load_graph(path), rng.normal(size=shape).astype("f4")
    plan = mg.compile(net, shape)
    (step,) = plan.graph.steps.values()
    assert (step.op, step.epilogue.activation) == ("conv2d", name.split(" ")[0])
    np.testing.assert_allclose(plan(x), net(mg.from_numpy(x)).numpy(), rtol=1e-5, atol=1e-5)
    several = mg.compile(net)
    for size in ((2, 3, 5, 4), (2, 3, 6, 7)):
        several(np.zeros(size, "f4"))
    assert len(several._recipe.weights.packed) == 1  # one copy of the weights for both
    unfolded = mg.compile(net, shape, fold=False)
    assert np.array_equal(unfolded(x), net(mg.from_numpy(x)).numpy())
