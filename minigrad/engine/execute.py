"""The fast interpreter: every step bound to a compiled kernel, all values in arenas.

Binding decides everything once: where each value lies, which kernel serves the step, its
packed weights, its tiles and tasks.  Running is then one call of the core for each group
of images (``schedule``), which goes through the bound steps without the GIL; a step that
has no bound kernel runs in Python.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from typing import Any

import numpy as np

from minigrad.engine.blocks import BLOCKS, gated_stages, stages_of
from minigrad.engine.interpret import perform
from minigrad.engine.memory import Arena, arena, in_order, is_alias
from minigrad.engine.schedule import Schedule, macs, map_bytes, weight_bytes
from minigrad.engine.slab import Slab
from minigrad.engine.trace import Graph, Step, has_constants
from minigrad.geometry import ConvSpec
from minigrad.kernels import cython_backend
from minigrad.kernels._ext import core
from minigrad.kernels.contract import classify
from minigrad.kernels.cython_blocks import bind_block, new_scratch
from minigrad.tensor import Array, Shape
from minigrad.threads import threads as using_threads

__all__ = ["Execution", "has_kernel"]

WORTH_A_THREAD = 32_000  # numbers touched, or 8 multiply-adds each: about a microsecond

Times = dict[int, float]


class Execution:
    """A schedule bound to memory: the head once for each thread that runs it, and the tails.

    Attributes
    ----------
    lanes : list of Bound
        The head, in an arena for one image each; made when first needed.
    tails : {images: Bound}
    """

    def __init__(self, plan: Schedule) -> None:
        self.schedule, self.lock = plan, threading.Lock()
        self.scratch, self.packed = new_scratch(), _Packed([plan.head, plan.tails[plan.groups[0]]])
        self.head = arena(plan.head)
        self.lanes: list[Bound] = []
        places = {size: arena(tail) for size, tail in plan.tails.items()}
        memory = np.empty(max(place.size for place in places.values()) + 64, np.uint8)
        self.tails = {
            size: Bound(tail, places[size], memory, self.scratch, self.packed)
            for size, tail in plan.tails.items()
        }
        self.images: dict[int, Any] = {}

    def __call__(self, x: Array, threads: int) -> list[Array]:
        """The outputs for a batch, group by group."""
        with self.lock:
            return self._run(x, threads)

    def _run(self, x: Array, threads: int) -> list[Array]:
        self._widen(min(threads, max(self.schedule.groups)))
        rows, first = _as_maps(x), 0
        made: list[list[Array]] = []
        for size in self.schedule.groups:
            self.images[size].run(rows, first, size, threads)
            tail = self.tails[size]
            for _, program in tail.programs:
                program.run(threads)
            made.append([np.array(tail.values[k], order="C") for k in tail.graph.outputs])
            first += size
        return made[0] if len(made) == 1 else [np.concatenate(y) for y in zip(*made, strict=True)]

    def _widen(self, lanes: int) -> None:
        """Have a head for so many threads."""
        if lanes <= len(self.lanes):
            return
        while len(self.lanes) < lanes:
            memory = np.empty(self.head.size + 64, np.uint8)
            self.lanes.append(
                Bound(self.schedule.head, self.head, memory, self.scratch, self.packed)
            )
        for size, tail in self.tails.items():
            crossing = self.schedule.head.outputs
            self.images[size] = _core().Images(
                [lane.program for lane in self.lanes],
                [_as_maps(lane.values[0]) for lane in self.lanes],
                [[lane.values[k] for k in crossing] for lane in self.lanes],
                [tail.values[k] for k in crossing],
                self.scratch,
            )

    def times(self, x: Array, repeats: int, threads: int) -> Times:
        """Median microseconds of each step in a run; of step 0, of bringing the input in."""
        with self.lock:
            self._run(x, threads)
            parts = [*self.lanes, *self.tails.values()]
            runs = []
            for _ in range(repeats):
                for part in parts:
                    part.start_clocks()
                self._run(x, threads)
                runs.append(self._read_clocks(parts))
        return {k: 1e6 * float(np.median([run[k] for run in runs])) for k in runs[0]}

    def peak(self, threads: int) -> float:
        """The most FMAs the core does in the plan's dtype, in GFLOP/s."""
        return float(_core().peak(0.1, threads, self.schedule.head.dtype.itemsize))

    def _read_clocks(self, parts: list[Bound]) -> Times:
        total = {0: sum(images.entering() for images in self.images.values())}
        for part in parts:
            for number, seconds in part.read_clocks():
                total[number] = total.get(number, 0.0) + seconds
        return total


class Bound:
    """The calls of a graph, and its values in an arena.

    Attributes
    ----------
    values : {number: ndarray}
    programs : list of (numbers, program)
        The steps in order: runs of the core, and single steps of Python.
    """

    def __init__(
        self, graph: Graph, place: Arena, memory: Array, scratch: Any, packed: _Packed
    ) -> None:
        start = -memory.ctypes.data % 64
        self.graph, self.scratch, self.packed = graph, scratch, packed
        self.values = {
            number: _placed(memory[start + offset :], graph.shape_of(number), graph.dtype)
            for number, offset in place.offsets.items()
        }
        self.programs = list(self._programs())

    @property
    def program(self) -> Any:
        """The only one, of a graph without steps in Python."""
        return self.programs[0][1] if self.programs else _core().Program([], [], self.scratch)

    def get(self, ref: Any) -> Any:
        """The array that a reference stands for."""
        return self.values[ref] if type(ref) is int else ref

    def _programs(self) -> Iterator[tuple[tuple[int, ...], Any]]:
        """All steps as one call of the core, unless some of them are Python's."""
        steps = [
            (number, step)
            for number, step in self.graph.steps.items()
            if step.op != "given" and not is_alias(self.graph, step)
        ]
        for compiled, found in groupby(steps, lambda pair: has_kernel(self.graph, pair[1])):
            run = list(found)
            if compiled:
                calls = [_BINDERS[step.op](step, self, self.values[k]) for k, step in run]
                shares = [_threads_worth(self.graph, step) for _, step in run]
                yield tuple(k for k, _ in run), _core().Program(calls, shares, self.scratch)
            else:
                yield from (((k,), _PythonCall(step, self, self.values[k])) for k, step in run)

    def start_clocks(self) -> None:
        """From now on each step is timed."""
        for _, program in self.programs:
            program.start_clocks()

    def read_clocks(self) -> Iterator[tuple[int, float]]:
        """(number, seconds) of each step since then."""
        for numbers, program in self.programs:
            yield from zip(numbers, program.read_clocks(), strict=True)


class _Packed:
    """Weights in the order in which the kernels read them, packed once for all lanes."""

    def __init__(self, graphs: Sequence[Graph]) -> None:
        self.made: dict[tuple[int, ConvSpec], Any] = {}
        steps = [step for graph in graphs for step in graph.steps.values()]
        parts = [part for step in steps for part in step.params.get("parts", {0: step}).values()]
        self.room = Slab(sum(_packed_bytes(part) for part in parts))

    def __call__(self, w: Array, spec: ConvSpec) -> Any:
        """``w``, a constant of the graph; that of ``linear`` has two axes."""
        key = id(w), spec
        if key not in self.made:
            self.made[key] = cython_backend.pack(_as_maps(w), spec, self.room)
        return self.made[key]


def _packed_bytes(step: Step) -> int:
    """What the weights of a convolution that is not depthwise take, packed."""
    if step.op not in ("conv2d", "linear") or not has_constants(step):
        return 0
    w, spec = step.inputs[1], step.params.get("spec", ConvSpec())
    if w.ndim == 4 and classify(spec, w.shape) == "depthwise":
        return 0
    shape = w.shape if w.ndim == 4 else (*w.shape, 1, 1)
    return 64 + int(_core().packed_bytes(shape, spec.groups, w.itemsize))


def _threads_worth(graph: Graph, step: Step) -> int:
    """How many threads a step is worth: waking one costs as much as a little work."""
    numbers = (map_bytes(graph, step) + weight_bytes(step)) // graph.dtype.itemsize
    return 1 + (macs(graph, step) // 8 + numbers) // WORTH_A_THREAD


def _as_maps(x: Array) -> Array:
    """x as a map of NCHW shape, in a memory order that the core can read."""
    if not x.flags.aligned or any(step % x.itemsize for step in x.strides):
        x = np.array(x, order="C")
    return x if x.ndim == 4 else x.reshape(*(x.shape[:1] or (1,)), -1, 1, 1)


def _placed(memory: Array, shape: Shape, dtype: np.dtype[Any]) -> Array:
    """An array of NCHW shape in the arena, channels-last if it is a map."""
    size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    flat = memory[:size].view(dtype)
    if len(shape) != 4:
        return flat.reshape(shape)
    n, c, h, w = shape
    placed: Array = flat.reshape(n, h, w, c).transpose(0, 3, 1, 2)
    return placed


def has_kernel(graph: Graph, step: Step) -> bool:
    """Whether the compiled core can run a step, or nothing has to be run."""
    if step.op == "reshape":
        shapes = graph.shape_of(step.inputs[0]), step.shape
        return all(in_order(shape) for shape in shapes)
    if step.op in ("conv2d", "linear") and not has_constants(step):
        return False
    return step.op in _BINDERS


def _bind_conv2d(step: Step, bound: Bound, y: Array) -> Any:
    if "gate" in step.epilogue:
        return bind_block(gated_stages(step, bound.get, bound.packed), y, bound.scratch)
    return _bind_linear_map(step, bound, y, step.params["spec"])


def _bind_linear(step: Step, bound: Bound, y: Array) -> Any:
    """A pointwise convolution on a map of one pixel: the same sum, in the same order."""
    return _bind_linear_map(step, bound, y, ConvSpec())


def _bind_linear_map(step: Step, bound: Bound, y: Array, spec: ConvSpec) -> Any:
    x, w, bias = step.inputs
    residual = bound.get(step.epilogue.get("residual"))
    bias = None if bias is None else np.ascontiguousarray(bias)
    return cython_backend.bind_conv2d(
        _as_maps(bound.get(x)), bound.packed(w, spec), _as_maps(y), bias,
        None if residual is None else _as_maps(residual), step.epilogue.get("activation"),
    )  # fmt: skip


def _bind_block(step: Step, bound: Bound, y: Array) -> Any:
    return bind_block(stages_of(step, bound.get, bound.packed), y, bound.scratch)


def _bind_mean(step: Step, bound: Bound, y: Array) -> Any:
    x = bound.get(step.inputs[0])
    n, c, h, w = x.shape
    return _core().MeanCall(x.transpose(0, 2, 3, 1).reshape(n, h * w, c), y.reshape(n, c))


def _bind_max_pool(step: Step, bound: Bound, y: Array) -> Any:
    x = bound.get(step.inputs[0])
    window = step.params["window"]
    return _core().MaxPoolCall(x.transpose(0, 2, 3, 1), y.transpose(0, 2, 3, 1), window)


def _bind_avg_pool(step: Step, bound: Bound, y: Array) -> Any:
    x, window = bound.get(step.inputs[0]), step.params["window"]
    counts = step.params["count_include_pad"]
    return _core().AvgPoolCall(x.transpose(0, 2, 3, 1), y.transpose(0, 2, 3, 1), window, counts)


def _bind_map(step: Step, bound: Bound, y: Array) -> Any:
    return _core().MapCall(step.op, bound.get(step.inputs[0]), y)


def _core() -> Any:
    assert core is not None
    return core


class _PythonCall:
    """A step without a bound kernel: its definition, and a copy into its place."""

    def __init__(self, step: Step, bound: Bound, y: Array) -> None:
        self.step, self.bound, self.y = step, bound, y
        self.seconds = 0.0

    def run(self, threads: int) -> None:
        start = time.perf_counter()
        with using_threads(threads):
            np.copyto(self.y, perform(self.step, self.bound.get))
        self.seconds += time.perf_counter() - start

    def start_clocks(self) -> None:
        self.seconds = 0.0

    def read_clocks(self) -> list[float]:
        return [self.seconds]


ELEMENTWISE = (
    "relu", "relu6", "hardsigmoid", "hardswish", "sigmoid", "silu", "tanh", "exp", "log",
)  # fmt: skip
_BINDERS: dict[str, Callable[[Step, Bound, Array], Any]] = {
    "conv2d": _bind_conv2d,
    "linear": _bind_linear,
    "global_avg_pool": _bind_mean,
    "avg_pool2d": _bind_avg_pool,
    "max_pool2d": _bind_max_pool,
    **dict.fromkeys(ELEMENTWISE, _bind_map),
    **{pattern.name: _bind_block for pattern in BLOCKS},
}
