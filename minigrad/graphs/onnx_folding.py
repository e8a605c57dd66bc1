"""ONNX's operators on numbers that are known: shapes, and what is computed from them.

A file may ask for a large array in few bytes, so results are bounded before they are made.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial, reduce

import numpy as np

from minigrad.errors import FormatError, ShapeError
from minigrad.formats.numbers import Array
from minigrad.graphs.attributes import Attributes, UnreadNode
from minigrad.graphs.onnx_shapes import numbers_of, place_of, places
from minigrad.graphs.onnx_tensors import DTYPES
from minigrad.tensor import Tensor

__all__ = ["FOLDED", "MAX_FOLDED", "constant"]

MAX_FOLDED = 1 << 24  # elements of the constants that one run computes
Made = Callable[..., Array]
Prepare = Callable[[Attributes], Made]


def bounded(shape: Sequence[int]) -> tuple[int, ...]:
    """The shape, if an array of it may be made."""
    lengths = tuple(int(n) for n in shape)
    if min(lengths, default=0) < 0 or math.prod(lengths) > MAX_FOLDED:
        raise FormatError(f"a constant of shape {lengths[:8]}: at most {MAX_FOLDED:,} elements")
    return lengths


def _plain(function: Made) -> Prepare:
    def prepare(a: Attributes) -> Made:
        return function

    return prepare


def _arithmetic(function: Callable[[Array, Array], Array]) -> Prepare:
    return _plain(partial(_broadcast, function))


def _broadcast(function: Callable[[Array, Array], Array], *operands: Array) -> Array:
    """f(f(a, b), c), where the shapes broadcast to a bounded one."""
    bounded(np.broadcast_shapes(*(x.shape for x in operands)))
    return np.asarray(reduce(function, operands))


def _divide(a: Array, b: Array) -> Array:
    """a / b; of integers the part before the point."""
    if a.dtype.kind not in "iu":
        return np.asarray(np.divide(a, b))
    if not b.all():
        raise ShapeError("Div: an integer by zero")
    return np.asarray(np.sign(a) * np.sign(b) * (np.abs(a) // np.abs(b)))


def constant(a: Attributes) -> Array:
    """The value of a Constant node."""
    value = a.array("value")
    if value is not None:
        return value
    for name, dtype in (("value_float", "f4"), ("value_int", "i8")):
        if name in a.node.attributes:
            one = a.real(name, 0.0) if dtype == "f4" else a.integer(name, 0)
            return np.array(one, dtype)
    for name, numbers, dtype in (
        ("value_floats", a.reals("value_floats"), "f4"),
        ("value_ints", a.integers("value_ints"), "i8"),
    ):
        if name in a.node.attributes:
            return np.array(numbers, dtype)
    raise UnreadNode("it has no numbers")


def _cast(a: Attributes) -> Made:
    a.without("saturate", "round_mode")
    dtype = DTYPES.get(a.integer("to", 0), "")
    if dtype not in ("float32", "float64", "int32", "int64", "bool", "uint8", "int8"):
        raise a.wrong("to", "a type that is not read")
    return partial(_as_type, dtype)


def _as_type(dtype: str, x: Array) -> Array:
    return x.astype(dtype)


def _shape(a: Attributes) -> Made:
    end = a.integer("end", 1 << 31)
    return partial(_shape_of, slice(a.integer("start", 0), end))


def _shape_of(part: slice, x: Array | Tensor) -> Array:
    return np.array(x.shape[part], np.int64)


def _size(x: Array | Tensor) -> Array:
    return np.array(math.prod(x.shape), np.int64)


def _constant_of_shape(a: Attributes) -> Made:
    value = a.array("value")
    if value is None:
        value = np.zeros(1, np.float32)
    if value.size != 1:
        raise a.wrong("value", "not one number")
    return partial(_filled, value.reshape(()))


def _filled(value: Array, shape: Array) -> Array:
    return np.full(bounded(numbers_of(shape)), value)


def _gather(a: Attributes) -> Made:
    return partial(_take, a.integer("axis", 0))


def _take(axis: int, x: Array, at: Array) -> Array:
    axis = place_of(axis, x.ndim, "Gather")
    bounded((*x.shape[:axis], *at.shape, *x.shape[axis + 1 :]))
    return np.asarray(np.take(x, at, axis=axis))


def _concat(a: Attributes) -> Made:
    return partial(_joined, a.integer("axis", 1))


def _joined(axis: int, *xs: Array) -> Array:
    return np.concatenate(xs, axis=axis)


def _slices(a: Attributes) -> Made:
    old = a.opset < 10
    starts, ends, axes = (a.integers(n) if old else None for n in ("starts", "ends", "axes"))
    return partial(_sliced, (starts, ends, axes, None))


def _sliced(old: tuple[Sequence[int] | None, ...], x: Array, *given: Array | None) -> Array:
    starts, ends, axes, steps = (
        was if new is None else numbers_of(new)
        for was, new in zip(old, (*given, *[None] * 4), strict=False)
    )
    return x[places(x.shape, starts or (), ends or (), axes, steps)]


def _unsqueeze(a: Attributes) -> Made:
    return partial(_with_axes, a.integers("axes") if a.opset < 13 else None)


def _with_axes(axes: Sequence[int] | None, x: Array, given: Array | None = None) -> Array:
    chosen = (axes or ()) if given is None else numbers_of(given)
    return np.expand_dims(x, tuple(chosen))


def _squeeze(a: Attributes) -> Made:
    return partial(_without_axes, a.integers("axes") if a.opset < 13 else None)


def _without_axes(axes: Sequence[int] | None, x: Array, given: Array | None = None) -> Array:
    chosen = axes if given is None else numbers_of(given)
    return np.squeeze(x, None if chosen is None else tuple(chosen))


def _reshape(a: Attributes) -> Made:
    a.only("allowzero", 0, 0)
    return _reshaped


def _reshaped(x: Array, shape: Array) -> Array:
    lengths = numbers_of(shape)
    if any(n == 0 and i >= x.ndim for i, n in enumerate(lengths)):
        raise ShapeError(f"Reshape: the length 0 at an axis that x of shape {x.shape} has not")
    return x.reshape([x.shape[i] if n == 0 else n for i, n in enumerate(lengths)])


def _transpose(a: Attributes) -> Made:
    return partial(_turned, a.integers("perm"))


def _turned(order: Sequence[int] | None, x: Array) -> Array:
    return np.transpose(x, order)


def _product(a: Attributes) -> Made:
    axes = a.integers("axes") if a.opset < 18 else None
    return partial(_product_of, axes, bool(a.only("keepdims", 1, 0, 1)))


def _product_of(
    axes: Sequence[int] | None, keep: bool, x: Array, given: Array | None = None
) -> Array:
    chosen = axes if given is None else numbers_of(given)
    axis = (
        tuple(place_of(i, x.ndim, "ReduceProd") for i in chosen) if chosen else tuple(range(x.ndim))
    )
    product: Array = np.prod(x, axis=axis, keepdims=True)
    return product if keep else product.reshape([n for i, n in enumerate(x.shape) if i not in axis])


def _expand(x: Array, shape: Array) -> Array:
    full = bounded(np.broadcast_shapes(x.shape, bounded(numbers_of(shape))))
    return np.broadcast_to(x, full)


def _where(condition: Array, a: Array, b: Array) -> Array:
    bounded(np.broadcast_shapes(condition.shape, a.shape, b.shape))
    return np.where(condition, a, b)


def _range(start: Array, limit: Array, delta: Array) -> Array:
    first, end, step = (float(np.reshape(v, -1)[0]) for v in (start, limit, delta))
    if not step or not np.isfinite([first, end, step]).all():
        raise ShapeError(f"Range: no numbers from {first} to {end} by {step}")
    (count,) = bounded((max(math.ceil((end - first) / step), 0),))
    return np.asarray((first + step * np.arange(count)).astype(start.dtype))


def _tile(x: Array, repeats: Array) -> Array:
    counts = numbers_of(repeats)
    if len(counts) != x.ndim:
        raise ShapeError(f"Tile: {counts} for the axes of {x.shape}")
    bounded([n * k for n, k in zip(x.shape, counts, strict=True)])
    return np.tile(x, counts)


def _dequantize(a: Attributes) -> Made:
    a.only("block_size", 0, 0)
    a.without("output_dtype")
    return partial(_dequantized, a.integer("axis", 1))


def _dequantized(axis: int, q: Array, scale: Array, zero: Array | None = None) -> Array:
    """(q - zero) scale, exactly the difference, in the dtype of the scale."""
    if scale.ndim > 1 or (scale.ndim == 1 and scale.size not in (1, *q.shape)):
        raise ShapeError(f"DequantizeLinear: a scale of shape {scale.shape} for {q.shape}")
    shape: list[int] = []
    if scale.size > 1:
        at = place_of(axis, q.ndim, "DequantizeLinear")
        shape = [-1 if k == at else 1 for k in range(q.ndim)]
    offset = 0 if zero is None else np.asarray(zero, np.int64).reshape(shape)
    return np.asarray((q.astype(np.int64) - offset).astype(scale.dtype) * scale.reshape(shape))


def _identity(x: Array) -> Array:
    return x


FOLDED: dict[str, Prepare] = {
    "Abs": _plain(np.abs),
    "Add": _arithmetic(np.add),
    "And": _arithmetic(np.logical_and),
    "Cast": _cast,
    "Ceil": _plain(np.ceil),
    "Concat": _concat,
    "ConstantOfShape": _constant_of_shape,
    "Div": _arithmetic(_divide),
    "DequantizeLinear": _dequantize,
    "Equal": _arithmetic(np.equal),
    "Exp": _plain(np.exp),
    "Expand": _plain(_expand),
    "Floor": _plain(np.floor),
    "Gather": _gather,
    "Greater": _arithmetic(np.greater),
    "GreaterOrEqual": _arithmetic(np.greater_equal),
    "Identity": _plain(_identity),
    "Less": _arithmetic(np.less),
    "LessOrEqual": _arithmetic(np.less_equal),
    "Log": _plain(np.log),
    "Max": _arithmetic(np.maximum),
    "Min": _arithmetic(np.minimum),
    "Mul": _arithmetic(np.multiply),
    "Neg": _plain(np.negative),
    "Not": _plain(np.logical_not),
    "Or": _arithmetic(np.logical_or),
    "Pow": _arithmetic(np.power),
    "Range": _plain(_range),
    "Reciprocal": _plain(np.reciprocal),
    "ReduceProd": _product,
    "Round": _plain(np.rint),
    "Reshape": _reshape,
    "Shape": _shape,
    "Sign": _plain(np.sign),
    "Size": _plain(_size),
    "Slice": _slices,
    "Sqrt": _plain(np.sqrt),
    "Squeeze": _squeeze,
    "Sub": _arithmetic(np.subtract),
    "Tile": _plain(_tile),
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
    "Where": _plain(_where),
}
