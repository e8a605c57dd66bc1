"""Functions of one number in NumPy, and their input gradients.

Most are the formulas that every backend has (``kernels/formulas``).  The slope of SiLU, with
s = sigmoid(x), is g s (x (1 - s) + 1).
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from minigrad.kernels import formulas
from minigrad.kernels.contract import Array

__all__ = [
    "exp", "hardsigmoid", "hardsigmoid_input_grad", "hardswish", "hardswish_input_grad", "log",
    "relu", "relu6", "relu6_input_grad", "relu_input_grad", "sigmoid", "sigmoid_input_grad",
    "silu", "silu_input_grad", "tanh", "tanh_input_grad",
]  # fmt: skip


def constant(x: Array, value: float) -> Any:
    """A constant of x's dtype: NumPy 1 would make a 0-d float32 and a number a float64."""
    return x.dtype.type(value)


def _evaluated(formula: Callable[..., Any]) -> Callable[..., Array]:
    """A formula as a function of arrays, those without axes included."""

    @functools.wraps(formula)
    def function(*arrays: Array) -> Array:
        shape = arrays[0].shape
        y: Array = formula(*(arrays if shape else map(np.atleast_1d, arrays)))
        return y if shape else y.reshape(shape)

    return function


relu, relu6 = map(_evaluated, (formulas.relu, formulas.relu6))
hardsigmoid, hardswish = map(_evaluated, (formulas.hardsigmoid, formulas.hardswish))
relu_input_grad = _evaluated(formulas.relu_input_grad)
relu6_input_grad = _evaluated(formulas.relu6_input_grad)
hardsigmoid_input_grad = _evaluated(formulas.hardsigmoid_input_grad)
hardswish_input_grad = _evaluated(formulas.hardswish_input_grad)
sigmoid_input_grad = _evaluated(formulas.sigmoid_input_grad)
tanh_input_grad = _evaluated(formulas.tanh_input_grad)


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


def silu_input_grad(g: Array, x: Array) -> Array:
    """g s (x (1 - s) + 1), s = sigmoid(x)."""
    s = sigmoid(x)
    return np.asarray(g * s * (x * (constant(x, 1) - s) + constant(x, 1)))
