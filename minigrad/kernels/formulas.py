"""Formulas of activations, slopes and long sums: NumPy evaluates them, and Numba compiles them.

    f            dx
    relu         g where y > 0, else 0
    relu6        g where 0 < y < 6, else 0
    hardsigmoid  g / 6 where -3 < x < 3, else 0
    hardswish    0 where x <= -3, g where x >= 3, else g (2 x + 3) / 6
    sigmoid      g y (1 - y)
    tanh         g (1 - y y)

Each operation is rounded, in the order written, on every backend.  The gradients take, beside
the cotangent g, whichever of x and y tells the slope; the g of a NaN is passed on.  What is made
of an exponential is each backend's own.  How a long sum is kept in two words, ``contract`` says.
"""

from __future__ import annotations

from typing import Any, TypeAlias

from numpy import maximum, minimum, where

__all__ = [
    "both_words", "error", "hardsigmoid", "hardsigmoid_input_grad", "hardswish",
    "hardswish_input_grad", "relu", "relu6", "relu6_input_grad", "relu_input_grad",
    "sigmoid_input_grad", "tanh_input_grad",
]  # fmt: skip

Numbers: TypeAlias = Any  # an array of NumPy's with at least one axis, or a vector of Numba's


def relu(x: Numbers) -> Numbers:
    """max(0, x); NaN stays NaN."""
    return maximum(0, x)


def relu6(x: Numbers) -> Numbers:
    """min(6, max(0, x))."""
    return minimum(6, relu(x))


def hardsigmoid(x: Numbers) -> Numbers:
    """relu6(x + 3) / 6."""
    return relu6(x + 3) / 6


def hardswish(x: Numbers) -> Numbers:
    """x relu6(x + 3) / 6."""
    return x * relu6(x + 3) / 6


def relu_input_grad(g: Numbers, y: Numbers) -> Numbers:
    """g where y > 0, else 0."""
    return where(y <= 0, 0, g)


def relu6_input_grad(g: Numbers, y: Numbers) -> Numbers:
    """g where 0 < y < 6, else 0."""
    return where((y <= 0) | (y >= 6), 0, g)


def hardsigmoid_input_grad(g: Numbers, x: Numbers) -> Numbers:
    """g / 6 where -3 < x < 3, else 0."""
    return where((x <= -3) | (x >= 3), 0, g / 6)


def hardswish_input_grad(g: Numbers, x: Numbers) -> Numbers:
    """0 where x <= -3, g where x >= 3, else g (2 x + 3) / 6."""
    return where(x <= -3, 0, where(x >= 3, g, g * (x * 2 + 3) / 6))


def sigmoid_input_grad(g: Numbers, y: Numbers) -> Numbers:
    """g y (1 - y)."""
    return g * y * (1 - y)


def tanh_input_grad(g: Numbers, y: Numbers) -> Numbers:
    """g (1 - y y)."""
    return g * (1 - y * y)


def error(hi: Numbers, b: Numbers, s: Numbers) -> Numbers:
    """What s = hi + b has lost in rounding (Knuth's TwoSum)."""
    t = s - hi
    return (hi - (s - t)) + (b - t)


def both_words(hi: Numbers, lo: Numbers) -> Numbers:
    """hi + lo; an infinite hi has a lo that is no number."""
    return where(lo == lo, hi + lo, hi)
