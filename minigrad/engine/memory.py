"""Every buffer a place in one arena, by lifetime.

A value lives from the step that writes it to the last step that reads it.  Two values
may share memory if their lives do not overlap.  Placing intervals of given sizes into the
least memory is NP-hard (it is dynamic storage allocation, Garey & Johnson problem SR2);
the greedy used here, largest first, each at the lowest free offset, is at most a small
factor off, and the plan prints both what it reached and the lower bound: the largest sum
of the sizes that live at one step.

A reshape that leaves every number where it is makes no value of its own: it lies where
its input lies, and the two live as one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from minigrad.engine.graph import Graph, Step, Value

__all__ = ["ALIGNMENT", "Life", "Placement", "is_alias", "live_peak", "lives", "place", "placement"]

ALIGNMENT = 64  # bytes: a cache line, and the widest register


class Life(NamedTuple):
    """A buffer: its size in bytes, and the first and last step it is needed at."""

    size: int
    first: int
    last: int


class Placement(NamedTuple):
    """Where each value of a graph lies.

    Attributes
    ----------
    live : int
        The largest sum of sizes needed at one step: no arena can be smaller.
    size : int
        Bytes of the arena.
    offsets : dict of int to int
        The first byte of each value, by its number.
    """

    live: int
    size: int
    offsets: dict[int, int]


def placement(graph: Graph) -> Placement:
    """A place for every value of a graph, by lifetime."""
    needed, roots = lives(graph), _roots(graph)
    offsets, size = place(needed)
    places = {k: offsets[root] for k, root in roots.items() if root in offsets}
    return Placement(live_peak(needed), size, places)


def lives(graph: Graph) -> dict[int, Life]:
    """From when to when each value with memory of its own is needed, and how large it is."""
    last: dict[int, int] = {}
    end, roots = max(graph.steps, default=0) + 1, _roots(graph)
    for number, readers in graph.uses().items():
        for reader in readers:
            root = roots[number]
            last[root] = max(last.get(root, 0), end if reader < 0 else reader)
    return {
        value.number: Life(value.nbytes, value.number, last[value.number])
        for value in graph.values()
        if value.number in last
    }


def _roots(graph: Graph) -> dict[int, int]:
    """For each value the one in whose memory it lies: mostly itself."""
    roots = {0: 0}
    for number, step in graph.steps.items():
        roots[number] = roots[step.source.number] if is_alias(step) else number
    return roots


def is_alias(step: Step) -> bool:
    """Whether a step only gives the numbers of its input another shape."""
    x = step.inputs[0] if step.op == "reshape" else None
    return isinstance(x, Value) and in_order(x.shape) and in_order(step.shape)


def in_order(shape: Sequence[int]) -> bool:
    """Whether channels-last memory holds a value of this NCHW shape in row-major order."""
    return len(shape) != 4 or shape[1] == 1 or shape[2] * shape[3] == 1


def aligned(size: int) -> int:
    """``size`` rounded up to whole cache lines."""
    return -(-size // ALIGNMENT) * ALIGNMENT


def live_peak(lives: Mapping[int, Life]) -> int:
    """The largest sum of sizes needed at one step: no arena can be smaller.

    >>> live_peak({1: Life(64, 0, 1), 2: Life(128, 1, 2), 3: Life(64, 2, 3)})
    192
    """
    moments = {life.first for life in lives.values()}
    return max(
        (sum(aligned(b.size) for b in lives.values() if b.first <= t <= b.last) for t in moments),
        default=0,
    )


def place(lives: Mapping[int, Life]) -> tuple[dict[int, int], int]:
    """An offset for each buffer, and the size of the arena they need.

    >>> place({1: Life(64, 0, 1), 2: Life(128, 1, 2), 3: Life(64, 2, 3)})
    ({2: 0, 1: 128, 3: 128}, 192)
    """
    offsets: dict[int, int] = {}
    for key in sorted(lives, key=lambda k: (-lives[k].size, lives[k].first)):
        offsets[key] = _lowest_gap(key, lives, offsets)
    ends = (offset + aligned(lives[key].size) for key, offset in offsets.items())
    return offsets, max(ends, default=0)


def _lowest_gap(key: int, lives: Mapping[int, Life], offsets: Mapping[int, int]) -> int:
    """The lowest offset at which nothing that lives at the same time lies."""
    life = lives[key]
    busy = sorted(
        (offset, offset + aligned(lives[k].size))
        for k, offset in offsets.items()
        if lives[k].first <= life.last and life.first <= lives[k].last
    )
    at = 0
    for start, end in busy:
        if at + aligned(life.size) <= start:
            break
        at = max(at, end)
    return at
