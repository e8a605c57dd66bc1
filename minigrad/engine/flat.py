"""A part of a map that is the same at every pixel is not multiplied at every pixel.

    conv1x1(concat(u, flat(v)))  ->  conv1x1(u, w_u) + flat(conv1x1(v, w_v) + bias)

flat(v) repeats (N, C, 1, 1) over a map, by ``broadcast_to`` or by a resizing of one pixel, as
networks for segmentation do with what they know of the whole image.  Equal in exact arithmetic;
another rounding, so this is a fold.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from minigrad.arrays import Array
from minigrad.engine.graph import Constant, Epilogue, Graph, Ref, Step, Value, is_conv
from minigrad.engine.lift import Rebuilding
from minigrad.geometry import classify

if TYPE_CHECKING:
    from minigrad.sampling import Taps

__all__ = ["Cut", "columns_of", "without_flat_parts"]

Cut = Callable[[Array, tuple[tuple[int, int], ...]], Array]


def columns_of(w: Array, channels: tuple[tuple[int, int], ...]) -> Array:
    """The weights of some of the input channels, each (first, end), side by side."""
    return np.concatenate([w[:, first:end] for first, end in channels], 1)


class _Split(NamedTuple):
    """The parts of a concatenation that are flat, by what they repeat, and the others."""

    flat: list[tuple[Value, tuple[int, int]]]
    others: list[tuple[Value, tuple[int, int]]]


class _Parting(Rebuilding):
    """The steps of a graph, with convolutions of flat parts apart."""

    def __init__(self, graph: Graph, cut: Cut) -> None:
        super().__init__(graph)
        self.cut = cut
        self.parted: list[str] = []

    def place(self, step: Step) -> Value:
        split = self._split(step)
        if split is None:
            return self.put(step)
        self.parted.append(step.layer)
        (flat, of_flat), (others, of_others) = (self._joined(step, parts) for parts in split)
        bias = step.inputs[2] if len(step.inputs) > 2 else None
        small = self._convolved(step, flat, of_flat, bias, flat.shape[2:])
        spread = self.add(step, "broadcast_to", (small,), {"shape": step.shape}, step.output)
        large = self._convolved(step, others, of_others, None, step.shape[2:])
        return self.add(step, "add", (large, spread), {}, step.output)

    def _convolved(self, step: Step, x: Value, w: Array, bias: Ref, size: Sequence[int]) -> Value:
        output = step.output._replace(shape=(*step.shape[:2], *size))
        return self.add(step, "conv2d", (x, Constant(w), bias), step.params, output)

    def _joined(
        self, step: Step, parts: list[tuple[Value, tuple[int, int]]]
    ) -> tuple[Value, Array]:
        """Some parts as one map, and the weights of its channels."""
        values = tuple(value for value, _ in parts)
        weights = self.cut(step.weights, tuple(channels for _, channels in parts))
        if len(values) == 1:
            return values[0], weights
        n, _, h, w = values[0].shape
        output = step.output._replace(shape=(n, sum(v.shape[1] for v in values), h, w))
        return self.add(step, "concat", values, {"axis": 1}, output), weights

    def _split(self, step: Step) -> _Split | None:
        """How a pointwise convolution alone reads a concatenation with flat parts."""
        if not is_conv(step) or classify(step.params["spec"], step.filters.shape) != "pointwise":
            return None
        joint = self.graph.maker(step.inputs[0])
        if joint is None or joint.op != "concat" or joint.params["axis"] != 1:
            return None
        if self.uses[joint.number] != [step.number] or step.epilogue != Epilogue():
            return None
        split, start = _Split([], []), 0
        for ref in joint.inputs:
            value, end = self.now(ref), start + (0 if ref is None else ref.shape[1])
            source = _source(self.graph.maker(ref))
            if source is not None:
                split.flat.append((self.values[source.number], (start, end)))
            elif isinstance(value, Value):
                split.others.append((value, (start, end)))
            else:
                return None
            start = end
        return split if split.flat and split.others else None


def _source(step: Step | None) -> Value | None:
    """The pixel that a step repeats over a map."""
    if step is None or step.op not in ("broadcast_to", "resample"):
        return None
    x = step.inputs[0]
    if not isinstance(x, Value) or x.shape != (*step.shape[:2], 1, 1) or x.shape == step.shape:
        return None
    taps = [step.params[name] for name in ("rows", "columns") if name in step.params]
    return x if all(map(_repeats, taps)) else None


def _repeats(taps: Taps) -> bool:
    """Whether weights of one pixel add up to it."""
    return all(sum(row) == 1 for row in taps.weights)


def without_flat_parts(graph: Graph, cut: Cut = columns_of) -> tuple[Graph, list[str]]:
    """The graph with such convolutions in two parts, and their layers."""
    if not any(step.op == "concat" for step in graph.steps.values()):
        return graph, []
    parting = _Parting(graph, cut)
    return parting.run(), parting.parted
