"""The input gradients of the activations, dx[k] = g[k] f'(x[k]), lane by lane.

The formulas and their order are those of ``kernels/numpy/elementwise.py``; ``at`` is x or, where
the slope can be told from it, y = f(x).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numba import types

from minigrad.kernels._numba import launch
from minigrad.kernels._numba.functions import NUMBERS, Functions
from minigrad.kernels._numba.launch import address, compiled, job, run, vector_bytes
from minigrad.kernels._numba.vectors import Value, intrinsic, literal, word
from minigrad.kernels.contract import Array, in_one_order

__all__ = ["input_grad"]

NAMES = ("relu", "relu6", "hardsigmoid", "hardswish", "sigmoid", "silu", "tanh")


class Slopes(Functions):
    """g f'(x) on one vector of each."""

    def _unless(self, outside: Value, g: Value) -> Value:
        return self.where(outside, self.zero, g)

    def _not_above(self, a: Value, bound: float) -> Value:
        return self.builder.fcmp_ordered("<=", a, self.number(bound))

    def _not_below(self, a: Value, bound: float) -> Value:
        return self.builder.fcmp_ordered(">=", a, self.number(bound))

    def relu_slope(self, g: Value, y: Value) -> Value:
        return self._unless(self._not_above(y, 0.0), g)

    def relu6_slope(self, g: Value, y: Value) -> Value:
        outside = self.builder.or_(self._not_above(y, 0.0), self._not_below(y, 6.0))
        return self._unless(outside, g)

    def hardsigmoid_slope(self, g: Value, x: Value) -> Value:
        outside = self.builder.or_(self._not_above(x, -3.0), self._not_below(x, 3.0))
        return self._unless(outside, self.div(g, self.number(6.0)))

    def hardswish_slope(self, g: Value, x: Value) -> Value:
        line = self.add(self.mul(x, self.number(2.0)), self.number(3.0))
        between = self.div(self.mul(g, line), self.number(6.0))
        beside = self.where(self._not_below(x, 3.0), g, between)
        return self._unless(self._not_above(x, -3.0), beside)

    def sigmoid_slope(self, g: Value, y: Value) -> Value:
        return self.mul(self.mul(g, y), self.sub(self.number(1.0), y))

    def silu_slope(self, g: Value, x: Value) -> Value:
        one, s = self.number(1.0), self.sigmoid(x)
        return self.mul(self.mul(g, s), self.add(self.mul(x, self.sub(one, s)), one))

    def tanh_slope(self, g: Value, y: Value) -> Value:
        return self.mul(g, self.sub(self.number(1.0), self.mul(y, y)))


def input_grad(of: str, g: Array, at: Array) -> Array:
    """dx = g f'(x), in the memory order of ``at``."""
    at, dx = in_one_order(at)
    if g.strides != at.strides or not g.flags.aligned:
        given, g = g, np.empty_like(at)
        g[...] = given
    if at.size:
        kernel = _kernel(NAMES.index(of), at.itemsize, vector_bytes() // at.itemsize)
        run(kernel, job(address(dx), address(g), address(at), at.size), -(-at.size // NUMBERS))
    return dx


@functools.cache
def _kernel(which: int, itemsize: int, lanes: int) -> Any:
    stamp = launch.STAMP

    def slope(table: int, first: int, last: int) -> None:
        stamp  # noqa: B018  part of the key of the cache
        dx, g, at, size = word(table, 0), word(table, 1), word(table, 2), word(table, 3)
        end = min(last * NUMBERS, size)
        k = first * NUMBERS
        while k + lanes <= end:
            place = k * itemsize
            apply(dx + place, g + place, at + place, lanes, which, itemsize, lanes, 0)
            k += lanes
        if k < end:
            place = k * itemsize
            apply(dx + place, g + place, at + place, end - k, which, itemsize, lanes, 1)

    return compiled(slope)


@intrinsic
def apply(
    typing: Any, to: Any, g: Any, at: Any, tail: Any, which: Any, itemsize: Any, lanes: Any,
    masked: Any,
) -> Any:  # fmt: skip
    """One vector of dx = g f'(x)."""

    def codegen(context: Any, builder: Any, signature: Any, args: Sequence[Value]) -> Value:
        end = args[3] if literal(masked) else None
        v = Slopes(builder, literal(itemsize), literal(lanes), end)
        slope: Callable[[Value, Value], Value] = getattr(v, f"{NAMES[literal(which)]}_slope")
        v.store_tail(slope(v.load_tail(args[1]), v.load_tail(args[2])), args[0])
        return context.get_dummy_value()

    return types.void(*[types.int64] * 4, which, itemsize, lanes, masked), codegen
