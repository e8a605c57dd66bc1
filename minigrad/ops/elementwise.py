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

import math

import numpy as np

from minigrad.arguments import number, quoted
from minigrad.errors import ArgumentError, DtypeError, ShapeError
from minigrad.kernels import run
from minigrad.ops.shaping import broadcast_to
from minigrad.tensor import Array, Operand, Tensor, as_tensor, expect_tensor, primitive, wrap

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
    "where",
]


BOTH = ("a", "b")  # arguments whose images stay apart


def broadcast(a: Operand, b: Operand, function: str) -> tuple[Tensor, Tensor]:
    """Both operands as Tensors of one shape; numbers take the other's dtype.

    Raises
    ------
    ShapeError
        If the shapes do not broadcast by NumPy's rule.
    """
    dtype = a.dtype if isinstance(a, Tensor) else b.dtype if isinstance(b, Tensor) else None
    a, b = as_tensor(a, dtype, function), as_tensor(b, dtype, function)
    if a.shape == b.shape:
        return a, b
    try:
        shape = np.broadcast_shapes(a.shape, b.shape)
    except ValueError:
        raise ShapeError(f"{function}: shapes {a.shape} and {b.shape} do not broadcast") from None
    return broadcast_to(a, shape), broadcast_to(b, shape)


@primitive(images=BOTH)
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


@primitive(images=BOTH)
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


@primitive(images=BOTH)
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


@primitive(images=BOTH)
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


@primitive(images=("x",))
def _neg(x: Array) -> Array:
    """y = -x."""
    y: Array = np.negative(x)
    return y


@_neg.vjp("x", "x̄ = -ȳ")
def _neg_x(g: Tensor) -> Tensor:
    return -g


@primitive(images=("x",))
def _power(x: Array, *, exponent: float) -> Array:
    """y = x^c for a constant c."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        y: Array = np.power(x, x.dtype.type(exponent))
    return y


@_power.vjp("x", "x̄ = c x^(c-1) ȳ")
def _power_x(g: Tensor, x: Tensor, exponent: float) -> Tensor:
    return g * 0.0 if exponent == 0 else g * power(x, exponent - 1) * exponent


@primitive(images=BOTH)
def _pow(a: Array, b: Array) -> Array:
    """y = a^b."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        y: Array = np.power(a, b)
    return y


@_pow.vjp("a", "ā = ȳ b a^(b-1), 0 where b = 0")
def _pow_a(g: Tensor, a: Tensor, b: Tensor) -> Tensor:
    return _mask(g * b * _pow(a, b - 1), keep=b.array != 0)


@_pow.vjp("b", "b̄ = ȳ y ln a, 0 where y = 0")
def _pow_b(g: Tensor, a: Tensor, y: Tensor) -> Tensor:
    return _mask(g * y * log(a), keep=y.array != 0)


@primitive(images=("x",))
def _sqrt(x: Array) -> Array:
    """y = sqrt(x)."""
    with np.errstate(invalid="ignore"):
        y: Array = np.sqrt(x)
    return y


@_sqrt.vjp("x", "x̄ = ȳ / (2 y)")
def _sqrt_x(g: Tensor, y: Tensor) -> Tensor:
    return g / (y * 2)


@primitive(images=("x",))
def _exp(x: Array) -> Array:
    """y = e^x."""
    return run("exp", x)


@_exp.vjp("x", "x̄ = ȳ y")
def _exp_x(g: Tensor, y: Tensor) -> Tensor:
    return g * y


@primitive(images=("x",))
def _log(x: Array) -> Array:
    """y = ln x."""
    return run("log", x)


@_log.vjp("x", "x̄ = ȳ / x")
def _log_x(g: Tensor, x: Tensor) -> Tensor:
    return g / x


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
def _where(a: Array, b: Array, *, condition: Array) -> Array:
    """y = a where the condition holds, else b."""
    return np.where(condition, a, b)


@_where.vjp("a", "ā = ȳ where the condition holds, else 0")
def _where_a(g: Tensor, condition: Array) -> Tensor:
    return _mask(g, keep=condition)


@_where.vjp("b", "b̄ = 0 where the condition holds, else ȳ")
def _where_b(g: Tensor, condition: Array) -> Tensor:
    return _mask(g, keep=~condition)


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


@primitive(images=("x",))
def _clamp(x: Array, *, low: float, high: float) -> Array:
    """y = min(max(x, low), high)."""
    y: Array = np.minimum(np.maximum(x, x.dtype.type(low)), x.dtype.type(high))
    return y


@_clamp.vjp("x", "x̄ = ȳ where low <= x <= high, else 0")
def _clamp_x(g: Tensor, x: Tensor, low: float, high: float) -> Tensor:
    return _mask(g, keep=~((x.array < low) | (x.array > high)))


@primitive(images=("x",))
def _absolute(x: Array) -> Array:
    """y = |x|."""
    y: Array = np.abs(x)
    return y


@_absolute.vjp("x", "x̄ = sign(x) ȳ")
def _absolute_x(g: Tensor, x: Tensor) -> Tensor:
    return g * wrap(np.sign(x.array))


def add(a: Operand, b: Operand) -> Tensor:
    """y = a + b, element by element, with broadcasting.

    Parameters
    ----------
    a, b : Tensor, number or array
        Shapes that broadcast.  Numbers take the other operand's dtype; arrays are copied.

    Returns
    -------
    Tensor
        a + b in the operands' dtype.

    Raises
    ------
    ShapeError, DtypeError
        If shapes or dtypes of the operands do not fit.
    ArgumentError
        If an operand holds no numbers.

    Examples
    --------
    >>> import minigrad as mg
    >>> mg.add(mg.Tensor([1.0, 2.0]), 10).numpy()
    array([11., 12.], dtype=float32)
    """
    return _add(*broadcast(a, b, "add"))


def sub(a: Operand, b: Operand) -> Tensor:
    """y = a - b, element by element, with broadcasting.

    Parameters
    ----------
    a, b : Tensor, number or array
        Shapes that broadcast.  Numbers take the other operand's dtype; arrays are copied.

    Returns
    -------
    Tensor
        a - b in the operands' dtype.

    Raises
    ------
    ShapeError, DtypeError
        If shapes or dtypes of the operands do not fit.
    ArgumentError
        If an operand holds no numbers.

    Examples
    --------
    >>> import minigrad as mg
    >>> mg.sub(mg.Tensor([1.0, 2.0]), 10).numpy()
    array([-9., -8.], dtype=float32)
    """
    return _sub(*broadcast(a, b, "sub"))


def mul(a: Operand, b: Operand) -> Tensor:
    """y = a b, element by element, with broadcasting.

    Parameters
    ----------
    a, b : Tensor, number or array
        Shapes that broadcast.  Numbers take the other operand's dtype; arrays are copied.

    Returns
    -------
    Tensor
        a b in the operands' dtype.

    Raises
    ------
    ShapeError, DtypeError
        If shapes or dtypes of the operands do not fit.
    ArgumentError
        If an operand holds no numbers.

    Examples
    --------
    >>> import minigrad as mg
    >>> mg.mul(mg.Tensor([1.0, 2.0]), 10).numpy()
    array([10., 20.], dtype=float32)
    """
    return _mul(*broadcast(a, b, "mul"))


def div(a: Operand, b: Operand) -> Tensor:
    """y = a / b, element by element, with broadcasting.

    Parameters
    ----------
    a, b : Tensor, number or array
        Shapes that broadcast.  Numbers take the other operand's dtype; arrays are copied.

    Returns
    -------
    Tensor
        a / b; x / 0 is infinite or NaN, as IEEE 754 says.

    Raises
    ------
    ShapeError, DtypeError
        If shapes or dtypes of the operands do not fit.
    ArgumentError
        If an operand holds no numbers.

    Examples
    --------
    >>> import minigrad as mg
    >>> mg.div(mg.Tensor([1.0, 0.0]), 0).numpy()
    array([inf, nan], dtype=float32)
    """
    return _div(*broadcast(a, b, "div"))


def maximum(a: Operand, b: Operand) -> Tensor:
    """y = max(a, b), element by element, with broadcasting.

    At a tie each operand gets half of the cotangent.

    Parameters
    ----------
    a, b : Tensor, number or array
        Shapes that broadcast.  Numbers take the other operand's dtype; arrays are copied.

    Returns
    -------
    Tensor
        NaN where an operand is NaN.

    Raises
    ------
    ShapeError, DtypeError
        If shapes or dtypes of the operands do not fit.
    ArgumentError
        If an operand holds no numbers.

    Examples
    --------
    >>> import minigrad as mg
    >>> mg.maximum(mg.Tensor([1.0, 2.0]), 1.5).numpy()
    array([1.5, 2. ], dtype=float32)
    """
    return _maximum(*broadcast(a, b, "maximum"))


def minimum(a: Operand, b: Operand) -> Tensor:
    """y = min(a, b), element by element, with broadcasting.

    At a tie each operand gets half of the cotangent.

    Parameters
    ----------
    a, b : Tensor, number or array
        Shapes that broadcast.  Numbers take the other operand's dtype; arrays are copied.

    Returns
    -------
    Tensor
        NaN where an operand is NaN.

    Raises
    ------
    ShapeError, DtypeError
        If shapes or dtypes of the operands do not fit.
    ArgumentError
        If an operand holds no numbers.

    Examples
    --------
    >>> import minigrad as mg
    >>> mg.minimum(mg.Tensor([1.0, 2.0]), 1.5).numpy()
    array([1. , 1.5], dtype=float32)
    """
    return _minimum(*broadcast(a, b, "minimum"))


def neg(x: Tensor) -> Tensor:
    """y = -x, element by element.

    Parameters
    ----------
    x : Tensor

    Returns
    -------
    Tensor
        Of x's shape and dtype.

    Raises
    ------
    DtypeError
        If x is no Tensor.

    Examples
    --------
    >>> import minigrad as mg
    >>> mg.neg(mg.Tensor([1.0, -2.0])).numpy()
    array([-1.,  2.], dtype=float32)
    """
    return _neg(x)


def absolute(x: Tensor) -> Tensor:
    """y = |x|, element by element.

    The slope at 0 is 0.

    Parameters
    ----------
    x : Tensor

    Returns
    -------
    Tensor
        Of x's shape and dtype.

    Raises
    ------
    DtypeError
        If x is no Tensor.

    Examples
    --------
    >>> import minigrad as mg
    >>> mg.absolute(mg.Tensor([1.0, -2.0])).numpy()
    array([1., 2.], dtype=float32)
    """
    return _absolute(x)


def sqrt(x: Tensor) -> Tensor:
    """y = sqrt(x), element by element.

    NaN below 0.

    Parameters
    ----------
    x : Tensor

    Returns
    -------
    Tensor
        Of x's shape and dtype.

    Raises
    ------
    DtypeError
        If x is no Tensor.

    Examples
    --------
    >>> import minigrad as mg
    >>> mg.sqrt(mg.Tensor([4.0, 9.0])).numpy()
    array([2., 3.], dtype=float32)
    """
    return _sqrt(x)


def exp(x: Tensor) -> Tensor:
    """y = e^x, element by element.

    Parameters
    ----------
    x : Tensor

    Returns
    -------
    Tensor
        Of x's shape and dtype.

    Raises
    ------
    DtypeError
        If x is no Tensor.

    Examples
    --------
    >>> import minigrad as mg
    >>> mg.exp(mg.Tensor([0.0, 1.0])).numpy()
    array([1.       , 2.7182817], dtype=float32)
    """
    return _exp(x)


def log(x: Tensor) -> Tensor:
    """y = ln x, element by element.

    -inf at 0, NaN below.

    Parameters
    ----------
    x : Tensor

    Returns
    -------
    Tensor
        Of x's shape and dtype.

    Raises
    ------
    DtypeError
        If x is no Tensor.

    Examples
    --------
    >>> import minigrad as mg
    >>> mg.log(mg.Tensor([1.0, 0.0])).numpy()
    array([  0., -inf], dtype=float32)
    """
    return _log(x)


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
