"""Choosing between values: masks, the larger or the smaller of two, bounds, |x|.

The result is one of the operands, so its cotangent goes to that one.  At a tie of maximum
and minimum each gets half (PyTorch, JAX); clamp's slope at its bounds is 1 (PyTorch; relu6
differs there, see ``activation``); that of |x| at 0 is 0.
"""

from __future__ import annotations

import math

import numpy as np

from minigrad.arguments import number, quoted
from minigrad.docs import of_one_tensor, of_two_operands
from minigrad.errors import DtypeError, ShapeError
from minigrad.ops.axes import broadcast_to
from minigrad.ops.elementwise import BOTH, broadcast
from minigrad.tensor import Array, Operand, Tensor, expect_tensor, primitive, wrap

__all__ = ["absolute", "clamp", "mask", "maximum", "minimum", "truths", "where"]


def truths(function: str, name: str, values: object) -> Array:
    """A copy of an array of truth values."""
    listed = isinstance(values, list) and all(isinstance(v, bool) for v in values)
    is_array = isinstance(values, (np.ndarray, np.generic, bool)) or listed
    array = np.array(values) if is_array else None
    if array is None or array.dtype != np.bool_:
        raise DtypeError(
            f"{function}: {name} must be an array of truth values, such as x.numpy() > 0, "
            f"not {quoted(values)}"
        )
    return array


@primitive
def _mask(x: Array, *, keep: Array) -> Array:
    """y = x where ``keep``, else 0: linear in x, and its own transpose."""
    return np.where(keep, x, x.dtype.type(0))


@_mask.vjp("x", "x̄ = ȳ where kept, else 0")
def _mask_x(g: Tensor, keep: Array) -> Tensor:
    return _mask(g, keep=keep)


def mask(x: Tensor, keep: Array) -> Tensor:
    """x where ``keep`` is true, 0 elsewhere, also for inf and NaN.

    Parameters
    ----------
    x : Tensor
    keep : ndarray of bool
        Of x's shape.  It is copied.

    Returns
    -------
    Tensor

    Raises
    ------
    ShapeError
        If ``keep`` has another shape than x.
    DtypeError
        If x is no Tensor, or ``keep`` no array of truth values.

    Examples
    --------
    >>> import minigrad as mg
    >>> x = mg.Tensor([1.0, 2.0, float("inf")])
    >>> mg.mask(x, np.array([True, False, False])).numpy()
    array([1., 0., 0.], dtype=float32)
    """
    expect_tensor("mask", "x", x)
    kept = truths("mask", "keep", keep)
    if kept.shape != x.shape:
        raise ShapeError(f"mask: keep must have x's shape {x.shape}, got {kept.shape}")
    return _mask(x, keep=kept)


@primitive
def _where(a: Array, b: Array, *, condition: Array) -> Array:
    """y = a where the condition holds, else b."""
    return np.where(condition, a, b)


@_where.vjp("a", "ā = ȳ where the condition holds, else 0")
def _where_a(g: Tensor, condition: Array) -> Tensor:
    return _mask(g, keep=condition)


@_where.vjp("b", "b̄ = 0 where the condition holds, else ȳ")
def _where_b(g: Tensor, condition: Array) -> Tensor:
    return _mask(g, keep=~condition)


def where(condition: Array, a: Operand, b: Operand) -> Tensor:
    """y = a where the condition holds, else b, with broadcasting.

    Parameters
    ----------
    condition : ndarray of bool
        Such as ``x > 0``.  It is copied.
    a, b : Tensor, number or array
        Shapes that broadcast with each other and with the condition.

    Returns
    -------
    Tensor

    Raises
    ------
    ShapeError, DtypeError
        If shapes or dtypes do not fit.
    ArgumentError
        If an operand holds no numbers.

    Examples
    --------
    >>> import minigrad as mg
    >>> x = mg.Tensor([1.0, -2.0])
    >>> mg.where(x > 0, x, 10 * x).numpy()
    array([  1., -20.], dtype=float32)
    """
    chosen = truths("where", "condition", condition)
    a, b = broadcast(a, b, "where")
    try:
        shape = np.broadcast_shapes(a.shape, chosen.shape)
    except ValueError:
        raise ShapeError(
            f"where: shapes {chosen.shape}, {a.shape} and {b.shape} do not broadcast"
        ) from None
    both = broadcast_to(a, shape), broadcast_to(b, shape)
    return _where(*both, condition=np.broadcast_to(chosen, shape))


def _share(won: Array, tied: Array, like: Tensor) -> Tensor:
    """1 where an operand won, 1/2 at a tie, 0 where it lost."""
    return wrap(np.where(tied, 0.5, won).astype(like.dtype))


@primitive(images=BOTH)
def _maximum(a: Array, b: Array) -> Array:
    """y = max(a, b); NaN if either is."""
    y: Array = np.maximum(a, b)
    return y


@_maximum.vjp("a", "ā = ȳ where a > b, ȳ/2 where a = b")
def _maximum_a(g: Tensor, a: Tensor, b: Tensor) -> Tensor:
    return g * _share(~(a.array < b.array), a.array == b.array, g)


@_maximum.vjp("b", "b̄ = ȳ where b > a, ȳ/2 where a = b")
def _maximum_b(g: Tensor, a: Tensor, b: Tensor) -> Tensor:
    return g * _share(~(b.array < a.array), a.array == b.array, g)


@of_two_operands
def maximum(a: Operand, b: Operand) -> Tensor:
    """y = max(a, b), element by element, with broadcasting.

    At a tie each operand gets half of the cotangent.

    Examples
    --------
    >>> import minigrad as mg
    >>> mg.maximum(mg.Tensor([1.0, 2.0]), 1.5).numpy()
    array([1.5, 2. ], dtype=float32)
    """
    return _maximum(*broadcast(a, b, "maximum"))


@primitive(images=BOTH)
def _minimum(a: Array, b: Array) -> Array:
    """y = min(a, b); NaN if either is."""
    y: Array = np.minimum(a, b)
    return y


@_minimum.vjp("a", "ā = ȳ where a < b, ȳ/2 where a = b")
def _minimum_a(g: Tensor, a: Tensor, b: Tensor) -> Tensor:
    return g * _share(~(a.array > b.array), a.array == b.array, g)


@_minimum.vjp("b", "b̄ = ȳ where b < a, ȳ/2 where a = b")
def _minimum_b(g: Tensor, a: Tensor, b: Tensor) -> Tensor:
    return g * _share(~(b.array > a.array), a.array == b.array, g)


@of_two_operands
def minimum(a: Operand, b: Operand) -> Tensor:
    """y = min(a, b), element by element, with broadcasting.

    A tie gives half of the cotangent to each operand.

    Examples
    --------
    >>> import minigrad as mg
    >>> mg.minimum(mg.Tensor([1.0, 2.0]), 1.5).numpy()
    array([1. , 1.5], dtype=float32)
    """
    return _minimum(*broadcast(a, b, "minimum"))


@primitive(images=("x",))
def _clamp(x: Array, *, low: float, high: float) -> Array:
    """y = min(max(x, low), high)."""
    y: Array = np.minimum(np.maximum(x, x.dtype.type(low)), x.dtype.type(high))
    return y


@_clamp.vjp("x", "x̄ = ȳ where low <= x <= high, else 0")
def _clamp_x(g: Tensor, x: Tensor, low: float, high: float) -> Tensor:
    return _mask(g, keep=~((x.array < low) | (x.array > high)))


def clamp(x: Tensor, min: float | None = None, max: float | None = None) -> Tensor:
    """y = min(max(x, low), high) for two numbers low and high; NaN stays NaN.

    Parameters
    ----------
    x : Tensor
    min, max : float, optional
        The bounds; None is no bound.  The slope at a bound is 1.

    Returns
    -------
    Tensor
        Of x's shape and dtype.

    Raises
    ------
    DtypeError
        If x is no Tensor.
    ArgumentError
        If a bound is no number.

    Examples
    --------
    >>> import minigrad as mg
    >>> mg.clamp(mg.Tensor([-1.0, 0.5, 2.0]), min=0, max=1).numpy()
    array([0. , 0.5, 1. ], dtype=float32)
    """
    low = -math.inf if min is None else number("clamp", "min", min)
    high = math.inf if max is None else number("clamp", "max", max)
    return _clamp(x, low=low, high=high)


@primitive(images=("x",))
def _absolute(x: Array) -> Array:
    """y = |x|."""
    y: Array = np.abs(x)
    return y


@_absolute.vjp("x", "x̄ = sign(x) ȳ")
def _absolute_x(g: Tensor, x: Tensor) -> Tensor:
    return g * wrap(np.sign(x.array))


@of_one_tensor
def absolute(x: Tensor) -> Tensor:
    """y = |x|, element by element.

    Its slope at 0 is 0.

    Examples
    --------
    >>> import minigrad as mg
    >>> mg.absolute(mg.Tensor([1.0, -2.0])).numpy()
    array([1., 2.], dtype=float32)
    """
    return _absolute(x)
