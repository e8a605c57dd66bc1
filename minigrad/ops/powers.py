"""Powers, roots, exponentials and logarithms, one element at a time.

    y = x^c    x̄ = c x^(c-1) ȳ           y = e^x    x̄ = ȳ y
    y = a^b    ā = b a^(b-1) ȳ           y = ln x   x̄ = ȳ / x
               b̄ = y ln a ȳ

Where IEEE 754 says inf or NaN that is the result, without a warning.
"""

from __future__ import annotations

import numpy as np

from minigrad.arguments import number, quoted
from minigrad.docs import of_one_tensor
from minigrad.errors import ArgumentError
from minigrad.kernels import run
from minigrad.ops.elementwise import BOTH, broadcast
from minigrad.ops.selection import mask
from minigrad.tensor import Array, Operand, Tensor, primitive

__all__ = ["exp", "log", "power", "sqrt"]


@primitive(images=("x",), arithmetic=True)
def _sqrt(x: Array) -> Array:
    """y = sqrt(x)."""
    y: Array = np.sqrt(x)
    return y


@_sqrt.vjp("x", "x̄ = ȳ / (2 y)")
def _sqrt_x(g: Tensor, y: Tensor) -> Tensor:
    return g / (y * 2)


@of_one_tensor
def sqrt(x: Tensor) -> Tensor:
    """y = sqrt(x), element by element.

    NaN below 0.

    Examples
    --------
    >>> import minigrad as mg
    >>> mg.sqrt(mg.Tensor([4.0, 9.0])).numpy()
    array([2., 3.], dtype=float32)
    """
    return _sqrt(x)


@primitive(images=("x",))
def _exp(x: Array) -> Array:
    """y = e^x."""
    return run("exp", x)


@_exp.vjp("x", "x̄ = ȳ y")
def _exp_x(g: Tensor, y: Tensor) -> Tensor:
    return g * y


@of_one_tensor
def exp(x: Tensor) -> Tensor:
    """y = e^x, element by element.

    Examples
    --------
    >>> import minigrad as mg
    >>> mg.exp(mg.Tensor([0.0, 1.0])).numpy().round(3)
    array([1.   , 2.718], dtype=float32)
    """
    return _exp(x)


@primitive(images=("x",))
def _log(x: Array) -> Array:
    """y = ln x."""
    return run("log", x)


@_log.vjp("x", "x̄ = ȳ / x")
def _log_x(g: Tensor, x: Tensor) -> Tensor:
    return g / x


@of_one_tensor
def log(x: Tensor) -> Tensor:
    """y = ln x, element by element.

    -inf at 0, NaN below.

    Examples
    --------
    >>> import minigrad as mg
    >>> mg.log(mg.Tensor([1.0, 0.0])).numpy()
    array([  0., -inf], dtype=float32)
    """
    return _log(x)


@primitive(images=("x",), arithmetic=True)
def _power(x: Array, *, exponent: float) -> Array:
    """y = x^c for a constant c."""
    y: Array = np.power(x, x.dtype.type(exponent))
    return y


@_power.vjp("x", "x̄ = c x^(c-1) ȳ")
def _power_x(g: Tensor, x: Tensor, exponent: float) -> Tensor:
    return g * 0.0 if exponent == 0 else g * power(x, exponent - 1) * exponent


@primitive(images=BOTH, arithmetic=True)
def _pow(a: Array, b: Array) -> Array:
    """y = a^b."""
    y: Array = np.power(a, b)
    return y


@_pow.vjp("a", "ā = ȳ b a^(b-1), 0 where b = 0")
def _pow_a(g: Tensor, a: Tensor, b: Tensor) -> Tensor:
    return mask(g * b * _pow(a, b - 1), b.array != 0)


@_pow.vjp("b", "b̄ = ȳ y ln a, 0 where y = 0")
def _pow_b(g: Tensor, a: Tensor, y: Tensor) -> Tensor:
    return mask(g * y * log(a), y.array != 0)


def power(x: Operand, exponent: Operand) -> Tensor:
    """y = x^c, element by element, for a number c or a tensor of exponents.

    Parameters
    ----------
    x : Tensor or number
        The base.
    exponent : number or Tensor
        With a number as base, as in ``2 ** x``, or a tensor as exponent, both are
        differentiated; the slope in the exponent is y ln x.

    Returns
    -------
    Tensor
        NaN where the base is below 0 and the exponent no integer.

    Raises
    ------
    ShapeError, DtypeError
        If shapes or dtypes do not fit.
    ArgumentError
        If neither is a Tensor, or one holds no numbers.

    Examples
    --------
    >>> import minigrad as mg
    >>> mg.power(mg.Tensor([1.0, 2.0, 3.0]), 2).numpy()
    array([1., 4., 9.], dtype=float32)
    >>> (2 ** mg.Tensor([1.0, 2.0, 3.0])).numpy()
    array([2., 4., 8.], dtype=float32)
    """
    one = getattr(exponent, "ndim", 1) == 0 or not hasattr(exponent, "__len__")
    if isinstance(x, Tensor) and not isinstance(exponent, Tensor) and one:
        return _power(x, exponent=number("power", "exponent", exponent))
    if not isinstance(x, Tensor) and not isinstance(exponent, Tensor):
        raise ArgumentError(f"power takes a Tensor, not {quoted(x)} and {quoted(exponent)}")
    return _pow(*broadcast(x, exponent, "power"))
