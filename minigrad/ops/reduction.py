"""Sums over axes, and what follows from them.

    y = sum_k x_k           x̄_k = ȳ                     (the transpose of a broadcast)
    y = max_k x_k           x̄_k = ȳ / #{j : x_j = y}    where x_k = y, else 0

The maximum shares its cotangent equally between ties (PyTorch's amax).
mean and var are compositions; var divides by n - correction (correction 1 by default,
as in PyTorch; BatchNorm normalises with correction 0).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from minigrad.arguments import flag, integer, integers, quoted
from minigrad.errors import ShapeError
from minigrad.kernels import run
from minigrad.ops.elementwise import sqrt
from minigrad.ops.shaping import axis_of, broadcast_to, one_axis, reshape
from minigrad.tensor import Array, Axes, Shape, Tensor, expect_tensor, primitive, wrap

__all__ = ["argmax", "argmin", "max", "mean", "min", "std", "sum", "var"]


def _axes(function: str, x: Tensor, axis: object, dim: object = None) -> tuple[int, ...]:
    """``axis`` as a sorted tuple of axes >= 0; None means all."""
    expect_tensor(function, "x", x)
    given = one_axis(function, axis, dim)
    several = range(x.ndim) if given is None else integers(function, "axis", given)
    if any(not -x.ndim <= a < x.ndim for a in several):
        raise ShapeError(f"{function}: axis {quoted(given)} is out of range for shape {x.shape}")
    axes = tuple(sorted(a % x.ndim for a in several))
    if len(set(axes)) != len(axes):
        raise ShapeError(f"{function}: axis {quoted(given)} names an axis of {x.shape} twice")
    return axes


def _keep(function: str, keepdims: object, keepdim: object) -> bool:
    return flag(function, "keepdims", keepdims) | flag(function, "keepdim", keepdim)


def _kept(shape: Shape, axes: tuple[int, ...]) -> Shape:
    """The shape with the summed axes of length 1."""
    return tuple(1 if k in axes else n for k, n in enumerate(shape))


def _reduced(x: Shape, *, axes: tuple[int, ...], keepdims: bool) -> Shape:
    if keepdims:
        return _kept(x, axes)
    return tuple(n for k, n in enumerate(x) if k not in axes)


def _over_images(x: Shape, *, axes: tuple[int, ...], keepdims: bool) -> bool:
    return 0 in axes


@primitive(images=("x",))
def _sum(x: Array, *, axes: tuple[int, ...], keepdims: bool) -> Array:
    """y = the sum of x over ``axes``."""
    return run("sum", x, axes, keepdims)


_sum.shape(_reduced)
_sum.mixing(_over_images)


@_sum.vjp("x", "x̄ = ȳ, repeated over the summed axes")
def _sum_x(g: Tensor, x_shape: Shape, axes: tuple[int, ...]) -> Tensor:
    return broadcast_to(reshape(g, _kept(x_shape, axes)), x_shape)


def sum(
    x: Tensor,
    axis: Axes = None,
    keepdims: bool = False,
    *,
    dim: Axes = None,
    keepdim: bool = False,
) -> Tensor:
    """The sum over axes.

    Parameters
    ----------
    x : Tensor
    axis : int or sequence of int, optional
        None sums over all.
    keepdims : bool
        Keep the summed axes, of length 1.
    dim, keepdim : optional
        PyTorch's names for ``axis`` and ``keepdims``.

    Returns
    -------
    Tensor
        Of x's dtype.  The terms are added in float64, in an order fixed by the shape.

    Raises
    ------
    ShapeError
        If there is no such axis, or one is named twice.
    DtypeError, ArgumentError
        If x is no Tensor, or an axis no integer.

    Examples
    --------
    >>> import minigrad as mg
    >>> mg.sum(mg.Tensor([[1.0, 2.0], [3.0, 4.0]]), axis=0).numpy()
    array([4., 6.], dtype=float32)
    """
    return _sum(x, axes=_axes("sum", x, axis, dim), keepdims=_keep("sum", keepdims, keepdim))


def mean(
    x: Tensor,
    axis: Axes = None,
    keepdims: bool = False,
    *,
    dim: Axes = None,
    keepdim: bool = False,
) -> Tensor:
    """The sum over axes divided by the number of elements; NaN where there are none.

    Parameters
    ----------
    x : Tensor
    axis : int or sequence of int, optional
        None takes the mean of all.
    keepdims : bool
        Keep the axes, of length 1.
    dim, keepdim : optional
        PyTorch's names for ``axis`` and ``keepdims``.

    Returns
    -------
    Tensor
        Of x's dtype.

    Raises
    ------
    ShapeError, DtypeError, ArgumentError
        As ``sum`` does.

    Examples
    --------
    >>> import minigrad as mg
    >>> mg.mean(mg.Tensor([[1.0, 2.0], [3.0, 4.0]]), axis=1).numpy()
    array([1.5, 3.5], dtype=float32)
    """
    axes = _axes("mean", x, axis, dim)
    total = _sum(x, axes=axes, keepdims=_keep("mean", keepdims, keepdim))
    return total / math.prod(x.shape[a] for a in axes)


def var(
    x: Tensor,
    axis: Axes = None,
    keepdims: bool = False,
    correction: int = 1,
    *,
    dim: Axes = None,
    keepdim: bool = False,
) -> Tensor:
    """The variance over axes: sum (x - mean)^2 / (n - correction); NaN where n is 0.

    The mean that is subtracted is itself rounded; the sum of what remains corrects that.

    Parameters
    ----------
    x : Tensor
    axis : int or sequence of int, optional
        None takes the variance of all.
    keepdims : bool
        Keep the axes, of length 1.
    correction : int
        1 estimates the variance of what x is a sample of; 0 gives that of x itself.
    dim, keepdim : optional
        PyTorch's names for ``axis`` and ``keepdims``.

    Returns
    -------
    Tensor
        Of x's dtype.

    Raises
    ------
    ShapeError
        If ``correction`` is as large as the number of elements, or as ``sum`` does.
    DtypeError, ArgumentError
        If x is no Tensor, an axis no integer, or ``correction`` no integer >= 0.

    Examples
    --------
    >>> import minigrad as mg
    >>> mg.var(mg.Tensor([1.0, 2.0, 3.0])).item()
    1.0
    """
    axes = _axes("var", x, axis, dim)
    less = integer("var", "correction", correction, least=0)
    keep = _keep("var", keepdims, keepdim)
    count = math.prod(x.shape[a] for a in axes)
    if less >= count > 0:
        raise ShapeError(
            f"var: correction={less} needs more than {less} elements, but there "
            f"{'is 1' if count == 1 else f'are {count}'} over axes {axes} of {x.shape}"
        )
    centred = x - mean(x, axes, keepdims=True)
    off = _sum(centred, axes=axes, keepdims=keep)
    squares = _sum(centred * centred, axes=axes, keepdims=keep)
    return (squares - off * off / count) / (count - less if count else 0)


def std(
    x: Tensor,
    axis: Axes = None,
    keepdims: bool = False,
    correction: int = 1,
    *,
    dim: Axes = None,
    keepdim: bool = False,
) -> Tensor:
    """The square root of the variance; see ``var`` for the parameters.

    Parameters
    ----------
    x : Tensor
    axis, keepdims, correction, dim, keepdim : optional
        As for ``var``.

    Returns
    -------
    Tensor
        Of x's dtype.

    Raises
    ------
    ShapeError, DtypeError, ArgumentError
        As ``var`` does.

    Examples
    --------
    >>> import minigrad as mg
    >>> mg.std(mg.Tensor([1.0, 3.0, 5.0])).item()
    2.0
    """
    return sqrt(var(x, axis, keepdims, correction, dim=dim, keepdim=keepdim))


@primitive(images=("x",))
def _max(x: Array, *, axes: tuple[int, ...], keepdims: bool) -> Array:
    """y = the maximum of x over ``axes``; NaN if one is."""
    y = np.asarray(np.max(x, axis=axes, keepdims=True))
    return y if keepdims else y.squeeze(axes)


_max.shape(_reduced)
_max.mixing(_over_images)


@_max.vjp("x", "x̄ = ȳ / ties where x is the maximum, else 0")
def _max_x(g: Tensor, x: Tensor, y: Tensor, axes: tuple[int, ...]) -> Tensor:
    kept = _kept(x.shape, axes)
    chosen = ((x.array == y.array.reshape(kept)) | np.isnan(x.array)).astype(x.dtype)
    share = wrap(chosen / chosen.sum(axis=axes, keepdims=True))
    return broadcast_to(reshape(g, kept), x.shape) * share


def _not_empty(function: str, x: Tensor, axes: tuple[int, ...]) -> tuple[int, ...]:
    if 0 in (x.shape[a] for a in axes):
        raise ShapeError(f"{function} over axes {axes} of shape {x.shape}: there are no elements")
    return axes


def max(x: Tensor, *, axis: Axes = None, keepdims: bool = False) -> Tensor:
    """The maximum over axes; NaN if an element is.

    The axis is given by its name, for PyTorch's ``max(x, 1)`` is a pair of values and
    indices; the indices are ``argmax``.  Ties share the cotangent equally.

    Parameters
    ----------
    x : Tensor
    axis : int or sequence of int, optional
        None takes the maximum of all.
    keepdims : bool
        Keep the axes, of length 1.

    Returns
    -------
    Tensor
        Of x's dtype.

    Raises
    ------
    ShapeError
        If there is nothing to take the maximum of, or no such axis.
    DtypeError, ArgumentError
        If x is no Tensor, or an axis no integer.

    Examples
    --------
    >>> import minigrad as mg
    >>> mg.max(mg.Tensor([[1.0, 5.0], [3.0, 4.0]]), axis=0).numpy()
    array([3., 5.], dtype=float32)
    """
    axes = _not_empty("max", x, _axes("max", x, axis))
    return _max(x, axes=axes, keepdims=flag("max", "keepdims", keepdims))


def min(x: Tensor, *, axis: Axes = None, keepdims: bool = False) -> Tensor:
    """The minimum over axes, -max(-x); NaN if an element is.

    Parameters
    ----------
    x : Tensor
    axis : int or sequence of int, optional
        None takes the minimum of all.  It is given by its name, as for ``max``.
    keepdims : bool
        Keep the axes, of length 1.

    Returns
    -------
    Tensor
        Of x's dtype.

    Raises
    ------
    ShapeError, DtypeError, ArgumentError
        As ``max`` does.

    Examples
    --------
    >>> import minigrad as mg
    >>> mg.min(mg.Tensor([[1.0, 5.0], [3.0, 4.0]]), axis=0).numpy()
    array([1., 4.], dtype=float32)
    """
    axes = _not_empty("min", x, _axes("min", x, axis))
    return -_max(-x, axes=axes, keepdims=flag("min", "keepdims", keepdims))


def _place(function: str, of: Callable[..., object], x: Tensor, axis: object, dim: object) -> Array:
    expect_tensor(function, "x", x)
    given = one_axis(function, axis, dim)
    if given is None:
        _not_empty(function, x, tuple(range(x.ndim)))
        return np.asarray(of(x.array))
    along = axis_of(function, given, x.ndim)
    _not_empty(function, x, (along,))
    return np.asarray(of(x.array, axis=along))


def argmax(x: Tensor, axis: int | None = None, *, dim: int | None = None) -> Array:
    """Where the first maximum is: among all elements in row-major order, or along an axis.

    Parameters
    ----------
    x : Tensor
    axis : int, optional
    dim : int, optional
        PyTorch's name for ``axis``.

    Returns
    -------
    ndarray of int
        Nothing is recorded: an index has no derivative.

    Raises
    ------
    ShapeError
        If there are no elements, or no such axis.
    DtypeError, ArgumentError
        If x is no Tensor, or the axis no integer.

    Examples
    --------
    >>> import minigrad as mg
    >>> mg.argmax(mg.Tensor([[1.0, 5.0], [4.0, 3.0]]), axis=1)
    array([1, 0])
    """
    return _place("argmax", np.argmax, x, axis, dim)


def argmin(x: Tensor, axis: int | None = None, *, dim: int | None = None) -> Array:
    """Where the first minimum is: among all elements in row-major order, or along an axis.

    Parameters
    ----------
    x : Tensor
    axis, dim : int, optional
        As for ``argmax``.

    Returns
    -------
    ndarray of int

    Raises
    ------
    ShapeError, DtypeError, ArgumentError
        As ``argmax`` does.

    Examples
    --------
    >>> import minigrad as mg
    >>> mg.argmin(mg.Tensor([[1.0, 5.0], [4.0, 3.0]]), axis=1)
    array([0, 1])
    """
    return _place("argmin", np.argmin, x, axis, dim)
