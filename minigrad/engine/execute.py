"""The fast interpreter: every step bound to a compiled kernel, all values in one arena.

Binding decides everything once: where each value lies, which kernel serves the step, its
packed weights, its tiles and tasks.  Running is then one call after the other, in order.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from minigrad.engine.blocks import BLOCKS, gated_stages, stages_of
from minigrad.engine.trace import Graph, Step
from minigrad.kernels import cython_backend, run
from minigrad.kernels._ext import core
from minigrad.kernels.cython_blocks import bind_block, new_scratch
from minigrad.tensor import PRIMITIVES, Array, Shape

__all__ = ["Execution"]

Call = Callable[[int], object]
Get = Callable[[Any], Any]


class Execution:
    """The bound calls of a graph.

    Parameters
    ----------
    graph : Graph
    offsets : {value: byte offset in the arena}
    size : int
        Bytes of the arena.
    """

    def __init__(self, graph: Graph, offsets: Mapping[int, int], size: int) -> None:
        self.graph = graph
        self.lock = threading.Lock()
        self.scratch = new_scratch()
        arena = np.empty(size + 64, np.uint8)
        start = -arena.ctypes.data % 64
        self.values = {
            number: _placed(arena[start + offset :], graph.shape_of(number), graph.dtype)
            for number, offset in offsets.items()
        }
        self.calls = [(number, self._bound(step, number)) for number, step in graph.steps.items()]

    def __call__(self, x: Array, threads: int) -> list[Array]:
        """Copy x in, run every call, and copy the outputs out."""
        with self.lock:
            self._enter(x, threads)
            for _, call in self.calls:
                call(threads)
            return [np.array(self.values[number], order="C") for number in self.graph.outputs]

    def _enter(self, x: Array, threads: int) -> None:
        into = self.values[0]
        if x.ndim == 4 and x.flags.aligned and x.flags.c_contiguous:
            core.to_channels_last(x, into, threads)  # type: ignore[union-attr]
        else:
            np.copyto(into, x)

    def times(self, repeats: int, threads: int) -> dict[int, float]:
        """Median microseconds of each step, run in order."""
        seen: dict[int, list[float]] = {number: [] for number, _ in self.calls}
        with self.lock:
            for _ in range(repeats):
                for number, call in self.calls:
                    start = time.perf_counter_ns()
                    call(threads)
                    seen[number].append((time.perf_counter_ns() - start) / 1e3)
        return {number: float(np.median(t)) for number, t in seen.items()}

    def _get(self, ref: Any) -> Any:
        return self.values[ref] if type(ref) is int else ref

    def _bound(self, step: Step, number: int) -> Call:
        binder = _BINDERS.get(step.op, _bind_any)
        return binder(step, self._get, self.values[number], self.scratch)


def _placed(memory: Array, shape: Shape, dtype: np.dtype[Any]) -> Array:
    """An array of NCHW shape in the arena, channels-last if it is a map."""
    size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    flat = memory[:size].view(dtype)
    if len(shape) != 4:
        return flat.reshape(shape)
    n, c, h, w = shape
    placed: Array = flat.reshape(n, h, w, c).transpose(0, 3, 1, 2)
    return placed


def _bind_conv2d(step: Step, get: Get, y: Array, scratch: Any) -> Call:
    if "gate" in step.epilogue:
        gated: Call = bind_block(gated_stages(step, get), y, scratch).run
        return gated
    x, w, bias = (get(ref) for ref in step.inputs)
    residual = get(step.epilogue["residual"]) if "residual" in step.epilogue else None
    packed = cython_backend.pack(w, step.params["spec"])
    activation = step.epilogue.get("activation")
    bias = None if bias is None else np.ascontiguousarray(bias)
    run_it: Call = cython_backend.bind_conv2d(x, packed, y, bias, residual, activation).run
    return run_it


def _bind_block(step: Step, get: Get, y: Array, scratch: Any) -> Call:
    run_it: Call = bind_block(stages_of(step, get), y, scratch).run
    return run_it


def _bind_any(step: Step, get: Get, y: Array, scratch: Any) -> Call:
    """A step without a bound kernel: its primitive, and a copy into its place."""
    forward, params = PRIMITIVES[step.op].forward, step.params
    refs, epilogue = step.inputs, step.epilogue

    def call(threads: int) -> None:
        value = forward(*(get(ref) for ref in refs), **params)
        value = value[0] if isinstance(value, tuple) else value
        if "activation" in epilogue:
            value = run(epilogue["activation"], value)
        if "residual" in epilogue:
            value = value + get(epilogue["residual"])
        np.copyto(y, value)

    return call


_BINDERS: dict[str, Callable[[Step, Get, Array, Any], Call]] = {
    "conv2d": _bind_conv2d,
    **{pattern.name: _bind_block for pattern in BLOCKS},
}
