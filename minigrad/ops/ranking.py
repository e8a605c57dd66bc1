"""The largest elements along an axis: where they are, and their values.

    i_1, ..., i_k = the places of the k largest, the first of equals first
    y_j = x at i_j,    x̄ at i_j += ȳ_j

The places have no derivative; taking elements at places is linear, and its transpose puts them
back into zeros.  NaN is above everything.
"""

from __future__ import annotations

import numpy as np

from minigrad.arguments import flag, integer
from minigrad.errors import ShapeError
from minigrad.ops.scattering import CHAIN, added_at
from minigrad.ops.shaping import axis_of
from minigrad.tensor import Array, Shape, Tensor, expect_tensor, primitive

__all__ = ["on_axis", "places", "take_along", "topk"]


def _along_images(*shapes: Shape, axis: int, **_: object) -> bool:
    return axis == 0


@primitive(images=("x",), flat=("x",))
def _places(x: Array, *, axis: int, k: int, largest: bool, last: bool) -> Array:
    """Where the k largest (or smallest) are along ``axis``, in order, as numbers of x's dtype."""
    turned = np.flip(x, axis) if last else x
    if k == 1:
        found = (np.argmax if largest else np.argmin)(turned, axis=axis, keepdims=True)
    else:
        key = -turned if largest else turned
        order = np.argsort(key, axis=axis, kind="stable")
        if largest:  # NaN is sorted to the end: it comes first
            count = np.isnan(turned).sum(axis=axis, keepdims=True)
            at = np.arange(x.shape[axis]).reshape((-1,) + (1,) * (x.ndim - 1 - axis)) - count
            order = np.take_along_axis(order, at % max(x.shape[axis], 1), axis)
        found = order[(slice(None),) * axis + (slice(0, k),)]
    return (x.shape[axis] - 1 - found if last else found).astype(x.dtype)


@_places.shape
def _places_shape(x: Shape, *, axis: int, k: int, largest: bool, last: bool) -> Shape:
    return (*x[:axis], k, *x[axis + 1 :])


def places(
    x: Tensor, k: int = 1, axis: int = -1, largest: bool = True, last: bool = False
) -> Tensor:
    """Where the k largest elements are along an axis, in descending order.

    ``argmax`` gives an array of integers; this is a tensor, and may stand in a plan.

    Parameters
    ----------
    x : Tensor
    k : int
        At most the length of the axis.
    axis : int
    largest : bool
        False for the smallest, in ascending order.
    last : bool
        The last of equals comes first.

    Returns
    -------
    Tensor
        Integers in x's dtype, without a gradient; the axis has length k.

    Raises
    ------
    ShapeError
        If there is no such axis, or it is shorter than k.
    DtypeError, ArgumentError
        If x is no Tensor, or another argument has a wrong type.

    Examples
    --------
    >>> import minigrad as mg
    >>> mg.places(mg.Tensor([3.0, 1.0, 7.0]), 2).numpy()
    array([2., 0.], dtype=float32)
    """
    expect_tensor("places", "x", x)
    along, count = axis_of("places", axis, x.ndim), integer("places", "k", k, 0)
    largest, last = flag("places", "largest", largest), flag("places", "last", last)
    if count > x.shape[along] or 0 in x.shape:
        raise ShapeError(f"places: {count} of axis {along} of shape {x.shape}")
    return _places(x, axis=along, k=count, largest=largest, last=last)


_places.mixing(_along_images)


@primitive(images=("x", "where"), flat=("where",))
def _take_along(x: Array, where: Array, *, axis: int) -> Array:
    """y[.., j, ..] = x[.., where[.., j, ..], ..] along ``axis``."""
    return np.take_along_axis(x, on_axis("take_along", where, x.shape[axis]), axis)


def on_axis(function: str, where: Array, length: int) -> Array:
    """Places as integers, each of them on an axis of this length."""
    wrong = where[~((where >= 0) & (where < length) & (where == np.floor(where)))]
    if wrong.size:
        raise ShapeError(f"{function}: {wrong[0]:g} is no place on an axis of {length}")
    return where.astype(np.intp)


@_take_along.shape
def _take_along_shape(x: Shape, where: Shape, *, axis: int) -> Shape:
    return where


_take_along.mixing(_along_images)


@_take_along.vjp("x", "x̄ at the places += ȳ")
def _take_along_x(g: Tensor, where: Tensor, x_shape: Shape, axis: int) -> Tensor:
    return _put_along(g, where, shape=x_shape, axis=axis)


@primitive(flat=("where",), arithmetic=True)
def _put_along(x: Array, where: Array, *, shape: Shape, axis: int) -> Array:
    """Zeros of ``shape``, and x added at the places: the transpose of ``take_along``."""
    at = list(np.ogrid[tuple(slice(n) for n in where.shape)])
    at[axis] = where.astype(np.intp)
    before, every = (slice(None),) * axis, range(0, where.shape[axis], CHAIN)
    parts = [(*before, slice(start, start + CHAIN)) for start in every]
    return added_at(
        shape, x.dtype, (((), tuple(_part(i, part) for i in at), x[part]) for part in parts)
    )


def _part(index: Array, part: tuple[slice, ...]) -> Array:
    """A part of an index that may be one number along an axis."""
    cut = (s if n > 1 else slice(None) for s, n in zip(part, index.shape, strict=False))
    return index[tuple(cut)]


@_put_along.shape
def _put_along_shape(x: Shape, where: Shape, *, shape: Shape, axis: int) -> Shape:
    return shape


@_put_along.vjp("x", "x̄ = ȳ at the places")
def _put_along_x(g: Tensor, where: Tensor, axis: int) -> Tensor:
    return _take_along(g, where, axis=axis)


def take_along(x: Tensor, where: Tensor, axis: int = -1) -> Tensor:
    """The elements of x at places along an axis.

    Parameters
    ----------
    x : Tensor
    where : Tensor
        Integers from 0 to below the axis' length; its other axes are as long as x's.
    axis : int

    Returns
    -------
    Tensor
        Of the shape of ``where``.

    Raises
    ------
    ShapeError
        If the shapes do not fit, or a place is not on the axis.
    DtypeError, ArgumentError
        If an argument is no Tensor, or the axis no integer.

    Examples
    --------
    >>> import minigrad as mg
    >>> mg.take_along(mg.Tensor([3.0, 1.0, 7.0]), mg.Tensor([2.0, 0.0])).numpy()
    array([7., 3.], dtype=float32)
    """
    expect_tensor("take_along", "x", x)
    expect_tensor("take_along", "where", where)
    along = axis_of("take_along", axis, x.ndim)
    others = (x.shape[:along], x.shape[along + 1 :])
    if (where.shape[:along], where.shape[along + 1 :]) != others or where.ndim != x.ndim:
        raise ShapeError(f"take_along: places of shape {where.shape} on axis {along} of {x.shape}")
    return _take_along(x, where, axis=along)


def topk(x: Tensor, k: int, axis: int = -1, largest: bool = True) -> tuple[Tensor, Tensor]:
    """The k largest elements along an axis, in descending order, and where they are.

    Parameters
    ----------
    x : Tensor
    k, axis, largest
        As for ``places``.

    Returns
    -------
    values, places : Tensor
        Of x's dtype both; the values have a gradient.

    Raises
    ------
    ShapeError, DtypeError, ArgumentError
        As ``places`` does.

    Examples
    --------
    >>> import minigrad as mg
    >>> values, where = mg.topk(mg.Tensor([3.0, 1.0, 7.0]), 2)
    >>> values.tolist(), where.tolist()
    ([7.0, 3.0], [2.0, 0.0])
    """
    found = places(x, k, axis, largest)
    return take_along(x, found, axis), found
