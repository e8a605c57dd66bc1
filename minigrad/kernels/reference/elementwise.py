"""Functions of one number, and their slopes, one number after another in float64.

NaN fails every comparison, and so takes the last branch: it comes out of every function, and
the cotangent at NaN is passed on.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from minigrad.kernels.contract import Array
from minigrad.kernels.reference.layout import flat

__all__ = [
    "exp", "hardsigmoid", "hardsigmoid_input_grad", "hardswish", "hardswish_input_grad", "log",
    "relu", "relu6", "relu6_input_grad", "relu_input_grad", "sigmoid", "sigmoid_input_grad",
    "silu", "silu_input_grad", "tanh", "tanh_input_grad",
]  # fmt: skip


def each(f: Callable[..., float], *arrays: Array) -> Array:
    """f of each element (of several arrays), rounded once to their dtype."""
    y = [f(*values) for values in zip(*map(flat, arrays), strict=True)]
    return np.array(y, np.float64).astype(arrays[0].dtype).reshape(arrays[0].shape)


def _relu(x: float) -> float:
    return 0.0 if x < 0 else x


def _relu6(x: float) -> float:
    return 6.0 if x > 6 else _relu(x)


def _exp(x: float) -> float:
    try:
        return math.exp(x)
    except OverflowError:
        return math.inf


def _log(x: float) -> float:
    if x == 0:
        return -math.inf
    return math.nan if x < 0 else math.log(x)


def _sigmoid(x: float) -> float:
    """1 / (1 + e^-x), with e to the power of -|x| only, which cannot overflow."""
    e = math.exp(-abs(x))
    return e / (1 + e) if x < 0 else 1 / (1 + e)


def relu(x: Array) -> Array:
    """max(x, 0)."""
    return each(_relu, x)


def relu6(x: Array) -> Array:
    """min(max(x, 0), 6)."""
    return each(_relu6, x)


def hardsigmoid(x: Array) -> Array:
    """relu6(x + 3) / 6."""
    return each(lambda x: _relu6(x + 3) / 6, x)


def hardswish(x: Array) -> Array:
    """x relu6(x + 3) / 6."""
    return each(lambda x: x * _relu6(x + 3) / 6, x)


def sigmoid(x: Array) -> Array:
    """1 / (1 + e^-x)."""
    return each(_sigmoid, x)


def silu(x: Array) -> Array:
    """x / (1 + e^-x)."""
    return each(lambda x: x * _sigmoid(x), x)


def tanh(x: Array) -> Array:
    """The hyperbolic tangent."""
    return each(math.tanh, x)


def exp(x: Array) -> Array:
    """e^x; infinite where it overflows."""
    return each(_exp, x)


def log(x: Array) -> Array:
    """The natural logarithm; -inf at 0, NaN below."""
    return each(_log, x)


def relu_input_grad(g: Array, y: Array) -> Array:
    """g where y > 0, else 0."""
    return each(lambda g, y: 0.0 if y <= 0 else g, g, y)


def relu6_input_grad(g: Array, y: Array) -> Array:
    """g where 0 < y < 6, else 0."""
    return each(lambda g, y: 0.0 if y <= 0 or y >= 6 else g, g, y)


def hardsigmoid_input_grad(g: Array, x: Array) -> Array:
    """g / 6 where -3 < x < 3, else 0."""
    return each(lambda g, x: 0.0 if x <= -3 or x >= 3 else g / 6, g, x)


def hardswish_input_grad(g: Array, x: Array) -> Array:
    """0 where x <= -3, g where x >= 3, else g (2 x + 3) / 6."""

    def slope(g: float, x: float) -> float:
        if x <= -3:
            return 0.0
        return g if x >= 3 else g * (2 * x + 3) / 6

    return each(slope, g, x)


def sigmoid_input_grad(g: Array, y: Array) -> Array:
    """g y (1 - y)."""
    return each(lambda g, y: g * y * (1 - y), g, y)


def tanh_input_grad(g: Array, y: Array) -> Array:
    """g (1 - y y)."""
    return each(lambda g, y: g * (1 - y * y), g, y)


def silu_input_grad(g: Array, x: Array) -> Array:
    """g s (x (1 - s) + 1), s = sigmoid(x)."""

    def slope(g: float, x: float) -> float:
        s = _sigmoid(x)
        return g * s * (x * (1 - s) + 1)

    return each(slope, g, x)
