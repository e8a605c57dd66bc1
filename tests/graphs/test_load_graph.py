"""``load_graph``: each operator means what ONNX says, and the network is a module like others."""

from __future__ import annotations

import contextlib
import copy
import pickle
import random
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from graph_files import attribute, graph, ints, node, onnx_file, tensor, value

import minigrad as mg
from minigrad.engine.export import to_onnx
from minigrad.errors import ArgumentError, FormatError, GraphError, ShapeError
from minigrad.graphs.onnx_shapes import numbers_of
from minigrad.models import create

REAL = Path(__file__).parents[2].parent / "shared" / "real"
rng = np.random.default_rng(14)
X = rng.normal(size=(2, 4, 6, 6)).astype("f4")


def real(name, number):
    return attribute(name, 1, 2, float(number))


def integer(name, number):
    return attribute(name, 2, 3, int(number))


def text(name, word):
    return attribute(name, 3, 4, word)


def content(nodes, constants=(), *, x=X.shape, outputs=("y",), opset=17):
    """An ONNX file of one input x."""
    tensors = [tensor(name, array) for name, array in dict(constants).items()]
    values = [value(name, ()) for name in outputs]
    return onnx_file(graph(nodes, tensors, [value("x", x)], values), opset=opset)


@pytest.fixture
def load(tmp_path):
    def load(*args, shape=None, **options):
        (tmp_path / "net.onnx").write_bytes(content(*args, **options))
        return mg.load_graph(tmp_path / "net.onnx", shape=shape)

    return load


# --- what operators mean ---------------------------------------------------------------------


def correlate(x, w, stride=(1, 1), pads=(0, 0, 0, 0), dilation=(1, 1), groups=1):
    """Convolution by its definition, in float64."""
    x = np.pad(x.astype("f8"), [(0, 0), (0, 0), (pads[0], pads[2]), (pads[1], pads[3])])
    n, each, (kh, kw) = len(x), len(w) // groups, w.shape[2:]
    reach = [dilation[i] * (w.shape[2 + i] - 1) + 1 for i in (0, 1)]
    size = [(x.shape[2 + i] - reach[i]) // stride[i] + 1 for i in (0, 1)]
    y = np.zeros((n, len(w), *size))
    for o in range(len(w)):
        channels = x[:, o // each * w.shape[1] :][:, : w.shape[1]]
        for p in range(size[0]):
            for q in range(size[1]):
                top, left = p * stride[0], q * stride[1]
                part = channels[:, :, top:, left:][:, :, :: dilation[0], :: dilation[1]]
                y[:, o, p, q] = (part[:, :, :kh, :kw] * w[o]).sum((1, 2, 3))
    return y


def scatter(x, w, stride, pads, more):
    """A transposed convolution by its definition, in float64."""
    size = [(x.shape[2 + i] - 1) * stride[i] + w.shape[2 + i] + more[i] for i in (0, 1)]
    y = np.zeros((len(x), w.shape[1], *size))
    for p in range(x.shape[2]):
        for q in range(x.shape[3]):
            here = y[:, :, p * stride[0] :, q * stride[1] :][:, :, : w.shape[2], : w.shape[3]]
            here += np.einsum("nc,coab->noab", x[:, :, p, q], w)
    return y[:, :, pads[0] : size[0] - pads[2], pads[1] : size[1] - pads[3]]


def windows(x, k, reduce):
    n, c, h, w = x.shape
    return reduce(x.reshape(n, c, h // k, k, w // k, k), axis=(3, 5))


def softmax(x, axis):
    e = np.exp(x - x.max(axis, keepdims=True))
    return e / e.sum(axis, keepdims=True)


W = rng.normal(size=(6, 2, 3, 2)).astype("f4")
DENSE = rng.normal(size=(4, 3, 3, 3)).astype("f4")
B = rng.normal(size=6).astype("f4")
V = rng.uniform(0.5, 1.5, size=(4, 4)).astype("f4")
M = rng.normal(size=(6, 5)).astype("f4")
ROWS = X.reshape(48, 6)
LINE = rng.normal(size=(5, 4, 3)).astype("f4")

# name: (nodes, constants, what y is, other options)
CASES = {
    "Conv": (
        [node("Conv", ["x", "w", "b"], ["y"], ints("strides", 2, 1), ints("pads", 1, 0, 2, 1),
              ints("dilations", 1, 2), integer("group", 2))],
        {"w": W, "b": B},
        correlate(X, W, (2, 1), (1, 0, 2, 1), (1, 2), 2) + B[:, None, None], {},
    ),
    "Conv of same size": (
        [node("Conv", ["x", "w"], ["y"], ints("strides", 2, 2), text("auto_pad", "SAME_LOWER"),
              integer("group", 2))],
        {"w": W}, correlate(X, W, (2, 2), (1, 0, 0, 0), groups=2), {},
    ),
    "Conv of lines": (
        [node("Squeeze", ["x", "two"], ["l"]), node("Conv", ["l", "w"], ["y"], ints("pads", 1, 0))],
        {"two": np.array([2]), "w": LINE},
        correlate(X[:, :, :1], LINE[:, :, None], pads=(0, 1, 0, 0))[:, :, 0],
        {"x": (2, 4, 1, 6), "of": X[:, :, :1]},
    ),
    "ConvTranspose": (
        [node("ConvTranspose", ["x", "w", "b"], ["y"], ints("strides", 2, 3),
              ints("pads", 1, 0, 0, 1), ints("output_padding", 1, 2))],
        {"w": DENSE, "b": B[:3]},
        scatter(X, DENSE, (2, 3), (1, 0, 0, 1), (1, 2)) + B[:3, None, None], {},
    ),
    "BatchNormalization": (
        [node("BatchNormalization", ["x", "g", "b", "m", "v"], ["y"], real("epsilon", 0.5))],
        {"g": V[0], "b": V[1], "m": V[2], "v": V[3]},
        (X - V[2][:, None, None]) / np.sqrt(V[3] + 0.5)[:, None, None] * V[0][:, None, None]
        + V[1][:, None, None], {},
    ),
    "MaxPool": ([node("MaxPool", ["x"], ["y"], ints("kernel_shape", 3, 3), ints("strides", 3, 3))],
                {}, windows(X, 3, np.max), {}),
    "AveragePool": (
        [node("AveragePool", ["x"], ["y"], ints("kernel_shape", 2, 2), ints("strides", 2, 2))],
        {}, windows(X, 2, np.mean), {}),
    "GlobalAveragePool": ([node("GlobalAveragePool", ["x"], ["y"])], {},
                          X.mean((2, 3), keepdims=True), {}),
    "Gemm": (
        [node("Gemm", ["x", "w", "c"], ["y"], real("alpha", 2), real("beta", 0.5))],
        {"w": M, "c": M[:1]}, 2 * ROWS @ M + 0.5 * M[:1], {"x": (48, 6), "of": ROWS}),
    "Gemm turned": (
        [node("Gemm", ["x", "w"], ["y"], integer("transA", 1), integer("transB", 1))],
        {"w": ROWS[:5].repeat(8, 1)}, ROWS.T @ ROWS[:5].repeat(8, 1).T,
        {"x": (48, 6), "of": ROWS}),
    "MatMul": ([node("MatMul", ["x", "w"], ["y"])], {"w": M}, X @ M, {}),
    "Clip": ([node("Clip", ["x", "low"], ["y"])], {"low": np.float32(-0.5)},
             np.maximum(X, -0.5), {}),
    "Clip of old": ([node("Clip", ["x"], ["y"], real("min", 0), real("max", 6))], {},
                    np.clip(X, 0, 6), {"opset": 7}),
    "LeakyRelu": ([node("LeakyRelu", ["x"], ["y"], real("alpha", 0.2))], {},
                  np.where(X > 0, X, np.float32(0.2) * X), {}),
    "PRelu": ([node("PRelu", ["x", "s"], ["y"])], {"s": V[0][:, None, None]},
              np.where(X > 0, X, V[0][:, None, None] * X), {}),
    "Elu": ([node("Elu", ["x"], ["y"], real("alpha", 1.5))], {},
            np.where(X > 0, X, 1.5 * np.expm1(X)), {}),
    "HardSigmoid": ([node("HardSigmoid", ["x"], ["y"], real("alpha", 0.25))], {},
                    np.clip(0.25 * X + 0.5, 0, 1), {}),
    "HardSwish": ([node("HardSwish", ["x"], ["y"])], {}, X * np.clip(X / 6 + 0.5, 0, 1), {}),
    "Sigmoid": ([node("Sigmoid", ["x"], ["y"])], {}, 1 / (1 + np.exp(-X)), {}),
    "Tanh": ([node("Tanh", ["x"], ["y"])], {}, np.tanh(X), {}),
    "Softmax": ([node("Softmax", ["x"], ["y"], integer("axis", 1))], {}, softmax(X, 1), {}),
    "Softmax of old": ([node("Softmax", ["x"], ["y"], integer("axis", 2))], {},
                       softmax(X.reshape(8, 36), 1).reshape(X.shape), {"opset": 12}),
    "LogSoftmax": ([node("LogSoftmax", ["x"], ["y"])], {}, np.log(softmax(X, 3)), {}),
    "arithmetic": (
        [node("Add", ["x", "a"], ["s"]), node("Sub", ["one", "s"], ["d"]),
         node("Mul", ["d", "x"], ["m"]), node("Div", ["m", "a"], ["y"])],
        {"a": V[0][:, None, None], "one": np.float32(1)},
        (1 - (X + V[0][:, None, None])) * X / V[0][:, None, None], {},
    ),
    "functions": (
        [node("Abs", ["x"], ["a"]), node("Sqrt", ["a"], ["s"]), node("Exp", ["s"], ["e"]),
         node("Log", ["e"], ["l"]), node("Neg", ["l"], ["n"]), node("Pow", ["n", "two"], ["p"]),
         node("Max", ["p", "x"], ["m"]), node("Min", ["m", "a", "two"], ["y"])],
        {"two": np.float32(2)}, np.minimum(np.maximum(np.abs(X), X), np.minimum(np.abs(X), 2)), {},
    ),
    "Concat and Split": (
        [node("Split", ["x", "parts"], ["a", "b"], integer("axis", 1)),
         node("Concat", ["b", "c", "a"], ["y"], integer("axis", 1))],
        {"parts": np.array([1, 3]), "c": np.ones((2, 1, 6, 6), "f4")},
        np.concatenate([X[:, 1:], np.ones((2, 1, 6, 6)), X[:, :1]], 1), {},
    ),
    "Slice backwards": (
        [node("Slice", ["x", "from", "to", "axes", "steps"], ["y"])],
        {"from": np.array([-1, 1]), "to": np.array([-(1 << 62), 4]), "axes": np.array([3, 2]),
         "steps": np.array([-2, 1])}, X[:, :, 1:4, ::-2], {},
    ),
    "Pad": ([node("Pad", ["x", "p", "v"], ["y"])],
            {"p": np.array([0, 0, 1, -2, 0, 0, 0, 3]), "v": np.float32(7)},
            np.pad(X[..., 2:], [(0, 0), (0, 0), (1, 0), (0, 3)], constant_values=7), {}),
    "Reshape and Flatten": (
        [node("Reshape", ["x", "s"], ["r"]), node("Flatten", ["r"], ["y"], integer("axis", 2))],
        {"s": np.array([0, -1, 3])}, X.reshape(96, 3), {},
    ),
    "Unsqueeze and Transpose": (
        [node("Unsqueeze", ["x", "a"], ["u"]), node("Transpose", ["u"], ["y"],
                                                    ints("perm", 4, 0, 2, 1, 3))],
        {"a": np.array([-1])}, X[..., None].transpose(4, 0, 2, 1, 3), {},
    ),
    "Gather": ([node("Gather", ["x", "at"], ["y"], integer("axis", 1))], {"at": np.array([2, -1])},
               X[:, [2, -1]], {}),
    "ReduceMean": ([node("ReduceMean", ["x"], ["y"], ints("axes", 1, -1), integer("keepdims", 0))],
                   {}, X.mean((1, 3)), {}),
    "Resize": (
        [node("Resize", ["x", "", "by"], ["y"], text("nearest_mode", "floor"),
              text("coordinate_transformation_mode", "asymmetric"))],
        {"by": np.array([1, 1, 2, 3], "f4")}, X.repeat(2, 2).repeat(3, 3), {},
    ),
    "Upsample": ([node("Upsample", ["x", "by"], ["y"])], {"by": np.array([1, 1, 2, 2], "f4")},
                 X.repeat(2, 2).repeat(2, 3), {"opset": 9}),
    "Dropout and Identity": (
        [node("Dropout", ["x"], ["d", "mask"]), node("Identity", ["d"], ["y"])], {}, X, {}),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_an_operator_means_what_onnx_says_by_call_and_by_plan(load, name):
    nodes, constants, expected, options = CASES[name]
    x = options.get("of", X)
    net = load(nodes, constants, **{k: v for k, v in options.items() if k != "of"})
    y = net(mg.tensor(x)).numpy()
    np.testing.assert_allclose(y, expected, rtol=2e-5, atol=2e-5)
    planned = mg.compile(net, x.shape)(x)
    np.testing.assert_allclose(planned, expected, rtol=2e-5, atol=2e-5)


# --- a module like others --------------------------------------------------------------------

NET = [
    node("Conv", ["x", "first/w"], ["c"], ints("pads", 1, 1, 1, 0), integer("group", 2)),
    node("BatchNormalization", ["c", "g", "b", "mean", "var"], ["n"]),
    node("Sigmoid", ["n"], ["s"]),
    node("ConvTranspose", ["s", "up.w"], ["u"], ints("strides", 2, 2)),
    node("GlobalAveragePool", ["u"], ["p"]),
    node("Shape", ["p"], ["shape"]),
    node("Gather", ["shape", "zero"], ["images"]),
    node("Unsqueeze", ["images", "axis"], ["rows"]),
    node("Concat", ["rows", "rest"], ["to"], integer("axis", 0)),
    node("Reshape", ["p", "to"], ["f"]),
    node("Mul", ["f", "half"], ["y"]),
]
STATE = {
    "first/w": W, "g": B[:6], "b": B[:6] + 1, "mean": B[:6] / 2, "var": np.abs(B[:6]) + 1,
    "up.w": rng.normal(size=(6, 3, 2, 2)).astype("f4"), "half": np.float32(0.5),
}  # fmt: skip
SHAPES = {"zero": np.array(0), "axis": np.array([0]), "rest": np.array([-1])}


def test_its_state_has_the_files_names_and_shapes_stay_out(load):
    net = load(NET, {**STATE, **SHAPES}, x=("N", 4, 6, 6))
    state = net.state_dict()
    assert list(state) == list(STATE)
    assert not net.training
    assert all(np.array_equal(state[name], array) for name, array in STATE.items())
    assert {name for name, _ in net.named_buffers()} == {"mean", "var", "half"}
    for twin in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        assert np.array_equal(twin(mg.tensor(X)).numpy(), net(mg.tensor(X)).numpy())
    twin.load_state_dict({name: np.array(array + array) for name, array in STATE.items()})
    assert not np.array_equal(twin(mg.tensor(X)).numpy(), net(mg.tensor(X)).numpy())


@pytest.mark.newest
def test_inputs_and_weights_have_gradients_to_second_order(load):
    net = load(NET, {**STATE, **SHAPES}, x=("N", 4, 6, 6)).to(np.float64)
    names = [name for name, _ in net.named_parameters()]
    points = [p.numpy() for p in net.parameters()]

    def f(x, *weights):
        net._stored.update(zip(names, weights, strict=True))
        return (net(x) ** 2).sum()

    mg.check_grads(f, X.astype("f8"), *points)


def test_a_free_batch_has_one_plan_and_the_bits_of_each_image(load):
    net = load(NET, {**STATE, **SHAPES}, x=("N", 4, 6, 6))
    plan = mg.compile(net)
    whole = plan(X)
    assert np.array_equal(whole[1:], plan(X[1:]))
    np.testing.assert_allclose(whole, net(mg.tensor(X)).numpy(), rtol=1e-5, atol=1e-6)


def test_several_outputs_are_a_list_and_several_inputs_are_arguments(tmp_path):
    nodes = [node("Add", ["a", "b"], ["s"]), node("Relu", ["s"], ["r"])]
    inputs, outputs = [value("a", (2,)), value("b", (2,))], [value("r", (2,)), value("s", (2,))]
    (tmp_path / "two.onnx").write_bytes(onnx_file(graph(nodes, [], inputs, outputs)))
    net = mg.load_graph(tmp_path / "two.onnx")
    r, s = net(mg.tensor([1.0, -3.0]), mg.tensor([1.0, 1.0]))
    assert (r.tolist(), s.tolist()) == ([2, 0], [2, -2])
    with pytest.raises(ArgumentError, match="takes 2 inputs, got 1"):
        net(mg.tensor([1.0, 2.0]))


@pytest.mark.parametrize("name", ["mobilenet_v2_0_35", "mobilenet_v3_small", "efficientnet_lite0"])
def test_what_export_wrote_is_read_back(tmp_path, name):
    model, shape = create(name, num_classes=5, rng=1).eval(), (1, 3, 64, 64)
    path = tmp_path / "net.onnx"
    path.write_bytes(to_onnx(model, shape).SerializeToString())
    x = rng.normal(size=shape).astype("f4")
    y, back = mg.compile(model, shape)(x), mg.compile(mg.load_graph(path), shape)(x)
    assert np.array_equal(back, y)


# --- what is refused, in one sentence ----------------------------------------------------------


def test_all_nodes_that_are_not_read_are_named_at_once(load):
    nodes = [
        node("Conv", ["x", "w"], ["a"], ints("output_shape", 1), name="first"),
        node("Resize", ["a", "", "by"], ["b"], text("mode", "lanczos"), name="second"),
        node("Fancy", ["b"], ["c"], name="third"),
        node("Relu", ["c"], ["d"], domain="com.example", name="fourth"),
        node("Relu", ["d", "d"], ["y"], name="fifth"),
    ]
    with pytest.raises(FormatError) as caught:
        load(nodes, {"w": DENSE.transpose(1, 0, 2, 3), "by": np.ones(4, "f4")})
    told = str(caught.value)
    assert "net.onnx: 5 not read: " in told
    assert "\n" not in told
    for part in (
        "node 'first' (Conv): its attribute 'output_shape' is not read",
        "node 'second' (Resize): its attribute mode is 'lanczos'",
        "node 'third' (Fancy): the operator is not known",
        "node 'fourth' (Relu): the operator is of the domain com.example",
        "node 'fifth' (Relu): its operator does not take 2 inputs",
    ):
        assert part in told


@pytest.mark.parametrize(
    ("nodes", "constants", "options", "error", "told"),
    [
        ([node("Relu", ["x"], ["y"])], {}, {"opset": 6}, FormatError, "opset 6"),
        ([node("Reshape", ["x", "x"], ["y"])], {}, {}, FormatError, "depends on values"),
        ([node("Add", ["x", "w"], ["y"])], {"w": W}, {}, ShapeError, "broadcast"),
        ([node("Conv", ["x", ""], ["y"])], {}, {}, FormatError, "does not take 1 inputs"),
        ([node("MaxPool", ["x"], ["y"])], {}, {}, FormatError, "no attribute kernel_shape"),
        ([node("Conv", ["x", "w"], ["y"], ints("strides", 0, 1))], {"w": W}, {}, FormatError,
         "strides is not 2 positive"),
        ([node("ConstantOfShape", ["n"], ["z"]), node("Add", ["x", "z"], ["y"])],
         {"n": np.array([1 << 31, 1 << 31])}, {}, FormatError, "at most"),
        ([node("Add", ["p", "q"], ["z"]), node("Reshape", ["x", "z"], ["y"])],
         {"p": np.ones((1 << 13, 1), int), "q": np.ones((1, 1 << 13), int)}, {}, FormatError,
         "at most"),
        ([node("Relu", ["x"], ["y"])], {}, {"x": (2, 3), "shape": "2x3"}, ArgumentError, "tuple"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_told_when_the_file_is_read(
    load, nodes, constants, options, error, told
):
    with pytest.raises(error, match=told) as caught:
        load(nodes, constants, **options)
    assert isinstance(caught.value, mg.MinigradError)


def test_an_output_that_is_known_is_given_by_a_call_and_makes_no_plan(load):
    net = load([node("Shape", ["x"], ["y"])])
    assert net(mg.tensor(X)).tolist() == list(X.shape)
    with pytest.raises(GraphError, match="does not depend on its input"):
        mg.compile(net, X.shape)


def test_doubles_in_a_network_of_floats_are_computed_as_the_network_is(load):
    net = load([node("Add", ["x", "h"], ["y"])], {"h": np.full(6, 1 / 3)})
    y = net(mg.tensor(X)).numpy()
    assert y.dtype == np.float32
    np.testing.assert_array_equal(y, X + np.float32(1 / 3))
    wide = net.to(np.float64)(mg.from_numpy(X.astype("f8")))
    np.testing.assert_allclose(wide.numpy(), X.astype("f8") + np.float32(1 / 3), rtol=1e-12)


def test_a_small_file_cannot_ask_for_memory_by_what_it_computes_from_weights(load):
    n = 1 << 14
    nodes = [node("Mul", ["p", "q"], ["m"]), node("Add", ["x", "m"], ["y"])]
    weights = {"p": np.ones((n, 1), "f4"), "q": np.ones((1, n), "f4")}
    tracemalloc.start()
    try:
        with pytest.raises(ShapeError, match="broadcast"):
            load(nodes, weights)
        assert tracemalloc.get_traced_memory()[1] < 20 << 20
    finally:
        tracemalloc.stop()


def test_a_file_that_is_none_is_told(tmp_path):
    with pytest.raises(FileNotFoundError):
        mg.load_graph(tmp_path / "none.onnx")
    (tmp_path / "empty.onnx").write_bytes(b"")
    with pytest.raises(FormatError, match=r"empty\.onnx: the file is empty"):
        mg.load_graph(tmp_path / "empty.onnx")


def test_the_layout_is_for_tflite(load, tmp_path):
    load([node("Relu", ["x"], ["y"])])
    with pytest.raises(ArgumentError, match="leave layout out"):
        mg.load_graph(tmp_path / "net.onnx", layout="NHWC")


def damaged(content, seed):
    """The content with up to three bytes changed."""
    chance, raw = random.Random(seed), bytearray(content)
    for _ in range(chance.choice([1, 1, 2, 3])):
        raw[chance.randrange(len(raw))] = chance.randrange(256)
    return bytes(raw)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # of numbers that were damaged
@pytest.mark.parametrize("name", CASES)
def test_a_damaged_network_is_read_or_refused(tmp_path, name):
    nodes, constants, _, options = CASES[name]
    sound = content(nodes, constants, **{k: v for k, v in options.items() if k != "of"})
    path, x = tmp_path / "net.onnx", mg.tensor(options.get("of", X))
    for seed in range(20):
        path.write_bytes(damaged(sound, seed))
        with contextlib.suppress(mg.MinigradError):
            mg.load_graph(path)(x)


def test_sizes_are_the_files_unless_shape_says_otherwise(load):
    nodes, x = [node("Relu", ["x"], ["y"])], mg.tensor(X)
    with pytest.raises(ShapeError, match=r"is 10x3x\?x8, got \(2, 4, 6, 6\); .*shape="):
        load(nodes, x=(10, 3, "H", 8))(x)
    assert load(nodes, x=(10, 3, "H", 8), shape=(None, 4, 6, None))(x).shape == X.shape


def test_constant_nodes_are_constants(load):
    value_of = attribute("value", 4, 5, tensor("", V[0][:, None, None]))
    nodes = [node("Constant", [], ["k"], value_of), node("Mul", ["x", "k"], ["y"])]
    net = load(nodes)
    assert list(net.state_dict()) == ["k"]
    np.testing.assert_array_equal(net(mg.tensor(X)).numpy(), X * V[0][:, None, None])


# --- real files --------------------------------------------------------------------------------

EXPECTED = [
    "blazeface_front_128-astronaut",
    "centerface-astronaut",
    "ch_ppocr_mobile_v2.0_cls_infer-text_line",
    "ch_ppocr_mobile_v2.0_cls_infer-text_line180",
]


@pytest.mark.parametrize("name", EXPECTED)
def test_a_real_network_says_what_its_own_engine_says(name):
    """Within 1e-5 of the largest output, by call and by plan."""
    if not REAL.is_dir():
        pytest.skip("the real files are not here")
    with np.load(REAL / "expected" / f"{name}.npz") as stored:
        z = dict(stored)
    x = ((z["pixels"].astype("f4") - np.float32(z["shift"])) / np.float32(z["scale"])).astype("f4")
    x = np.ascontiguousarray(x.transpose(0, 3, 1, 2)) if str(z["layout"]) == "NCHW" else x
    net = mg.load_graph(REAL / f"{name.rsplit('-', 1)[0]}.onnx", shape=x.shape)
    with mg.no_grad():
        called = net(mg.tensor(x))
    planned = mg.compile(net, x.shape)(x)
    for ys in (called, planned):
        several = ys if isinstance(ys, (list, tuple)) else [ys]
        for output, y in zip(net.outputs, several, strict=True):
            expected = z[f"out:{output}"]
            assert expected.shape == y.shape
            assert np.abs(np.asarray(y) - expected).max() <= 1e-5 * np.abs(expected).max()


@pytest.mark.parametrize("size", [np.nan, np.inf, -np.inf])
def test_a_size_that_is_no_number_is_refused(size):
    with pytest.raises(ShapeError, match="sizes and places are integers, not NaN or infinity"):
        numbers_of(np.array([1.0, size]))


MISTAKEN = {
    "zip": b"PK\x03\x04" + bytes(60),
    "HDF5": b"\x89HDF\r\n\x1a\n" + bytes(60),
    "pickle": b"\x80\x02\x8a\x0al\xfc\x9c",
    "safetensors": b'\x0a\0\0\0\0\0\0\0{"w": {}}',
    "gzip": b"\x1f\x8b\x08" + bytes(30),
    "Git LFS": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n",
    "HTML": b"\n<!DOCTYPE html><title>404</title>",
    "JSON": b'{"format": "layers-model"}',
    "photograph": b"\x89PNG\r\n\x1a\n" + bytes(30),
}


@pytest.mark.parametrize("kind", MISTAKEN)
def test_a_file_that_is_taken_for_a_graph_is_named(tmp_path, kind):
    path = tmp_path / "net.onnx"
    path.write_bytes(MISTAKEN[kind])
    with pytest.raises(FormatError, match=f"expected an ONNX or TFLite file, and this is .*{kind}"):
        mg.load_graph(path)
