"""Sums over axes, and what follows from them.

    y = sum_k x_k           x̄_k = ȳ                     (the transpose of a broadcast)

mean and var are compositions; var divides by n - correction (correction 1 by default,
as in PyTorch; BatchNorm normalises with correction 0).
"""

from __future__ import annotations

import math

from minigrad.arguments import flag, integer, integers, quoted
from minigrad.errors import ShapeError
from minigrad.kernels import run
from minigrad.ops.axes import broadcast_to
from minigrad.ops.powers import sqrt
from minigrad.ops.shaping import one_axis, reshape
from minigrad.tensor import Array, Axes, Shape, Tensor, expect_tensor, primitive

__all__ = ["axes_of", "kept_shape", "mean", "over_images", "reduced_shape", "std", "sum", "var"]


def axes_of(function: str, x: Tensor, axis: object, dim: object = None) -> tuple[int, ...]:
    """``axis`` as a sorted tuple of axes >= 0; None means all."""
    expect_tensor(function, "x", x)
    given = one_axis(function, axis, dim)
    if given is None:
        return tuple(range(x.ndim))
    several = integers(function, "axis", given)
    if any(not -x.ndim <= a < x.ndim for a in several):
        raise ShapeError(f"{function}: axis {quoted(given)} is out of range for shape {x.shape}")
    axes = tuple(sorted(a % x.ndim for a in several))
    if len(set(axes)) != len(axes):
        raise ShapeError(f"{function}: axis {quoted(given)} names an axis of {x.shape} twice")
    return axes


def _keep(function: str, keepdims: object, keepdim: object) -> bool:
    return flag(function, "keepdims", keepdims) | flag(function, "keepdim", keepdim)


def kept_shape(shape: Shape, axes: tuple[int, ...]) -> Shape:
    """The shape with the summed axes of length 1."""
    return tuple(1 if k in axes else n for k, n in enumerate(shape))


def reduced_shape(x: Shape, *, axes: tuple[int, ...], keepdims: bool) -> Shape:
    if keepdims:
        return kept_shape(x, axes)
    return tuple(n for k, n in enumerate(x) if k not in axes)


def over_images(x: Shape, *, axes: tuple[int, ...], keepdims: bool) -> bool:
    return 0 in axes


@primitive(images=("x",))
def _sum(x: Array, *, axes: tuple[int, ...], keepdims: bool) -> Array:
    """y = the sum of x over ``axes``."""
    return run("sum", x, axes, keepdims)


_sum.shape(reduced_shape)
_sum.mixing(over_images)


@_sum.vjp("x", "x̄ = ȳ, repeated over the summed axes")
def _sum_x(g: Tensor, x_shape: Shape, axes: tuple[int, ...]) -> Tensor:
    return broadcast_to(reshape(g, kept_shape(x_shape, axes)), x_shape)


def sum(
    x: Tensor, axis: Axes = None, keepdims: bool = False,
    *, dim: Axes = None, keepdim: bool = False,
) -> Tensor:  # fmt: skip
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
    return _sum(x, axes=axes_of("sum", x, axis, dim), keepdims=_keep("sum", keepdims, keepdim))


def mean(
    x: Tensor, axis: Axes = None, keepdims: bool = False,
    *, dim: Axes = None, keepdim: bool = False,
) -> Tensor:  # fmt: skip
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
    axes = axes_of("mean", x, axis, dim)
    total = _sum(x, axes=axes, keepdims=_keep("mean", keepdims, keepdim))
    return total / math.prod(x.shape[a] for a in axes)


def var(
    x: Tensor, axis: Axes = None, keepdims: bool = False, correction: int = 1,
    *, dim: Axes = None, keepdim: bool = False,
) -> Tensor:  # fmt: skip
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
        As for ``sum``.

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
    axes = axes_of("var", x, axis, dim)
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
    x: Tensor, axis: Axes = None, keepdims: bool = False, correction: int = 1,
    *, dim: Axes = None, keepdim: bool = False,
) -> Tensor:  # fmt: skip
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
