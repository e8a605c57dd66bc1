"""Moving elements about: maps that are linear, and whose rule is their transpose.

    y = R x   =>   x̄ = R^T ȳ

Reshape and transpose are permutations of memory (R^T is the inverse); broadcast repeats
(R^T sums); a slice selects (R^T writes into zeros, called ``embed`` here); pad embeds
(R^T slices).
"""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from minigrad.errors import ShapeError
from minigrad.tensor import Array, Shape, Tensor, primitive

__all__ = [
    "broadcast_to",
    "concat",
    "embed",
    "flatten",
    "getitem",
    "pad",
    "reshape",
    "squeeze",
    "sum_to",
    "transpose",
    "unsqueeze",
]


@primitive(view=True)
def _reshape(x: Array, *, shape: Shape) -> Array:
    """The same elements in row-major order under another shape."""
    return x.reshape(shape)


@_reshape.shape
def _reshape_shape(x: Shape, *, shape: Shape) -> Shape:
    return shape


@_reshape.vjp("x", "x̄ = reshape(ȳ)")
def _reshape_x(g: Tensor, x_shape: Shape) -> Tensor:
    return reshape(g, x_shape)


def _integers(numbers: tuple[Any, ...]) -> tuple[int, ...]:
    """f(2, 3) and f((2, 3)) alike, of any integer type."""
    if len(numbers) == 1 and hasattr(numbers[0], "__len__"):
        numbers = tuple(numbers[0])
    return tuple(operator.index(n) for n in numbers)


def _axis(op: str, axis: int, ndim: int) -> int:
    """``axis`` counted from the front."""
    if not -ndim <= axis < ndim:
        raise ShapeError(f"{op}: there is no axis {axis} among {ndim}")
    return axis % ndim


def reshape(x: Tensor, *shape: int | Sequence[int]) -> Tensor:
    """The same elements under another shape; one length may be -1.

    Raises
    ------
    ShapeError
        If the sizes differ.
    """
    wanted = _integers(shape)
    known = math.prod(n for n in wanted if n != -1)
    if wanted.count(-1) == 1 and known and x.size % known == 0:
        wanted = tuple(x.size // known if n == -1 else n for n in wanted)
    if min(wanted, default=0) < 0 or math.prod(wanted) != x.size:
        raise ShapeError(f"reshape: {x.shape} has {x.size} elements and cannot become {wanted}")
    return _reshape(x, shape=wanted)


def flatten(x: Tensor, start: int = 0) -> Tensor:
    """All axes from ``start`` on become one."""
    start = _axis("flatten", start, x.ndim)
    return reshape(x, *x.shape[:start], math.prod(x.shape[start:]))


def squeeze(x: Tensor, axis: int) -> Tensor:
    """Drop an axis of length 1."""
    axis = _axis("squeeze", axis, x.ndim)
    if x.shape[axis] != 1:
        raise ShapeError(f"squeeze: axis {axis} of {x.shape} has length {x.shape[axis]}, not 1")
    return reshape(x, *x.shape[:axis], *x.shape[axis + 1 :])


def unsqueeze(x: Tensor, axis: int) -> Tensor:
    """Put an axis of length 1 before ``axis``."""
    axis = _axis("unsqueeze", axis, x.ndim + 1)
    return reshape(x, *x.shape[:axis], 1, *x.shape[axis:])


@primitive(view=True)
def _transpose(x: Array, *, axes: tuple[int, ...]) -> Array:
    """y's axis k is x's axis ``axes[k]``."""
    y: Array = x.transpose(axes)
    return y


@_transpose.shape
def _transpose_shape(x: Shape, *, axes: tuple[int, ...]) -> Shape:
    return tuple(x[a] for a in axes)


@_transpose.vjp("x", "x̄ = ȳ with the axes put back")
def _transpose_x(g: Tensor, axes: tuple[int, ...]) -> Tensor:
    return transpose(g, tuple(int(a) for a in np.argsort(axes)))


def transpose(x: Tensor, *axes: int | Sequence[int]) -> Tensor:
    """Permute the axes; without any given, reverse them."""
    given = _integers(axes) or tuple(range(x.ndim))[::-1]
    order = tuple(_axis("transpose", a, x.ndim) for a in given)
    if sorted(order) != list(range(x.ndim)):
        raise ShapeError(f"transpose: {given} is no permutation of the {x.ndim} axes of {x.shape}")
    return _transpose(x, axes=order)


@primitive(view=True)
def _broadcast_to(x: Array, *, shape: Shape) -> Array:
    """x repeated along new axes and axes of length 1."""
    return np.broadcast_to(x, shape)


@_broadcast_to.shape
def _broadcast_shape(x: Shape, *, shape: Shape) -> Shape:
    return shape


@_broadcast_to.vjp("x", "x̄ = ȳ summed over the repeated axes")
def _broadcast_x(g: Tensor, x_shape: Shape) -> Tensor:
    return sum_to(g, x_shape)


def broadcast_to(x: Tensor, shape: Shape) -> Tensor:
    """x repeated to ``shape`` by NumPy's rule."""
    if x.shape == shape:
        return x
    lead = len(shape) - x.ndim
    if lead < 0 or any(n not in (1, m) for n, m in zip(x.shape, shape[lead:], strict=True)):
        raise ShapeError(f"broadcast_to: {x.shape} cannot be repeated to {shape}")
    return _broadcast_to(x, shape=tuple(shape))


def sum_to(x: Tensor, shape: Shape) -> Tensor:
    """The transpose of ``broadcast_to``: x summed over what broadcasting would repeat."""
    if x.shape == shape:
        return x
    lead = x.ndim - len(shape)
    if lead < 0 or any(n not in (1, m) for n, m in zip(shape, x.shape[lead:], strict=True)):
        raise ShapeError(f"sum_to: {x.shape} cannot be summed to {shape}")
    kept = zip(shape, x.shape[lead:], strict=True)
    repeated = [lead + k for k, (n, m) in enumerate(kept) if n == 1 and m != 1]
    return reshape(x.sum(axis=(*range(lead), *repeated)), shape)


@primitive(view=True)
def _getitem(x: Array, *, index: tuple[Any, ...]) -> Array:
    """x[index] for basic slices and integers; with an Ellipsis even an element is a view."""
    y: Array = x[index if Ellipsis in index else (*index, ...)]
    return y


@_getitem.shape
def _getitem_shape(x: Shape, *, index: tuple[Any, ...]) -> Shape:
    shape: Shape = np.broadcast_to(np.int8(0), x)[index].shape
    return shape


@_getitem.vjp("x", "x̄ = ȳ written into zeros at the slice")
def _getitem_x(g: Tensor, x_shape: Shape, index: tuple[Any, ...]) -> Tensor:
    return embed(g, x_shape, index)


def getitem(x: Tensor, index: Any) -> Tensor:
    """x[index] for slices, integers, ``...`` and None.

    Raises
    ------
    ShapeError
        For an index out of range, or an array as index (use a boolean ``mask``).
    """
    wanted = index if isinstance(index, tuple) else (index,)
    basic = (int, np.integer, slice, type(None), type(Ellipsis))
    if not all(isinstance(i, basic) and not isinstance(i, bool) for i in wanted):
        raise ShapeError(f"a Tensor is indexed by integers and slices, not {index!r}")
    try:
        result: Tensor = _getitem(x, index=wanted)
    except IndexError as error:
        raise ShapeError(f"index {index!r} of a tensor of shape {x.shape}: {error}") from None
    return result


@primitive
def _embed(x: Array, *, shape: Shape, index: tuple[Any, ...]) -> Array:
    """Zeros of ``shape`` with x written at ``index``: the transpose of a slice."""
    y = np.zeros(shape, x.dtype)
    y[index] = x
    return y


@_embed.shape
def _embed_shape(x: Shape, *, shape: Shape, index: tuple[Any, ...]) -> Shape:
    return shape


@_embed.vjp("x", "x̄ = the slice of ȳ")
def _embed_x(g: Tensor, index: tuple[Any, ...]) -> Tensor:
    return getitem(g, index)


def embed(x: Tensor, shape: Shape, index: tuple[Any, ...]) -> Tensor:
    """Zeros of ``shape`` with x written at ``index``."""
    return _embed(x, shape=shape, index=index)


@primitive
def _pad(x: Array, *, pads: tuple[tuple[int, int], ...], value: float) -> Array:
    """x with ``value`` around it, ``pads[k]`` = (before, after) along axis k."""
    return np.pad(x, pads, constant_values=value)


@_pad.shape
def _pad_shape(x: Shape, *, pads: tuple[tuple[int, int], ...], value: float) -> Shape:
    return tuple(n + before + after for n, (before, after) in zip(x, pads, strict=True))


@_pad.vjp("x", "x̄ = the middle of ȳ")
def _pad_x(g: Tensor, x_shape: Shape, pads: tuple[tuple[int, int], ...]) -> Tensor:
    middle = zip(pads, x_shape, strict=True)
    return getitem(g, tuple(slice(before, before + n) for (before, _), n in middle))


def pad(x: Tensor, pads: Sequence[tuple[int, int]], value: float = 0.0) -> Tensor:
    """x with ``value`` around it; one (before, after) per axis, as ``numpy.pad``.

    >>> import minigrad as mg
    >>> mg.ops.pad(mg.Tensor([1.0]), [(1, 2)]).numpy()
    array([0., 1., 0., 0.])
    """
    if len(pads) != x.ndim or any(min(p) < 0 for p in pads):
        raise ShapeError(f"pad: expected {x.ndim} pairs of pads >= 0 for {x.shape}, got {pads}")
    return _pad(x, pads=tuple((int(b), int(a)) for b, a in pads), value=value)


@primitive
def _concat(*xs: Array, axis: int) -> Array:
    """The arrays one after another along ``axis``."""
    return np.concatenate(xs, axis)


@_concat.shape
def _concat_shape(*xs: Shape, axis: int) -> Shape:
    return (*xs[0][:axis], sum(x[axis] for x in xs), *xs[0][axis + 1 :])


@_concat.vjp("xs", "x̄_k = the k-th piece of ȳ")
def _concat_xs(g: Tensor, xs_shapes: tuple[Shape, ...], which: int, axis: int) -> Tensor:
    start = sum(s[axis] for s in xs_shapes[:which])
    piece = slice(start, start + xs_shapes[which][axis])
    return getitem(g, (*(slice(None),) * axis, piece))


def concat(xs: Sequence[Tensor], axis: int = 0) -> Tensor:
    """The tensors one after another along ``axis``; all other lengths must agree."""
    if not xs:
        raise ShapeError("concat: expected at least one tensor")
    axis = _axis("concat", axis, xs[0].ndim)
    rest = {(*x.shape[:axis], *x.shape[axis + 1 :]) for x in xs}
    if len(rest) != 1:
        raise ShapeError(f"concat along axis {axis}: shapes {[x.shape for x in xs]} do not fit")
    return _concat(*xs, axis=axis)
