"""The fast interpreter: every step bound to a compiled kernel, all values in one arena.

Binding decides everything once: where each value lies, which kernel serves the step, its
packed weights, its tiles and tasks.  Running is then one call of the core, which goes
through the bound steps without the GIL; a step that has no bound kernel runs in Python.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from itertools import groupby
from typing import Any

import numpy as np

from minigrad.engine.blocks import BLOCKS, gated_stages, stages_of
from minigrad.engine.interpret import perform
from minigrad.engine.trace import Graph, Step
from minigrad.geometry import ConvSpec
from minigrad.kernels import cython_backend
from minigrad.kernels._ext import core
from minigrad.kernels.cython_blocks import bind_block, new_scratch
from minigrad.tensor import Array, Shape

__all__ = ["Execution"]

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
        self.programs = list(self._programs())

    def __call__(self, x: Array, threads: int) -> list[Array]:
        """Copy x in, run every call, and copy the outputs out."""
        with self.lock:
            self._enter(x, threads)
            for program in self.programs:
                program.run(threads)
            return [np.array(self.values[number], order="C") for number in self.graph.outputs]

    def _programs(self) -> Iterator[Any]:
        """All steps as one call of the core, unless some of them are Python's."""
        assert core is not None
        for bound, calls in groupby((call for _, call in self.calls), core.is_bound):
            if bound:
                yield core.Program(list(calls), self.scratch)
            else:
                yield from calls

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
                    call.run(threads)
                    seen[number].append((time.perf_counter_ns() - start) / 1e3)
        return {number: float(np.median(t)) for number, t in seen.items()}

    def _get(self, ref: Any) -> Any:
        return self.values[ref] if type(ref) is int else ref

    def _bound(self, step: Step, number: int) -> Any:
        binder = _BINDERS.get(step.op, _PythonCall)
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


def _bind_conv2d(step: Step, get: Get, y: Array, scratch: Any) -> Any:
    if "gate" in step.epilogue:
        return bind_block(gated_stages(step, get), y, scratch)
    x, w, bias = (get(ref) for ref in step.inputs)
    residual = get(step.epilogue["residual"]) if "residual" in step.epilogue else None
    packed = cython_backend.pack(w, step.params["spec"])
    bias = None if bias is None else np.ascontiguousarray(bias)
    return cython_backend.bind_conv2d(x, packed, y, bias, residual, step.epilogue.get("activation"))


def _bind_block(step: Step, get: Get, y: Array, scratch: Any) -> Any:
    return bind_block(stages_of(step, get), y, scratch)


def _bind_linear(step: Step, get: Get, y: Array, scratch: Any) -> Any:
    """A pointwise convolution on a map of one pixel: the same sum, in the same order."""
    x, w, bias = (get(ref) for ref in step.inputs)
    packed = cython_backend.pack(w[:, :, None, None], ConvSpec())
    bias = None if bias is None else np.ascontiguousarray(bias)
    return cython_backend.bind_conv2d(x[:, :, None, None], packed, y[:, :, None, None], bias)


def _bind_mean(step: Step, get: Get, y: Array, scratch: Any) -> Any:
    x = get(step.inputs[0])
    n, c, h, w = x.shape
    return _core().MeanCall(x.transpose(0, 2, 3, 1).reshape(n, h * w, c), y.reshape(n, c))


def _bind_max_pool(step: Step, get: Get, y: Array, scratch: Any) -> Any:
    x = get(step.inputs[0])
    window = step.params["window"]
    return _core().MaxPoolCall(x.transpose(0, 2, 3, 1), y.transpose(0, 2, 3, 1), window)


def _bind_reshape(step: Step, get: Get, y: Array, scratch: Any) -> Any:
    x = get(step.inputs[0])
    if not (x.flags.c_contiguous and y.flags.c_contiguous):
        return _PythonCall(step, get, y)
    return _core().CopyCall(x, y)


def _bind_map(step: Step, get: Get, y: Array, scratch: Any) -> Any:
    if step.epilogue:
        return _PythonCall(step, get, y)
    return _core().MapCall(step.op, get(step.inputs[0]), y)


def _core() -> Any:
    assert core is not None
    return core


class _PythonCall:
    """A step without a bound kernel: its definition, and a copy into its place."""

    def __init__(self, step: Step, get: Get, y: Array, scratch: Any = None) -> None:
        self.step, self.get, self.y = step, get, y

    def run(self, threads: int) -> None:
        np.copyto(self.y, perform(self.step, self.get))


ELEMENTWISE = (
    "relu", "relu6", "hardsigmoid", "hardswish", "sigmoid", "silu", "tanh", "exp", "log",
)  # fmt: skip
_BINDERS: dict[str, Callable[[Step, Get, Array, Any], Any]] = {
    "conv2d": _bind_conv2d,
    "linear": _bind_linear,
    "global_avg_pool": _bind_mean,
    "max_pool2d": _bind_max_pool,
    "reshape": _bind_reshape,
    **dict.fromkeys(ELEMENTWISE, _bind_map),
    **{pattern.name: _bind_block for pattern in BLOCKS},
}
