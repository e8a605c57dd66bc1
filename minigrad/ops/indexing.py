"""Slices, and their transpose.

    y = x[index]   =>   x̄ = zeros, with ȳ written at the index

A slice selects elements, so its transpose writes them into zeros; that is called ``embed``
here, and its own transpose is the slice.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np

from minigrad.arguments import integers, quoted
from minigrad.errors import ShapeError
from minigrad.tensor import Array, Index, Shape, Tensor, expect_tensor, primitive, require_room

__all__ = ["embed", "getitem"]

MOST_AXES = 32  # of every NumPy that is supported

Places: TypeAlias = "tuple[Any, ...]"  # what a checked index is


@primitive(view=True, images=("x",))
def _getitem(x: Array, *, index: Places) -> Array:
    """x[index] for basic slices and integers; with an Ellipsis even an element is a view."""
    y: Array = x[index if Ellipsis in index else (*index, ...)]
    return y


@_getitem.shape
def _getitem_shape(x: Shape, *, index: Places) -> Shape:
    shape: Shape = np.broadcast_to(np.int8(0), x)[index].shape
    return shape


@_getitem.mixing
def _getitem_mixes(x: Shape, *, index: Places) -> bool:
    return index[:1] != (slice(None),)


@_getitem.vjp("x", "x̄ = ȳ written into zeros at the slice")
def _getitem_x(g: Tensor, x_shape: Shape, index: Places) -> Tensor:
    return _embed(g, shape=x_shape, index=index)


def _checked(function: str, index: object, shape: Shape) -> tuple[Places, Shape]:
    """The index as a tuple that fits ``shape``, and the shape of what it selects."""
    parts = index if isinstance(index, tuple) else (index,)
    basic = (int, np.integer, slice, type(None), type(Ellipsis))
    if not all(isinstance(i, basic) and not isinstance(i, bool) for i in parts):
        raise ShapeError(
            f"{function}: a Tensor is indexed by integers and slices, not {quoted(index)}"
        )
    try:
        return parts, np.broadcast_to(np.int8(0), shape)[parts].shape
    except (IndexError, TypeError, ValueError, OverflowError) as error:
        raise ShapeError(
            f"{function}: index {quoted(index)} of a tensor of shape {shape}: {error}"
        ) from None


def getitem(x: Tensor, index: Index) -> Tensor:
    """x[index] for slices, integers, ``...`` and None.

    Parameters
    ----------
    x : Tensor
    index : int, slice, Ellipsis, None, or a tuple of them

    Returns
    -------
    Tensor
        A view of x.

    Raises
    ------
    ShapeError
        For an index out of range, or an array as index (use ``mask`` or ``where``).
    DtypeError
        If x is no Tensor.

    Examples
    --------
    >>> import minigrad as mg
    >>> x = mg.Tensor([[1.0, 2.0], [3.0, 4.0]])
    >>> x[:, 1].numpy()
    array([2., 4.], dtype=float32)
    """
    expect_tensor("getitem", "x", x)
    parts, _ = _checked("x[index]", index, x.shape)
    return _getitem(x, index=parts)


@primitive
def _embed(x: Array, *, shape: Shape, index: Places) -> Array:
    """Zeros of ``shape`` with x written at ``index``: the transpose of a slice."""
    y = np.zeros(shape, x.dtype)
    y[index] = x
    return y


@_embed.shape
def _embed_shape(x: Shape, *, shape: Shape, index: Places) -> Shape:
    return shape


@_embed.vjp("x", "x̄ = the slice of ȳ")
def _embed_x(g: Tensor, index: Places) -> Tensor:
    return _getitem(g, index=index)


def embed(x: Tensor, shape: Shape, index: Index) -> Tensor:
    """Zeros of a shape with x written at an index: the transpose of a slice.

    Parameters
    ----------
    x : Tensor
        Of the shape that the index selects.
    shape : tuple of int
    index : int, slice, Ellipsis, None, or a tuple of them

    Returns
    -------
    Tensor

    Raises
    ------
    ShapeError
        If the index does not fit the shape, or selects another shape than x's.
    DtypeError, ArgumentError
        If x is no Tensor, or a length no integer.

    Examples
    --------
    >>> import minigrad as mg
    >>> mg.embed(mg.Tensor([1.0, 2.0]), (5,), slice(0, 4, 2)).numpy()
    array([1., 0., 2., 0., 0.], dtype=float32)
    """
    expect_tensor("embed", "x", x)
    full = integers("embed", "shape", shape)
    if min(full, default=0) < 0:
        raise ShapeError(f"embed: a length of {full} is negative")
    if len(full) > MOST_AXES:
        raise ShapeError(f"embed: a tensor has at most {MOST_AXES} axes, not {len(full)}")
    require_room("embed", full, x.dtype)
    parts, selected = _checked("embed", index, full)
    if selected != x.shape:
        raise ShapeError(f"embed: the index selects {selected} of {full}, but x is {x.shape}")
    return _embed(x, shape=full, index=parts)
