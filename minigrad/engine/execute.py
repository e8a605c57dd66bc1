"""The fast interpreter: every step bound to a compiled kernel, all values in arenas.

Binding (``bind``) decides everything once: where each value lies, which kernel serves the
step, its packed weights, its tiles and tasks.  Running is then one call of the core for
each group of images (``schedule``), which goes through the bound steps without the GIL; a
step that has no kernel runs in Python.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from typing import Any

import numpy as np

from minigrad.engine.bind import (
    BINDERS,
    Packed,
    PackedWeights,
    PythonCall,
    as_maps,
    has_kernel,
)
from minigrad.engine.graph import Constant, Ref, Step, Value
from minigrad.engine.memory import is_alias
from minigrad.engine.schedule import Part, Schedule, macs, map_bytes, weight_bytes
from minigrad.kernels.cython.program import bind_images, bind_program, new_scratch, peak
from minigrad.resources import available_cpus, check_memory
from minigrad.tensor import Array

__all__ = ["Execution"]

FREE = 2  # workspaces kept for later callers, or as many as there are CPUs
WORTH_A_THREAD = 32_000  # numbers touched, or 8 multiply-adds each: about a microsecond

Times = dict[int, float]


class Execution:
    """A schedule with packed weights, which all callers share, and memory for each of them.

    A call takes a workspace that is free, or makes one, and gives it back.  So calls from
    several Python threads run at the same time.  There is no lock: nothing waits, and a child
    that is forked during a call lacks that call's workspace and nothing else.

    All callers share the core's one pool of threads, for one step at a time: a caller that
    finds it busy does the tasks of its step by itself.  With as many callers as CPUs each is
    fastest with ``threads=1``; with fewer, the first to ask gets the pool.
    """

    def __init__(self, plan: Schedule, packed: PackedWeights | None = None) -> None:
        self.schedule = plan
        graphs = [plan.head.graph, plan.tails[plan.groups.sizes[0]].graph]
        self.packed = Packed(graphs, {} if packed is None else packed)
        self._free: list[Workspace] = []  # append and pop are each one step for other threads
        self._give(Workspace(self))  # packs every weight

    def __call__(self, x: Array, threads: int, out: list[Array] | None = None) -> list[Array]:
        """The outputs for a batch, in the arrays ``out`` if they are given."""
        workspace = self._take()
        outputs = self._outputs() if out is None else out
        workspace.run(x, threads, outputs)
        self._give(workspace)  # one that failed is dropped
        return outputs

    def _outputs(self) -> list[Array]:
        """Memory for the outputs of the whole batch."""
        groups = self.schedule.groups
        values = list(self.schedule.tails[groups.sizes[0]].graph.outputs)
        if len(groups) > 1:
            values = [value.with_batch(groups.batch) for value in values]
        check_memory(sum(value.nbytes for value in values), "the output of this plan")
        return [np.empty(value.shape, value.dtype) for value in values]

    def _take(self) -> Workspace:
        try:
            return self._free.pop()
        except IndexError:
            return Workspace(self)

    def _give(self, workspace: Workspace) -> None:
        if len(self._free) < max(FREE, available_cpus()):
            self._free.append(workspace)

    def times(self, x: Array, repeats: int, threads: int) -> Times:
        """Median microseconds of each step in a run; of step 0, of bringing the input in."""
        workspace = self._take()
        runs = workspace.times(x, repeats, threads, self._outputs())
        self._give(workspace)
        return {k: 1e6 * float(np.median([run[k] for run in runs])) for k in runs[0]}

    def peak(self, threads: int) -> float:
        """The most FMAs the core does in the plan's dtype, in GFLOP/s."""
        return peak(0.1, threads, self.schedule.head.graph.dtype.itemsize)


class Workspace:
    """A schedule bound to memory for one caller: the head once for each thread, and the tails.

    Attributes
    ----------
    lanes : list of Bound
        The head, in an arena for one image each; made when first needed.
    tails : {images: Bound}
    """

    def __init__(self, plan: Execution) -> None:
        self.schedule, self.packed, self.scratch = plan.schedule, plan.packed, new_scratch()
        check_memory(plan.schedule.arena_bytes, "the memory of this plan's activations")
        size = max(tail.place.size for tail in plan.schedule.tails.values())
        memory = np.empty(size + 64, np.uint8)
        self.tails = {
            size: Bound(tail, memory, self.scratch, plan.packed)
            for size, tail in plan.schedule.tails.items()
        }
        self.lanes: list[Bound] = []
        self.images: dict[int, Any] = {}
        self._widen(1)

    def run(self, x: Array, threads: int, outputs: list[Array]) -> None:
        """Write the outputs for a batch, group by group."""
        groups = self.schedule.groups
        self._widen(min(threads, groups.sizes[0]))
        rows, first = as_maps(x), 0
        for size in groups:
            self.images[size].run(rows, first, size, threads)
            tail = self.tails[size]
            for _, program in tail.programs:
                program.run(threads)
            for y, value in zip(outputs, tail.graph.outputs, strict=True):
                place = y if len(groups) == 1 else y[first : first + size]
                np.copyto(place, tail.array(value))
            first += size

    def _widen(self, lanes: int) -> None:
        """Have a head for so many threads; one that cannot be made changes nothing."""
        if lanes <= len(self.lanes):
            return
        wide = [*self.lanes, *(self._lane() for _ in range(lanes - len(self.lanes)))]
        images = {size: self._images(wide, tail) for size, tail in self.tails.items()}
        self.lanes, self.images = wide, images

    def _lane(self) -> Bound:
        head = self.schedule.head
        return Bound(head, np.empty(head.place.size + 64, np.uint8), self.scratch, self.packed)

    def _images(self, lanes: list[Bound], tail: Bound) -> Any:
        """What takes a group through the head, into what ``tail`` reads."""
        crossing = self.schedule.head.graph.outputs
        return bind_images(
            [lane.program for lane in lanes],
            [as_maps(lane.values[0]) for lane in lanes],
            [[lane.array(value) for value in crossing] for lane in lanes],
            [tail.array(value) for value in crossing],
            self.scratch,
        )

    def times(self, x: Array, repeats: int, threads: int, outputs: list[Array]) -> list[Times]:
        """Seconds of each step in every run; of step 0, of bringing the input in."""
        self.run(x, threads, outputs)
        parts = [*self.lanes, *self.tails.values()]
        self._read_clocks(parts)
        runs = []
        for _ in range(repeats):
            for part in parts:
                part.start_clocks()
            self.run(x, threads, outputs)
            runs.append(self._read_clocks(parts))
        return runs

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

    def __init__(self, part: Part, memory: Array, scratch: Any, packed: Packed) -> None:
        start, offsets = -memory.ctypes.data % 64, part.place.offsets
        self.graph, self.scratch, self.packed = part.graph, scratch, packed
        self.values = {
            value.number: _placed(memory[start + offsets[value.number] :], value)
            for value in part.graph.values()
            if value.number in offsets
        }
        for number, (whole, index) in part.place.parts.items():
            self.values[number] = self.values[whole][index]
        self.programs = list(self._programs())

    @property
    def program(self) -> Any:
        """The only one, of a graph without steps in Python."""
        return self.programs[0][1] if self.programs else bind_program([], [], self.scratch)

    def get(self, ref: Ref) -> Array | None:
        """The array that a reference stands for."""
        return None if ref is None else self.array(ref)

    def array(self, ref: Ref) -> Array:
        """The same of a reference that is not None."""
        assert ref is not None
        return ref.array if isinstance(ref, Constant) else self.values[ref.number]

    def _programs(self) -> Iterator[tuple[tuple[int, ...], Any]]:
        """All steps as one call of the core, unless some of them are Python's."""
        steps = [s for s in self.graph.steps.values() if s.op != "given" and not is_alias(s)]
        for compiled, run in groupby(steps, has_kernel):
            if not compiled:
                yield from (((s.number,), PythonCall(s, self, self.values[s.number])) for s in run)
                continue
            bound_steps = list(run)
            calls = [BINDERS[step.op](step, self, self.values[step.number]) for step in bound_steps]
            shares = [_threads_worth(step) for step in bound_steps]
            program = bind_program(calls, shares, self.scratch)
            yield tuple(step.number for step in bound_steps), program

    def start_clocks(self) -> None:
        """From now on each step is timed."""
        for _, program in self.programs:
            program.start_clocks()

    def read_clocks(self) -> Iterator[tuple[int, float]]:
        """(number, seconds) of each step since then."""
        for numbers, program in self.programs:
            yield from zip(numbers, program.read_clocks(), strict=True)


def _threads_worth(step: Step) -> int:
    """How many threads a step is worth: waking one costs as much as a little work."""
    numbers = (map_bytes(step) + weight_bytes(step)) // step.output.dtype.itemsize
    return 1 + (macs(step) // 8 + numbers) // WORTH_A_THREAD


def _placed(memory: Array, value: Value) -> Array:
    """An array of NCHW shape in the arena, channels-last if it is a map."""
    flat = memory[: value.nbytes].view(value.dtype)
    if len(value.shape) != 4:
        return flat.reshape(value.shape)
    n, c, h, w = value.shape
    placed: Array = flat.reshape(n, h, w, c).transpose(0, 3, 1, 2)
    return placed
