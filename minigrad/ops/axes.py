"""Axes in another order, and axes that repeat.

    y = R x   =>   x̄ = R^T ȳ

R^T of a permutation is its inverse; R^T of repeating along an axis is the sum along it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from minigrad.arguments import integers
from minigrad.errors import ShapeError
from minigrad.ops.shaping import IMAGES, axis_of, listed, reshape
from minigrad.tensor import Array, Shape, Tensor, expect_tensor, primitive

__all__ = ["broadcast_to", "permute", "sum_to", "transpose"]


@primitive(view=True, images=IMAGES)
def _transpose(x: Array, *, axes: tuple[int, ...]) -> Array:
    """y's axis k is x's axis ``axes[k]``."""
    y: Array = x.transpose(axes)
    return y


@_transpose.shape
def _transpose_shape(x: Shape, *, axes: tuple[int, ...]) -> Shape:
    return tuple(x[a] for a in axes)


@_transpose.mixing
def _transpose_mixes(x: Shape, *, axes: tuple[int, ...]) -> bool:
    return axes[:1] != (0,)


@_transpose.vjp("x", "x̄ = ȳ with the axes put back")
def _transpose_x(g: Tensor, axes: tuple[int, ...]) -> Tensor:
    return _transpose(g, axes=tuple(int(a) for a in np.argsort(axes)))


def permute(x: Tensor, *axes: int | Sequence[int]) -> Tensor:
    """The axes of x in another order: y's axis k is x's axis ``axes[k]``.

    Parameters
    ----------
    x : Tensor
    *axes : int, or one sequence of them
        Every axis of x once.

    Returns
    -------
    Tensor
        A view of x.

    Raises
    ------
    ShapeError
        If the axes are no permutation of x's.
    DtypeError, ArgumentError
        If x is no Tensor, or an axis no integer.

    Examples
    --------
    >>> import minigrad as mg
    >>> mg.permute(mg.zeros(2, 3, 4), 2, 0, 1).shape
    (4, 2, 3)
    """
    expect_tensor("permute", "x", x)
    given = listed("permute", "axes", axes)
    order = tuple(axis_of("permute", a, x.ndim) for a in given)
    if sorted(order) != list(range(x.ndim)):
        raise ShapeError(f"permute: {given} is no permutation of the {x.ndim} axes of {x.shape}")
    return _transpose(x, axes=order)


def transpose(x: Tensor, dim0: int, dim1: int) -> Tensor:
    """x with two axes exchanged, as PyTorch's ``transpose``.

    ``permute`` puts all axes into an order, as NumPy's ``transpose``; ``x.T`` reverses them.

    Parameters
    ----------
    x : Tensor
    dim0, dim1 : int

    Returns
    -------
    Tensor
        A view of x.

    Raises
    ------
    ShapeError
        If there is no such axis.
    DtypeError, ArgumentError
        If x is no Tensor, or an axis no integer.

    Examples
    --------
    >>> import minigrad as mg
    >>> mg.transpose(mg.zeros(2, 3, 4), 0, 1).shape
    (3, 2, 4)
    """
    expect_tensor("transpose", "x", x)
    first = axis_of("transpose", dim0, x.ndim, "dim0")
    second = axis_of("transpose", dim1, x.ndim, "dim1")
    order = list(range(x.ndim))
    order[first], order[second] = second, first
    return _transpose(x, axes=tuple(order))


@primitive(view=True, images=IMAGES)
def _broadcast_to(x: Array, *, shape: Shape) -> Array:
    """x repeated along new axes and axes of length 1."""
    if x.size == 1:  # a number, for which NumPy's function takes twice as long
        y: Array = np.ndarray(shape, x.dtype, x, strides=(0,) * len(shape))
        y.flags.writeable = False
        return y
    return np.broadcast_to(x, shape)


@_broadcast_to.shape
def _broadcast_shape(x: Shape, *, shape: Shape) -> Shape:
    return shape


@_broadcast_to.mixing
def _broadcast_mixes(x: Shape, *, shape: Shape) -> bool:
    return len(x) != len(shape) or x[:1] != shape[:1]


@_broadcast_to.vjp("x", "x̄ = ȳ summed over the repeated axes")
def _broadcast_x(g: Tensor, x_shape: Shape) -> Tensor:
    return sum_to(g, x_shape)


def broadcast_to(x: Tensor, shape: int | Sequence[int]) -> Tensor:
    """x repeated to a shape by NumPy's rule: along new axes in front and axes of length 1.

    Parameters
    ----------
    x : Tensor
    shape : tuple of int

    Returns
    -------
    Tensor
        A view of x, which cannot be written to.

    Raises
    ------
    ShapeError
        If x cannot be repeated to this shape.
    DtypeError, ArgumentError
        If x is no Tensor, or a length no integer.

    Examples
    --------
    >>> import minigrad as mg
    >>> mg.broadcast_to(mg.Tensor([1.0, 2.0]), (2, 2)).numpy()
    array([[1., 2.],
           [1., 2.]], dtype=float32)
    """
    expect_tensor("broadcast_to", "x", x)
    full = integers("broadcast_to", "shape", shape)
    if x.shape == full:
        return x
    most = math.prod(full) < 2**60 and len(full) <= 32  # what NumPy can step over
    if min(full, default=0) < 0 or not _repeats(x.shape, full) or not most:
        raise ShapeError(f"broadcast_to: {x.shape} cannot be repeated to {full}")
    return _broadcast_to(x, shape=full)


def _repeats(small: Shape, full: Shape) -> bool:
    """Whether NumPy's rule repeats ``small`` to ``full``."""
    lead = len(full) - len(small)
    return lead >= 0 and all(n in (1, m) for n, m in zip(small, full[lead:], strict=True))


def sum_to(x: Tensor, shape: Shape) -> Tensor:
    """The transpose of ``broadcast_to``: x summed over what broadcasting would repeat.

    Parameters
    ----------
    x : Tensor
    shape : tuple of int
        A shape that broadcasts to x's.

    Returns
    -------
    Tensor

    Raises
    ------
    ShapeError
        If the shape does not broadcast to x's.
    DtypeError, ArgumentError
        If x is no Tensor, or a length no integer.

    Examples
    --------
    >>> import minigrad as mg
    >>> mg.sum_to(mg.ones(2, 3), (3,)).numpy()
    array([2., 2., 2.], dtype=float32)
    """
    expect_tensor("sum_to", "x", x)
    small = integers("sum_to", "shape", shape)
    if x.shape == small:
        return x
    if not _repeats(small, x.shape):
        raise ShapeError(f"sum_to: {x.shape} cannot be summed to {small}")
    lead = x.ndim - len(small)
    kept = zip(small, x.shape[lead:], strict=True)
    repeated = [lead + k for k, (n, m) in enumerate(kept) if n == 1 and m != 1]
    return reshape(x.sum(axis=(*range(lead), *repeated)), small)
