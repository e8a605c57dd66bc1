"""Small TFLite files, one for each operator: in floats, and in integers of both kinds.

``tests/golden/make_tflite.py`` stores them with what LiteRT's reference kernels make of them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from zlib import crc32

import numpy as np
from graph_files import Raw, flat_tensor, flatbuffer, i32, operator

from minigrad.graphs.tflite_schema import DTYPES, OPERATORS, OPTIONS

UNIONS = {  # of the schema's BuiltinOptions
    "CONV_2D": 1, "DEPTHWISE_CONV_2D": 2, "AVERAGE_POOL_2D": 5, "MAX_POOL_2D": 5,
    "FULLY_CONNECTED": 8, "SOFTMAX": 9, "CONCATENATION": 10, "ADD": 11, "L2_NORMALIZATION": 12,
    "RESIZE_BILINEAR": 15, "RESHAPE": 17, "SPACE_TO_DEPTH": 19, "MUL": 21, "PAD": 22, "GATHER": 23,
    "BATCH_TO_SPACE_ND": 24, "SPACE_TO_BATCH_ND": 25, "TRANSPOSE": 26, "MEAN": 27, "SUM": 27,
    "REDUCE_MAX": 27, "REDUCE_MIN": 27, "REDUCE_PROD": 27, "SUB": 28, "DIV": 29, "SQUEEZE": 30,
    "STRIDED_SLICE": 32, "EXP": 33, "SPLIT": 35, "LOG_SOFTMAX": 36, "CAST": 37, "DEQUANTIZE": 38,
    "MAXIMUM": 39, "MINIMUM": 39, "ARG_MAX": 40, "NEG": 42, "PADV2": 43, "SLICE": 48,
    "TRANSPOSE_CONV": 49, "TILE": 51, "EXPAND_DIMS": 52, "SHAPE": 55, "POW": 56, "ARG_MIN": 57,
    "PACK": 59, "UNPACK": 64, "SQUARE": 66, "FILL": 68, "RANGE": 73,
    "RESIZE_NEAREST_NEIGHBOR": 74, "LEAKY_RELU": 75, "SQUARED_DIFFERENCE": 76, "MIRROR_PAD": 77,
    "ABS": 78, "SPLIT_V": 79, "REVERSE_V2": 81, "ADD_N": 82, "QUANTIZE": 89, "HARD_SWISH": 91,
    "DEPTH_TO_SPACE": 94, "BROADCAST_TO": 104,
}  # fmt: skip

VERSIONS = {"BROADCAST_TO": 2}


@dataclass
class T:
    """A tensor of a file; with data a constant."""

    shape: tuple
    dtype: str = "float32"
    data: np.ndarray | None = None
    scale: float | np.ndarray | None = None
    zero: int = 0
    axis: int = 0
    signature: tuple | None = None


def constant(values, dtype=None, scale=None, zero=0, axis=0):
    array = np.asarray(values, dtype)
    return T(array.shape, str(array.dtype), array, scale, zero, axis)


def options_of(name, given):
    """The table of an operator's options, its words as numbers."""
    table = {}
    for index, option in enumerate(OPTIONS.get(name, ())):
        if option.name not in given:
            continue
        value = given[option.name]
        if option.form == "[i":
            table[index] = i32(*value)
            continue
        number = option.words.index(value) if isinstance(value, str) else value
        table[index] = Raw("<B" if option.form == "?" else option.form, number)
    return table


def quantization(tensor):
    if tensor.scale is None:
        return None
    scales = np.atleast_1d(np.asarray(tensor.scale, "<f4"))
    zeros = np.full(scales.size, tensor.zero, "<i8")
    return {2: scales, 3: zeros, 6: Raw("<i", tensor.axis)}


def tflite_network(tensors, nodes, inputs, outputs, custom=""):
    """A file of named tensors and nodes (operator, inputs, outputs, options)."""
    names = {name: index for index, name in enumerate(tensors)} | {"": -1}
    buffers, rows = [{}], []
    for name, tensor in tensors.items():
        more = {"f4": quantization(tensor)} if tensor.scale is not None else {}
        if tensor.signature is not None:
            more["f7"] = i32(*tensor.signature)
        if tensor.data is not None:
            buffers.append({0: tensor.data.tobytes()})
        buffer = len(buffers) - 1 if tensor.data is not None else 0
        kind = DTYPES.index(tensor.dtype)
        rows.append(flat_tensor(name, tensor.shape, kind=kind, buffer=buffer, **more))
    codes = list(dict.fromkeys(node[0] for node in nodes))
    operators = [
        operator(codes.index(op), [names[n] for n in ins],
                 [names[n] for n in outs], options_of(op, options),
                 f3=Raw("<B", UNIONS.get(op, 0)))
        for op, ins, outs, options in nodes
    ]  # fmt: skip
    numbers = [OPERATORS.index(code) for code in codes]
    subgraph = {0: rows, 1: i32(*(names[n] for n in inputs)), 2: i32(*(names[n] for n in outputs)),
                3: operators, 4: "main"}  # fmt: skip
    codes = [{0: Raw("<b", min(n, 127)), 2: Raw("<i", VERSIONS.get(code, 1)), 3: Raw("<i", n)}
             | ({1: custom} if code == "CUSTOM" else {})
             for code, n in zip(codes, numbers, strict=True)]  # fmt: skip
    return flatbuffer({0: Raw("<I", 3), 1: codes, 2: [subgraph], 3: "a test", 4: buffers})


@dataclass
class Case:
    """A file of one node, or of several.

    ``ordinary`` says that the ordinary kernels are right, for the reference kernel is not.
    ``off`` is how far integers may be from the reference kernels: 0, or 1 where those compute a
    function by a formula of their own.
    """

    op: str
    inputs: dict
    options: dict = field(default_factory=dict)
    y: T | list = field(default_factory=lambda: T((1, 1, 1, 1)))
    off: int = 0
    ordinary: bool = False
    positive: bool = False

    @property
    def free(self):
        """The names of the inputs that are no constants."""
        return [name for name, t in self.inputs.items() if t is not None and t.data is None]

    def content(self):
        outs = self.y if isinstance(self.y, list) else [self.y]
        names = [f"y{i}" for i in range(len(outs))]
        tensors = {n: t for n, t in self.inputs.items() if t is not None}
        ins = ["" if t is None else n for n, t in self.inputs.items()]
        return tflite_network({**tensors, **dict(zip(names, outs, strict=True))},
                              [(self.op, ins, names, self.options)], self.free, names)  # fmt: skip

    def arrays(self, name):
        """Inputs, drawn from the name."""
        rng = np.random.default_rng(crc32(name.encode()))
        return [self._drawn(rng, self.inputs[n]) for n in self.free]

    def _drawn(self, rng, tensor):
        if tensor.dtype == "float32":
            x = rng.normal(scale=2, size=tensor.shape).astype("f4")
            return np.abs(x) + np.float32(0.1) if self.positive else x
        low, high = {"int8": (-128, 128), "uint8": (0, 256)}[tensor.dtype]
        return rng.integers(low, high, tensor.shape).astype(tensor.dtype)


rng = np.random.default_rng(14)


def normal(*shape):
    return constant(rng.normal(size=shape).astype("f4"))


MAP = (1, 5, 6, 4)
F = T(MAP)
ROWS = T((3, 8))
EVEN = T((1, 4, 6, 8))
SAME = {"padding": "SAME", "stride_h": 1, "stride_w": 1}
VALID = {"padding": "VALID", "stride_h": 2, "stride_w": 1}
DILATED = {"dilation_h_factor": 2, "dilation_w_factor": 1}
FUSED = "fused_activation_function"
POOL = {"filter_height": 3, "filter_width": 2}
KEEP = {"keep_dims": True}
FLAT = T((1, 1))
BOX = {"begin": constant([0, 1, 0, 1], "i4"), "size": constant([1, 3, -1, 2], "i4")}
STRIDES = {"begin": constant([0, -1, 1, 0], "i4"), "end": constant([1, 0, 6, 3], "i4"),
           "strides": constant([1, -2, 2, 1], "i4")}  # fmt: skip
PADS = constant([[0, 0], [1, 2], [0, 1], [0, 0]], "i4")
ALL_PADS = constant([[0, 1], [1, 2], [0, 1], [2, 0]], "i4")


def x_and(**others):
    return {"x": F, **others}


def kinds(name, op, options=None, y_rank=4, x=F, count=1, positive=False, **others):
    """An operator that only moves elements, in floats and in both kinds of integers."""
    for dtype, scale, zero in (("float32", None, 0), ("int8", 0.05, -3), ("uint8", 0.05, 120)):
        y = T((1,) * y_rank, dtype, None, scale, zero)
        inputs = {k: T(x.shape, dtype, None, scale, zero) if v is F else v
                  for k, v in {"x": F, **others}.items()}  # fmt: skip
        label = name if dtype == "float32" else f"{name}, {dtype}"
        CASES[label] = Case(op, inputs, options or {}, y if count == 1 else [y] * count,
                            positive=positive)  # fmt: skip


CASES = {
    "CONV_2D, same": Case("CONV_2D", x_and(w=normal(6, 3, 2, 4), b=normal(6)), SAME),
    "CONV_2D, valid, stride, relu": Case(
        "CONV_2D", x_and(w=normal(6, 3, 2, 4), b=normal(6)), {**VALID, FUSED: "RELU"}),
    "CONV_2D, dilated, relu6": Case(
        "CONV_2D", x_and(w=normal(6, 2, 3, 4), b=normal(6)),
        {**SAME, **DILATED, FUSED: "RELU6"}),
    "CONV_2D, pointwise": Case("CONV_2D", x_and(w=normal(6, 1, 1, 4), b=normal(6)), SAME),
    "CONV_2D, groups": Case("CONV_2D", x_and(w=normal(6, 3, 3, 2), b=normal(6)), SAME),
    "CONV_2D, relu between -1 and 1": Case(
        "CONV_2D", x_and(w=normal(2, 1, 1, 4), b=normal(2)), {**SAME, FUSED: "RELU_N1_TO_1"}),
    "DEPTHWISE_CONV_2D, same, stride": Case(
        "DEPTHWISE_CONV_2D", x_and(w=normal(1, 3, 3, 4), b=normal(4)),
        {"padding": "SAME", "stride_h": 2, "stride_w": 2, "depth_multiplier": 1}),
    "DEPTHWISE_CONV_2D, multiplier 2, dilated": Case(
        "DEPTHWISE_CONV_2D", x_and(w=normal(1, 3, 2, 8), b=normal(8)),
        {**SAME, **DILATED, "depth_multiplier": 2, FUSED: "RELU6"}),
    "TRANSPOSE_CONV, same": Case(
        "TRANSPOSE_CONV", {"to": constant([1, 9, 11, 3], "i4"), "w": normal(3, 3, 3, 4), "x": F},
        {"padding": "SAME", "stride_h": 2, "stride_w": 2}),
    "TRANSPOSE_CONV, valid, bias": Case(
        "TRANSPOSE_CONV", {"to": constant([1, 11, 8, 3], "i4"), "w": normal(3, 3, 3, 4), "x": F,
                           "b": normal(3)},
        {"padding": "VALID", "stride_h": 2, "stride_w": 1}),
    "FULLY_CONNECTED": Case("FULLY_CONNECTED", {"x": ROWS, "w": normal(5, 8), "b": normal(5)},
                            {FUSED: "RELU"}, FLAT),
    "FULLY_CONNECTED of a map": Case("FULLY_CONNECTED", x_and(w=normal(5, 120)), {}, FLAT),
    "FULLY_CONNECTED, axes kept": Case(
        "FULLY_CONNECTED", x_and(w=normal(5, 4), b=normal(5)), {"keep_num_dims": True}),
    "ADD, relu6": Case("ADD", x_and(b=F), {FUSED: "RELU6"}),
    "ADD of channels": Case("ADD", x_and(b=normal(4))),
    "ADD of rows and columns": Case("ADD", {"a": normal(5, 1, 4), "x": T((1, 1, 6, 1))}),
    "SUB of a number": Case("SUB", {"a": constant(np.float32(1)), "x": F}),
    "MUL of a pixel": Case("MUL", x_and(b=T((1, 1, 1, 4))), {FUSED: "RELU"}),
    "DIV": Case("DIV", x_and(b=F), {}, positive=True),
    "MAXIMUM": Case("MAXIMUM", x_and(b=F)),
    "MINIMUM of channels": Case("MINIMUM", x_and(b=normal(4))),
    "SQUARED_DIFFERENCE": Case("SQUARED_DIFFERENCE", x_and(b=F)),
    "POW": Case("POW", x_and(b=constant(np.float32(1.5))), {}, positive=True),
    "ADD_N": Case("ADD_N", x_and(b=F, c=F)),
    "SOFTMAX": Case("SOFTMAX", {"x": ROWS}, {"beta": 1.0}, FLAT),
    "SOFTMAX of channels, beta": Case("SOFTMAX", x_and(), {"beta": 0.5}),
    "LOG_SOFTMAX": Case("LOG_SOFTMAX", {"x": ROWS}, {}, FLAT),
    "L2_NORMALIZATION": Case("L2_NORMALIZATION", x_and()),
    "PRELU": Case("PRELU", x_and(a=normal(1, 1, 4))),
    "PRELU, each element": Case("PRELU", x_and(a=normal(5, 6, 4))),
    "LEAKY_RELU": Case("LEAKY_RELU", x_and(), {"alpha": 0.2}),
    "AVERAGE_POOL_2D, same": Case("AVERAGE_POOL_2D", x_and(), {**SAME, **POOL}),
    "AVERAGE_POOL_2D, valid, relu": Case("AVERAGE_POOL_2D", x_and(),
                                         {**VALID, **POOL, FUSED: "RELU"}),
    "AVERAGE_POOL_2D, all": Case("AVERAGE_POOL_2D", x_and(), {
        **VALID, "filter_height": 5, "filter_width": 6}),
    "MEAN of pixels": Case("MEAN", x_and(axes=constant([1, 2], "i4")), KEEP),
    "MEAN of pixels, axes gone": Case("MEAN", x_and(axes=constant([1, 2], "i4")), {}, FLAT),
    "MEAN of channels": Case("MEAN", x_and(axes=constant([-1], "i4")), {}, T((1, 1, 1))),
    "SUM of rows": Case("SUM", x_and(axes=constant([1], "i4")), {}, T((1, 1, 1))),
    "RESIZE_BILINEAR": Case("RESIZE_BILINEAR", x_and(to=constant([9, 13], "i4"))),
    "RESIZE_BILINEAR, corners": Case("RESIZE_BILINEAR", x_and(to=constant([9, 13], "i4")),
                                     {"align_corners": True}),
    "RESIZE_BILINEAR, centres": Case("RESIZE_BILINEAR", x_and(to=constant([10, 3], "i4")),
                                     {"half_pixel_centers": True}),
    "CAST": Case("CAST", x_and(), {"in_data_type": 0, "out_data_type": 0}),
    "SPACE_TO_BATCH_ND": Case("SPACE_TO_BATCH_ND", x_and(
        block=constant([3, 2], "i4"), pads=constant([[1, 0], [0, 2]], "i4"))),
    "BATCH_TO_SPACE_ND": Case("BATCH_TO_SPACE_ND", {
        "x": T((6, 2, 3, 4)), "block": constant([3, 2], "i4"),
        "crops": constant([[1, 0], [0, 2]], "i4")}),
}  # fmt: skip
for _op in ("ABS", "ELU", "EXP", "FLOOR", "CEIL", "ROUND", "HARD_SWISH", "LOGISTIC", "NEG", "RELU",
            "RELU6", "RELU_N1_TO_1", "RELU_0_TO_1", "SQUARE", "TANH"):  # fmt: skip
    CASES[_op] = Case(_op, x_and())
for _op in ("LOG", "RSQRT", "SQRT"):
    CASES[_op] = Case(_op, x_and(), {}, positive=True)
for _op in ("REDUCE_MAX", "REDUCE_MIN"):
    kinds(f"{_op} of columns", _op, KEEP, axes=constant([2], "i4"))
kinds("MAX_POOL_2D, same", "MAX_POOL_2D", {**SAME, **POOL})
kinds("MAX_POOL_2D, valid, relu6", "MAX_POOL_2D", {**VALID, **POOL, FUSED: "RELU6"})
kinds("PAD", "PAD", pads=ALL_PADS)
kinds("MIRROR_PAD, reflect", "MIRROR_PAD", {"mode": "REFLECT"}, pads=PADS)
kinds("MIRROR_PAD, symmetric", "MIRROR_PAD", {"mode": "SYMMETRIC"}, pads=PADS)
kinds("RESHAPE to rows", "RESHAPE", {"new_shape": (10, -1)}, 2, to=constant([10, -1], "i4"))
kinds("RESHAPE of maps", "RESHAPE", to=constant([1, 3, 4, 10], "i4"))
kinds("RESHAPE of rows", "RESHAPE", x=T((4, 15)), to=constant([1, 2, 3, 10], "i4"))
kinds("SQUEEZE", "SQUEEZE", {"squeeze_dims": (0,)}, 3)
kinds("SQUEEZE of all", "SQUEEZE", {}, 2, x=T((1, 5, 1, 4)))
kinds("EXPAND_DIMS", "EXPAND_DIMS", {}, 4, x=T((5, 6, 4)), axis=constant(1, "i4"))
kinds("EXPAND_DIMS of a map", "EXPAND_DIMS", {}, 5, axis=constant(-1, "i4"))
kinds("TRANSPOSE", "TRANSPOSE", {}, 4, order=constant([0, 3, 1, 2], "i4"))
kinds("TRANSPOSE of rows", "TRANSPOSE", {}, 3, x=T((2, 3, 4)), order=constant([2, 0, 1], "i4"))
kinds("SLICE", "SLICE", **BOX)
for _name in ("SLICE", "SLICE, int8", "SLICE, uint8"):  # which does not ask for its own shape
    CASES[_name].y.shape = (1, 3, 6, 2)
kinds("STRIDED_SLICE", "STRIDED_SLICE", {"begin_mask": 5, "end_mask": 1}, 4, **STRIDES)
kinds("STRIDED_SLICE, axes gone", "STRIDED_SLICE", {"shrink_axis_mask": 2, "end_mask": 12}, 3,
      **{**STRIDES, "strides": constant([1, 1, 2, 1], "i4")})  # fmt: skip
kinds("SPLIT", "SPLIT", {"num_splits": 2}, count=2)
for _name in [name for name in CASES if name.startswith("SPLIT")]:
    _case = CASES[_name]
    _case.inputs = {"axis": constant(-1, "i4"), **_case.inputs}
kinds("SPLIT_V", "SPLIT_V", {"num_splits": 3}, count=3, sizes=constant([1, -1, 2], "i4"),
      axis=constant(1, "i4"))  # fmt: skip
kinds("PACK", "PACK", {"values_count": 2, "axis": 1}, x=T((2, 3, 4)), b=F)
kinds("UNPACK", "UNPACK", {"num": 4, "axis": 3}, 3, count=4)
kinds("GATHER", "GATHER", {"axis": 3}, at=constant([3, 0, 0], "i4"))
kinds("GATHER of rows", "GATHER", {"axis": 0}, 3, x=T((3, 4)), at=constant([[2, 0], [1, 1]], "i4"))
kinds("TILE", "TILE", times=constant([1, 2, 1, 3], "i4"))
kinds("BROADCAST_TO", "BROADCAST_TO", x=T((1, 1, 6, 1)), shape=constant([2, 3, 6, 4], "i4"))
kinds("REVERSE_V2", "REVERSE_V2", axes=constant([2], "i4"))
kinds("DEPTH_TO_SPACE", "DEPTH_TO_SPACE", {"block_size": 2}, x=EVEN)
kinds("SPACE_TO_DEPTH", "SPACE_TO_DEPTH", {"block_size": 2}, x=EVEN)
kinds("RESIZE_NEAREST_NEIGHBOR", "RESIZE_NEAREST_NEIGHBOR", to=constant([9, 13], "i4"))
kinds("RESIZE_NEAREST_NEIGHBOR, corners", "RESIZE_NEAREST_NEIGHBOR", {"align_corners": True},
      to=constant([9, 13], "i4"))  # fmt: skip
kinds("RESIZE_NEAREST_NEIGHBOR, centres", "RESIZE_NEAREST_NEIGHBOR", {"half_pixel_centers": True},
      to=constant([10, 4], "i4"))  # fmt: skip
kinds("CONCATENATION", "CONCATENATION", {"axis": -1}, b=F)
for _op in ("ARG_MAX", "ARG_MIN"):
    kinds(f"{_op} of channels", _op, {"output_type": 2}, 3, axis=constant(-1, "i4"))
    kinds(f"{_op} of rows", _op, {"output_type": 2}, 3, axis=constant(1, "i4"))
for _name, _case in CASES.items():
    if _name.startswith("ARG_M"):
        _case.y = T(_case.y.shape, "int32")
for _dtype, _value in (("float32", np.float32(2.5)), ("int8", np.int8(40)), ("uint8", np.uint8(7))):
    _q = {} if _dtype == "float32" else {"scale": 0.05, "zero": 12}
    CASES[f"PADV2, {_dtype}"] = Case(
        "PADV2", {"x": T(MAP, _dtype, **_q), "pads": ALL_PADS, "v": constant([_value], **_q)}, {},
        T((1, 1, 1, 1), _dtype, **_q))  # fmt: skip


# --- integers ----------------------------------------------------------------------------------


def filters(dtype, shape, axis, each):
    """Weights of 8 bits: int8 with a scale for each filter (or one), uint8 with a zero point."""
    if dtype == "uint8":
        return constant(rng.integers(0, 256, shape), dtype, 0.01, 119)
    scale = rng.uniform(0.002, 0.02, shape[axis]).astype("f4") if each else np.float32(0.01)
    return constant(rng.integers(-127, 128, shape), dtype, scale, 0, axis)


def bias_for(x, w, n):
    scale = (np.float32(x.scale) * np.asarray(w.scale, "f4")).astype("f4")
    return constant(rng.integers(-3000, 3000, n), "i4", scale)


for _dtype, _zero in (("int8", 5), ("uint8", 130)):

    def _q(shape=MAP, scale=0.05, zero=_zero, dtype=_dtype):
        return T(shape, dtype, None, scale, zero)

    def _add(name, op, inputs, options=None, y=None, off=0, dtype=_dtype, q=_q):
        out = q(scale=0.1) if y is None else y
        CASES[f"{name}, {dtype}"] = Case(op, inputs, options or {}, out, off)

    _x = _q()
    for _each in (True, False):
        _which = "" if _each else ", one scale"
        _w = filters(_dtype, (6, 3, 2, 4), 0, _each)
        _add(f"CONV_2D, same{_which}", "CONV_2D", {"x": _x, "w": _w, "b": bias_for(_x, _w, 6)},
             SAME, _q(scale=0.3))  # fmt: skip
        _add(f"CONV_2D, stride, relu6{_which}", "CONV_2D",
             {"x": _x, "w": _w, "b": bias_for(_x, _w, 6)}, {**VALID, FUSED: "RELU6"},
             _q(scale=0.024, zero=_zero - 10))  # fmt: skip
        _w = filters(_dtype, (1, 3, 3, 8), 3, _each)
        _add(f"DEPTHWISE_CONV_2D, dilated{_which}", "DEPTHWISE_CONV_2D",
             {"x": _x, "w": _w, "b": bias_for(_x, _w, 8)},
             {**SAME, **DILATED, "depth_multiplier": 2, FUSED: "RELU"}, _q(scale=0.2))  # fmt: skip
        _w = filters(_dtype, (3, 3, 3, 4), 0, _each)
        _add(f"TRANSPOSE_CONV, same{_which}", "TRANSPOSE_CONV",
             {"to": constant([1, 9, 11, 3], "i4"), "w": _w, "x": _x, "b": bias_for(_x, _w, 3)},
             {"padding": "SAME", "stride_h": 2, "stride_w": 2}, _q(scale=0.2))  # fmt: skip
    _w = filters(_dtype, (6, 1, 1, 4), 0, True)
    _add("CONV_2D, a factor above 1", "CONV_2D", {"x": _x, "w": _w, "b": bias_for(_x, _w, 6)}, SAME,
         _q(scale=0.0004))  # fmt: skip
    _w = filters(_dtype, (5, 8), 0, False)
    _rows = _q((3, 8))
    _add("FULLY_CONNECTED", "FULLY_CONNECTED", {"x": _rows, "w": _w, "b": bias_for(_rows, _w, 5)},
         {FUSED: "RELU"}, _q((1, 1), 0.1))  # fmt: skip
    _two = {"x": _x, "b": _q(scale=0.07, zero=_zero - 7)}
    for _op in ("ADD", "SUB", "MUL"):
        _add(_op, _op, _two, {}, _q(scale=0.11, zero=_zero + 4))
        _add(f"{_op}, relu6", _op, _two, {FUSED: "RELU6"}, _q(scale=0.03, zero=_zero - 4))
        _add(f"{_op} of channels", _op, {
            "x": _x, "b": constant(rng.integers(0, 100, 4), _dtype, 0.02, _zero)})  # fmt: skip
    for _op in ("MAXIMUM", "MINIMUM"):
        _add(_op, _op, {"x": _x, "b": _q()}, {}, _q())
    _add("CONCATENATION of scales", "CONCATENATION", {"x": _x, "b": _q()} if _dtype == "int8" else
         {"x": _x, "b": _q(scale=0.02, zero=100)}, {"axis": 2}, _q())  # fmt: skip
    _add("AVERAGE_POOL_2D, same", "AVERAGE_POOL_2D", {"x": _x}, {**SAME, **POOL}, _q())
    _add("AVERAGE_POOL_2D, valid, relu", "AVERAGE_POOL_2D", {"x": _x},
         {**VALID, **POOL, FUSED: "RELU"}, _q())  # fmt: skip
    _pixels = {"x": _x, "axes": constant([1, 2], "i4")}
    _add("MEAN of pixels", "MEAN", _pixels, KEEP, _q(scale=0.02))
    _add("MEAN of pixels, one scale", "MEAN", _pixels, KEEP, _q())
    _add("MEAN of channels", "MEAN", {"x": _x, "axes": constant([3], "i4")}, {},
         _q((1, 1, 1), 0.04))  # fmt: skip
    _add("SUM of pixels", "SUM", _pixels, KEEP, _q(scale=1.0))
    CASES[f"SUM of pixels, {_dtype}"].ordinary = True
    for _label, _how in (("", {}), (", corners", {"align_corners": True}),
                         (", centres", {"half_pixel_centers": True})):  # fmt: skip
        _add(f"RESIZE_BILINEAR{_label}", "RESIZE_BILINEAR",
             {"x": _x, "to": constant([19, 33], "i4")}, _how, _q(),
             int(_dtype == "uint8"))  # fmt: skip
    _soft = {"scale": 1 / 256, "zero": -128 if _dtype == "int8" else 0}
    _add("SOFTMAX", "SOFTMAX", {"x": _q((3, 8), 0.03)}, {"beta": 1.0}, _q((1, 1), **_soft), 1)
    _add("SOFTMAX, sharp", "SOFTMAX", {"x": _q((3, 8), 0.3)}, {"beta": 1.0}, _q((1, 1), **_soft), 1)
    _add("LOGISTIC", "LOGISTIC", {"x": _x}, {}, _q(**_soft), 1)
    _add("TANH", "TANH", {"x": _q(scale=0.02)}, {},
         _q(scale=1 / 128, zero=0 if _dtype == "int8" else 128), 1)  # fmt: skip
    _add("HARD_SWISH", "HARD_SWISH", {"x": _x}, {}, _q(scale=0.03, zero=_zero - 90), 1)
    _add("LEAKY_RELU", "LEAKY_RELU", {"x": _x}, {"alpha": 0.2}, _q(scale=0.04))
    _slopes = constant(rng.integers(0, 256, (1, 1, 4)) - (128 if _dtype == "int8" else 0), _dtype,
                       0.01, _zero)  # fmt: skip
    _add("PRELU", "PRELU", {"x": _x, "a": _slopes}, {}, _q(scale=0.06))
    _add("RELU", "RELU", {"x": _x}, {}, _q(scale=0.03, zero=_zero - 60))
    _add("RELU6", "RELU6", {"x": _x}, {}, _q(scale=0.024, zero=_zero - 60))
    _add("QUANTIZE of floats", "QUANTIZE", {"x": F}, {}, _q(scale=0.031))
    _add("QUANTIZE of another scale", "QUANTIZE", {"x": _x}, {}, _q(scale=0.037, zero=_zero + 9))
    _add("DEQUANTIZE", "DEQUANTIZE", {"x": _x}, {}, F)
    _other = "uint8" if _dtype == "int8" else "int8"
    _add(f"QUANTIZE to {_other}", "QUANTIZE", {"x": _x}, {}, T(MAP, _other, None, 0.05, 3))
for _op in ("ELU", "EXP", "LOG", "RSQRT", "ABS"):
    _zero = -128 if _op in ("LOG", "RSQRT") else 5
    CASES[f"{_op}, int8"] = Case(
        _op, {"x": T(MAP, "int8", None, 0.02, _zero)}, {}, T(MAP, "int8", None, 0.05, -20), 1
    )


# --- a network ---------------------------------------------------------------------------------

X = T((1, 6, 6, 4), signature=(-1, 6, 6, 4))
HALF = {"h": constant(np.float16([[[[0.5, -1, 2, 1]]]])), "w": T((1, 1, 1, 4))}
NODES = [
    ("DEQUANTIZE", ["h"], ["w"], {}),
    ("CONV_2D", ["x", "first", "b"], ["c"], {**SAME, "fused_activation_function": "RELU6"}),
    ("DEPTHWISE_CONV_2D", ["c", "w", "b4"], ["d"], {**SAME, "depth_multiplier": 1}),
    ("SHAPE", ["d"], ["shape"], {}),
    ("STRIDED_SLICE", ["shape", "zero", "one", "one"], ["images"], {"shrink_axis_mask": 1}),
    ("PACK", ["images", "rest"], ["to"], {"values_count": 2}),
    ("MEAN", ["d", "pixels"], ["m"], KEEP),
    ("RESHAPE", ["m", "to"], ["r"], {}),
    ("FULLY_CONNECTED", ["r", "last", ""], ["f"], {}),
    ("MUL", ["f", "half"], ["y"], {}),
]
WEIGHTS = {"first": normal(4, 3, 2, 4), "b": normal(4), "b4": normal(4), "last": normal(3, 4),
           "half": constant(np.float32(0.5))}  # fmt: skip
INTS = {"zero": constant([0], "i4"), "one": constant([1], "i4"), "rest": constant(-1, "i4"),
        "pixels": constant([1, 2], "i4")}  # fmt: skip
MADE = {name: T((1, 6, 6, 4)) for name in "cd"} | {
    "shape": T((4,), "int32"), "images": T((), "int32"), "to": T((2,), "int32"),
    "m": T((1, 1, 1, 4)), "r": T((1, 4)), "f": T((1, 3)), "y": T((1, 3)),
}  # fmt: skip


def network():
    """A small network with a free batch, whose last shape is computed from the map's."""
    return tflite_network({"x": X, **HALF, **WEIGHTS, **INTS, **MADE}, NODES, ["x"], ["y"])
