"""Functions of one number in NumPy, and their input gradients.

The gradients take, beside the cotangent g, whichever of x and y tells the slope:

    f            dx
    relu         g where y > 0, else 0
    relu6        g where 0 < y < 6, else 0
    hardsigmoid  g / 6 where -3 < x < 3, else 0
    hardswish    0 where x <= -3, g where x >= 3, else g (2 x + 3) / 6
    sigmoid      g y (1 - y)
    tanh         g (1 - y y)
    silu         g s (x (1 - s) + 1),  s = sigmoid(x)

each operation rounded, in the order written, on every backend.  The g of a NaN is passed on.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minigrad.kernels.contract import Array

__all__ = [
    "exp", "hardsigmoid", "hardsigmoid_input_grad", "hardswish", "hardswish_input_grad", "log",
    "relu", "relu6", "relu6_input_grad", "relu_input_grad", "sigmoid", "sigmoid_input_grad",
    "silu", "silu_input_grad", "tanh", "tanh_input_grad",
]  # fmt: skip


def constant(x: Array, value: float) -> Any:
    """A constant of x's dtype: NumPy 1 would make a 0-d float32 and a number a float64."""
    return x.dtype.type(value)


def relu(x: Array) -> Array:
    """max(x, 0); NaN stays NaN."""
    y: Array = np.maximum(x, constant(x, 0))
    return y


def relu6(x: Array) -> Array:
    """min(max(x, 0), 6)."""
    y: Array = np.minimum(np.maximum(x, constant(x, 0)), constant(x, 6))
    return y


def hardsigmoid(x: Array) -> Array:
    """relu6(x + 3) / 6."""
    return np.asarray(relu6(x + constant(x, 3)) / constant(x, 6))


def hardswish(x: Array) -> Array:
    """x relu6(x + 3) / 6."""
    return np.asarray(x * relu6(x + constant(x, 3)) / constant(x, 6))


def sigmoid(x: Array) -> Array:
    """1 / (1 + e^-x), with e to the power of -|x| only, which cannot overflow."""
    e = np.exp(-np.abs(x))
    return np.asarray(np.where(x < 0, e, constant(x, 1)) / (constant(x, 1) + e))


def silu(x: Array) -> Array:
    """x sigmoid(x)."""
    return np.asarray(x * sigmoid(x))


def tanh(x: Array) -> Array:
    """The hyperbolic tangent."""
    return np.tanh(x)


def exp(x: Array) -> Array:
    """The exponential; inf where it overflows, as IEEE 754 has it."""
    return np.exp(x)


def log(x: Array) -> Array:
    """The natural logarithm; NaN below 0, -inf at 0, as IEEE 754 has it."""
    return np.log(x)


def relu_input_grad(g: Array, y: Array) -> Array:
    """g where y > 0, else 0."""
    return np.where(y <= 0, constant(g, 0), g)


def relu6_input_grad(g: Array, y: Array) -> Array:
    """g where 0 < y < 6, else 0."""
    return np.where((y <= 0) | (y >= 6), constant(g, 0), g)


def hardsigmoid_input_grad(g: Array, x: Array) -> Array:
    """g / 6 where -3 < x < 3, else 0."""
    return np.asarray(np.where((x <= -3) | (x >= 3), constant(g, 0), g / constant(g, 6)))


def hardswish_input_grad(g: Array, x: Array) -> Array:
    """0 where x <= -3, g where x >= 3, else g (2 x + 3) / 6."""
    between = g * (x * constant(x, 2) + constant(x, 3)) / constant(x, 6)
    return np.asarray(np.where(x <= -3, constant(g, 0), np.where(x >= 3, g, between)))


def sigmoid_input_grad(g: Array, y: Array) -> Array:
    """g y (1 - y)."""
    return np.asarray(g * y * (constant(y, 1) - y))


def tanh_input_grad(g: Array, y: Array) -> Array:
    """g (1 - y y)."""
    return np.asarray(g * (constant(y, 1) - y * y))


def silu_input_grad(g: Array, x: Array) -> Array:
    """g s (x (1 - s) + 1), s = sigmoid(x)."""
    s = sigmoid(x)
    return np.asarray(g * s * (x * (constant(x, 1) - s) + constant(x, 1)))
