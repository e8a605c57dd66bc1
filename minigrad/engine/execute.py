"""The fast interpreter: every step bound to a compiled kernel, all values in arenas.

Binding (``bind``) decides everything once: where each value lies, which kernel serves the
step, its packed weights, its tiles and tasks.  Running is then one call of the core for
each group of images (``schedule``), which goes through the bound steps without the GIL; a
step that has no kernel runs in Python.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from itertools import groupby
from typing import Any

import numpy as np

from minigrad.engine.bind import BINDERS, Packed, PythonCall, as_maps, core_module, has_kernel
from minigrad.engine.memory import Arena, arena, is_alias
from minigrad.engine.schedule import Schedule, macs, map_bytes, weight_bytes
from minigrad.engine.trace import Graph, Step
from minigrad.kernels.cython_blocks import new_scratch
from minigrad.tensor import Array, Shape

__all__ = ["Execution"]

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
        self.scratch, self.packed = new_scratch(), Packed([plan.head, plan.tails[plan.groups[0]]])
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
        rows, first = as_maps(x), 0
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
            self.images[size] = core_module().Images(
                [lane.program for lane in self.lanes],
                [as_maps(lane.values[0]) for lane in self.lanes],
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
        return float(core_module().peak(0.1, threads, self.schedule.head.dtype.itemsize))

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
        self, graph: Graph, place: Arena, memory: Array, scratch: Any, packed: Packed
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
        return self.programs[0][1] if self.programs else core_module().Program([], [], self.scratch)

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
                calls = [BINDERS[step.op](step, self, self.values[k]) for k, step in run]
                shares = [_threads_worth(self.graph, step) for _, step in run]
                yield tuple(k for k, _ in run), core_module().Program(calls, shares, self.scratch)
            else:
                yield from (((k,), PythonCall(step, self, self.values[k])) for k, step in run)

    def start_clocks(self) -> None:
        """From now on each step is timed."""
        for _, program in self.programs:
            program.start_clocks()

    def read_clocks(self) -> Iterator[tuple[int, float]]:
        """(number, seconds) of each step since then."""
        for numbers, program in self.programs:
            yield from zip(numbers, program.read_clocks(), strict=True)


def _threads_worth(graph: Graph, step: Step) -> int:
    """How many threads a step is worth: waking one costs as much as a little work."""
    numbers = (map_bytes(graph, step) + weight_bytes(step)) // graph.dtype.itemsize
    return 1 + (macs(graph, step) // 8 + numbers) // WORTH_A_THREAD


def _placed(memory: Array, shape: Shape, dtype: np.dtype[Any]) -> Array:
    """An array of NCHW shape in the arena, channels-last if it is a map."""
    size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    flat = memory[:size].view(dtype)
    if len(shape) != 4:
        return flat.reshape(shape)
    n, c, h, w = shape
    placed: Array = flat.reshape(n, h, w, c).transpose(0, 3, 1, 2)
    return placed
