"""The largest and the smallest over axes, and where they are.

    y = max_k x_k           x̄_k = ȳ / #{j : x_j = y}    where x_k = y, else 0

The maximum shares its cotangent equally between ties (PyTorch's amax).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from minigrad.arguments import flag
from minigrad.errors import ArgumentError, ShapeError
from minigrad.ops.axes import broadcast_to
from minigrad.ops.reduction import axes_of, kept_shape, over_images, reduced_shape
from minigrad.ops.shaping import axis_of, one_axis, reshape
from minigrad.tensor import Array, Axes, Tensor, expect_tensor, primitive, wrap

__all__ = ["argmax", "argmin", "max", "min"]


@primitive(images=("x",))
def _max(x: Array, *, axes: tuple[int, ...], keepdims: bool) -> Array:
    """y = the maximum of x over ``axes``; NaN if one is."""
    y = np.asarray(np.max(x, axis=axes, keepdims=True))
    return y if keepdims else y.squeeze(axes)


_max.shape(reduced_shape)
_max.mixing(over_images)


@_max.vjp("x", "x̄ = ȳ / ties where x is the maximum, else 0")
def _max_x(g: Tensor, x: Tensor, y: Tensor, axes: tuple[int, ...]) -> Tensor:
    kept = kept_shape(x.shape, axes)
    chosen = ((x.array == y.array.reshape(kept)) | np.isnan(x.array)).astype(x.dtype)
    share = wrap(chosen / chosen.sum(axis=axes, keepdims=True))
    return broadcast_to(reshape(g, kept), x.shape) * share


def _not_empty(function: str, x: Tensor, axes: tuple[int, ...]) -> tuple[int, ...]:
    if 0 in (x.shape[a] for a in axes):
        raise ShapeError(f"{function} over axes {axes} of shape {x.shape}: there are no elements")
    return axes


def _no_pair(function: str, dim: object) -> None:
    """Refuse PyTorch's ``max(x, dim)``, which would be taken apart as (values, indices)."""
    if dim is not None:
        raise ArgumentError(
            f"{function}: PyTorch's {function}(x, dim) gives values and indices; "
            f"here they are mg.{function}(x, axis=...) and mg.arg{function}(x, axis)"
        )


def max(x: Tensor, dim: None = None, *, axis: Axes = None, keepdims: bool = False) -> Tensor:
    """The maximum over axes; NaN if an element is.

    The axis is given by its name, for PyTorch's ``max(x, 1)`` is a pair of values and
    indices; the indices are ``argmax``.  Ties share the cotangent equally.

    Parameters
    ----------
    x : Tensor
    dim : None
        Refused, since PyTorch's ``max(x, dim)`` is something else.
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
    _no_pair("max", dim)
    axes = _not_empty("max", x, axes_of("max", x, axis))
    return _max(x, axes=axes, keepdims=flag("max", "keepdims", keepdims))


def min(x: Tensor, dim: None = None, *, axis: Axes = None, keepdims: bool = False) -> Tensor:
    """The minimum over axes, -max(-x); NaN if an element is.

    Parameters
    ----------
    x : Tensor
    dim : None
        Refused, since PyTorch's ``min(x, dim)`` is something else.
    axis : int or sequence of int, optional
        None takes the minimum of all.  It is given by its name, as for ``max``.
    keepdims : bool
        As for ``max``.

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
    _no_pair("min", dim)
    axes = _not_empty("min", x, axes_of("min", x, axis))
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
