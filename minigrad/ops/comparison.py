"""Comparisons and steps: functions whose slope is 0 wherever they have one.

    compare    y = 1 where a < b (or another relation holds), else 0
    rounded    y = the integer below, above, nearest, or on the side of 0

Truth values and integers are kept as numbers of the tensor's dtype: all integers up to 2^24 are
numbers of float32, up to 2^53 of float64.  On them

    quantize      q = clamp(round(x / scale) + zero_point, low, high)
    dequantize    x = (q - zero_point) scale

are what ONNX and TFLite call so, ties to the even neighbour.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from minigrad.arguments import number, one_of
from minigrad.errors import ShapeError
from minigrad.ops.axes import broadcast_to
from minigrad.ops.elementwise import BOTH, broadcast, sub
from minigrad.ops.selection import clamp
from minigrad.tensor import Array, Operand, Tensor, as_tensor, expect_tensor, primitive, wrap

__all__ = ["choose", "compare", "dequantize", "quantize", "rounded"]

RELATIONS: dict[str, Callable[[Array, Array], Array]] = {
    "<": np.less,
    "<=": np.less_equal,
    ">": np.greater,
    ">=": np.greater_equal,
    "==": np.equal,
    "!=": np.not_equal,
}
ROUNDED: dict[str, Callable[[Array], Array]] = {
    "nearest": np.rint,
    "down": np.floor,
    "up": np.ceil,
    "zero": np.trunc,
    "sign": np.sign,
}


@primitive(images=BOTH, flat=BOTH)
def _compare(a: Array, b: Array, *, relation: str) -> Array:
    """y = 1 where the relation holds between a and b, else 0."""
    return RELATIONS[relation](a, b).astype(a.dtype)


def compare(a: Operand, b: Operand, relation: str) -> Tensor:
    """y = 1 where a relation holds, else 0, element by element, with broadcasting.

    Unlike ``a < b``, which is an array of truth values, this is recorded, and may stand in a plan.

    Parameters
    ----------
    a, b : Tensor, number or array
        As for ``add``.
    relation : {"<", "<=", ">", ">=", "==", "!="}

    Returns
    -------
    Tensor
        Without a gradient.

    Raises
    ------
    ShapeError, DtypeError, ArgumentError
        As ``add`` does, or if there is no such relation.

    Examples
    --------
    >>> import minigrad as mg
    >>> mg.compare(mg.Tensor([1.0, 2.0, 3.0]), 2.0, "<=").numpy()
    array([1., 1., 0.], dtype=float32)
    """
    one_of("compare", "relation", relation, tuple(RELATIONS))
    return _compare(*broadcast(a, b, "compare"), relation=relation)


@primitive(images=("condition", "a", "b"), flat=("condition",))
def _choose(condition: Array, a: Array, b: Array) -> Array:
    """y = a where the condition is not 0, else b."""
    return np.where(condition != 0, a, b)


@_choose.vjp("a", "ā = ȳ where the condition is not 0, else 0")
def _choose_a(g: Tensor, condition: Tensor) -> Tensor:
    return _choose(condition, g, _zeros(g))


@_choose.vjp("b", "b̄ = 0 where the condition is not 0, else ȳ")
def _choose_b(g: Tensor, condition: Tensor) -> Tensor:
    return _choose(condition, _zeros(g), g)


def _zeros(like: Tensor) -> Tensor:
    return wrap(np.zeros(like.shape, like.dtype))


def choose(condition: Tensor, a: Operand, b: Operand) -> Tensor:
    """y = a where the condition is not 0, else b, with broadcasting.

    ``where`` takes an array of truth values; here the condition is a tensor, such as what
    ``compare`` gives.

    Parameters
    ----------
    condition : Tensor
        It gets no gradient.
    a, b : Tensor, number or array

    Returns
    -------
    Tensor

    Raises
    ------
    ShapeError, DtypeError, ArgumentError
        If shapes or dtypes do not fit.

    Examples
    --------
    >>> import minigrad as mg
    >>> x = mg.Tensor([1.0, -2.0])
    >>> mg.choose(mg.compare(x, 0.0, ">"), x, 10 * x).numpy()
    array([  1., -20.], dtype=float32)
    """
    expect_tensor("choose", "condition", condition)
    a, b = (as_tensor(v, condition.dtype, "choose") for v in (a, b))
    try:
        shape = np.broadcast_shapes(condition.shape, a.shape, b.shape)
    except ValueError:
        raise ShapeError(
            f"choose: shapes {condition.shape}, {a.shape} and {b.shape} do not broadcast"
        ) from None
    return _choose(*(broadcast_to(v, shape) for v in (condition, a, b)))


@primitive(images=("x",), flat=("x",))
def _rounded(x: Array, *, how: str) -> Array:
    """y = an integer near x."""
    return ROUNDED[how](x)


def rounded(x: Tensor, how: str = "nearest") -> Tensor:
    """An integer near each element: the nearest, the one below, above, towards 0, or the sign.

    Parameters
    ----------
    x : Tensor
    how : {"nearest", "down", "up", "zero", "sign"}
        The nearest is the even one of two; the sign is -1, 0 or 1.

    Returns
    -------
    Tensor
        Of x's dtype, without a gradient.

    Raises
    ------
    DtypeError, ArgumentError
        If x is no Tensor, or there is no such rounding.

    Examples
    --------
    >>> import minigrad as mg
    >>> mg.rounded(mg.Tensor([0.5, 1.5, -1.5])).numpy()
    array([ 0.,  2., -2.], dtype=float32)
    """
    expect_tensor("rounded", "x", x)
    return _rounded(x, how=one_of("rounded", "how", how, tuple(ROUNDED)))


def quantize(
    x: Tensor, scale: Operand, zero_point: Operand = 0.0, low: float = 0.0, high: float = 255.0
) -> Tensor:
    """q = clamp(round(x / scale) + zero_point, low, high), an integer in x's dtype.

    Parameters
    ----------
    x : Tensor
    scale : Tensor, number or array
        Above 0; it broadcasts to x.
    zero_point : Tensor, number or array
        Integers, likewise.
    low, high : number
        0 and 255 of uint8; -128 and 127 are int8's.

    Returns
    -------
    Tensor
        Without a gradient, for x is rounded.

    Raises
    ------
    ShapeError, DtypeError, ArgumentError
        If shapes or dtypes do not fit.

    Examples
    --------
    >>> import minigrad as mg
    >>> mg.quantize(mg.Tensor([0.25, 0.75, 9.0]), 0.5, 1.0, 0, 15).numpy()
    array([ 1.,  3., 15.], dtype=float32)
    """
    expect_tensor("quantize", "x", x)
    least, most = number("quantize", "low", low), number("quantize", "high", high)
    return clamp(rounded(x / scale) + zero_point, least, most)


def dequantize(q: Tensor, scale: Operand, zero_point: Operand = 0.0) -> Tensor:
    """x = (q - zero_point) scale.

    Parameters
    ----------
    q : Tensor
    scale, zero_point : Tensor, number or array
        As for ``quantize``.

    Returns
    -------
    Tensor

    Raises
    ------
    ShapeError, DtypeError, ArgumentError
        As ``quantize`` does.

    Examples
    --------
    >>> import minigrad as mg
    >>> mg.dequantize(mg.Tensor([1.0, 3.0]), 0.5, 1.0).numpy()
    array([0., 1.], dtype=float32)
    """
    return sub(expect_tensor("dequantize", "q", q), zero_point) * scale
