"""Arithmetic, one element at a time.

For y = f(a, b), elementwise, the rules are

    ā = ȳ df/da,    b̄ = ȳ df/db.

Every primitive here works on equal shapes.  Broadcasting is a map of its own (repeat
along an axis), whose transpose is the sum along that axis; writing the two apart is why
no rule below says anything about shapes.

Conventions: the slope of maximum and minimum at a tie is 1/2 for each (PyTorch, JAX);
that of clamp at its bounds is 1 (PyTorch; relu6 differs there, see activation).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minigrad.errors import ShapeError
from minigrad.kernels import run
from minigrad.ops.shaping import broadcast_to
from minigrad.tensor import Array, Operand, Tensor, as_tensor, from_numpy, primitive

__all__ = [
    "absolute",
    "add",
    "broadcast",
    "clamp",
    "div",
    "exp",
    "log",
    "mask",
    "maximum",
    "minimum",
    "mul",
    "neg",
    "power",
    "sqrt",
    "sub",
]


def broadcast(a: Operand, b: Operand) -> tuple[Tensor, Tensor]:
    """Both operands as Tensors of one shape; numbers take the other's dtype.

    Raises
    ------
    ShapeError
        If the shapes do not broadcast by NumPy's rule.
    """
    dtype = a.dtype if isinstance(a, Tensor) else b.dtype if isinstance(b, Tensor) else None
    a, b = as_tensor(a, dtype), as_tensor(b, dtype)
    if a.shape == b.shape:
        return a, b
    try:
        shape = np.broadcast_shapes(a.shape, b.shape)
    except ValueError:
        raise ShapeError(f"shapes {a.shape} and {b.shape} do not broadcast") from None
    return broadcast_to(a, shape), broadcast_to(b, shape)


@primitive
def _add(a: Array, b: Array) -> Array:
    """y = a + b."""
    y: Array = np.add(a, b)
    return y


@_add.vjp("a", "ā = ȳ")
def _add_a(g: Tensor) -> Tensor:
    return g


@_add.vjp("b", "b̄ = ȳ")
def _add_b(g: Tensor) -> Tensor:
    return g


@primitive
def _sub(a: Array, b: Array) -> Array:
    """y = a - b."""
    y: Array = np.subtract(a, b)
    return y


@_sub.vjp("a", "ā = ȳ")
def _sub_a(g: Tensor) -> Tensor:
    return g


@_sub.vjp("b", "b̄ = -ȳ")
def _sub_b(g: Tensor) -> Tensor:
    return -g


@primitive
def _mul(a: Array, b: Array) -> Array:
    """y = a b."""
    y: Array = np.multiply(a, b)
    return y


@_mul.vjp("a", "ā = ȳ b")
def _mul_a(g: Tensor, b: Tensor) -> Tensor:
    return g * b


@_mul.vjp("b", "b̄ = ȳ a")
def _mul_b(g: Tensor, a: Tensor) -> Tensor:
    return g * a


@primitive
def _div(a: Array, b: Array) -> Array:
    """y = a / b."""
    with np.errstate(divide="ignore", invalid="ignore"):
        y: Array = np.divide(a, b)
    return y


@_div.vjp("a", "ā = ȳ / b")
def _div_a(g: Tensor, b: Tensor) -> Tensor:
    return g / b


@_div.vjp("b", "b̄ = -ȳ y / b")
def _div_b(g: Tensor, b: Tensor, y: Tensor) -> Tensor:
    return -(g * y) / b


@primitive
def neg(x: Array) -> Array:
    """y = -x."""
    y: Array = np.negative(x)
    return y


@neg.vjp("x", "x̄ = -ȳ")
def _neg_x(g: Tensor) -> Tensor:
    return -g


@primitive
def _power(x: Array, *, exponent: float) -> Array:
    """y = x^c for a constant c."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        y: Array = np.power(x, x.dtype.type(exponent))
    return y


@_power.vjp("x", "x̄ = c x^(c-1) ȳ")
def _power_x(g: Tensor, x: Tensor, exponent: float) -> Tensor:
    return g * 0.0 if exponent == 0 else g * power(x, exponent - 1) * exponent


@primitive
def sqrt(x: Array) -> Array:
    """y = sqrt(x)."""
    with np.errstate(invalid="ignore"):
        y: Array = np.sqrt(x)
    return y


@sqrt.vjp("x", "x̄ = ȳ / (2 y)")
def _sqrt_x(g: Tensor, y: Tensor) -> Tensor:
    return g / (y * 2)


@primitive
def exp(x: Array) -> Array:
    """y = e^x."""
    return run("exp", x)


@exp.vjp("x", "x̄ = ȳ y")
def _exp_x(g: Tensor, y: Tensor) -> Tensor:
    return g * y


@primitive
def log(x: Array) -> Array:
    """y = ln x."""
    return run("log", x)


@log.vjp("x", "x̄ = ȳ / x")
def _log_x(g: Tensor, x: Tensor) -> Tensor:
    return g / x


@primitive
def _mask(x: Array, *, keep: Array) -> Array:
    """y = x where ``keep``, else 0: linear in x, and its own transpose."""
    return np.where(keep, x, x.dtype.type(0))


@_mask.vjp("x", "x̄ = ȳ where kept, else 0")
def _mask_x(g: Tensor, keep: Array) -> Tensor:
    return mask(g, keep)


def mask(x: Tensor, keep: Array) -> Tensor:
    """x where the boolean array ``keep`` says so, 0 elsewhere (also for inf and NaN)."""
    if keep.shape != x.shape:
        raise ShapeError(f"mask: keep must have x's shape {x.shape}, got {keep.shape}")
    return _mask(x, keep=keep)


def _share(won: Array, tied: Array, like: Tensor) -> Tensor:
    """1 where an operand won, 1/2 at a tie, 0 where it lost."""
    return from_numpy(np.where(tied, 0.5, won).astype(like.dtype))


@primitive
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


@primitive
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


@primitive
def _clamp(x: Array, *, low: float, high: float) -> Array:
    """y = min(max(x, low), high)."""
    y: Array = np.minimum(np.maximum(x, x.dtype.type(low)), x.dtype.type(high))
    return y


@_clamp.vjp("x", "x̄ = ȳ where low <= x <= high, else 0")
def _clamp_x(g: Tensor, x: Tensor, low: float, high: float) -> Tensor:
    return mask(g, ~((x.array < low) | (x.array > high)))


@primitive
def absolute(x: Array) -> Array:
    """y = |x|."""
    y: Array = np.abs(x)
    return y


@absolute.vjp("x", "x̄ = sign(x) ȳ")
def _absolute_x(g: Tensor, x: Tensor) -> Tensor:
    return g * from_numpy(np.sign(x.array))


def add(a: Operand, b: Operand) -> Tensor:
    """y = a + b, with broadcasting."""
    return _add(*broadcast(a, b))


def sub(a: Operand, b: Operand) -> Tensor:
    """y = a - b, with broadcasting."""
    return _sub(*broadcast(a, b))


def mul(a: Operand, b: Operand) -> Tensor:
    """y = a b, with broadcasting."""
    return _mul(*broadcast(a, b))


def div(a: Operand, b: Operand) -> Tensor:
    """y = a / b, with broadcasting; IEEE 754 says what x / 0 is."""
    return _div(*broadcast(a, b))


def maximum(a: Operand, b: Operand) -> Tensor:
    """y = max(a, b), with broadcasting; NaN if either is."""
    return _maximum(*broadcast(a, b))


def minimum(a: Operand, b: Operand) -> Tensor:
    """y = min(a, b), with broadcasting; NaN if either is."""
    return _minimum(*broadcast(a, b))


def power(x: Tensor, exponent: float) -> Tensor:
    """y = x^c for a constant number c."""
    if isinstance(exponent, (Tensor, np.ndarray)):
        raise TypeError("power takes a constant exponent; use exp(b * log(a)) for a tensor")
    return _power(x, exponent=float(exponent))


def clamp(x: Tensor, low: float | None = None, high: float | None = None) -> Tensor:
    """y = min(max(x, low), high); NaN stays NaN."""
    limits: dict[str, Any] = {
        "low": -np.inf if low is None else low,
        "high": np.inf if high is None else high,
    }
    return _clamp(x, **limits)
