"""TFLite graphs made to hurt, and damaged at random: read or one sentence, in little of both."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from fuzzing import fuzz
from graph_files import Raw, flat_tensor, flatbuffer, i32, operator
from measured import AIM, Measured
from tflite_cases import CASES, MAP, SAME, T, constant, network, tflite_network

from minigrad.graphs.tflite_schema import OPERATORS

SECONDS, MEMORY = AIM, 200 << 20
QUICK, LONG = 1_500, 20_000
BIG = 1 << 20


def chain(op, count, options=None, *more, shape=(1, 2, 2, 1), **tensors):
    """Nodes one after another, each with the same other inputs."""
    names = [f"v{i}" for i in range(count + 1)]
    nodes = [(op, [a, *more], [b], options or {}) for a, b in pairwise(names)]
    return tflite_network({n: T(shape) for n in names} | tensors, nodes, names[:1], names[-1:])


def views(dtype, kind, scale, op, count):
    """Constants of many shapes that share one large buffer, each used by a node."""
    size = BIG // np.dtype(dtype).itemsize
    quantized = {} if scale is None else {"f4": {2: np.float32([scale]), 3: np.int64([0])}}
    x = flat_tensor("x", (1, 2, 2, 1), kind=kind if scale else 0, **quantized)
    tensors, operators = [x], []
    for k in range(count):
        shape = (size >> (k % 20), 1 << (k % 20), *(1,) * (k // 20))
        w = flat_tensor(f"w{k}", shape, kind=kind, buffer=1, **quantized)
        y = flat_tensor(f"y{k}", (1, 2, 2, 1), kind=kind if scale else 0, **quantized)
        ins = (len(tensors),) if op == "DEQUANTIZE" else (0, len(tensors))
        operators.append(operator(0, ins, (len(tensors) + 1,), {}))
        tensors += [w, y]
    codes = [{0: Raw("<b", OPERATORS.index(op)), 2: Raw("<i", 1), 3: Raw("<i", 0)}]
    graph = {0: tensors, 1: i32(0), 2: i32(len(tensors) - 1), 3: operators, 4: "main"}
    return flatbuffer({0: Raw("<I", 3), 1: codes, 2: [graph], 3: "", 4: [{}, {0: bytes(BIG)}]})


def one(op, options=None, x=MAP, **others):
    """A node on a map, with other inputs behind it."""
    ins = {"x": T(x) if isinstance(x, tuple) else x, **others}
    y = T((1,) * 4) if isinstance(x, tuple) else x
    return tflite_network({**ins, "y": y}, [(op, [*ins], ["y"], options or {})],
                          [n for n, t in ins.items() if t.data is None], ["y"])  # fmt: skip


def ints(*values):
    return constant(values, "i4")


def folded(*nodes, **tensors):
    """Nodes on constants, the last of which is added to a map."""
    made = {out: T((1,), "int32") for _, _, outs, _ in nodes for out in outs}
    last = nodes[-1][2][0]
    return tflite_network({"x": T(MAP), **tensors, **made, "y": T(MAP)},
                          [*nodes, ("ADD", ["x", last], ["y"], {})], ["x"], ["y"])  # fmt: skip


Q = T(MAP, "int8", None, 0.1, 3)
LONG_AXIS = (1, 1, 1 << 28, 1)
HOSTILE = {
    "6,000 nodes": lambda: chain("RELU", 6_000),
    "30,000 nodes": lambda: chain("RELU", 30_000),
    "maps that double 60 times": lambda: chain("TILE", 60, {}, "t", t=ints(1, 2, 1, 1)),
    "maps of 2^62 numbers": lambda: one("RELU", x=(1, 1 << 30, 1 << 30, 4)),
    "resized to 2^30 pixels": lambda: one("RESIZE_BILINEAR", s=ints(1 << 30, 1 << 30)),
    "resized to 2^24 rows": lambda: one("RESIZE_NEAREST_NEIGHBOR", s=ints(1 << 24, 1)),
    "integers resized to 2^24 rows": lambda: one("RESIZE_BILINEAR", x=Q, s=ints(1 << 24, 1)),
    "resized to a negative size": lambda: one("RESIZE_BILINEAR", s=ints(-5, 5)),
    "resized 3,000 times to 16,384": lambda: chain(
        "RESIZE_BILINEAR", 3_000, {}, "s", s=ints(1 << 14, 1 << 14)),
    "padded by 2^31 - 1": lambda: one("PAD", p=constant([[0, 2**31 - 1]] * 4, "i4")),
    "padded by a negative number": lambda: one("PAD", p=constant([[0, -5]] * 4, "i4")),
    "mirrored along an axis of 2^28": lambda: one(
        "MIRROR_PAD", x=LONG_AXIS, p=constant([[0, 0], [0, 0], [9, 9], [0, 0]], "i4")),
    "5,000 gathers of 100,000 places": lambda: chain(
        "GATHER", 5_000, {"axis": 1}, "at", at=ints(*[0] * 100_000)),
    "a gather of places that are not there": lambda: one("GATHER", {"axis": 1}, at=ints(1 << 30)),
    "a stride of 2^31 - 1": lambda: one("MAX_POOL_2D", {
        "padding": "SAME", "stride_h": 2**31 - 1, "stride_w": 1, "filter_height": 1,
        "filter_width": 1}),
    "a window of 2^31 - 1": lambda: one("AVERAGE_POOL_2D", {
        "padding": "SAME", "stride_h": 1, "stride_w": 1, "filter_height": 2**31 - 1,
        "filter_width": 2**31 - 1}),
    "a stride of 0": lambda: one("CONV_2D", {"padding": "SAME"}, w=constant(
        np.ones((1, 1, 1, 4), "f4")), b=constant(np.ones(1, "f4"))),
    "a dilation of 2^31 - 1": lambda: one("CONV_2D", {
        **SAME, "dilation_h_factor": 2**31 - 1}, w=constant(np.ones((1, 3, 3, 4), "f4")),
        b=constant(np.ones(1, "f4"))),
    "a transposed convolution to 2^31 - 1": lambda: tflite_network(
        {"to": ints(1, 2**31 - 1, 2**31 - 1, 1), "w": constant(np.ones((1, 3, 3, 4), "f4")),
         "x": T(MAP), "y": T(MAP)}, [("TRANSPOSE_CONV", ["to", "w", "x"], ["y"], SAME)], ["x"],
        ["y"]),
    "filters without channels": lambda: one("CONV_2D", SAME, w=T((1, 1, 1, 0)), b=constant(
        np.ones(1, "f4"))),
    "float16 in 60 shapes": lambda: views("float16", 1, None, "DEQUANTIZE", 60),
    "float16 in 400 shapes": lambda: views("float16", 1, None, "DEQUANTIZE", 400),
    "integers in 60 shapes": lambda: views("int8", 9, 0.1, "ADD", 60),
    "integers in 400 shapes": lambda: views("int8", 9, 0.1, "ADD", 400),
    "floats in 60 shapes": lambda: views("float32", 0, None, "ADD", 60),
    "a scale that is not a number": lambda: one("RELU", x=T(MAP, "int8", None, np.nan, 3)),
    "a negative scale": lambda: one("RELU", x=T(MAP, "int8", None, -1.0, 3)),
    "a zero point of 2^62": lambda: one("RELU", x=T(MAP, "int8", None, 0.1, 1 << 62)),
    "100,000 scales": lambda: one("RELU", x=T(MAP, "int8", None, np.ones(100_000), 0)),
    "a constant made large": lambda: folded(
        ("ADD", ["p", "q"], ["z"], {}), p=constant(np.ones((1 << 13, 1)), "i4"),
        q=constant(np.ones((1, 1 << 13)), "i4")),
    "a constant filled to 2^40 numbers": lambda: folded(
        ("FILL", ["s", "v"], ["z"], {}), s=ints(1 << 20, 1 << 20), v=constant(1, "i4")),
    "a range of 2^31 numbers": lambda: folded(
        ("RANGE", ["a", "b", "c"], ["z"], {}), a=constant(0, "i4"), b=constant(2**31 - 1, "i4"),
        c=constant(1, "i4")),
    "a range by 0": lambda: folded(
        ("RANGE", ["a", "b", "c"], ["z"], {}), a=constant(0, "i4"), b=constant(9, "i4"),
        c=constant(0, "i4")),
    "2,000 constants of a million numbers": lambda: folded(
        *[("FILL", ["s", "v"], [f"z{k}"], {}) for k in range(2_000)], s=ints(1_000, 1_000),
        v=constant(1, "i4")),
    "a reshape by two unknowns": lambda: one("RESHAPE", s=ints(-1, -1)),
    "a reshape to 200,000 axes": lambda: one("RESHAPE", s=ints(*[1] * 200_000)),
    "a permutation that is none": lambda: one("TRANSPOSE", p=ints(0, 0, 1, 9)),
    "axes that are not there": lambda: one("MEAN", {"keep_dims": True}, a=ints(77)),
    "60,000 axes": lambda: one("MEAN", {"keep_dims": True}, a=ints(*[1] * 60_000)),
    "a block of 2^31 - 1": lambda: one("DEPTH_TO_SPACE", {"block_size": 2**31 - 1}),
    "a block of 0": lambda: one("SPACE_TO_BATCH_ND", b=ints(0, 0), p=constant([[0, 0]] * 2, "i4")),
    "a split into 0": lambda: tflite_network(
        {"x": T(MAP), "axis": ints(1)}, [("SPLIT", ["axis", "x"], [], {"num_splits": 0})], ["x"],
        ["x"]),
    "names of escapes": lambda: tflite_network(
        {"\x1b[31m": T(MAP), "\x07\x1b]0;": T(MAP)},
        [("RFFT2D", ["\x1b[31m"], ["\x07\x1b]0;"], {})], ["\x1b[31m"], ["\x07\x1b]0;"]),
    "5,000 unknown nodes": lambda: chain("RFFT2D", 5_000),
    "an input twice": lambda: tflite_network({"x": T(MAP), "y": T(MAP)}, [
        ("RELU", ["x"], ["y"], {})], ["x", "x"], ["y"]),
    "no input": lambda: tflite_network({"x": constant(np.ones(3, "f4")), "y": T((3,))}, [
        ("RELU", ["x"], ["y"], {})], [], ["y"]),
    "an output that is constant": lambda: tflite_network({"x": T(MAP), "y": constant(
        np.ones(3, "f4"))}, [], ["x"], ["y"]),
}  # fmt: skip


@pytest.fixture(scope="module")
def measured():
    with Measured("tflite_readers:network") as process:
        yield process


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_graph_is_read_or_refused_soon_and_in_little_memory(name, tmp_path, measured):
    path = tmp_path / "net.tflite"
    path.write_bytes(HOSTILE[name]())
    result = measured.read(path)
    refusals = (None, "FormatError", "ShapeError", "ArgumentError", "NotEnoughMemory")
    assert result.error in refusals, result
    if result.error is not None:
        assert result.message.isprintable()
        assert len(result.message) < len(str(path)) + 5_000
    assert result.seconds < SECONDS
    assert result.peak < MEMORY


def test_the_corpus_is_large():
    assert len(HOSTILE) >= 45


def check(tmp_path, count, first=0):
    names = ["CONV_2D, same", "CONV_2D, same, int8", "ADD, uint8", "STRIDED_SLICE",
             "RESIZE_BILINEAR"]  # fmt: skip
    contents = [network(), *(CASES[name].content() for name in names)]
    paths = [tmp_path / f"{n}.tflite" for n in range(len(contents))]
    for path, content in zip(paths, contents, strict=True):
        path.write_bytes(content)
    refusals = ["FormatError", "ShapeError", "ArgumentError", "DtypeError", "NotEnoughMemory",
                "GraphError"]  # fmt: skip
    report = fuzz("tflite_readers:network", paths, count, refusals, first)
    assert report.faults == []
    assert report.refused + report.read == count


def test_a_damaged_graph_is_refused_or_read(tmp_path):
    check(tmp_path, QUICK)


@pytest.mark.full
def test_many_damaged_graphs(tmp_path):
    check(tmp_path, LONG, first=QUICK)
