"""Which step of a model each operator of a foreign graph is, found along the data.

An operator is the nearest step of its kind that can be reached from the steps of its inputs
through steps that the other graph may have folded or left out: batch norms, activations,
additions, reshapes.  Convolutions and linear layers must have weights of the same shape.  So a
graph that lacks an activation, or has one more, still has the others where they belong.
"""

from __future__ import annotations

from minigrad.engine.graph import Graph
from minigrad.kernels import tables
from minigrad.tensor import Array
from minigrad.verify.onnx_runs import OnnxRun, Operator

__all__ = ["align"]

ACTIVATIONS = {f.name for f in tables.ACTIVATIONS}
BEHIND = ACTIVATIONS | {"add", "batch_norm_eval", "clamp", "mul", "reshape"}
"""What a run may have fused into the layer before."""
FAR = 1 << 30


def align(graph: Graph, run: OnnxRun) -> dict[int, Operator]:
    """{number of a step: the operator that computes it}.

    Parameters
    ----------
    graph : Graph
    run : OnnxRun

    Returns
    -------
    dict
    """
    search = _Search(graph)
    places = {run.input: 0}
    for operator in run.operators:
        starts = [places[name] for name in operator.inputs if name in places]
        number = search.find(operator, starts) if operator.kind and starts else None
        if number is not None:
            search.taken[number] = operator
            places[operator.output] = number
        elif starts:
            places[operator.output] = starts[0]
    return search.taken


class _Search:
    """The steps that are taken, and the way to those that are not."""

    def __init__(self, graph: Graph) -> None:
        self.graph, self.uses = graph, graph.uses()
        self.taken: dict[int, Operator] = {}

    def find(self, operator: Operator, starts: list[int]) -> int | None:
        """The nearest step for an operator; an activation may be another one's."""
        kinds = [{operator.kind}]
        if operator.kind in ACTIVATIONS:
            kinds.append(ACTIVATIONS)
        for kind in kinds:
            reached = [self._reach(start, kind, operator) for start in starts]
            both = {n: max(r.get(n, FAR) for r in reached) for r in reached for n in r}
            best = min(both, key=lambda n: (both[n], n), default=None)
            if best is not None and both[best] < FAR:
                return best
        return None

    def _reach(self, start: int, kinds: set[str], operator: Operator) -> dict[int, int]:
        """{step of one of the kinds: how far it is} from a step that is there."""
        found: dict[int, int] = {}
        front, distance = {start}, 0
        while front:
            distance += 1
            after = {n for number in front for n in self.uses[number] if n in self.graph.steps}
            fits = {n for n in after if self._fits(n, kinds, operator)}
            found |= {n: found.get(n, distance) for n in fits}
            front = {
                n for n in after - fits
                if self.graph.steps[n].op in BEHIND and n not in self.taken
            }  # fmt: skip
        return found

    def _fits(self, number: int, kinds: set[str], operator: Operator) -> bool:
        step = self.graph.steps[number]
        if step.op not in kinds or number in self.taken:
            return False
        if step.op not in ("conv2d", "linear") or not operator.parameters:
            return True
        return _shape(step.weights) == _shape(operator.parameters[0])


def _shape(weight: Array) -> tuple[int, ...]:
    """A matrix may be turned."""
    return weight.shape if weight.ndim > 2 else tuple(sorted(weight.shape))
