"""TFLite's operators on numbers that are known: shapes, and what is computed from them.

Results are bounded before they are made, as in ``onnx_folding``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from minigrad.errors import ShapeError
from minigrad.formats.numbers import Array
from minigrad.graphs.attributes import UnreadNode
from minigrad.graphs.onnx_folding import bounded
from minigrad.graphs.onnx_shapes import numbers_of, place_of
from minigrad.graphs.tflite_layout import in_file_order
from minigrad.graphs.tflite_operation import Operation
from minigrad.graphs.tflite_shapes import masks_of, places_of
from minigrad.tensor import Tensor

__all__ = ["FOLDED"]

Made = Callable[..., "Array | list[Array]"]
Prepare = Callable[[Operation], Made]
TYPES = ("float32", "int32", "int64", "bool", "int8", "uint8")


def _plain(function: Made) -> Prepare:
    def prepare(o: Operation) -> Made:
        return function

    return prepare


def _arithmetic(function: Callable[[Array, Array], Array]) -> Prepare:
    """A function of two arrays; a fused activation would have no sense for shapes."""

    def prepare(o: Operation) -> Made:
        if o.node.options.get("fused_activation_function", "NONE") != "NONE":
            raise UnreadNode("a fused activation of constants is not read")
        return partial(_broadcast, function)

    return prepare


def _broadcast(function: Callable[[Array, Array], Array], a: Array, b: Array) -> Array:
    bounded(np.broadcast_shapes(a.shape, b.shape))
    return np.asarray(function(a, b))


def _quotient(a: Array, b: Array) -> Array:
    """a / b, of integers the floor, as FLOOR_DIV and DIV have it of positive ones."""
    if not np.all(b):
        raise ShapeError("a constant is divided by zero")
    return np.asarray(np.floor_divide(a, b) if a.dtype.kind in "iu" else np.divide(a, b))


def shape_of(x: Array | Tensor) -> Array:
    """The sizes in the file's order."""
    sizes = in_file_order(x).shape if isinstance(x, Tensor) else x.shape
    return np.array(sizes, np.int32)


def rank_of(x: Array | Tensor) -> Array:
    """The number of axes."""
    return np.array(x.ndim, np.int32)


def _cast(o: Operation) -> Made:
    target = o.outputs[0].dtype
    if target not in TYPES:
        raise UnreadNode(f"it casts constants to {target}, which is not read")
    return partial(_as_type, target)


def _as_type(target: str, x: Array) -> Array:
    return x.astype(target)


def _concatenation(o: Operation) -> Made:
    return partial(_joined, o.integer("axis"))


def _joined(axis: int, *xs: Array) -> Array:
    return np.concatenate(xs, place_of(axis, xs[0].ndim, "CONCATENATION"))


def _pack(o: Operation) -> Made:
    return partial(_stacked, o.integer("axis"))


def _stacked(axis: int, *xs: Array) -> Array:
    return np.stack(xs, place_of(axis, xs[0].ndim + 1, "PACK"))


def _unpack(o: Operation) -> Made:
    return partial(_apart, o.integer("axis"), len(o.outputs))


def _apart(axis: int, parts: int, x: Array) -> list[Array]:
    at = place_of(axis, x.ndim, "UNPACK")
    if x.shape[at] != parts:
        raise ShapeError(f"UNPACK: axis {at} of {x.shape} into {parts} parts")
    return [np.take(x, i, at) for i in range(parts)]


def _gather(o: Operation) -> Made:
    if o.integer("batch_dims"):
        raise UnreadNode("its option batch_dims is not read")
    return partial(_taken, o.integer("axis"))


def _taken(axis: int, x: Array, at: Array) -> Array:
    axis = place_of(axis, x.ndim, "GATHER")
    bounded((*x.shape[:axis], *at.shape, *x.shape[axis + 1 :]))
    return np.asarray(np.take(x, at, axis))


def _strided_slice(o: Operation) -> Made:
    return partial(_strided, masks_of(o))


def _strided(masks: Sequence[int], x: Array, begin: Array, end: Array, steps: Array) -> Array:
    return x[places_of(masks, begin, end, steps)]


def _sliced(x: Array, begin: Array, size: Array) -> Array:
    pairs = zip(numbers_of(begin), numbers_of(size), strict=True)
    return x[tuple(slice(at, None if n == -1 else at + n) for at, n in pairs)]


def _reshape(o: Operation) -> Made:
    return partial(_reshaped, o.integers("new_shape"))


def _reshaped(option: Sequence[int], x: Array, shape: Array | None = None) -> Array:
    return x.reshape(option if shape is None else numbers_of(shape))


def _squeeze(o: Operation) -> Made:
    return partial(_squeezed, o.integers("squeeze_dims"))


def _squeezed(axes: Sequence[int], x: Array) -> Array:
    return np.squeeze(x, tuple(axes) or None)


def _expanded(x: Array, axis: Array) -> Array:
    return np.expand_dims(x, numbers_of(axis))


def _turned(x: Array, order: Array) -> Array:
    return np.transpose(x, numbers_of(order))


def _product(o: Operation) -> Made:
    return partial(_multiplied, o.flag("keep_dims"))


def _multiplied(keep: bool, x: Array, axes: Array) -> Array:
    along = tuple(place_of(i, x.ndim, "REDUCE_PROD") for i in numbers_of(axes))
    product = np.prod(x, axis=along, keepdims=True).astype(x.dtype)
    return product if keep else np.squeeze(product, along)


def _filled(shape: Array, value: Array) -> Array:
    return np.full(bounded(numbers_of(shape)), value.reshape(()))


def _range(start: Array, end: Array, step: Array) -> Array:
    first, last, by = (x.reshape(()) for x in (start, end, step))
    if by == 0 or not all(map(np.isfinite, (first, last, by))):
        raise ShapeError("RANGE: its step is 0, or no number")
    bounded((max(0, int(np.ceil((float(last) - float(first)) / float(by)))),))
    return np.arange(float(first), float(last), float(by)).astype(start.dtype)


FOLDED: dict[str, Prepare] = {
    "ADD": _arithmetic(np.add),
    "CAST": _cast,
    "CONCATENATION": _concatenation,
    "DIV": _arithmetic(_quotient),
    "EXPAND_DIMS": _plain(_expanded),
    "FILL": _plain(_filled),
    "FLOOR_DIV": _arithmetic(_quotient),
    "GATHER": _gather,
    "MAXIMUM": _arithmetic(np.maximum),
    "MINIMUM": _arithmetic(np.minimum),
    "MUL": _arithmetic(np.multiply),
    "PACK": _pack,
    "RANGE": _plain(_range),
    "RANK": _plain(rank_of),
    "REDUCE_PROD": _product,
    "RESHAPE": _reshape,
    "SHAPE": _plain(shape_of),
    "SLICE": _plain(_sliced),
    "SQUEEZE": _squeeze,
    "STRIDED_SLICE": _strided_slice,
    "SUB": _arithmetic(np.subtract),
    "TRANSPOSE": _plain(_turned),
    "UNPACK": _unpack,
}
