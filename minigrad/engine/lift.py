"""What is done to each pixel of woven maps is done to the maps before they are woven.

    f(interleave(x_1, x_2, ...))  ->  interleave(f(x_1), f(x_2), ...)

for an activation or a batch norm f, which then meets the convolutions that make the maps, and
becomes part of them.  The bits are the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from minigrad.engine.graph import Graph, Ref, Step, Value, needed
from minigrad.kernels.tables import ACTIVATIONS

__all__ = ["Rebuilding", "lift", "wastes_registers"]

LIFTED = frozenset((*(f.name for f in ACTIVATIONS), "batch_norm_eval", "prelu"))
LATE = frozenset(f.name for f in ACTIVATIONS if f.high is None)  # no clamps in registers
NARROW = 2


def wastes_registers(act: Step) -> bool:
    """Whether a function of some length is better computed alone, over numbers side by side.

    A convolution computes it pixel by pixel, in registers that channels of a pixel share.
    """
    return act.op in LATE and len(act.shape) == 4 and act.shape[1] <= NARROW


class Rebuilding:
    """The steps of a graph under new numbers; ``place`` may put others in the place of one."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.uses = graph.uses()
        self.values = {0: graph.input}  # by the old number
        self.steps: dict[int, Step] = {}

    def run(self) -> Graph:
        """The graph of all steps in their new places."""
        for step in self.graph.steps.values():
            self.values[step.number] = self.place(step)
        outputs = tuple(self.values[value.number] for value in self.graph.outputs)
        return self.graph._replace(steps=needed(self.steps, outputs), outputs=outputs)

    def place(self, step: Step) -> Value:
        """Add a step, or others for it; the value that it made."""
        return self.put(step)

    def put(self, step: Step) -> Value:
        """The step as it is."""
        return self.add(step, step.op, tuple(map(self.now, step.inputs)), step.params, step.output)

    def now(self, ref: Ref) -> Ref:
        """What a reference of the old graph is in the new one."""
        return self.values[ref.number] if isinstance(ref, Value) else ref

    def add(
        self, like: Step, op: str, inputs: tuple[Ref, ...], params: Mapping[str, Any], output: Value
    ) -> Value:
        """A step of the layer of another."""
        value = output._replace(number=len(self.steps) + 1)
        self.steps[value.number] = like._replace(op=op, inputs=inputs, params=params, output=value)
        return value


class _Lifting(Rebuilding):
    """The steps of a graph, with those that are lifted above interleaves."""

    def place(self, step: Step) -> Value:
        woven = self._woven(step)
        return self._above(step, woven) if woven else self.put(step)

    def _woven(self, step: Step) -> Step | None:
        """The interleave that only this step reads, if the step can be lifted above it."""
        x = step.inputs[0] if step.op in LIFTED and not wastes_registers(step) else None
        if not isinstance(x, Value) or len(self.uses[x.number]) > 1:
            return None
        maker = self.steps.get(self.values[x.number].number)
        if maker is None or maker.op != "interleave":
            return None
        return maker if all(isinstance(part, Value) for part in maker.inputs) else None

    def _above(self, step: Step, woven: Step) -> Value:
        rest = tuple(map(self.now, step.inputs[1:]))
        parts = [
            self.add(step, step.op, (part, *rest), step.params, part)
            for part in woven.inputs
            if isinstance(part, Value)
        ]
        return self.add(step, "interleave", tuple(parts), woven.params, step.output)


def lift(graph: Graph) -> Graph:
    """The graph with activations and batch norms above the interleaves that they followed."""
    if not any(step.op == "interleave" for step in graph.steps.values()):
        return graph
    return _Lifting(graph).run()
