"""Functions of one number, on arrays in whatever memory order; formulas in ext/vmath.h.

A function of the contract is made here for each that ``tables.FUNCTIONS_OF_ONE`` names, and
for the input gradient of each that has one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from minigrad.arrays import Array
from minigrad.kernels.contract import functions_of_one, in_one_order
from minigrad.kernels.cython.core import core
from minigrad.kernels.cython.layout import in_order_of
from minigrad.threads import num_threads

__all__ = ["bind_elementwise"]


def _function(name: str) -> Callable[[Array], Array]:
    def function(x: Array) -> Array:
        x, y = in_one_order(x)
        core.elementwise(name, x, y, x.size, num_threads())
        return y

    return function


def _input_grad(name: str) -> Callable[[Array, Array], Array]:
    def function(g: Array, at: Array) -> Array:
        at, dx = in_one_order(at)
        core.elementwise(name, at, dx, at.size, num_threads(), in_order_of(at, g))
        return dx

    return function


_MADE = functions_of_one(_function, _input_grad)


def __getattr__(name: str) -> Callable[..., Array]:
    if name not in _MADE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return _MADE[name]


def bind_elementwise(name: str, x: Array, y: Array) -> Any:
    """The call that writes y = f(x); x and y lie alike, without gaps, and may be one array."""
    return core.MapCall(name, x, y)
