"""The constants of a plan, one copy for all shapes that it serves.

Recording a model for another shape meets the same arrays again.  What is made of one (a copy,
folded filters, the order in which a kernel reads them) is made once and found by the identity
of the array that it was made of, which is kept alive for that.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from minigrad.engine.bind import PackedWeights
from minigrad.engine.flat import columns_of
from minigrad.engine.fuse import Folded, folded
from minigrad.engine.graph import Constant, Graph, Ref, Step
from minigrad.engine.slab import Slab
from minigrad.tensor import Array

__all__ = ["Weights"]


class Weights:
    """What was made of a model's arrays.

    Several threads may ask at the same time: of two results that are made of one array, the
    first that is entered is everybody's.

    Attributes
    ----------
    packed : dict
        Weights as the kernels read them (see ``bind.Packed``).
    """

    def __init__(self) -> None:
        self.packed: PackedWeights = {}
        self._folded: dict[tuple[float, ...], tuple[Sequence[Array | None], Folded]] = {}
        self._cut: dict[tuple[int, tuple[tuple[int, int], ...]], tuple[Array, Array]] = {}
        self._copies: dict[int, tuple[Array, Array]] = {}

    def fold(
        self,
        w: Array,
        b: Array | None,
        norm: Sequence[Array],
        eps: float,
        room: Slab | None = None,
    ) -> Folded:
        """``fuse.folded`` of these arrays."""
        arrays = (w, b, *norm)
        key = (*map(id, arrays), eps)
        if key not in self._folded:
            self._folded.setdefault(key, (arrays, folded(w, b, norm, eps, room)))
        return self._folded[key][1]

    def cut(self, w: Array, channels: tuple[tuple[int, int], ...]) -> Array:
        """``flat.columns_of`` of these weights."""
        key = id(w), channels
        if key not in self._cut:
            self._cut.setdefault(key, (w, columns_of(w, channels)))
        return self._cut[key][1]

    def keep(self, graph: Graph, traced: Graph) -> Graph:
        """The graph with copies of what it shares with the model, which may change it.

        What folding made is the plan's own already.
        """
        steps = traced.steps.values()
        shared = {id(constant.array) for step in steps for constant in step.constants()}
        shared.update(id(value) for step in steps for value in step.params.values())

        def mine(array: Array) -> Array:
            if id(array) not in shared:
                return array
            if id(array) not in self._copies:
                self._copies.setdefault(id(array), (array, _copied(array)))
            return self._copies[id(array)][1]

        return _with_arrays(graph, mine)


def _copied(array: Array) -> Array:
    """The array in memory of its own, where it stays one number for many."""
    if all(array.strides) or not array.size:
        return np.array(array)
    once = array[tuple(slice(None) if step else slice(1) for step in array.strides)]
    return np.broadcast_to(np.array(once), array.shape)


def _with_arrays(graph: Graph, new: Callable[[Array], Array]) -> Graph:
    """The graph with ``new(array)`` for each array that it holds."""

    def constant(ref: Ref) -> Ref:
        return Constant(new(ref.array)) if isinstance(ref, Constant) else ref

    def one(step: Step) -> Step:
        inputs = tuple(map(constant, step.inputs))
        params = {k: new(v) if isinstance(v, np.ndarray) else v for k, v in step.params.items()}
        slope = step.epilogue.slope
        fused = step.epilogue._replace(slope=slope and Constant(new(slope.array)))
        return step._replace(inputs=inputs, params=params, epilogue=fused)

    return graph.with_steps({k: one(step) for k, step in graph.steps.items()})
