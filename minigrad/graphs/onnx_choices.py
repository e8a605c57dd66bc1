"""What ONNX's operators on truth values, integers and places mean, as calls of minigrad's ops.

Truth values and integers that are computed are numbers of the network's dtype: 0 and 1, and
integers that are exact up to 2^24 in float32.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from minigrad import ops
from minigrad.arguments import LARGEST
from minigrad.errors import ShapeError
from minigrad.formats.numbers import Array
from minigrad.graphs.attributes import Attributes, UnreadNode
from minigrad.graphs.onnx_shapes import place_of
from minigrad.graphs.onnx_tensors import DTYPES
from minigrad.tensor import Operand, Tensor, tensor

__all__ = [
    "ALL_NUMBERS", "arg", "both", "cast", "cast_like", "comparison", "dequantize", "divide",
    "either", "negation", "one_of_two", "power", "quantize", "suppression", "topk",
]  # fmt: skip

Made = Callable[..., Tensor]
Several = Callable[..., list[Tensor]]
Prepare = Callable[[Attributes], Made]
FLOATS = ("float16", "float32", "float64")  # each of them computed in the network's dtype
INTEGERS = {
    f"{sign}int{bits}": (0 if sign else -(1 << (bits - 1)), (1 << (bits if sign else bits - 1)) - 1)
    for sign in ("", "u")
    for bits in (8, 16, 32, 64)
}
ALL_NUMBERS = (*FLOATS, *INTEGERS, "bool")
NARROW = 16  # bits of the widest integers that wrap around


def comparison(relation: str) -> Prepare:
    """Equal, Less and their like."""

    def prepare(a: Attributes) -> Made:
        return partial(_compared, relation)

    return prepare


def _compared(relation: str, a: Tensor, b: Tensor) -> Tensor:
    return ops.compare(a, b, relation)


def both(a: Tensor, b: Tensor) -> Tensor:
    """And."""
    return a * b


def either(a: Tensor, b: Tensor) -> Tensor:
    """Or."""
    return ops.maximum(a, b)


def negation(a: Tensor) -> Tensor:
    """Not."""
    return 1.0 - a


def one_of_two(condition: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """Where."""
    return ops.choose(condition, a, b)


def divide(a: Attributes) -> Made:
    """Div; of integers the part before the point."""
    return ops.div if a.dtype(0) in (*FLOATS, None) else _divided


def _divided(a: Tensor, b: Tensor) -> Tensor:
    return ops.rounded(a / b, "zero")


def power(a: Attributes) -> Made:
    """Pow; of integers rounded, for they are computed as others are."""
    return ops.power if a.dtype(0) in (*FLOATS, None) else _whole_power


def _whole_power(a: Tensor, b: Operand) -> Tensor:
    return ops.rounded(ops.power(a, b), "nearest")


def cast(a: Attributes) -> Made:
    """Cast: to a float, all of which stand for the network's dtype, to integers or truths."""
    a.without("saturate", "round_mode")
    target = DTYPES.get(a.integer("to", 0), "")
    if target not in ALL_NUMBERS:
        raise a.wrong("to", "a type that is not read")
    return _casting(a.dtype(0), target)


def cast_like(a: Attributes) -> Made:
    """CastLike."""
    a.without("saturate", "round_mode")
    target = a.dtype(1)
    if target not in ALL_NUMBERS:
        raise UnreadNode("its second input is of a type that is not read")
    cast_first = _casting(a.dtype(0), target)
    return lambda x, like: cast_first(x)


def _casting(source: str | None, target: str) -> Made:
    if target == "bool":
        return _truth
    if target in FLOATS or source in (target, "bool"):
        return _same
    whole = _same if source in INTEGERS else partial(ops.rounded, how="zero")
    low, high = INTEGERS[target]
    if high.bit_length() > NARROW or _holds(target, source):
        return whole
    return lambda x: _wrapped(low, high, whole(x))


def _holds(target: str, source: str | None) -> bool:
    """Whether a type has every integer of another."""
    (low, high), (least, most) = INTEGERS[target], INTEGERS.get(source or "", (-np.inf, np.inf))
    return low <= least and most <= high


def _same(x: Tensor) -> Tensor:
    return x


def _truth(x: Tensor) -> Tensor:
    return ops.compare(x, 0.0, "!=")


def _wrapped(low: int, high: int, x: Tensor) -> Tensor:
    """The integer of this type that has the same lowest bits."""
    count = high - low + 1
    return x - count * ops.rounded((x - low) / count, "down")


def arg(largest: bool) -> Prepare:
    """ArgMax or ArgMin."""

    def prepare(a: Attributes) -> Made:
        keep, last = bool(a.only("keepdims", 1, 0, 1)), bool(a.only("select_last_index", 0, 0, 1))
        return partial(_arg, largest, a.integer("axis", 0), keep, last)

    return prepare


def _arg(largest: bool, axis: int, keep: bool, last: bool, x: Tensor) -> Tensor:
    axis = place_of(axis, x.ndim, "ArgMax")
    found = ops.places(x, 1, axis, largest, last)
    return found if keep else ops.squeeze(found, axis)


def topk(a: Attributes) -> Several:
    """TopK; without an order the order is that of sorted values."""
    a.only("sorted", 1, 0, 1)
    largest = bool(a.only("largest", 1, 0, 1))
    count = a.integer("k", 0) if a.opset < 10 else None
    return partial(_topk, a.integer("axis", -1), largest, count)


def _topk(
    axis: int, largest: bool, count: int | None, x: Tensor, k: Array | None = None
) -> list[Tensor]:
    if k is None and count is None:
        raise ShapeError("TopK: k is missing")
    number = count if k is None else int(np.reshape(k, -1)[0])
    return list(ops.topk(x, number or 0, place_of(axis, x.ndim, "TopK"), largest))


def suppression(a: Attributes) -> Made:
    """NonMaxSuppression, whose result is as long as the values make it."""
    return partial(_suppressed, bool(a.only("center_point_box", 0, 0, 1)))


def _suppressed(
    centres: bool, boxes: Tensor, scores: Tensor, most: Array | None = None,
    iou: Array | None = None, score: Array | None = None,
) -> Tensor:  # fmt: skip
    count = 0 if most is None else int(np.reshape(most, -1)[0])
    overlap = 0.0 if iou is None else float(np.reshape(iou, -1)[0])
    least = None if score is None else float(np.reshape(score, -1)[0])
    found = ops.non_max_suppression(boxes, scores, min(count, LARGEST), overlap, least, centres)
    return tensor(found, dtype=boxes.dtype)


def quantize(a: Attributes) -> Made:
    """QuantizeLinear to 8 or 16 bits."""
    a.without("saturate")
    a.only("precision", 0, 0, 1)
    target = DTYPES.get(a.integer("output_dtype", 0)) or a.dtype(2) or "uint8"
    if target not in INTEGERS or INTEGERS[target][1].bit_length() > NARROW:
        raise UnreadNode(f"it makes {target}, and integers of 8 and 16 bits are read")
    return partial(_quantize, INTEGERS[target], a.integer("axis", 1), a.integer("block_size", 0))


def _quantize(
    limits: tuple[int, int],
    axis: int,
    block: int,
    x: Tensor,
    scale: Array,
    zero: Array | None = None,
) -> Tensor:
    steps = _spread(x, scale, axis, block)
    offset = 0.0 if zero is None else _spread(x, zero, axis, block)
    return ops.quantize(x, steps, offset, *limits)


def dequantize(a: Attributes) -> Made:
    """DequantizeLinear of integers."""
    a.without("output_dtype")
    if a.dtype(0) not in INTEGERS:
        raise UnreadNode(f"its input is {a.dtype(0)}, and integers are read")
    return partial(_dequantize, a.integer("axis", 1), a.integer("block_size", 0))


def _dequantize(
    axis: int, block: int, q: Tensor, scale: Array, zero: Array | None = None
) -> Tensor:
    offset = 0.0 if zero is None else _spread(q, zero, axis, block)
    return ops.dequantize(q, _spread(q, scale, axis, block), offset)


def _spread(x: Tensor, values: Array, axis: int, block: int) -> Tensor:
    """Values for the whole tensor, for each index of an axis, or for blocks of them, beside x."""
    values = np.asarray(values)
    if values.size == 1:
        shape: Sequence[int] = ()
    elif values.ndim == 1:
        shape = [-1 if k == place_of(axis, x.ndim, "QuantizeLinear") else 1 for k in range(x.ndim)]
    else:
        axis = place_of(axis, x.ndim, "QuantizeLinear")
        values = np.repeat(values, max(block, 1), axis)[
            (slice(None),) * axis + (slice(x.shape[axis]),)
        ]
        shape = values.shape
    return tensor(np.reshape(values, shape), dtype=x.dtype)
