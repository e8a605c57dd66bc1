"""What the steps of a plan mean: the interpreter that is their definition.

Each step is its primitive, and around it what was fused into it, on whatever backend is
current.  ``execute`` binds the same steps to compiled kernels, and agrees to the bit.
"""

from __future__ import annotations

from collections.abc import Callable

from minigrad.engine.graph import Constant, Graph, Ref, Step
from minigrad.kernels.contract import ieee
from minigrad.tensor import PRIMITIVES, Array

__all__ = ["interpret", "perform"]


def interpret(
    graph: Graph, x: Array, watch: Callable[[Step, Array], None] | None = None
) -> list[Array]:
    """What a graph means: its outputs for an input, on the current backend.

    Parameters
    ----------
    graph : Graph
    x : ndarray
        Of the graph's shape and dtype.
    watch : callable, optional
        ``watch(step, value)`` is told what each step makes.

    Returns
    -------
    list of ndarray

    Raises
    ------
    ShapeError, DtypeError
        Of a primitive that does not take what it is given.

    Examples
    --------
    >>> import minigrad as mg, numpy as np
    >>> graph = mg.engine.trace(lambda x: x + x, (2,), "float32")
    >>> interpret(graph, np.ones(2, np.float32))[0].tolist()
    [2.0, 2.0]
    """
    values: dict[int, Array] = {0: x}

    def get(ref: Ref) -> Array | None:
        if isinstance(ref, Constant):
            return ref.array
        return None if ref is None else values[ref.number]

    for step in graph.steps.values():
        for part in step.parts:
            values[part.number] = perform(part, get)
        if watch:
            watch(step, values[step.number])
    return [values[value.number] for value in graph.outputs]


@ieee
def perform(step: Step, get: Callable[[Ref], Array | None]) -> Array:
    """One step: scale the input by the gate, apply the primitive, then what was fused into it."""
    inputs, epilogue = [get(ref) for ref in step.inputs], step.epilogue
    x, gate = inputs[0], get(epilogue.gate)
    if x is not None and gate is not None:
        inputs[0] = x * gate
    result = PRIMITIVES[step.op].forward(*inputs, **step.params)
    y: Array = result[0] if isinstance(result, tuple) else result
    for op, others in epilogue.after():
        y = PRIMITIVES[op].forward(y, *map(get, others))
    return y
