"""Functions of one number, on arrays in whatever memory order; formulas in ext/vmath.h."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from minigrad.kernels._cython import memory
from minigrad.kernels.contract import Array, one_dtype
from minigrad.threads import num_threads

__all__ = [
    "exp",
    "hardsigmoid",
    "hardswish",
    "log",
    "relu",
    "relu6",
    "sigmoid",
    "silu",
    "tanh",
]

_FLOAT32, _FLOAT64 = np.dtype(np.float32), np.dtype(np.float64)


def _elementwise(name: str, formula: str) -> Callable[[Array], Array]:
    def function(x: Array) -> Array:
        if x.dtype is not _FLOAT32 and x.dtype is not _FLOAT64:
            one_dtype(name, x=x)
        y = np.empty_like(x, subok=False)
        if x.strides != y.strides or not x.flags.aligned:  # gaps, repetitions, odd addresses
            x = x.copy(order="K")
            y = np.empty_like(x, subok=False)
        memory.core.elementwise(name, x, y, x.size, num_threads())
        return y

    function.__name__ = function.__qualname__ = name
    function.__doc__ = formula
    return function


relu = _elementwise("relu", "max(0, x); keeps NaN, and the sign of zero.")
relu6 = _elementwise("relu6", "min(6, max(0, x)).")
hardsigmoid = _elementwise("hardsigmoid", "relu6(x + 3) / 6, in these three operations.")
hardswish = _elementwise("hardswish", "(x relu6(x + 3)) / 6, in these operations; NaN at -inf.")
sigmoid = _elementwise("sigmoid", "1 / (1 + e^-x); within 2.5 ULP.")
silu = _elementwise("silu", "x / (1 + e^-x); within 3.5 ULP; NaN at -inf, as x sigmoid(x) is.")
tanh = _elementwise("tanh", "The hyperbolic tangent; within 2.6 ULP.")
exp = _elementwise("exp", "e^x; within 1.1 ULP, subnormal results included.")
log = _elementwise("log", "ln x; within 0.9 ULP; -inf at 0, NaN below.")
