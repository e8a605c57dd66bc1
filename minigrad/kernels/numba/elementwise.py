"""Functions of one number, on arrays in whatever memory order.

Their formulas stand in ``kernels/formulas`` and ``_vmath``.

A function of the contract is made here for each that ``tables.FUNCTIONS_OF_ONE`` names, and
for the input gradient of each that has one.
"""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Callable

from minigrad.kernels import formulas
from minigrad.kernels.contract import Array, functions_of_one, in_one_order
from minigrad.kernels.layout import in_order_of
from minigrad.kernels.numba import _vmath
from minigrad.kernels.numba._launch import kernel, run
from minigrad.kernels.numba._template import Template, template
from minigrad.kernels.numba._vectors import LANES, SIZE, load, store

NUMBERS = 16_384  # of one task


def _made(name: str) -> Callable[..., Array]:
    """The function (x) -> y, or the slope (g, x) -> dx."""
    formula = template(getattr(_vmath, name, None) or getattr(formulas, name))

    def function(*arrays: Array) -> Array:
        at, y = in_one_order(arrays[-1])
        g = in_order_of(at, arrays[0]) if len(arrays) > 1 else 0
        words = Elementwise(y, at, g, at.size)
        run(each_number.of(at.dtype, formula, len(arrays)), words, -(-at.size // NUMBERS))
        return y

    return function


_MADE = functions_of_one(_made, _made)


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
    for k in range(first * NUMBERS, end, LANES):
        at, n = k * SIZE, end - k
        v = load(x + at, n)
        w = FUNCTION(v) if ARGUMENTS == 1 else FUNCTION(load(g + at, n), v)
        store(y + at, w, n)
