"""The functions of one number on arrays: activations and their input gradients, exp, log.

The formulas are in ``_vmath``.
"""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Callable

import numpy as np

from minigrad.kernels.contract import Array, in_one_order
from minigrad.kernels.numba import _vmath
from minigrad.kernels.numba._launch import kernel, run
from minigrad.kernels.numba._template import Template, static
from minigrad.kernels.numba._vectors import LANES, SIZE, load, load_n, store, store_n

NUMBERS = 16_384  # of one task


def _function(name: str, formula: str) -> Callable[[Array], Array]:
    def function(x: Array) -> Array:
        x, y = in_one_order(x)
        words = Elementwise(y, x, 0, x.size)
        run(each_number.of(x.dtype, _vmath.FUNCTIONS[name], 1), words, -(-x.size // NUMBERS))
        return y

    function.__name__ = function.__qualname__ = name
    function.__doc__ = formula
    return function


relu = _function("relu", "max(0, x); keeps NaN.")
relu6 = _function("relu6", "min(6, max(0, x)).")
hardsigmoid = _function("hardsigmoid", "relu6(x + 3) / 6.")
hardswish = _function("hardswish", "(x relu6(x + 3)) / 6.")
sigmoid = _function("sigmoid", "1 / (1 + e^-x).")
silu = _function("silu", "x sigmoid(x).")
tanh = _function("tanh", "The hyperbolic tangent.")
exp = _function("exp", "e^x.")
log = _function("log", "ln x; -inf at 0, NaN below.")


def _input_grad(of: str, formula: str) -> Callable[[Array, Array], Array]:
    name = f"{of}_input_grad"

    def function(g: Array, at: Array) -> Array:
        at, dx = in_one_order(at)
        if g.strides != at.strides or not g.flags.aligned:
            given, g = g, np.empty_like(at)
            g[...] = given
        words = Elementwise(dx, at, g, at.size)
        run(each_number.of(at.dtype, _vmath.SLOPES[of], 2), words, -(-at.size // NUMBERS))
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


# -- compiled


# The words of a job: y = f(x), or y = f(g, x).
Elementwise = namedtuple("Elementwise", "y x g size")


@kernel
def each_number(
    job: Elementwise, first: int, last: int, *, FUNCTION: Template, ARGUMENTS: int
) -> None:
    """A task: NUMBERS of them."""
    end = min(last * NUMBERS, job.size)
    y, x, g = job.y, job.x, job.g
    k = first * NUMBERS
    while k < end:
        at = k * SIZE
        if k + LANES <= end:
            if static(ARGUMENTS == 1):
                store(y + at, FUNCTION(load(x + at)))
            else:
                store(y + at, FUNCTION(load(g + at), load(x + at)))
        elif static(ARGUMENTS == 1):
            store_n(y + at, FUNCTION(load_n(x + at, end - k)), end - k)
        else:
            store_n(y + at, FUNCTION(load_n(g + at, end - k), load_n(x + at, end - k)), end - k)
        k += LANES
