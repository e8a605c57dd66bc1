"""Other shapes for the same elements: maps that are linear, and whose rule is their transpose.

    y = R x   =>   x̄ = R^T ȳ

Reshaping moves nothing, and R^T reshapes back; padding puts x into a larger array, and R^T
slices.  What permutes and repeats axes stands in ``axes``, slices in ``indexing``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from minigrad.arguments import integer, integers, number, quoted
from minigrad.docs import of_one_tensor
from minigrad.errors import ArgumentError, ShapeError
from minigrad.tensor import Array, Shape, Tensor, expect_tensor, primitive, require_room

__all__ = [
    "IMAGES",
    "axis_of",
    "clone",
    "flatten",
    "listed",
    "one_axis",
    "pad",
    "reshape",
    "squeeze",
    "unsqueeze",
]


IMAGES = ("x",)


def axis_of(function: str, axis: object, ndim: int, name: str = "axis") -> int:
    """``axis`` counted from the front, among ``ndim``."""
    found = integer(function, name, axis)
    if not -ndim <= found < ndim:
        raise ShapeError(f"{function}: there is no axis {found} among {ndim}")
    return found % ndim


def one_axis(function: str, axis: object, dim: object) -> object:
    """NumPy's ``axis`` or PyTorch's ``dim``, of which one may be given."""
    if axis is not None and dim is not None:
        raise ArgumentError(f"{function}: axis={quoted(axis)} and dim={quoted(dim)} are one thing")
    return dim if axis is None else axis


def listed(function: str, name: str, given: tuple[object, ...]) -> tuple[int, ...]:
    """f(2, 3) and f((2, 3)) alike."""
    return integers(function, name, given[0] if len(given) == 1 else given)


@primitive(view=True, images=IMAGES)
def _reshape(x: Array, *, shape: Shape) -> Array:
    """The same elements in row-major order under another shape."""
    return x.reshape(shape)


@_reshape.shape
def _reshape_shape(x: Shape, *, shape: Shape) -> Shape:
    return shape


@_reshape.mixing
def _reshape_mixes(x: Shape, *, shape: Shape) -> bool:
    return x[:1] != shape[:1]


@_reshape.vjp("x", "x̄ = reshape(ȳ)")
def _reshape_x(g: Tensor, x_shape: Shape) -> Tensor:
    return reshape(g, x_shape)


def reshape(x: Tensor, *shape: int | Sequence[int]) -> Tensor:
    """The same elements in row-major order under another shape.

    Parameters
    ----------
    x : Tensor
    *shape : int, or one sequence of them
        One length may be -1: it follows from the others.

    Returns
    -------
    Tensor
        A view of x where its memory allows it.

    Raises
    ------
    ShapeError
        If the sizes differ.
    DtypeError, ArgumentError
        If x is no Tensor, or a length no integer.

    Examples
    --------
    >>> import minigrad as mg
    >>> mg.reshape(mg.zeros(2, 6), 3, -1).shape
    (3, 4)
    """
    expect_tensor("reshape", "x", x)
    lengths = listed("reshape", "shape", shape)
    size = math.prod(x.shape)
    if lengths.count(-1) == 1:
        known = -math.prod(lengths)
        if known > 0 and size % known == 0:
            lengths = tuple(size // known if n == -1 else n for n in lengths)
    if min(lengths, default=0) < 0 or math.prod(lengths) != size:
        raise ShapeError(f"reshape: {x.shape} has {size} elements and cannot become {lengths}")
    return _reshape(x, shape=lengths)


def flatten(x: Tensor, start_dim: int = 0, end_dim: int = -1) -> Tensor:
    """The axes from ``start_dim`` to ``end_dim``, both included, become one.

    Parameters
    ----------
    x : Tensor
    start_dim, end_dim : int

    Returns
    -------
    Tensor
        A 0-d tensor becomes one of shape (1,).

    Raises
    ------
    ShapeError
        If there is no such axis, or the first lies behind the last.
    DtypeError, ArgumentError
        If x is no Tensor, or an axis no integer.

    Examples
    --------
    >>> import minigrad as mg
    >>> mg.flatten(mg.zeros(2, 3, 4), 1).shape
    (2, 12)
    """
    expect_tensor("flatten", "x", x)
    ndim = max(x.ndim, 1)
    start = axis_of("flatten", start_dim, ndim, "start_dim")
    end = axis_of("flatten", end_dim, ndim, "end_dim")
    if start > end:
        raise ShapeError(f"flatten: start_dim={start_dim} lies behind end_dim={end_dim}")
    middle = math.prod(x.shape[start : end + 1])
    return reshape(x, (*x.shape[:start], middle, *x.shape[end + 1 :]))


def squeeze(x: Tensor, axis: int | None = None, *, dim: int | None = None) -> Tensor:
    """x without an axis of length 1, or without all of them.

    Parameters
    ----------
    x : Tensor
    axis : int, optional
        None drops every axis of length 1.
    dim : int, optional
        PyTorch's name for ``axis``.

    Returns
    -------
    Tensor
        A view of x.

    Raises
    ------
    ShapeError
        If there is no such axis, or its length is not 1.
    DtypeError, ArgumentError
        If x is no Tensor, or the axis no integer.

    Examples
    --------
    >>> import minigrad as mg
    >>> mg.squeeze(mg.zeros(2, 1, 3), 1).shape
    (2, 3)
    """
    expect_tensor("squeeze", "x", x)
    given = one_axis("squeeze", axis, dim)
    if given is None:
        return reshape(x, tuple(n for n in x.shape if n != 1))
    place = axis_of("squeeze", given, x.ndim)
    if x.shape[place] != 1:
        raise ShapeError(f"squeeze: axis {place} of {x.shape} has length {x.shape[place]}, not 1")
    return reshape(x, (*x.shape[:place], *x.shape[place + 1 :]))


def unsqueeze(x: Tensor, axis: int | None = None, *, dim: int | None = None) -> Tensor:
    """x with one more axis, of length 1, before ``axis``.

    Parameters
    ----------
    x : Tensor
    axis : int
        From -ndim - 1 to ndim.
    dim : int, optional
        As for ``squeeze``.

    Returns
    -------
    Tensor
        A view of x.

    Raises
    ------
    ShapeError
        If there is no such place.
    DtypeError, ArgumentError
        If x is no Tensor, or the axis no integer.

    Examples
    --------
    >>> import minigrad as mg
    >>> mg.unsqueeze(mg.zeros(2, 3), -1).shape
    (2, 3, 1)
    """
    expect_tensor("unsqueeze", "x", x)
    place = axis_of("unsqueeze", one_axis("unsqueeze", axis, dim), x.ndim + 1)
    return reshape(x, (*x.shape[:place], 1, *x.shape[place:]))


@primitive(images=IMAGES)
def _clone(x: Array) -> Array:
    """y = x, in memory of its own."""
    y: Array = x.copy()
    return y


@_clone.vjp("x", "x̄ = ȳ")
def _clone_x(g: Tensor) -> Tensor:
    return g


@of_one_tensor
def clone(x: Tensor) -> Tensor:
    """A copy of x in memory of its own, through which gradients flow.

    Examples
    --------
    >>> import minigrad as mg
    >>> x = mg.zeros(2)
    >>> y = x.clone().fill_(1)
    >>> x.tolist(), y.tolist()
    ([0.0, 0.0], [1.0, 1.0])
    """
    return _clone(x)


@primitive(images=IMAGES)
def _pad(x: Array, *, pads: tuple[tuple[int, int], ...], value: float) -> Array:
    """x with ``value`` around it, ``pads[k]`` = (before, after) along axis k."""
    return np.pad(x, pads, constant_values=value)


@_pad.shape
def _pad_shape(x: Shape, *, pads: tuple[tuple[int, int], ...], value: float) -> Shape:
    return tuple(n + before + after for n, (before, after) in zip(x, pads, strict=True))


@_pad.mixing
def _pad_mixes(x: Shape, *, pads: tuple[tuple[int, int], ...], value: float) -> bool:
    return pads[:1] != ((0, 0),)


@_pad.vjp("x", "x̄ = the middle of ȳ")
def _pad_x(g: Tensor, x_shape: Shape, pads: tuple[tuple[int, int], ...]) -> Tensor:
    middle = zip(pads, x_shape, strict=True)
    return g[tuple(slice(before, before + n) for (before, _), n in middle)]


def pad(x: Tensor, pads: Sequence[tuple[int, int]], value: float = 0.0) -> Tensor:
    """x with a number around it, as ``numpy.pad``.

    Parameters
    ----------
    x : Tensor
    pads : sequence of (before, after)
        A pair for each axis, the first axis first.
    value : float

    Returns
    -------
    Tensor

    Raises
    ------
    ShapeError
        If there is not one pair for each axis.
    DtypeError, ArgumentError
        If x is no Tensor, a pad no integer >= 0, or the value no number.

    Examples
    --------
    >>> import minigrad as mg
    >>> mg.pad(mg.Tensor([1.0]), [(1, 2)]).numpy()
    array([0., 1., 0., 0.], dtype=float32)
    """
    expect_tensor("pad", "x", x)
    fill = number("pad", "value", value)
    sized = isinstance(pads, (list, tuple))
    if not sized or len(pads) != x.ndim or any(not hasattr(p, "__len__") for p in pads):
        raise ShapeError(
            f"pad: expected {x.ndim} pairs of pads >= 0 for {x.shape}, got {quoted(pads)}"
        )
    pairs = [integers("pad", "a pad", p) for p in pads]
    if any(len(p) != 2 or min(p) < 0 for p in pairs):
        raise ShapeError(f"pad: expected {x.ndim} pairs of pads >= 0 for {x.shape}, got {pairs}")
    padded = tuple(n + before + after for n, (before, after) in zip(x.shape, pairs, strict=True))
    require_room("pad", padded, x.dtype)
    return _pad(x, pads=tuple((before, after) for before, after in pairs), value=fill)
