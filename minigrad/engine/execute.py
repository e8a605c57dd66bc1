"""The fast interpreter: every step bound to a compiled kernel, all values in arenas.

Binding (``bind``) decides everything once: where each value lies, which kernel serves the
step, its packed weights, its tiles and tasks.  Running is then one call of the core for
each group of images (``schedule``), which goes through the bound steps without the GIL; a
step that has no kernel runs in Python.

A caller's arrays are read and written where they are if they lie as the steps have them, which
is channels-last.  Others are copied on their way in and out, an image at a time.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minigrad.arrays import FLOATS, Array
from minigrad.engine.arena import Bound
from minigrad.engine.bind import Packed, PackedWeights, as_maps
from minigrad.engine.schedule import Schedule
from minigrad.kernels.cython.layout import regular
from minigrad.kernels.cython.program import Edge, bind_images, new_scratch, peak
from minigrad.resources import available_cpus, check_memory

__all__ = ["Execution"]

FREE = 2  # workspaces kept for later callers, or as many as there are CPUs

Times = dict[int, float]


class Execution:
    """A schedule with packed weights, which all callers share, and memory for each of them.

    A call takes a workspace that is free, or makes one, and gives it back.  So calls from
    several Python threads run at the same time.  There is no lock: nothing waits, and a child
    that is forked during a call lacks that call's workspace and nothing else.

    All callers share the core's one pool of threads, for one step at a time: a caller that
    finds it busy does the tasks of its step by itself.  With as many callers as CPUs each is
    fastest with ``threads=1``; with fewer, the first to ask gets the pool.

    Parameters
    ----------
    plan : Schedule
    packed : dict, optional
        Packed weights that it shares with other plans.
    table : ndarray, optional
        The number that each byte stands for, (C, 256), if the input may be bytes.
    """

    def __init__(
        self, plan: Schedule, packed: PackedWeights | None = None, table: Array | None = None
    ) -> None:
        self.schedule, self.table = plan, table
        graphs = [plan.head.graph, plan.tails[plan.groups.sizes[0]].graph]
        self.packed = Packed(graphs, {} if packed is None else packed)
        self._free: list[Workspace] = []  # append and pop are each one step for other threads
        self._give(Workspace(self))  # packs every weight

    def __call__(self, x: Array, threads: int, outputs: list[Array]) -> None:
        """Write the outputs for a batch, all with channels second."""
        workspace = self._take()
        workspace.run(x, threads, outputs)
        self._give(workspace)  # one that failed is dropped

    def _take(self) -> Workspace:
        try:
            return self._free.pop()
        except IndexError:
            return Workspace(self)

    def _give(self, workspace: Workspace) -> None:
        if len(self._free) < FREE or len(self._free) < available_cpus():
            self._free.append(workspace)

    def times(self, x: Array, repeats: int, threads: int, outputs: list[Array]) -> Times:
        """Median microseconds of each step in a run; of step 0, of what comes in and goes out."""
        workspace = self._take()
        runs = workspace.times(x, repeats, threads, outputs)
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
    early : list of (int, Value)
        The outputs that the head makes, and the place of each among all.
    crossing : list of Value
        What the tails read of the head.
    """

    def __init__(self, plan: Execution) -> None:
        self.schedule, self.packed, self.scratch = plan.schedule, plan.packed, new_scratch()
        self.table, self.groups = plan.table, tuple(plan.schedule.groups)
        check_memory(plan.schedule.arena_bytes, "the memory of this plan's activations")
        size = max(tail.place.size for tail in plan.schedule.tails.values())
        memory = np.empty(size + 64, np.uint8)
        self.tails = {
            size: Bound(tail, memory, self.scratch, plan.packed)
            for size, tail in plan.schedule.tails.items()
        }
        head, tail = plan.schedule.head.graph, self.tails[self.groups[0]].graph
        made, read = {0, *head.steps}, {v.number for s in tail.steps.values() for v in s.reads()}
        self.early = [(j, v) for j, v in enumerate(tail.outputs) if v.number in made]
        self.crossing = [value for value in head.outputs if value.number in read]
        self.late = {size: self._late(bound, made) for size, bound in self.tails.items()}
        self.lanes: list[Bound] = []
        self.images: dict[int, Any] = {}
        self._widen(1)

    def run(self, x: Array, threads: int, outputs: list[Array]) -> None:
        """Write the outputs for a batch, group by group."""
        groups = self.groups
        self._widen(min(threads, groups[0]))
        rows, first = as_maps(x), 0
        if any(np.may_share_memory(x, y) for y in outputs):
            rows = np.array(rows)  # an image that is not yet read must not be written over
        targets = [_target(y) for y in outputs]
        early = [targets[j] for j, _ in self.early]
        for size in groups:
            self.images[size].run(rows, early, first, size, threads, self.table)
            self._finish(size, [y[first : first + size] for y in targets], threads)
            first += size
        for y, target in zip(outputs, targets, strict=True):
            if not np.may_share_memory(y, target):
                np.copyto(y, target.reshape(y.shape))

    def _finish(self, size: int, outputs: list[Array], threads: int) -> None:
        """The tail of one group."""
        waiting = [(edge, outputs[j]) for j, edge in self.late[size] if not edge.turn(outputs[j])]
        for _, program in self.tails[size].programs:
            program.run(threads)
        for edge, y in waiting:
            edge.copy_to(y, threads)

    def _late(self, tail: Bound, made: set[int]) -> list[tuple[int, Edge]]:
        """The outputs that a tail makes: the place of each among all, and its edge."""
        late = [(j, v) for j, v in enumerate(tail.graph.outputs) if v.number not in made]
        given = [s.output for s in tail.graph.steps.values() if s.op == "given"]
        crowded = tail.crowded([*given, *(value for _, value in late)])
        return [
            (j, tail.edge(v, crowded) if v.dtype in FLOATS else Copied(tail.array(v)))
            for j, v in late
        ]

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
        """What takes a group through the head, to ``tail`` and to the caller."""
        x, outputs = self.schedule.head.graph.input, [value for _, value in self.early]
        crowded = lanes[0].crowded([x, *outputs, *self.crossing])
        return bind_images(
            [lane.program for lane in lanes],
            [lane.edge(x, crowded) for lane in lanes],
            [[lane.edge(value, crowded) for value in outputs] for lane in lanes],
            [[lane.array(value) for value in self.crossing] for lane in lanes],
            [tail.array(value) for value in self.crossing],
            self.scratch,
        )

    def times(self, x: Array, repeats: int, threads: int, outputs: list[Array]) -> list[Times]:
        """Seconds of each step in every run; of step 0, of what comes in and goes out."""
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


class Copied:
    """An output that is no float, which NumPy copies."""

    def __init__(self, buffer: Array) -> None:
        self.buffer = buffer

    def turn(self, y: Array) -> bool:
        """No step writes it where the caller wants it."""
        return False

    def copy_to(self, y: Array, threads: int) -> None:
        """Copy it there."""
        np.copyto(y, self.buffer.reshape(y.shape))


def _target(y: Array) -> Array:
    """y as a map that the core can write, or another array in its place."""
    if y.ndim == 4 and regular(y):
        return y
    whole = regular(y) and (y.ndim == 2 or y.flags.c_contiguous)
    return as_maps(y if whole else np.empty(y.shape, y.dtype))
