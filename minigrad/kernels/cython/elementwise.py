"""Functions of one number, on arrays in whatever memory order; formulas in ext/vmath.h.

A function of the contract is made here for each that ``tables.FUNCTIONS_OF_ONE`` names, and
for the input gradient of each that has one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from minigrad.kernels.contract import Array, in_one_order
from minigrad.kernels.cython.core import core
from minigrad.kernels.cython.layout import in_order_of
from minigrad.kernels.tables import FUNCTIONS_OF_ONE
from minigrad.threads import num_threads

__all__ = ["bind_elementwise"]


def _function(name: str) -> Callable[[Array], Array]:
    def function(x: Array) -> Array:
        x, y = in_one_order(x)
        core.elementwise(name, x, y, x.size, num_threads())
        return y

    function.__name__ = function.__qualname__ = name
    return function


def _input_grad(name: str) -> Callable[[Array, Array], Array]:
    def function(g: Array, at: Array) -> Array:
        at, dx = in_one_order(at)
        core.elementwise(name, at, dx, at.size, num_threads(), in_order_of(at, g))
        return dx

    function.__name__ = function.__qualname__ = name
    return function


_MADE: dict[str, Callable[..., Array]] = {f.name: _function(f.name) for f in FUNCTIONS_OF_ONE}
_MADE |= {f.input_grad: _input_grad(f.input_grad) for f in FUNCTIONS_OF_ONE if f.slope}


def __getattr__(name: str) -> Any:
    if name not in _MADE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return _MADE[name]


def bind_elementwise(name: str, x: Array, y: Array) -> Any:
    """The call that writes y = f(x); x and y lie alike, without gaps, and may be one array."""
    return core.MapCall(name, x, y)
