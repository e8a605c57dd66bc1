"""Functions of one number, on arrays in whatever memory order; formulas in ext/vmath.h."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from minigrad.kernels.contract import Array, check_like, in_one_order, one_dtype
from minigrad.kernels.cython.core import core
from minigrad.kernels.cython.layout import in_order_of
from minigrad.threads import num_threads

__all__ = [
    "bind_elementwise",
    "exp",
    "hardsigmoid",
    "hardsigmoid_input_grad",
    "hardswish",
    "hardswish_input_grad",
    "log",
    "relu",
    "relu6",
    "relu6_input_grad",
    "relu_input_grad",
    "sigmoid",
    "sigmoid_input_grad",
    "silu",
    "silu_input_grad",
    "tanh",
    "tanh_input_grad",
]

_FLOAT32, _FLOAT64 = np.dtype(np.float32), np.dtype(np.float64)


def _elementwise(name: str, formula: str) -> Callable[[Array], Array]:
    def function(x: Array) -> Array:
        if x.dtype is not _FLOAT32 and x.dtype is not _FLOAT64:
            one_dtype(name, x=x)
        x, y = in_one_order(x)
        core.elementwise(name, x, y, x.size, num_threads())
        return y

    function.__name__ = function.__qualname__ = name
    function.__doc__ = formula
    return function


relu = _elementwise("relu", "max(0, x); keeps NaN, and the sign of zero.")
relu6 = _elementwise("relu6", "min(6, max(0, x)).")
hardsigmoid = _elementwise("hardsigmoid", "relu6(x + 3) / 6, in these three operations.")
hardswish = _elementwise("hardswish", "(x relu6(x + 3)) / 6, in these operations; NaN at -inf.")
sigmoid = _elementwise("sigmoid", "1 / (1 + e^-x); within 3.8 ULP.")
silu = _elementwise("silu", "x sigmoid(x); within 4.5 ULP; NaN at -inf.")
tanh = _elementwise("tanh", "The hyperbolic tangent; within 2.6 ULP.")
exp = _elementwise("exp", "e^x; within 1.1 ULP, subnormal results included.")
log = _elementwise("log", "ln x; within 0.9 ULP; -inf at 0, NaN below.")


def _input_grad(of: str, formula: str) -> Callable[[Array, Array], Array]:
    name = f"{of}_input_grad"

    def function(g: Array, at: Array) -> Array:
        check_like(name, g, at)
        at, dx = in_one_order(at)
        g = in_order_of(at, g)
        core.elementwise(name, at, dx, at.size, num_threads(), g)
        return dx

    function.__name__ = function.__qualname__ = name
    function.__doc__ = formula
    return function


# As in ``numpy.elementwise``, where the table stands.
relu_input_grad = _input_grad("relu", "g where y > 0, else 0.")
relu6_input_grad = _input_grad("relu6", "g where 0 < y < 6, else 0.")
hardsigmoid_input_grad = _input_grad("hardsigmoid", "g / 6 where -3 < x < 3, else 0.")
hardswish_input_grad = _input_grad(
    "hardswish", "0 where x <= -3, g where x >= 3, else g (2 x + 3) / 6."
)
sigmoid_input_grad = _input_grad("sigmoid", "g y (1 - y).")
silu_input_grad = _input_grad("silu", "g s (x (1 - s) + 1), s = sigmoid(x).")
tanh_input_grad = _input_grad("tanh", "g (1 - y y).")


def bind_elementwise(name: str, x: Array, y: Array) -> Any:
    """The call that writes y = f(x); x and y lie alike, without gaps, and may be one array."""
    return core.MapCall(name, x, y)
