"""Every buffer a place in one arena, by lifetime.

A value lives from the step that writes it to the last step that reads it.  Two values
may share memory if their lives do not overlap.  Placing intervals of given sizes into the
least memory is NP-hard (it is dynamic storage allocation, Garey & Johnson problem SR2);
the greedy used here, largest first, each at the lowest free offset, is at most a small
factor off, and the plan prints both what it reached and the lower bound: the largest sum
of the sizes that live at one step.

A reshape or transpose that leaves every number where it is makes no value of its own: it lies
where its input lies, and the two live as one.  What a convolution makes for a concatenation of
channels, or for maps that are woven, and for nothing else, is written into its place there at
once.  A slice of a map that convolutions and concatenations alone read is read where it lies.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate

from minigrad.engine.graph import Graph, Ref, Step, Value, is_conv
from minigrad.records import NamedTuple

__all__ = [
    "ALIGNMENT", "Inside", "Life", "Placement", "in_order", "is_alias", "keeps_order", "live_peak",
    "lives", "parts", "place", "placement",
]  # fmt: skip

ALIGNMENT = 64  # bytes: a cache line, and the widest register


class Life(NamedTuple):
    """A buffer: its size in bytes, and the first and last step it is needed at."""

    size: int
    first: int
    last: int


class Inside(NamedTuple):
    """Where a value lies in another: the number of the whole, and the place of the part."""

    whole: int
    place: tuple[slice, ...]


class Placement(NamedTuple):
    """Where each value of a graph lies.

    Attributes
    ----------
    live : int
        The largest sum of sizes needed at one step: no arena can be smaller.
    size : int
        Bytes of the arena.
    offsets : dict of int to int
        The first byte of each value, by its number; of a part, that of the whole.
    parts : dict of int to Part
        The values that are parts of others.
    roots : dict of int to int
        For each value the one in whose memory it lies.
    lives : dict of int to Life
        From when to when each root is needed.
    """

    live: int
    size: int
    offsets: dict[int, int]
    parts: dict[int, Inside]
    roots: dict[int, int]
    lives: dict[int, Life]


def placement(graph: Graph) -> Placement:
    """A place for every value of a graph, by lifetime."""
    inside = parts(graph)
    roots = _roots(graph, inside)
    needed = _lives(graph, roots)
    offsets, size = place(needed)
    places = {k: offsets[root] for k, root in roots.items() if root in offsets}
    return Placement(live_peak(needed), size, places, inside, roots, needed)


def parts(graph: Graph) -> dict[int, Inside]:
    """The values that are written into their place in a larger one."""
    found, uses = {}, graph.uses()
    for number, step in graph.steps.items():
        for ref, index in _joined(step):
            maker = graph.maker(ref)
            if maker is not None and _writes_anywhere(maker) and uses[maker.number] == [number]:
                found[maker.number] = Inside(number, index)
        if _is_slice(step) and all(_reads_slices(graph.steps.get(k)) for k in uses[number]):
            whole = step.source.number
            if whole in graph.steps and -1 not in uses[whole]:
                found[number] = Inside(whole, step.params["index"])
    return found


def _is_slice(step: Step) -> bool:
    """Whether a step takes some channels and pixels, even steps apart, of all images of a map."""
    index = step.params["index"] if step.op == "getitem" else ()
    if len(step.shape) != 4 or not 0 < len(index) <= 4 or 0 in step.shape:
        return False
    if not all(isinstance(part, slice) for part in index):
        return False
    steps = [part.indices(n) for part, n in zip(index, step.source.shape, strict=False)]
    images, channels = steps[0], (*steps, (0, 0, 1))[1]
    every = images == (0, step.source.shape[0], 1)
    return every and channels[2] == 1 and all(stride > 0 for _, _, stride in steps)


def _reads_slices(step: Step | None) -> bool:
    """Whether a step can read a map with gaps between its pixels."""
    if step is None or step.op == "concat":
        return step is not None and len(step.shape) == 4
    return all(_writes_anywhere(part) for part in step.parts)


def _joined(step: Step) -> Iterator[tuple[Ref, tuple[slice, ...]]]:
    """What a step joins, and where each of it lies in what it makes."""
    if step.op == "interleave":
        from minigrad.ops.transposed import woven  # few networks have such a step

        for k, ref in enumerate(step.inputs):
            yield ref, woven(k, step.params["stride"])
    elif step.op == "concat" and step.params["axis"] == 1 and len(step.shape) == 4:
        start = 0
        for ref in step.inputs:
            end = start + (0 if ref is None else ref.shape[1])
            yield ref, (slice(None), slice(start, end))
            start = end


def _writes_anywhere(step: Step) -> bool:
    """Whether a step can write pixels that do not lie side by side: a plain convolution."""
    return is_conv(step) and step.epilogue.gate is None


def lives(graph: Graph) -> dict[int, Life]:
    """From when to when each value with memory of its own is needed, and how large it is."""
    return _lives(graph, _roots(graph, parts(graph)))


def _lives(graph: Graph, roots: Mapping[int, int]) -> dict[int, Life]:
    """The same, of values that lie in the memory of these roots."""
    last: dict[int, int] = {}
    first: dict[int, int] = {}
    end = max(graph.steps, default=0) + 1
    for number, readers in graph.uses().items():
        root = roots[number]
        first[root] = min(first.get(root, number), number)
        for reader in readers:
            last[root] = max(last.get(root, 0), end if reader < 0 else reader)
    return {
        value.number: Life(value.nbytes, first[value.number], last[value.number])
        for value in graph.values()
        if value.number in last
    }


def _roots(graph: Graph, inside: Mapping[int, Inside]) -> dict[int, int]:
    """For each value the one in whose memory it lies: mostly itself."""
    roots = {0: 0}
    for number, step in graph.steps.items():
        whole = inside[number].whole if number in inside else number
        early = step.source.number if is_alias(step) else whole  # a part's whole may come later
        roots[number] = roots.get(early, early)
    return roots


def is_alias(step: Step) -> bool:
    """Whether a step only gives the numbers of its input, as they lie, another shape.

    Besides reshapes in order these are maps whose pixels stand in other rows, (N, C, H, W) to
    (N, C, H', W'), and a map of one row whose channels become its last axis.
    """
    x = step.inputs[0] if step.op in ("reshape", "transpose") else None
    if not isinstance(x, Value):
        return False
    if step.op == "transpose":
        return step.params["axes"] == (0, 2, 3, 1) and in_order(step.shape)
    return keeps_order(step) or (
        len(x.shape) == len(step.shape) == 4 and x.shape[:2] == step.shape[:2]
    )


def keeps_order(step: Step) -> bool:
    """Whether a step is a reshape of what is in row-major order before it and after it."""
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
    changes: dict[int, int] = {}
    for life in lives.values():
        changes[life.first] = changes.get(life.first, 0) + aligned(life.size)
        changes[life.last + 1] = changes.get(life.last + 1, 0) - aligned(life.size)
    return max(accumulate(changes[moment] for moment in sorted(changes)), default=0)


def place(lives: Mapping[int, Life]) -> tuple[dict[int, int], int]:
    """An offset for each buffer, and the size of the arena they need.

    >>> place({1: Life(64, 0, 1), 2: Life(128, 1, 2), 3: Life(64, 2, 3)})
    ({2: 0, 1: 128, 3: 128}, 192)
    """
    offsets: dict[int, int] = {}
    placed: list[tuple[int, int, int, int]] = []  # (offset, end, first, last), by offset
    for key in sorted(lives, key=lambda k: (-lives[k].size, lives[k].first)):
        life = lives[key]
        offsets[key] = at = _lowest_gap(life, placed)
        placed.append((at, at + aligned(life.size), life.first, life.last))
        placed.sort()
    return offsets, max((end for _, end, _, _ in placed), default=0)


def _lowest_gap(life: Life, placed: Sequence[tuple[int, int, int, int]]) -> int:
    """The lowest offset at which nothing that lives at the same time lies."""
    at, size = 0, aligned(life.size)
    for start, end, first, last in placed:
        if first <= life.last and life.first <= last:
            if at + size <= start:
                break
            if end > at:
                at = end
    return at
