"""Bound calls of the steps of a training step that no sweep of a batch norm takes in.

Functions of two numbers, sums, linear maps, max pools, and what is only moved.  Binders are
those of ``sweeps``: calls in order, or None where the core has no kernel for such arrays.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np

from minigrad.arrays import Array
from minigrad.engine.graph import Ref, Step
from minigrad.kernels.cython.copying import bind_copies
from minigrad.kernels.cython.core import BoundCall
from minigrad.kernels.cython.dense import bind_linear
from minigrad.kernels.cython.layout import has_no_gaps, regular
from minigrad.kernels.cython.pairs import bind_views
from minigrad.kernels.cython.pooling import (
    bind_avg_pool2d_input_grad,
    bind_column_sums,
    bind_max_pool2d,
    bind_max_pool2d_places,
    bind_scatter,
)

__all__ = ["UNFUSED", "Binder", "Calls", "Get", "arrays", "maps", "turned"]

Get: TypeAlias = "Callable[[Ref], Array | None]"
Calls: TypeAlias = "Sequence[BoundCall] | None"  # None where no kernel is for the arrays
Binder: TypeAlias = "Callable[[Step, Get, Array], Calls]"


def arrays(step: Step, get: Get) -> list[Array]:
    """The arrays of all inputs that are there."""
    return [x for ref in step.inputs if (x := get(ref)) is not None]


def maps(*several: Array) -> bool:
    """Whether all of them are channels-last, without gaps, and not empty."""
    return all(x.ndim == 4 and x.size and has_no_gaps(x) and x.flags.aligned for x in several)


class _Turned:
    """A copy of an array whose numbers do not lie at whole steps."""

    def __init__(self, x: Array, y: Array) -> None:
        self.x, self.y = x, y

    def run(self, threads: int) -> None:
        np.copyto(self.y, self.x)


def turned(x: Array, y: Array) -> BoundCall:
    """The call that writes x to y, of one shape and dtype, in whatever order each lies."""
    call: BoundCall = bind_copies([(x, y)]) if regular(x) and x.size else _Turned(x, y)
    return call


def _pair(step: Step, get: Get, y: Array) -> Calls:
    a, b = arrays(step, get)
    call = bind_views(step.op, a, b, y)
    return None if call is None else [call]


def _sum(step: Step, get: Get, y: Array) -> Calls:
    (x,) = arrays(step, get)
    axes = tuple(sorted(axis % x.ndim for axis in step.params["axes"]))
    n, c = (*x.shape, 0, 0)[:2]
    if maps(x) and axes in ((2, 3), (0, 2, 3)):
        x, batch = x.transpose(0, 2, 3, 1), n if axes == (2, 3) else 1
    elif x.ndim == 2 and x.flags.c_contiguous and x.flags.aligned and axes == (0,):
        batch = 1
    else:
        return None
    return [bind_column_sums(x.reshape(batch, -1, c), y)]


def _linear(step: Step, get: Get, y: Array) -> Calls:
    x, w = arrays(step, get)[:2]
    bias = get(step.inputs[2])
    in_order = [x, y] if bias is None else [x, y, bias]
    if not all(a.flags.c_contiguous and a.flags.aligned for a in in_order) or not x.size:
        return None
    if not (w.flags.aligned and (w.flags.c_contiguous or w.T.flags.c_contiguous)):
        return None
    return [bind_linear(x, w, bias, y)]


def _max_pool(step: Step, get: Get, y: Array) -> Calls:
    (x,) = arrays(step, get)
    return [bind_max_pool2d(x, step.params["window"], y)] if maps(x, y) else None


def _where(step: Step, get: Get, y: Array) -> Calls:
    (x,) = arrays(step, get)
    return [bind_max_pool2d_places(x, step.params["window"], y)] if maps(x, y) else None


def _avg_pool_gradient(step: Step, get: Get, y: Array) -> Calls:
    (g,) = arrays(step, get)
    params = step.params
    if not maps(g, y):
        return None
    return [bind_avg_pool2d_input_grad(g, params["window"], y, params["count_include_pad"])]


def _scatter(step: Step, get: Get, y: Array) -> Calls:
    (g,) = arrays(step, get)
    where = get(step.params["where"])
    if where is None or step.params["long"] or not maps(g, where, y):
        return None
    return [bind_scatter(g, where, y)]


def _moved(step: Step, get: Get, y: Array) -> Calls:
    """A repetition, or a reshape whose result lies in C order."""
    (x,) = arrays(step, get)
    if step.op == "broadcast_to":
        x = np.broadcast_to(x, y.shape)
    if not regular(x) or x.dtype != y.dtype:
        return None
    if x.shape != y.shape:
        if not y.flags.c_contiguous:
            return None
        y = y.reshape(x.shape)
    return [bind_copies([(x, y)])]


UNFUSED: dict[str, Binder] = {
    **dict.fromkeys(("add", "sub", "mul", "div", "maximum", "minimum"), _pair),
    **dict.fromkeys(("broadcast_to", "reshape"), _moved),
    "sum": _sum,
    "linear": _linear,
    "max_pool2d": _max_pool,
    "max_pool2d_where": _where,
    "scatter": _scatter,
    "avg_pool2d_input_grad": _avg_pool_gradient,
}
