"""A recorded training step that runs: interpreted, or bound to compiled kernels in one arena.

``Interpreted`` is the definition: the recorded steps, one after the other, on the current
backend.  ``Compiled`` combines them (``combine``), places every value in one arena (``reuse``)
and binds a call to each step once; what follows one another runs as one program, with nothing of
Python in between.  A step that has no kernel runs its definition and copies the result to its
place.  Both have the same bits.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Protocol

import numpy as np

from minigrad.engine.combine import combined, recomputed
from minigrad.engine.graph import Constant, Graph, Ref, Step, Value
from minigrad.engine.memory import ALIGNMENT
from minigrad.engine.reuse import layout, views
from minigrad.engine.sweeps import BINDERS
from minigrad.engine.tape import Recording, carry_out
from minigrad.kernels.cython.core import BoundCall
from minigrad.kernels.cython.layout import copy_map
from minigrad.kernels.cython.program import bind_program, is_bound, new_scratch
from minigrad.resources import check_memory
from minigrad.tensor import Array, no_grad
from minigrad.threads import threads as using_threads

__all__ = ["Compiled", "Interpreted", "Runner"]


class Runner(Protocol):
    """A training step without loss and update: its two passes."""

    def forward(self, x: Array, threads: int, rng: object) -> Array:
        """The model's output for a batch; running statistics move."""

    def backward(self, cotangent: Array, threads: int) -> list[Array]:
        """The gradients, in the order of ``recording.gradients``."""


class Interpreted:
    """The recorded steps on whatever backend is current."""

    def __init__(self, recording: Recording) -> None:
        self.recording = recording
        steps = list(recording.graph.steps.values())
        turn = next(k for k, s in enumerate(steps) if s.number == recording.cotangent.number)
        self.passes = steps[:turn], steps[turn:]
        self.last = _last_reads(recording.graph)
        self.values: dict[int, Array] = {}

    def forward(self, x: Array, threads: int, rng: object) -> Array:
        """The model's output for a batch; running statistics move."""
        self.values = {k: t.array for k, t in self.recording.leaves.items()} | {0: x}
        self._run(self.passes[0], threads, rng)
        for buffer, value in self.recording.moved:
            buffer.copy_(self.values[value.number])
        return self.values[self.recording.output.number]

    def backward(self, cotangent: Array, threads: int) -> list[Array]:
        """The gradients, in the order of ``recording.gradients``."""
        self.values[self.recording.cotangent.number] = cotangent
        self._run(self.passes[1], threads, None)
        found = [self.values[value.number] for _, value in self.recording.gradients]
        self.values = {}
        return found

    def _run(self, steps: Sequence[Step], threads: int, rng: object) -> None:
        with using_threads(threads):
            for step in steps:
                if step.op != "given":
                    self.values[step.number] = carry_out(step, self._get, rng)
                for value in step.reads():
                    if self.last[value.number] == step.number:
                        self.values.pop(value.number, None)

    def _get(self, ref: Ref) -> Array | None:
        if isinstance(ref, Constant):
            return ref.array
        return None if ref is None else self.values[ref.number]


class Compiled:
    """The combined steps, bound to the compiled core.

    Parameters
    ----------
    recording : Recording
    recompute : bool
        Make activations again in the backward pass, instead of keeping them.

    Attributes
    ----------
    graph : Graph
        The combined steps.
    layout : Layout
    """

    def __init__(self, recording: Recording, recompute: bool) -> None:
        self.recording = recording
        graph, turn = combined(recording.graph), recording.cotangent.number
        self.graph = recomputed(graph, turn) if recompute else graph
        self.homes = recording.homes()
        self.viewed = views(self.graph, self.homes)
        self.layout = layout(self.graph, self.homes, self.viewed)
        check_memory(self.layout.size, "the maps of this training step")
        self.memory = np.empty(self.layout.size + ALIGNMENT, np.uint8)
        self._bind()

    @staticmethod
    def size_of(recording: Recording) -> int:
        """Bytes of the arena without ``recompute``."""
        graph = combined(recording.graph)
        homes = recording.homes()
        return layout(graph, homes, views(graph, homes)).size

    def _bind(self) -> None:
        """Views of the arena and of the parameters, and a call for each step."""
        with no_grad():
            for t in self.homes.values():
                if not t.array.flags.writeable:
                    t.copy_(t.array)  # adopted weights: training needs memory of its own
        self.leaves = {k: t.array for k, t in self.homes.items()}
        self.values = dict(self._placed())
        self.rng: object = None
        tasks: tuple[list[Task], list[Task]] = ([], [])
        which = 0
        for step in self.graph.steps.values():
            which = which or int(step.number == self.recording.cotangent.number)
            if step.op != "given" and step.number not in self.viewed:
                tasks[which].extend(self._calls(step))
        self.passes = [_programs(each) for each in tasks]

    def _placed(self) -> Iterator[tuple[int, Array]]:
        """(number, array) of every value, as it lies in the arena or in the model."""
        start = -self.memory.ctypes.data % ALIGNMENT
        self.values = dict(self.leaves)
        for value in self.graph.values():
            number, step = value.number, self.graph.steps.get(value.number)
            if number not in self.leaves:
                if step is not None and number in self.viewed:
                    self.values[number] = carry_out(step, self.get)
                else:
                    room = self.memory[start + self.layout.offsets[self.layout.roots[number]] :]
                    flat = room[: value.nbytes].view(value.dtype)
                    self.values[number] = _as_it_lies(flat, value, step)
            yield number, self.values[number]

    def _calls(self, step: Step) -> Iterator[Task]:
        y = self.values[step.number]
        bind = BINDERS.get(step.op) if y.size else None
        calls = bind(step, self.get, y) if bind else None
        if calls is None:
            calls = [_Definition(step, self, y)]
        sizes = [x.size for ref in step.inputs if (x := self.get(ref)) is not None]
        share = 1 + max([y.size, *sizes]) // WORTH_A_THREAD
        yield from ((call, share) for call in calls)

    def get(self, ref: Ref) -> Array | None:
        """The array that a reference stands for."""
        if isinstance(ref, Constant):
            return ref.array
        return None if ref is None else self.values[ref.number]

    def forward(self, x: Array, threads: int, rng: object) -> Array:
        """The model's output for a batch; running statistics move."""
        if any(t.array is not self.leaves[k] for k, t in self.homes.items()):
            self._bind()  # somebody gave a parameter other memory
        self.rng = rng
        copy_map(x, self.values[0], threads)
        for call, share in self.passes[0]:
            call.run(min(threads, share))
        for buffer, _ in self.recording.moved:
            buffer.version.count += 1
        return self.values[self.recording.output.number]

    def backward(self, cotangent: Array, threads: int) -> list[Array]:
        """The gradients, in the order of ``recording.gradients``; the next step overwrites them."""
        np.copyto(self.values[self.recording.cotangent.number], cotangent)
        for call, share in self.passes[1]:
            call.run(min(threads, share))
        return [self.values[value.number] for _, value in self.recording.gradients]


class _Definition:
    """A step without a kernel: what it means, and a copy to its place."""

    def __init__(self, step: Step, owner: Compiled, y: Array) -> None:
        self.step, self.owner, self.y = step, owner, y

    def run(self, threads: int) -> None:
        with using_threads(threads):
            np.copyto(self.y, carry_out(self.step, self.owner.get, self.owner.rng))


Task = tuple[BoundCall, int]  # a call, and how many threads it is worth
WORTH_A_THREAD = 16_384  # numbers of the largest array that a step reads or writes


def _programs(tasks: Sequence[Task]) -> list[Task]:
    """The tasks, those of the compiled core that follow one another as one program."""
    found: list[Task] = []
    for bound, several in groupby(tasks, key=lambda task: is_bound(task[0])):
        group = list(several)
        if bound:
            calls, shares = zip(*group, strict=True)
            group = [(bind_program(calls, shares, new_scratch()), max(shares))]
        found.extend(group)
    return found


def _as_it_lies(flat: Array, value: Value, step: Step | None) -> Array:
    """A map channels-last; the gradients of weights, as the weights lie, in C order."""
    if len(value.shape) != 4 or (step is not None and step.op == "conv2d_weight_grad"):
        return flat.reshape(value.shape)
    n, c, h, w = value.shape
    placed: Array = flat.reshape(n, h, w, c).transpose(0, 3, 1, 2)
    return placed


def _last_reads(graph: Graph) -> dict[int, int]:
    """For each value the last step that reads it; 0 for an output, which stays."""
    return {
        number: 0 if -1 in readers else max(readers, default=0)
        for number, readers in graph.uses().items()
    }
