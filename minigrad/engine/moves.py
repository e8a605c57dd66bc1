"""Steps that move numbers, or join two arrays number by number, bound to compiled kernels.

What moves is a list of copies, each from an array to a part of another: the pieces of a
concatenation, a slice, axes in another order, a map from channels-last to row-major memory, a
map and the numbers around it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Protocol

import numpy as np

from minigrad.arrays import Array
from minigrad.engine.graph import Ref, Step
from minigrad.engine.memory import in_order
from minigrad.kernels.cython.copying import bind_copies
from minigrad.kernels.cython.pairs import PAIRS, bind_pair

__all__ = ["MOVES"]

Copies = Iterator[tuple[Array, Array]]


class Placed(Protocol):
    """Where values lie."""

    def array(self, ref: Ref) -> Array:
        """The array of a reference that is not None."""


def _along(axis: int, part: slice) -> tuple[slice, ...]:
    """The index of a part of an axis."""
    return (*(slice(None),) * axis, part)


def _concat(step: Step, bound: Placed, y: Array) -> Copies:
    start, axis = 0, step.params["axis"]
    for ref in step.inputs:
        x = bound.array(ref)
        place = y[_along(axis, slice(start, start + x.shape[axis]))]
        start += x.shape[axis]
        yield x, place


def _interleave(step: Step, bound: Placed, y: Array) -> Copies:
    from minigrad.ops.transposed import woven  # few networks have such a step

    for k, ref in enumerate(step.inputs):
        yield bound.array(ref), y[woven(k, step.params["stride"])]


def _transpose(step: Step, bound: Placed, y: Array) -> Copies:
    yield bound.array(step.inputs[0]).transpose(step.params["axes"]), y


def _getitem(step: Step, bound: Placed, y: Array) -> Copies:
    yield np.asarray(bound.array(step.inputs[0])[step.params["index"]]), y


def _broadcast(step: Step, bound: Placed, y: Array) -> Copies:
    yield np.broadcast_to(bound.array(step.inputs[0]), y.shape), y


def _clone(step: Step, bound: Placed, y: Array) -> Copies:
    yield bound.array(step.inputs[0]), y


def _line(x: Array) -> Array:
    """The numbers of a value that is in order, as they lie."""
    return (x.transpose(0, 2, 3, 1) if x.ndim == 4 else x).reshape(-1)


def _reshape(step: Step, bound: Placed, y: Array) -> Copies:
    x = bound.array(step.inputs[0])
    if in_order(y.shape):
        yield x, _line(y).reshape(x.shape)
    else:
        yield _line(x).reshape(y.shape), y


def _pad(step: Step, bound: Placed, y: Array) -> Copies:
    """The middle, and on each axis what lies before and after, of the axes that come later."""
    x, middle = bound.array(step.inputs[0]), y
    value = np.array(step.params["value"], y.dtype)
    for axis, (before, after) in enumerate(step.params["pads"]):
        n = middle.shape[axis]
        for edge in (slice(0, before), slice(n - after, n)):
            if edge.start < edge.stop:
                around = middle[_along(axis, edge)]
                yield np.broadcast_to(value, around.shape), around
        middle = middle[_along(axis, slice(before, n - after))]
    yield x, middle


def _copying(pairs: Callable[[Step, Placed, Array], Copies]) -> Callable[[Step, Any, Array], Any]:
    def bind(step: Step, bound: Placed, y: Array) -> Any:
        return bind_copies([(x, to) for x, to in pairs(step, bound, y) if not _is_there(x, to)])

    return bind


def _is_there(x: Array, y: Array) -> bool:
    """Whether x was written where it belongs."""
    return x.ctypes.data == y.ctypes.data and (x.shape, x.strides) == (y.shape, y.strides)


def _bind_pair(step: Step, bound: Placed, y: Array) -> Any:
    a, b = (bound.array(ref) for ref in step.inputs)
    if step.op == "prelu":
        b = np.broadcast_to(b.reshape((-1,) + (1,) * (y.ndim - 2)), y.shape)
    return bind_pair(step.op, a, b, y)


def _bind_resample(step: Step, bound: Placed, y: Array) -> Any:
    from minigrad.kernels.cython.resampling import bind_resample  # few networks have such a step

    return bind_resample(
        bound.array(step.inputs[0]), step.params["rows"], step.params["columns"], y
    )


MOVES: dict[str, Callable[[Step, Any, Array], Any]] = {
    "concat": _copying(_concat),
    "interleave": _copying(_interleave),
    "transpose": _copying(_transpose),
    "getitem": _copying(_getitem),
    "broadcast_to": _copying(_broadcast),
    "clone": _copying(_clone),
    "reshape": _copying(_reshape),
    "pad": _copying(_pad),
    "resample": _bind_resample,
    **dict.fromkeys(PAIRS, _bind_pair),
}
