"""Functions that others write in several steps, and that are one step here.

    silu          x sigmoid(x)
    hardsigmoid   relu6(x + 3) / 6
    hardswish     x hardsigmoid(x),   x relu6(x + 3) / 6

The steps in between go if nothing else reads them.  The one step rounds elsewhere than the
several, so this is left out where a plan is to have the bits of eager evaluation.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from minigrad.engine.graph import Constant, Graph, Ref, Step, Value, needed

__all__ = ["channel_vector", "recognise_formulas", "uniform"]


def uniform(ref: Ref) -> float | None:
    """The number that a constant holds everywhere, if it is one number repeated."""
    if not isinstance(ref, Constant) or not ref.array.size:
        return None
    steps = zip(ref.array.shape, ref.array.strides, strict=True)
    return float(ref.array.flat[0]) if all(n == 1 or not step for n, step in steps) else None


def channel_vector(ref: Ref) -> np.ndarray[tuple[int, ...], np.dtype[np.generic]] | None:
    """(C,) of a constant that differs along axis 1 alone, if it is one by how it lies."""
    if not isinstance(ref, Constant) or ref.array.ndim < 2 or not ref.array.size:
        return None
    array = ref.array
    others = (k for k in range(array.ndim) if k != 1)
    if any(array.shape[k] > 1 and array.strides[k] for k in others):
        return None
    return array[(0, slice(None)) + (0,) * (array.ndim - 2)]


def _operands(graph: Graph, ref: Ref, op: str) -> tuple[Ref, ...]:
    """What the step that made a value reads, if it is of this kind; both orders for two."""
    maker = graph.maker(ref)
    return maker.inputs if maker is not None and maker.op == op else ()


def _either(pair: tuple[Ref, ...]) -> tuple[tuple[Ref, ...], ...]:
    return (pair, pair[::-1]) if len(pair) == 2 else ()


def _plus_three_cut(graph: Graph, ref: Ref) -> Ref:
    """x of relu6(x + 3)."""
    for inner in _operands(graph, ref, "relu6"):
        for x, three in _either(_operands(graph, inner, "add")):
            if uniform(three) == 3:
                return x
    return None


def _sixth_of(step: Step) -> Ref:
    """u of u / 6, or of u times a sixth."""
    if step.op == "div" and uniform(step.inputs[1]) == 6:
        return step.inputs[0]
    for u, factor in _either(step.inputs) if step.op == "mul" else ():
        if (number := uniform(factor)) and np.float32(number) == np.float32(1 / 6):
            return u
    return None


def _silu(graph: Graph, step: Step) -> Ref:
    for x, s in _either(step.inputs) if step.op == "mul" else ():
        if x in _operands(graph, s, "sigmoid"):
            return x
    return None


def _hardsigmoid(graph: Graph, step: Step) -> Ref:
    return _plus_three_cut(graph, _sixth_of(step))


def _hardswish(graph: Graph, step: Step) -> Ref:
    if (u := _sixth_of(step)) is not None:  # (x relu6(x + 3)) / 6
        for x, cut in _either(_operands(graph, u, "mul")):
            if isinstance(x, Value) and _plus_three_cut(graph, cut) == x:
                return x
    for x, s in _either(step.inputs) if step.op == "mul" else ():
        if isinstance(x, Value) and x in _operands(graph, s, "hardsigmoid"):
            return x
    return None


FORMULAS: dict[str, Callable[[Graph, Step], Ref]] = {
    "silu": _silu,
    "hardswish": _hardswish,
    "hardsigmoid": _hardsigmoid,
}


def recognise_formulas(graph: Graph) -> Graph:
    """The graph with one step for each of these functions."""
    made = graph.with_steps(graph.steps)
    for number, step in graph.steps.items():
        for name, find in FORMULAS.items():
            x = find(made, step)
            if isinstance(x, Value):
                made.steps[number] = step._replace(op=name, inputs=(x,), params={})
                break
    return made.with_steps(needed(made.steps, made.outputs))
