"""``load_graph`` of TFLite files: each operator says what LiteRT's reference kernels say."""

from __future__ import annotations

import contextlib
import copy
import pickle
import random
from pathlib import Path

import numpy as np
import pytest
from tflite_cases import (
    CASES,
    HALF,
    MAP,
    SAME,
    WEIGHTS,
    Case,
    T,
    constant,
    network,
    normal,
    tflite_network,
)

import minigrad as mg
from minigrad.engine.bind import has_kernel
from minigrad.errors import ArgumentError, FormatError, ShapeError

GOLDEN = Path(__file__).parents[1] / "golden" / "tflite.npz"
REAL = Path(__file__).parents[2].parent / "shared" / "real"
with np.load(GOLDEN) as _stored:
    STORED = dict(_stored)


def as_floats(x):
    return mg.tensor(x.astype("f4"))


def turned(x, order):
    return np.ascontiguousarray(x.transpose(order)) if x.ndim == 4 else x


def several(y):
    return y if isinstance(y, list) else [y]


def stored(name, which):
    keys = sorted(key for key in STORED if key.startswith(f"{name}|{which}"))
    return [STORED[key] for key in keys]


@pytest.fixture
def load(tmp_path):
    def load(content, **options):
        (tmp_path / "net.tflite").write_bytes(content)
        return mg.load_graph(tmp_path / "net.tflite", **options)

    return load


# --- what operators mean -----------------------------------------------------------------------


def test_the_stored_files_are_those_of_the_table():
    for name, case in CASES.items():
        assert STORED[f"{name}|file"].tobytes() == case.content(), name


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("name", CASES)
def test_an_operator_says_what_the_reference_kernel_says(load, name, layout):
    """Floats to the rounding of a few terms; integers are equal, or one off where it is said."""
    net = load(STORED[f"{name}|file"].tobytes(), layout=layout)
    inputs, expected = stored(name, "x"), stored(name, "y")
    if layout == "NCHW":
        inputs, expected = ([turned(x, (0, 3, 1, 2)) for x in xs] for xs in (inputs, expected))
    ys = several(net(*map(as_floats, inputs)))
    for y, one in zip(ys, expected, strict=True):
        assert y.shape == one.shape
        off = 1e-6 * np.abs(one).max() if one.dtype == np.float32 else CASES[name].off
        assert np.abs(y.numpy() - one.astype("f8")).max() <= off


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if len(case.free) == 1])
def test_a_plan_has_the_bits_of_a_call(load, name):
    net = load(STORED[f"{name}|file"].tobytes())
    x = turned(stored(name, "x")[0].astype("f4"), (0, 3, 1, 2))
    planned = mg.compile(net, x.shape).outputs(x)
    for y, called in zip(planned, several(net(mg.tensor(x))), strict=True):
        assert np.array_equal(y, called.numpy())


# --- a module like others ----------------------------------------------------------------------


def test_its_state_has_the_files_names_and_our_order_of_axes(load):
    net = load(network())
    state = net.state_dict()
    assert set(state) == {"w", *WEIGHTS}
    assert np.array_equal(state["first"], WEIGHTS["first"].data.transpose(0, 3, 1, 2))
    assert np.array_equal(state["w"], HALF["h"].data.astype("f4").reshape(4, 1, 1, 1))
    assert {name for name, _ in net.named_buffers()} == {"half"}
    assert net.inputs == {"x": (None, 4, 6, 6)}
    x = mg.tensor(np.random.default_rng(1).normal(size=(2, 4, 6, 6)).astype("f4"))
    y = net(x).numpy()
    assert y.shape == (2, 3)
    for twin in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        assert np.array_equal(twin(x).numpy(), y)


@pytest.mark.newest
def test_inputs_and_weights_have_gradients_to_second_order(load):
    net = load(network()).to(np.float64)
    names = [name for name, _ in net.named_parameters()]
    points = [p.numpy() for p in net.parameters()]

    def f(x, *weights):
        net._stored.update(zip(names, weights, strict=True))
        return (net(x) ** 2).sum()

    x = np.random.default_rng(2).normal(size=(2, 4, 6, 6))
    mg.check_grads(f, x, *points)


def test_a_free_batch_has_one_plan_and_the_bits_of_each_image(load):
    plan = mg.compile(load(network()))
    x = np.random.default_rng(3).normal(size=(3, 4, 6, 6)).astype("f4")
    assert np.array_equal(plan(x)[2:], plan(x[2:]))


def test_no_step_of_a_plan_moves_a_map(load):
    """Layouts cost nothing: weights are turned when the file is read, and maps never."""
    plan = mg.compile(load(network()), (1, 4, 6, 6))
    assert "transpose" not in {step.op for step in plan.graph.steps.values()}


def test_integers_come_and_go_as_floats_of_the_same_value(load):
    name = "CONV_2D, same, uint8"
    net = load(STORED[f"{name}|file"].tobytes(), layout="NHWC")
    assert net.quantization["x"] == ("uint8", float(np.float32(0.05)), 130)
    x, y = stored(name, "x")[0], stored(name, "y")[0]
    for given in (x.astype("f4"), x + np.float64(0.4)):
        assert np.array_equal(net(mg.tensor(given)).numpy(), y)
    below = net(mg.tensor(np.full(x.shape, -9.0, "f4"))).numpy()
    assert np.array_equal(below, net(mg.tensor(np.zeros(x.shape, "f4"))).numpy())


def test_an_image_of_nan_and_infinity_gives_integers(load):
    net = load(STORED["CONV_2D, same, int8|file"].tobytes(), layout="NHWC")
    x = np.zeros(MAP, "f4")
    x[0, 0] = np.nan
    x[0, 1] = np.inf
    y = net(mg.tensor(x)).numpy()
    assert np.array_equal(y, np.clip(np.rint(y), -128, 127))


def test_a_map_that_is_input_and_output(load):
    content = tflite_network({"x": T(MAP), "y": T(MAP)}, [("RELU", ["x"], ["y"], {})], ["x"],
                             ["y", "x"])  # fmt: skip
    x = np.random.default_rng(4).normal(size=(1, 4, 5, 6)).astype("f4")
    net = load(content)
    y, same = net(mg.tensor(x))
    assert list(net.outputs) == ["y", "x (out)"]
    assert np.array_equal(y.numpy(), np.maximum(x, 0))
    assert np.array_equal(same.numpy(), x)


def test_tensors_of_one_name_and_of_none(load):
    tensors = {"a": T(MAP), "b": T(MAP), "c": T(MAP)}
    content = tflite_network(tensors, [("RELU", ["a"], ["b"], {}), ("TANH", ["b"], ["c"], {})],
                             ["a"], ["c"])  # fmt: skip
    net = load(content.replace(b"\1\0\0\0b\0", b"\1\0\0\0a\0"))
    assert net(mg.zeros(1, 4, 5, 6)).shape == (1, 4, 5, 6)


# --- what is refused, in one sentence ------------------------------------------------------------


def test_all_nodes_that_are_not_read_are_named_at_once(load):
    q = T(MAP, "int8", None, 0.1, 3)
    tensors = {"x": T(MAP), "a": T(MAP), "b": T(MAP), "q": q, "w": constant(
        np.ones((4, 1, 1, 4)), "i1", 0.1), "c": T(MAP), "y": T(MAP)}  # fmt: skip
    nodes = [
        ("RFFT2D", ["x"], ["a"], {}),
        ("CONV_2D", ["a", "w", ""], ["b"], SAME),
        ("LOCAL_RESPONSE_NORMALIZATION", ["b"], ["c"], {}),
        ("RESIZE_BILINEAR", ["c", "x"], ["y"], {}),
    ]
    with pytest.raises(FormatError) as caught:
        load(tflite_network(tensors, nodes, ["x"], ["y"]))
    told = str(caught.value)
    assert "net.tflite: 4 not read: " in told
    assert "\n" not in told
    for part in (
        "node 'a' (RFFT2D): the operator is not known",
        "node 'b' (CONV_2D): it mixes integers of 8 bits with float32",
        "node 'c' (LOCAL_RESPONSE_NORMALIZATION): the operator is not known",
        "node 'y' (RESIZE_BILINEAR): its input x depends on values of the input",
    ):
        assert part in told


def test_a_custom_operator_that_is_not_read_is_named(load):
    content = tflite_network({"x": T(MAP), "y": T(MAP)}, [("CUSTOM", ["x"], ["y"], {})], ["x"],
                             ["y"], custom="TFLite_Detection_PostProcess")  # fmt: skip
    with pytest.raises(FormatError, match=r"node 'y' \(TFLite_Detection_PostProcess\): the oper"):
        load(content)


Q = T(MAP, "int8", None, 0.1, 3)
INT_W = constant(np.ones((2, 1, 1, 4)), "i1", [0.1, 0.2], 0, 0)


@pytest.mark.parametrize(
    ("case", "error", "told"),
    [
        (Case("RELU", {"x": T(MAP, "int32")}), FormatError, "is int32, and float32, int8 or"),
        (Case("RELU", {"x": T(MAP), "b": T(MAP)}), FormatError, "does not take 2 inputs"),
        (Case("CONV_2D", {"x": T(MAP)}, SAME), FormatError, "does not take 1 inputs"),
        (Case("CONV_2D", {"x": T(MAP), "w": normal(2, 1, 1, 4), "b": None}), FormatError,
         "stride_h and stride_w are"),
        (Case("CONV_2D", {"x": T(MAP), "w": normal(2, 1, 1, 3), "b": None}, SAME), ShapeError,
         "filters"),
        (Case("DEPTHWISE_CONV_2D", {"x": T(MAP), "w": normal(4)}, SAME), FormatError,
         "its weights have 1 axes"),
        (Case("DEPTHWISE_CONV_2D", {"x": T(MAP), "w": T((1, 1, 1, 4)), "b": None}, SAME),
         FormatError, "its weights are computed"),
        (Case("RELU", {"x": T(MAP, "int8")}), FormatError, "int8 has no scale"),
        (Case("RELU", {"x": T(MAP, "int8", None, 0.0, 3)}, {}, Q), FormatError, "positive scale"),
        (Case("RELU", {"x": T(MAP, "int8", None, 0.1, 300)}, {}, Q), FormatError,
         "zero point of int8 is 300"),
        (Case("RELU", {"x": Q}, {}, T(MAP, "int8", None, 1e-20, 3)), FormatError, "factor of 2"),
        (Case("MAX_POOL_2D", {"x": Q}, {**SAME, "filter_height": 2, "filter_width": 2},
              T(MAP, "int8", None, 0.2, 3)), FormatError, "not one scale and zero point"),
        (Case("CONV_2D", {"x": Q, "w": constant(np.ones((3, 1, 1, 4)), "i1", [0.1, 0.2], 0, 0),
                          "b": None}, SAME, Q), FormatError, "2 scales on axis 0"),
        (Case("CONV_2D", {"x": Q, "w": constant(1, "i1", 0.1), "b": None}, SAME, Q), ShapeError,
         "filters"),
        (Case("FULLY_CONNECTED", {"x": Q, "w": constant(1, "i1", 0.1)}, {}, Q), ShapeError,
         "weights"),
        (Case("POW", {"x": Q, "b": Q}, {}, Q), FormatError, "not known for integers"),
        (Case("CONCATENATION", {"x": T(MAP), "b": normal(1, 5, 6)}, {"axis": 1}), ShapeError,
         "(?i)concat"),
        (Case("RESHAPE", {"x": T(MAP), "to": constant([7, -1], "i4")}), ShapeError, "reshape"),
        (Case("STRIDED_SLICE", {"x": T(MAP), **{n: constant([0], "i4") for n in "bes"}}),
         ShapeError, "do not belong together"),
        (Case("MEAN", {"x": T(MAP), "axes": constant([9], "i4")}), ShapeError, "axis 9"),
        (Case("RESIZE_BILINEAR", {"x": T(MAP), "to": constant([1 << 30, 1 << 30], "i4")}),
         Exception, "."),
        (Case("TILE", {"x": T(MAP), "times": constant([1, 1 << 30, 1 << 30, 1], "i4")}),
         Exception, "."),
        (Case("FULLY_CONNECTED", {"x": T((3, 8)), "w": normal(5, 7)}), ShapeError, "weights"),
        (Case("GATHER", {"x": T(MAP), "at": constant([99], "i4")}, {"axis": 1}), ShapeError,
         "a place outside"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_told_when_the_file_is_read(load, case, error, told):
    with pytest.raises(error, match=told) as caught:
        load(case.content())
    assert isinstance(caught.value, mg.MinigradError)
    assert "\n" not in str(caught.value)


def test_arguments(load):
    with pytest.raises(ArgumentError, match="layout"):
        load(network(), layout="HWC")
    with pytest.raises(ShapeError, match=r"is \?x4x6x6, got \(1, 3, 6, 6\); .*shape="):
        load(network())(mg.zeros(1, 3, 6, 6))
    assert load(network(), shape=(2, None, 6, 6)).inputs == {"x": (2, None, 6, 6)}


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # of numbers that were damaged
@pytest.mark.parametrize("name", list(CASES)[::10])
def test_a_damaged_network_is_read_or_refused(tmp_path, name):
    sound, path = STORED[f"{name}|file"].tobytes(), tmp_path / "net.tflite"
    for seed in range(8):
        chance, raw = random.Random(seed), bytearray(sound)
        for _ in range(chance.choice([1, 1, 2, 3])):
            raw[chance.randrange(len(raw))] = chance.randrange(256)
        path.write_bytes(raw)
        with contextlib.suppress(mg.MinigradError):
            net = mg.load_graph(path, layout="NHWC")
            net(*map(as_floats, stored(name, "x")))


@pytest.mark.parametrize("name", ["TRANSPOSE_CONV, same", "TRANSPOSE_CONV, valid, bias"])
def test_transposed_convolutions_are_compiled(load, name):
    """As convolutions whose maps are woven: no step is left to Python."""
    net = load(STORED[f"{name}|file"].tobytes())
    (shape,) = net.inputs.values()
    assert all(map(has_kernel, mg.compile(net, shape).graph.steps.values()))


# --- real files ----------------------------------------------------------------------------------

FLOATS = [
    "deeplabv3_257_float-bird_segmentation",
    "deeplabv3_257_float-chelsea",
    "deeplabv3_257_float-segmentation_input_rotation0",
    "face_detection_short_range-astronaut",
    "selfie_segmentation-astronaut",
    "vww_96_float-astronaut",
    "vww_96_float-chelsea",
    "vww_96_float-coffee",
]
INTEGERS = sorted(name[5:] for name in STORED if name.startswith("real|"))


def expected_of(name):
    if not REAL.is_dir():
        pytest.skip("the real files are not here")
    with np.load(REAL / "expected" / f"{name}.npz") as values:
        return dict(values)


def both(net, x):
    """The outputs of a plan; one that folds nothing has the bits of a call."""
    with mg.no_grad():
        called = [y.numpy() for y in several(net(mg.tensor(x)))]
    planned = mg.compile(net, x.shape, fold=False).outputs(x)
    assert all(np.array_equal(y, p) for y, p in zip(called, planned, strict=True))
    return dict(zip(net.outputs, mg.compile(net, x.shape).outputs(x), strict=True))


@pytest.mark.parametrize("name", FLOATS)
def test_a_real_network_says_what_its_own_engine_says(name):
    """Within 1e-5 of the largest output.

    Nobody who computes better can be as near to an engine that is farther than that from float64
    itself.  There ours must be nearer to float64 than the engine is.
    """
    z = expected_of(name)
    x = ((z["pixels"].astype("f4") - np.float32(z["shift"])) / np.float32(z["scale"])).astype("f4")
    net = mg.load_graph(REAL / f"{name.rsplit('-', 1)[0]}.tflite")
    for output, y in both(net, turned(x, (0, 3, 1, 2))).items():
        expected = z[f"out:{output}"]
        y = turned(y, (0, 2, 3, 1))
        assert y.shape == expected.shape
        near = 1e-5 * np.abs(expected).max()
        if np.abs(y - expected).max() > near:
            wide = turned(in_float64(net, turned(x, (0, 3, 1, 2)), output), (0, 2, 3, 1))
            assert np.abs(expected - wide).max() > near
            assert np.abs(y - wide).max() < np.abs(expected - wide).max()


def in_float64(net, x, output):
    wide = several(copy.deepcopy(net).to(np.float64)(mg.tensor(x.astype("f8"))))
    return dict(zip(net.outputs, wide, strict=True))[output].numpy()


def test_the_golden_mask_of_a_real_network_is_equal_in_every_pixel():
    z = expected_of("deeplabv3_257_float-segmentation_input_rotation0")
    from PIL import Image

    x = ((z["pixels"].astype("f4") - np.float32(z["shift"])) / np.float32(z["scale"])).astype("f4")
    net = mg.load_graph(REAL / "deeplabv3_257_float.tflite", layout="NHWC")
    mask = np.asarray(Image.open(REAL / "segmentation_golden_rotation0.png")) // 10
    assert np.array_equal(np.argmax(mg.compile(net, x.shape)(x)[0], -1), mask)


@pytest.mark.parametrize("name", INTEGERS)
def test_a_real_network_in_integers_says_what_the_reference_kernels_say(name):
    file, photograph = name.rsplit("-", 1)
    z = expected_of(f"{file.replace('int8', 'float')}-{photograph}")
    x = z["pixels"].astype("f4") - (128 if "int8" in file else 0)
    net = mg.load_graph(REAL / f"{file}.tflite")
    (y,) = both(net, turned(x, (0, 3, 1, 2))).values()
    assert np.abs(y - STORED[f"real|{name}"].astype("f4")).max() <= 1
