"""Arithmetic, one element at a time.

For y = f(a, b), elementwise, the rules are

    ā = ȳ df/da,    b̄ = ȳ df/db.

Every primitive here works on equal shapes.  Broadcasting is a map of its own (repeat
along an axis), whose transpose is the sum along that axis; writing the two apart is why
no rule below says anything about shapes.
"""

from __future__ import annotations

import numpy as np

from minigrad.docs import of_one_tensor, of_two_operands
from minigrad.errors import ShapeError
from minigrad.ops.axes import broadcast_to
from minigrad.tensor import Array, Operand, Tensor, as_tensor, primitive

__all__ = ["BOTH", "add", "broadcast", "div", "mul", "neg", "sub"]


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
    if b.shape == ():  # mostly a number
        return a, broadcast_to(b, a.shape)
    if a.shape == ():
        return broadcast_to(a, b.shape), b
    try:
        shape = np.broadcast_shapes(a.shape, b.shape)
    except ValueError:
        raise ShapeError(f"{function}: shapes {a.shape} and {b.shape} do not broadcast") from None
    return broadcast_to(a, shape), broadcast_to(b, shape)


@primitive(images=BOTH, arithmetic=True)
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


@of_two_operands
def add(a: Operand, b: Operand) -> Tensor:
    """y = a + b, element by element, with broadcasting.

    Examples
    --------
    >>> import minigrad as mg
    >>> mg.add(mg.Tensor([1.0, 2.0]), 10).numpy()
    array([11., 12.], dtype=float32)
    """
    return _add(*broadcast(a, b, "add"))


@primitive(images=BOTH, arithmetic=True)
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


@of_two_operands
def sub(a: Operand, b: Operand) -> Tensor:
    """y = a - b, element by element, with broadcasting.

    Examples
    --------
    >>> import minigrad as mg
    >>> mg.sub(mg.Tensor([1.0, 2.0]), 10).numpy()
    array([-9., -8.], dtype=float32)
    """
    return _sub(*broadcast(a, b, "sub"))


@primitive(images=BOTH, arithmetic=True)
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


@of_two_operands
def mul(a: Operand, b: Operand) -> Tensor:
    """y = a b, element by element, with broadcasting.

    Examples
    --------
    >>> import minigrad as mg
    >>> mg.mul(mg.Tensor([1.0, 2.0]), 10).numpy()
    array([10., 20.], dtype=float32)
    """
    return _mul(*broadcast(a, b, "mul"))


@primitive(images=BOTH, arithmetic=True)
def _div(a: Array, b: Array) -> Array:
    """y = a / b."""
    y: Array = np.divide(a, b)
    return y


@_div.vjp("a", "ā = ȳ / b")
def _div_a(g: Tensor, b: Tensor) -> Tensor:
    return g / b


@_div.vjp("b", "b̄ = -ȳ y / b")
def _div_b(g: Tensor, b: Tensor, y: Tensor) -> Tensor:
    return -(g * y) / b


@of_two_operands
def div(a: Operand, b: Operand) -> Tensor:
    """y = a / b, element by element, with broadcasting.

    x / 0 is infinite or NaN, as IEEE 754 says.

    Examples
    --------
    >>> import minigrad as mg
    >>> mg.div(mg.Tensor([1.0, 0.0]), 0).numpy()
    array([inf, nan], dtype=float32)
    """
    return _div(*broadcast(a, b, "div"))


@primitive(images=("x",))
def _neg(x: Array) -> Array:
    """y = -x."""
    y: Array = np.negative(x)
    return y


@_neg.vjp("x", "x̄ = -ȳ")
def _neg_x(g: Tensor) -> Tensor:
    return -g


@of_one_tensor
def neg(x: Tensor) -> Tensor:
    """y = -x, element by element.

    Examples
    --------
    >>> import minigrad as mg
    >>> mg.neg(mg.Tensor([1.0, -2.0])).numpy()
    array([-1.,  2.], dtype=float32)
    """
    return _neg(x)
