"""Functions of one number, on arrays in whatever memory order; formulas in ``_vmath``.

A function of the contract is made here for each that ``tables.FUNCTIONS_OF_ONE`` names, and
for the input gradient of each that has one.
"""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Callable

import numpy as np

from minigrad.kernels.contract import Array, functions_of_one, in_one_order
from minigrad.kernels.numba import _vmath
from minigrad.kernels.numba._launch import kernel, run
from minigrad.kernels.numba._template import Template, branch, static, template
from minigrad.kernels.numba._vectors import LANES, SIZE, load_n, store_n

NUMBERS = 16_384  # of one task


def _function(name: str) -> Callable[[Array], Array]:
    def function(x: Array) -> Array:
        x, y = in_one_order(x)
        words = Elementwise(y, x, 0, x.size)
        run(each_number.of(x.dtype, getattr(_vmath, name), 1), words, -(-x.size // NUMBERS))
        return y

    return function


def _input_grad(name: str) -> Callable[[Array, Array], Array]:
    def function(g: Array, at: Array) -> Array:
        at, dx = in_one_order(at)
        if g.strides != at.strides or not g.flags.aligned:
            given, g = g, np.empty_like(at)
            g[...] = given
        words = Elementwise(dx, at, g, at.size)
        run(each_number.of(at.dtype, getattr(_vmath, name), 2), words, -(-at.size // NUMBERS))
        return dx

    return function


_MADE = functions_of_one(_function, _input_grad)


def __getattr__(name: str) -> Callable[..., Array]:
    if name not in _MADE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return _MADE[name]


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
        at, n = k * SIZE, end - k
        one_vector[FUNCTION, ARGUMENTS, branch(n < LANES, True, False)](y + at, x + at, g + at, n)
        k += LANES


@template
def one_vector(
    y: int, x: int, g: int, n: int, *, FUNCTION: Template, ARGUMENTS: int, PARTIAL: bool
) -> None:
    if static(ARGUMENTS == 1):
        store_n(y, FUNCTION(load_n(x, n, PARTIAL)), n, PARTIAL)
    else:
        store_n(y, FUNCTION(load_n(g, n, PARTIAL), load_n(x, n, PARTIAL)), n, PARTIAL)
