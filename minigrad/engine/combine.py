"""Rewrites of a recorded training step: the passes over a map that can be one.

For a batch norm with an activation f,  a = f(gamma x̂ + beta),  eager mode sweeps over maps ten
times.  After the rewrites five sweeps are left, with the same operations in the same order:

    batch_norm_begin      x -> stats        mean, var, gamma r, ...: rows of one number a channel
    batch_norm_apply      x -> a            normalised, activated, a residual added, and relu
    batch_norm_sums       (ȳ, x) -> sums    the gradients of beta and gamma, and two means,
                                            with ȳ f'(...) made on the way
    batch_norm_gradient   (ȳ, x) -> x̄       the same, and the formula of the gradient

(the statistics take two).  What f' is told is made of x again, so neither the normalised map
nor ȳ f' is ever in memory.  ``recomputed`` makes a again where the backward pass needs it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from minigrad.engine.graph import Epilogue, Graph, Ref, Step, Value
from minigrad.kernels.tables import ACTIVATIONS

__all__ = ["combined", "recomputed"]

BEGIN_ROWS = 5  # mean, var, gamma / sqrt(var + eps), r, gamma r: ext/batch_norm.pyx.tp
SUM_ROWS = 4  # the gradients of beta and of gamma, and the means a and b

_SLOPES = {f.name: f.slope for f in ACTIVATIONS}


def combined(graph: Graph) -> Graph:
    """The graph with every batch norm of a map in four steps, residuals added in the second, and
    ReLU after those."""
    steps, uses = dict(graph.steps), graph.uses()
    fresh = max(steps, default=0)
    for norm in [s for s in steps.values() if s.op == "batch_norm_train" and _is_map(s)]:
        unit = _unit(norm, steps, uses)
        if unit is not None:
            steps = dict(_in_order(steps, _replacements(unit, fresh + 1)))
            fresh += 1
    return _rectified(_with_residuals(graph.with_steps(steps)))


def _is_map(step: Step) -> bool:
    return len(step.shape) == 4 and 0 not in step.shape


class _Unit(NamedTuple):
    """A batch norm in training, and the steps that belong to it."""

    norm: Step
    statistics: Step
    activation: Step | None
    slope: Step | None
    gradient: Step | None  # of x
    gamma: Step | None
    beta: Step | None


def _unit(norm: Step, steps: Mapping[int, Step], uses: Mapping[int, list[int]]) -> _Unit | None:
    """What belongs to a batch norm; None if it is not made as ``ops.batch_norm`` makes it."""
    mean = steps.get(getattr(norm.params["mean"], "number", 0))
    if (
        mean is None
        or not isinstance(mean.inputs[0], Value)
        or not isinstance(norm.inputs[0], Value)
    ):
        return None
    readers = [steps[n] for n in uses[mean.number] if n in steps and n != norm.number]
    by_op = {step.op: step for step in readers}
    gradient, gamma = (by_op.get("batch_norm_train_dx"), by_op.get("batch_norm_train_dgamma"))
    cotangents = {s.inputs[0] for s in (gradient, gamma) if s is not None}
    if len(cotangents) > 1:
        return None
    dy = next(iter(cotangents), None)
    beta = next((s for s in _readers(dy, steps, uses) if _is_beta(s)), None)
    activation = _activation(norm, steps, uses)
    backward = {s.number for s in (gradient, gamma, beta) if s is not None}
    slope = _slope(dy, norm, activation, backward, steps, uses)
    if activation is not None and slope is None and dy is not None:
        activation = None
    return _Unit(norm, steps[mean.inputs[0].number], activation, slope, gradient, gamma, beta)


def _readers(ref: Ref, steps: Mapping[int, Step], uses: Mapping[int, list[int]]) -> Iterator[Step]:
    numbers = uses[ref.number] if isinstance(ref, Value) else []
    return (steps[n] for n in numbers if n in steps)


def _is_beta(step: Step) -> bool:
    """Whether a step sums a map over all axes but the channels'."""
    axes = tuple(step.params.get("axes", ()))
    return step.op == "sum" and axes == (0, 2, 3) and not step.params.get("keepdims")


def _activation(
    norm: Step, steps: Mapping[int, Step], uses: Mapping[int, list[int]]
) -> Step | None:
    """The activation that alone reads a batch norm, but for its own slope."""
    readers = uses[norm.number]
    first = steps.get(readers[0]) if readers else None
    if first is None or first.op not in _SLOPES:
        return None
    others = [steps.get(n) for n in readers[1:]]
    slopes = all(s is not None and _is_slope_of(s, first, norm) for s in others)
    return first if slopes else None


def _is_slope_of(step: Step, activation: Step, norm: Step) -> bool:
    """Whether a step is ȳ f'(...) of this activation of this batch norm."""
    if step.op not in ("line_slope", "curve_slope") or step.params["of"] != activation.op:
        return False
    told = activation.output if _SLOPES[activation.op] == "y" else norm.output
    return step.inputs[1] == told


def _slope(
    dy: Ref,
    norm: Step,
    activation: Step | None,
    backward: set[int],
    steps: Mapping[int, Step],
    uses: Mapping[int, list[int]],
) -> Step | None:
    """The step that makes dy of the activation's cotangent, if nobody else reads dy."""
    step = steps.get(dy.number) if isinstance(dy, Value) else None
    if step is None or activation is None or not _is_slope_of(step, activation, norm):
        return None
    return step if set(uses[step.number]) <= backward else None


def _replacements(unit: _Unit, number: int) -> dict[int, list[Step]]:
    """For each step of a unit the steps that take its place."""
    norm, told = unit.norm, unit.activation
    x, gamma, beta = norm.inputs
    eps = {"eps": norm.params["eps"]}
    stats = unit.statistics.output._replace(shape=(BEGIN_ROWS, norm.shape[1]))
    begin = unit.statistics._replace(
        op="batch_norm_begin", inputs=(x, gamma), params=eps, output=stats
    )
    last = norm if told is None else told
    apply = norm._replace(
        op="batch_norm_apply",
        inputs=(x, stats, beta),
        params={},
        output=last.output,
        epilogue=Epilogue(activation=told.op if told else None),
        absorbed=(told.layer,) if told else (),
    )
    places = {unit.statistics.number: [begin], norm.number: [], last.number: [apply]}
    return places | _backward(unit, (x, stats, beta), eps, number)


def _backward(
    unit: _Unit, forward: tuple[Ref, Ref, Ref], eps: Mapping[str, object], number: int
) -> dict[int, list[Step]]:
    rules = [s for s in (unit.gradient, unit.gamma, unit.beta) if s is not None]
    if unit.gradient is None and unit.gamma is None:
        return {}
    first = min(rules, key=lambda s: s.number)
    g = unit.slope.inputs[0] if unit.slope else first.inputs[0]
    sums = Value(number, (SUM_ROWS, unit.norm.shape[1]), unit.norm.output.dtype)
    how = Epilogue(activation=unit.slope.params["of"] if unit.slope else None)
    made = first._replace(op="batch_norm_sums", inputs=(g, *forward), params=eps, output=sums,
                   epilogue=how)  # fmt: skip
    places: dict[int, list[Step]] = {}
    if unit.slope:
        places[unit.slope.number] = []
    for step, row in ((unit.beta, 0), (unit.gamma, 1)):
        if step is not None:
            places[step.number] = [step._replace(op="row", inputs=(sums,), params={"k": row})]
    if unit.gradient is not None:
        places[unit.gradient.number] = [
            unit.gradient._replace(op="batch_norm_gradient", inputs=(g, *forward, sums), params={},
                    epilogue=how)
        ]  # fmt: skip
    return places | {first.number: [made, *places[first.number]]}


def _in_order(
    steps: Mapping[int, Step], places: Mapping[int, list[Step]]
) -> Iterator[tuple[int, Step]]:
    """The steps, those of ``places`` replaced where they stand."""
    for number, step in steps.items():
        for other in places.get(number, [step]):
            yield other.number, other


def _with_residuals(graph: Graph) -> Graph:
    """Additions moved into the batch norm that makes one of the two, where only they read it."""
    steps, uses = dict(graph.steps), graph.uses()
    for add in [s for s in graph.steps.values() if s.op == "add"]:
        for k in (0, 1):
            unit, other = graph.maker(add.inputs[k]), add.inputs[1 - k]
            alone = unit is not None and uses[unit.number] == [add.number]
            if unit is None or not alone or not isinstance(other, Value) or other == unit.output:
                continue
            if unit.op == "batch_norm_apply" and steps.get(unit.number) is unit:
                del steps[unit.number]
                how = unit.epilogue._replace(residual=other)
                steps[add.number] = unit._replace(output=add.output, epilogue=how)
                break
    return graph.with_steps(steps)


def _rectified(graph: Graph) -> Graph:
    """ReLU moved into the batch norm whose sum with a residual it alone reads."""
    steps, uses = dict(graph.steps), graph.uses()
    for relu in [s for s in graph.steps.values() if s.op == "relu"]:
        unit = graph.maker(relu.inputs[0])
        if unit is None or unit.op != "batch_norm_apply" or uses[unit.number] != [relu.number]:
            continue
        if unit.epilogue.residual is not None:
            del steps[unit.number]
            how = unit.epilogue._replace(clamp="relu")
            steps[relu.number] = unit._replace(output=relu.output, epilogue=how)
    return graph.with_steps(steps)


def recomputed(graph: Graph, turn: int) -> Graph:
    """The graph without maps that are kept for the backward pass and are cheap to make again.

    What ``batch_norm_apply`` makes of a map that is kept anyway, and the backward pass reads
    after the step ``turn``, is made a second time, just before it is read.
    """
    uses, fresh = graph.uses(), max(graph.steps, default=0)
    again: dict[int, Value] = {}
    for step in graph.steps.values():
        late = any(reader > turn for reader in uses[step.number])
        if step.op == "batch_norm_apply" and step.epilogue.residual is None and late:
            fresh += 1
            again[step.number] = step.output._replace(number=fresh)
    steps: dict[int, Step] = {}
    behind = False
    for number, step in graph.steps.items():
        behind = behind or number == turn
        if behind:
            for value in step.reads():
                copy = again.get(value.number)
                if copy is not None and copy.number not in steps:
                    steps[copy.number] = graph.steps[value.number]._replace(output=copy)
            step = _reading(step, again)
        steps[number] = step
    return graph.with_steps(steps)


def _reading(step: Step, instead: Mapping[int, Value]) -> Step:
    """The step with other values in the place of some that it reads."""

    def swap(ref: Ref) -> Ref:
        return instead.get(ref.number, ref) if isinstance(ref, Value) else ref

    return step._replace(inputs=tuple(swap(ref) for ref in step.inputs))
