"""A batch image by image: which steps see one image at a time, and which see several.

A step moves maps and weights.  On a whole batch it reads its weights once, but its maps
are those of all images and no longer stay in cache from one step to the next.  Done for
one image after the other it is the maps that stay, and the weights are read for each
image.  Early layers have large maps and few weights, late ones the opposite.  So a batch
runs in two parts:

    head    image by image, an arena each; several images at once if there are threads
    tail    group by group: GROUP images or fewer, so that its arena does not grow either

The cut between them is where the fewest bytes are moved,

    bytes(cut) = sum_{i < cut} N w_i  +  sum_{i >= cut} (N m_i + groups w_i)

with w_i the bytes of the weights of step i, and m_i those of the maps that it reads and
writes for one image.  No sum runs over the batch, so neither shows in the bits.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np

from minigrad.arrays import Shape
from minigrad.engine.graph import Block, Constant, Graph, Ref, Step, Value
from minigrad.engine.memory import Placement, placement
from minigrad.records import NamedTuple

__all__ = ["Part", "Schedule", "has_numbers", "macs", "schedule", "with_batch"]

GROUP = 8  # images of the tail at a time
SHAPES = ("shape", "x_shape")  # parameters that are the shape of a map of the batch


class Part(NamedTuple):
    """A stretch of steps, and where its values lie in an arena of its own."""

    graph: Graph
    place: Placement


def part_of(graph: Graph) -> Part:
    """The part that these steps are."""
    return Part(graph, placement(graph))


class Groups:
    """A batch in ``count`` groups, as equal as can be, the larger ones first.

    >>> list(Groups(9, 2))
    [5, 4]
    """

    __slots__ = ("batch", "count")

    def __init__(self, batch: int, count: int = 1) -> None:
        self.batch, self.count = batch, count

    def __iter__(self) -> Iterator[int]:
        return (self.batch // self.count + (k < self.batch % self.count) for k in range(self.count))

    def __len__(self) -> int:
        return self.count

    @property
    def sizes(self) -> tuple[int, ...]:
        """The sizes that there are, at most two, the largest first."""
        least, rest = divmod(self.batch, self.count)
        return (least + 1, least) if rest else (least,)


class Schedule(NamedTuple):
    """In which order a batch goes through a graph.

    Attributes
    ----------
    head : Part
        The leading steps for one image; its outputs are what the tail reads.
    tails : dict of int to Part
        The rest for each size of group; a step ``given`` stands for what the head made.
    groups : Groups
        How many images the head makes before the tail runs, one time after the other.
    why : str
        The reason, in words.
    """

    head: Part
    tails: dict[int, Part]
    groups: Groups
    why: str

    @property
    def first_of_tail(self) -> int | None:
        """The number of the first step that the tail does."""
        steps = self.tails[self.groups.sizes[0]].graph.steps
        return next((k for k, step in steps.items() if step.op != "given"), None)

    @property
    def head_bytes(self) -> int:
        """Memory of the activations of one image, up to where a batch goes on together."""
        return self.head.place.size

    @property
    def arena_bytes(self) -> int:
        """Memory of all activations together, with one thread."""
        return self.head_bytes + max(tail.place.size for tail in self.tails.values())

    @property
    def live_bytes(self) -> int:
        """The largest sum of activations needed at one step of the head, and of the tail."""
        return self.head.place.live + max(tail.place.live for tail in self.tails.values())

    def offset(self, number: int) -> int:
        """Where a value lies in the arena, or in the arena of its image."""
        places = [part.place.offsets for part in (self.head, *self.tails.values())]
        return next(offsets[number] for offsets in places if number in offsets)


def schedule(graph: Graph, is_bound: Callable[[Step], bool]) -> Schedule:
    """Where to cut a graph, given which steps the compiled core can run."""
    numbers = list(graph.steps)
    most = next((k for k, n in enumerate(numbers) if not is_bound(graph.steps[n])), len(numbers))
    batch = graph.shape[0] if graph.shape else 1
    one = with_batch(graph, 1) if batch > 1 else graph
    if one is None:
        return _cut(
            graph, graph, most, Groups(1), "the whole batch at once: a step mixes its images"
        )
    if batch == 0:
        return _cut(graph, one, most, Groups(0), "no image")
    if batch == 1:
        return _cut(graph, one, most, Groups(1), "one image")
    groups = even_groups(batch)
    cut = _cheapest_cut(one, batch, len(groups), most)
    return _cut(graph, one, cut, groups, _reason(one, numbers[cut:], groups))


def even_groups(batch: int) -> Groups:
    """A batch in groups of at most GROUP images.

    >>> list(even_groups(18))
    [6, 6, 6]
    """
    return Groups(batch, -(-batch // GROUP))


def _reason(one: Graph, tail: Sequence[int], groups: Groups) -> str:
    if not tail:
        return "image by image: every step has larger maps than weights"
    first = one.steps[tail[0]].layer
    return (
        f"image by image up to {first}; from there on, where the weights are larger than the "
        f"maps, {groups.sizes[0]} images at once"
    )


def _cheapest_cut(one: Graph, batch: int, groups: int, most: int) -> int:
    """The number of leading steps for which the fewest bytes are moved."""
    steps = list(one.steps.values())
    weights = [weight_bytes(step) for step in steps]
    maps = [map_bytes(step) for step in steps]

    def moved(cut: int) -> int:
        return batch * (sum(weights[:cut]) + sum(maps[cut:])) + groups * sum(weights[cut:])

    return min(range(most + 1), key=lambda cut: (moved(cut), cut))


def macs(step: Step) -> int:
    """Multiply-adds of a step's convolution or matrix product, taps on padding counted."""
    return sum(_macs(part) for part in step.parts)


def _macs(step: Step) -> int:
    w = step.inputs[1] if step.op in ("conv2d", "linear") else None
    return 0 if w is None else math.prod(step.shape) * math.prod(w.shape[1:])


def weight_bytes(step: Step) -> int:
    """Bytes of a step's constants."""
    return sum(constant.nbytes for constant in step.constants())


def map_bytes(step: Step) -> int:
    """Bytes of the values that a step reads and writes."""
    return step.output.nbytes + sum(value.nbytes for value in step.reads())


def has_numbers(step: Step) -> bool:
    """Whether no map and no constant of a step is empty."""
    return not any(0 in ref.shape for ref in step.refs())


def _cut(graph: Graph, one: Graph, cut: int, groups: Groups, why: str) -> Schedule:
    """The two parts; ``one`` is the graph for one unit of the groups."""
    numbers = list(one.steps)
    first, rest = numbers[:cut], numbers[cut:]
    made = {0, *first}
    read = {v.number: v for k in rest for v in one.steps[k].reads()}
    read.update({v.number: v for v in one.outputs})
    crossing = [read[k] for k in sorted(read) if k in made]
    head = one._replace(steps={k: one.steps[k] for k in first}, outputs=tuple(crossing))
    tails = {}
    for size in groups.sizes:
        whole = one if size in (0, 1) else with_batch(one, size)
        assert whole is not None
        values = {value.number: value for value in whole.values()}
        given = {v.number: Step("given", (), {}, "", values[v.number]) for v in crossing}
        steps = {**given, **{k: whole.steps[k] for k in rest}}
        tails[size] = part_of(whole.with_steps(steps))
    return Schedule(part_of(head), tails, groups, why)


def with_batch(graph: Graph, batch: int) -> Graph | None:
    """The same graph for another number of images; None if a step may mix them."""
    old = graph.shape[:1]
    if not old or any(value.shape[:1] != old for value in graph.values()):
        return None
    inner = [part.output for step in graph.steps.values() for part in step.parts]
    values = {v.number: v.with_batch(batch) for v in (*graph.values(), *inner)}
    steps = {number: _step_with(step, values) for number, step in graph.steps.items()}
    moved_steps = {number: step for number, step in steps.items() if step is not None}
    outputs = tuple(values[value.number] for value in graph.outputs)
    moved = graph._replace(input=values[0], steps=moved_steps, outputs=outputs)
    return moved if len(moved_steps) == len(steps) else None


def _step_with(step: Step, values: Mapping[int, Value]) -> Step | None:
    """The step for other values of the same numbers; None if it may mix their images."""
    output = values[step.number]
    inputs = tuple(
        values[r.number] if isinstance(r, Value) else _for_images(r, step, output.shape[0])
        for r in step.inputs
    )
    if isinstance(step, Block):
        parts = [_step_with(part, values) for part in step.parts]
        moved_parts = tuple(part for part in parts if part is not None)
        moved = step._replace(inputs=inputs, output=output, inside=moved_parts)
        return moved if len(moved_parts) == len(parts) else None
    params = {
        name: output.shape[:1] + value[1:] if name in SHAPES else value
        for name, value in step.params.items()
    }
    if not _by_image(step) or _shape(step.op, inputs, params) != output.shape:
        return None
    residual, gate = (v and values[v.number] for v in (step.epilogue.residual, step.epilogue.gate))
    epilogue = step.epilogue._replace(residual=residual, gate=gate)
    return step._replace(inputs=inputs, params=params, output=output, epilogue=epilogue)


def _repeats(ref: Ref, step: Step) -> bool:
    """Whether a constant beside maps is the same for every image."""
    if not isinstance(ref, Constant) or len(ref.shape) != len(step.shape) or not ref.shape:
        return False
    return ref.shape[:1] == step.shape[:1] and (ref.shape[0] == 1 or not ref.array.strides[0])


def _for_images(ref: Ref, step: Step, count: int) -> Ref:
    """A constant that is the same for every image, for another number of them."""
    if not isinstance(ref, Constant) or not _repeats(ref, step) or count == ref.shape[0]:
        return ref
    from minigrad.tensor import PRIMITIVES  # here and below: one image asks none of them

    op = PRIMITIVES[step.op]
    if not (set(op.arguments) <= set(op.images)):
        return ref  # weights, whose first axis counts no images
    return Constant(np.broadcast_to(ref.array[:1], (count, *ref.shape[1:])))


def _by_image(step: Step) -> bool:
    """Whether the primitive says so, and only the arguments that it means differ by image."""
    from minigrad.tensor import PRIMITIVES

    op = PRIMITIVES[step.op]
    names = op.arguments * len(step.inputs) if op.variadic else op.arguments
    agree = all(
        isinstance(ref, Value) == (name in op.images) or (name in op.images and _repeats(ref, step))
        for name, ref in zip(names, step.inputs, strict=False)
        if ref is not None
    )
    return agree and op.works_by_image(_shapes(step.inputs), dict(step.params))


def _shape(op: str, inputs: Sequence[Ref], params: dict[str, object]) -> Shape:
    """What the primitive's own rule says."""
    from minigrad.tensor import PRIMITIVES

    return tuple(PRIMITIVES[op].shape_rule(*_shapes(inputs), **params))


def _shapes(inputs: Sequence[Ref]) -> list[Shape | None]:
    return [None if ref is None else ref.shape for ref in inputs]
