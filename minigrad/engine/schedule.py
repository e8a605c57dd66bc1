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
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from minigrad.engine.trace import Graph, Step, has_constants
from minigrad.tensor import Array, Shape

__all__ = ["Schedule", "macs", "schedule", "with_batch"]

GROUP = 8  # images of the tail at a time

ROW_BY_ROW = frozenset(
    {
        "conv2d", "linear", "max_pool2d", "avg_pool2d", "global_avg_pool", "batch_norm_eval",
        "relu", "relu6", "hardsigmoid", "hardswish", "sigmoid", "silu", "tanh", "exp", "log",
        "add", "sub", "mul", "div", "maximum", "minimum", "clamp", "reshape", "broadcast_to",
    }
)  # fmt: skip


class Schedule(NamedTuple):
    """In which order a batch goes through a graph.

    Attributes
    ----------
    head : Graph
        The leading steps for one image; its outputs are what the tail reads.
    tails : {images: Graph}
        The rest for each size of group; a step ``given`` stands for what the head made.
    groups : tuple of int
        How many images the head makes before the tail runs, one time after the other.
    why : str
        The reason, in words.
    """

    head: Graph
    tails: dict[int, Graph]
    groups: tuple[int, ...]
    why: str

    @property
    def first_of_tail(self) -> int | None:
        """The number of the first step that the tail does."""
        tail = self.tails[self.groups[0]]
        return next((k for k, step in tail.steps.items() if step.op != "given"), None)


def schedule(graph: Graph, is_bound: Callable[[Graph, Step], bool]) -> Schedule:
    """Where to cut a graph, given which steps the compiled core can run."""
    numbers = list(graph.steps)
    most = next((k for k, n in enumerate(numbers) if not is_bound(graph, graph.steps[n])),
                len(numbers))  # fmt: skip
    batch = graph.shape[0] if graph.shape else 1
    one = with_batch(graph, 1) if batch > 1 else graph
    if one is None:
        return _cut(graph, graph, most, (1,), "the whole batch at once: a step mixes its images")
    if batch == 0:
        return _cut(graph, one, most, (0,), "no image")
    if batch == 1:
        return _cut(graph, one, most, (1,), "one image")
    groups = even_groups(batch)
    cut = _cheapest_cut(one, batch, len(groups), most)
    return _cut(graph, one, cut, groups, _reason(one, numbers[cut:], groups))


def even_groups(batch: int) -> tuple[int, ...]:
    """A batch in groups of at most GROUP images, as equal as can be.

    >>> even_groups(18)
    (6, 6, 6)
    >>> even_groups(9)
    (5, 4)
    """
    count = -(-batch // GROUP)
    return tuple(batch // count + (k < batch % count) for k in range(count))


def _reason(one: Graph, tail: Sequence[int], groups: Sequence[int]) -> str:
    if not tail:
        return "image by image: every step has larger maps than weights"
    first = one.steps[tail[0]].layer
    return (
        f"image by image up to {first}; from there on, where the weights are larger than the "
        f"maps, {max(groups)} images at once"
    )


def _cheapest_cut(one: Graph, batch: int, groups: int, most: int) -> int:
    """The number of leading steps for which the fewest bytes are moved."""
    steps = list(one.steps.values())
    weights = [weight_bytes(step) for step in steps]
    maps = [map_bytes(one, step) for step in steps]

    def moved(cut: int) -> int:
        return batch * (sum(weights[:cut]) + sum(maps[cut:])) + groups * sum(weights[cut:])

    return min(range(most + 1), key=lambda cut: (moved(cut), cut))


def macs(graph: Graph, step: Step) -> int:
    """Multiply-adds of a step's convolution or matrix product, taps on padding counted."""
    if "parts" in step.params:
        return sum(macs(graph, part) for part in step.params["parts"].values())
    if step.op not in ("conv2d", "linear"):
        return 0
    w = step.inputs[1]
    filters = graph.shape_of(w) if type(w) is int else w.shape
    return math.prod(step.shape) * math.prod(filters[1:])


def constants(step: Step) -> list[Array]:
    """The constants that a step or its parts read."""
    parts = step.params.get("parts", {0: step}).values()
    return [r for part in parts for r in part.inputs if isinstance(r, np.ndarray)]


def weight_bytes(step: Step) -> int:
    """Bytes of a step's constants."""
    return sum(r.nbytes for r in constants(step))


def map_shapes(graph: Graph, step: Step) -> list[Shape]:
    """The shapes of the values that a step writes and reads."""
    return [step.shape, *(graph.shape_of(ref) for ref in step.reads())]


def map_bytes(graph: Graph, step: Step) -> int:
    """Bytes of the values that a step reads and writes."""
    return sum(math.prod(shape) for shape in map_shapes(graph, step)) * graph.dtype.itemsize


def has_numbers(graph: Graph, step: Step) -> bool:
    """Whether no map and no constant of a step is empty."""
    return all(math.prod(shape) for shape in shapes_around(graph, step))


def shapes_around(graph: Graph, step: Step) -> list[Shape]:
    """The shapes of all that a step or its parts read and write."""
    inside = [part.shape for part in step.params.get("parts", {}).values()]
    return [*map_shapes(graph, step), *inside, *(r.shape for r in constants(step))]


def _cut(graph: Graph, one: Graph, cut: int, groups: tuple[int, ...], why: str) -> Schedule:
    """The two parts; ``one`` is the graph for one unit of the groups."""
    numbers = list(one.steps)
    first, rest = numbers[:cut], numbers[cut:]
    made = {0, *first}
    read = {ref for number in rest for ref in one.steps[number].reads()} | set(one.outputs)
    crossing = tuple(sorted(read & made))
    head = replace(one, steps={k: one.steps[k] for k in first}, outputs=crossing)
    tails = {}
    for size in set(groups):
        whole = one if size in (0, 1) else with_batch(one, size)
        assert whole is not None
        given = {k: Step("given", (), {}, "", whole.shape_of(k)) for k in crossing}
        steps = {**given, **{k: whole.steps[k] for k in rest}}
        tails[size] = replace(whole, steps=steps)
    return Schedule(head, tails, groups, why)


def with_batch(graph: Graph, batch: int) -> Graph | None:
    """The same graph for another number of images; None if a step may mix them."""
    old = graph.shape[0] if graph.shape else 0
    shapes = {k: graph.shape_of(k) for k in (0, *graph.steps)}
    if any(shape[:1] != (old,) for shape in shapes.values()):
        return None
    steps = {k: _step_with_batch(s, batch) for k, s in graph.steps.items()}
    if any(step is None for step in steps.values()):
        return None
    kept = {k: step for k, step in steps.items() if step is not None}
    return replace(graph, shape=(batch, *graph.shape[1:]), steps=kept)


def _step_with_batch(step: Step, batch: int) -> Step | None:
    if "parts" in step.params:
        parts = {k: _step_with_batch(p, batch) for k, p in step.params["parts"].items()}
        if any(part is None for part in parts.values()):
            return None
        return replace(step, params={"parts": parts}, shape=(batch, *step.shape[1:]))
    if step.op not in ROW_BY_ROW or not _same_for_every_image(step):
        return None
    shape = (batch, *step.shape[1:])
    params = {**step.params, "shape": shape} if "shape" in step.params else step.params
    return replace(step, params=params, shape=shape)


def _same_for_every_image(step: Step) -> bool:
    """Whether only the first input depends on the image, or all do."""
    if step.op in ("conv2d", "linear", "batch_norm_eval"):
        return type(step.inputs[0]) is int and has_constants(step)
    return all(type(ref) is int for ref in step.inputs)
