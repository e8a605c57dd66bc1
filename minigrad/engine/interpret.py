"""What the steps of a plan mean: the interpreter that is their definition.

Each step is its primitive, and around it what was fused into it, on whatever backend is
current.  ``execute`` binds the same steps to compiled kernels, and agrees to the bit.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from minigrad.engine.trace import Graph, Step
from minigrad.kernels import run
from minigrad.tensor import PRIMITIVES, Array

__all__ = ["interpret", "perform"]


def interpret(
    graph: Graph, x: Array, watch: Callable[[int, Array], None] | None = None
) -> list[Array]:
    """What a graph means: the outputs for an input x, on the current backend.

    ``watch(number, value)`` is told every value.
    """
    values: dict[int, Array] = {0: x}
    for number, step in graph.steps.items():
        for k, part in step.params.get("parts", {number: step}).items():
            values[k] = perform(part, lambda ref: values[ref] if type(ref) is int else ref)
        if watch:
            watch(number, values[number])
    return [values[number] for number in graph.outputs]


def perform(step: Step, get: Callable[[Any], Any]) -> Array:
    """One step: scale the input by the gate, apply the primitive, activate, add the residual."""
    inputs = [get(ref) for ref in step.inputs]
    if "gate" in step.epilogue:
        inputs[0] = inputs[0] * get(step.epilogue["gate"])
    result = PRIMITIVES[step.op].forward(*inputs, **step.params)
    y: Array = result[0] if isinstance(result, tuple) else result
    if "activation" in step.epilogue:
        y = run(step.epilogue["activation"], y)
    if "residual" in step.epilogue:
        y = y + get(step.epilogue["residual"])
    return y
