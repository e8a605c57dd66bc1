"""The steps of a part bound to one memory: its values in an arena, and the calls that use them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterable, Iterator
from itertools import groupby
from typing import Any

from minigrad.arrays import Array
from minigrad.engine.bind import BINDERS, Packed, PythonCall, as_maps, has_kernel
from minigrad.engine.graph import Constant, Ref, Step, Value
from minigrad.engine.memory import is_alias
from minigrad.engine.schedule import Part, macs, map_bytes, weight_bytes
from minigrad.kernels.cython.core import BoundCall
from minigrad.kernels.cython.program import Edge, bind_edge, bind_program

__all__ = ["Bound"]

WORTH_A_THREAD = 32_000  # numbers touched, or 8 multiply-adds each: about a microsecond


class Bound:
    """The calls of a graph, and its values in an arena.

    Attributes
    ----------
    values : {number: ndarray}
    calls : {number: call}
        Of each step that is more than a name for the memory of another.
    programs : list of (numbers, program)
        The steps in order: runs of the core, and single steps of Python.
    """

    def __init__(self, part: Part, memory: Array, scratch: Any, packed: Packed) -> None:
        start, offsets = -memory.ctypes.data % 64, part.place.offsets
        self.graph, self.place, self.scratch, self.packed = part.graph, part.place, scratch, packed
        self.calls: dict[int, BoundCall] = {}
        self.edges: dict[int, Edge] = {}
        self.values = {
            value.number: _placed(memory[start + offsets[value.number] :], value)
            for value in part.graph.values()
            if value.number in offsets
        }
        for number, (whole, index) in part.place.parts.items():
            self.values[number] = self.values[whole][index]
        self.programs = list(self._programs())

    def crowded(self, edges: Iterable[Value]) -> set[int]:
        """The places in which several of these values lie, the edges of this part."""
        counts = Counter(self.place.roots[value.number] for value in edges)
        return {root for root, count in counts.items() if count > 1}

    def edge(self, value: Value, crowded: Container[int]) -> Edge:
        """A value that comes from a caller or goes to one: ``core.Edge``.

        All that touches the memory of the value during its life is a call that reads or writes
        it, for nothing else may lie there.  In a crowded place it must stay there.
        """
        if value.number not in self.edges:  # before the first run, which may turn its calls away
            self.edges[value.number] = self._edge(value, crowded)
        return self.edges[value.number]

    def _edge(self, value: Value, crowded: Container[int]) -> Edge:
        root = self.place.roots[value.number]
        buffer = as_maps(self.values[value.number])
        if root in crowded:
            return bind_edge(buffer, None)
        life = self.place.lives[root]
        calls = [call for k, call in self.calls.items() if life.first <= k <= life.last]
        return bind_edge(buffer, calls)

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

    def spends(self, step: Step) -> bool:
        """Whether a step may write over its first input: nothing else reads its memory any more.

        Never that of the graph's input, which may be the caller's.
        """
        roots = [self.place.roots[value.number] for value in step.reads()]
        root = self.place.roots[step.source.number]
        last = root > 0 and self.place.lives[root].last == step.number
        return last and roots.count(root) == 1

    def _programs(self) -> Iterator[tuple[tuple[int, ...], Any]]:
        """All steps as one call of the core, unless some of them are Python's."""
        steps = [s for s in self.graph.steps.values() if s.op != "given" and not is_alias(s)]
        for compiled, run in groupby(steps, has_kernel):
            made = {s.number: self._call(s, compiled) for s in run}
            self.calls |= made
            if not compiled:
                yield from (((number,), call) for number, call in made.items())
                continue
            shares = [_threads_worth(self.graph.steps[number]) for number in made]
            yield tuple(made), bind_program([*made.values()], shares, self.scratch)

    def _call(self, step: Step, compiled: bool) -> BoundCall:
        bind = BINDERS[step.op] if compiled else PythonCall
        call: BoundCall = bind(step, self, self.values[step.number])
        return call

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
