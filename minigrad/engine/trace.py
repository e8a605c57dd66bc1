"""A model recorded once, by shape rules alone.

Calling a model on a Symbol, a tensor that has a shape but no values, sends every
primitive here instead of to a kernel.  What does not depend on the input is computed on
the spot and becomes a constant; of the rest one Step is kept, with the shape that the
primitive's own rule gives.  No arithmetic on a map is ever done.

The steps are the tape: the same primitives with the same parameters that ``backward``
would see.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from minigrad.engine.graph import Constant, Graph, Ref, Step, Value, needed
from minigrad.errors import GraphError
from minigrad.shaped import Shaped
from minigrad.tensor import (
    Array,
    Primitive,
    Shape,
    Tensor,
    current_scope,
    evaluate,
    interpreting,
    no_grad,
)

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["Symbol", "trace"]


class Symbol(Shaped):
    """A tensor known by shape and dtype alone, and the value that it stands for."""

    __slots__ = ("value",)

    def __init__(self, value: Value) -> None:
        super().__init__(value.shape, value.dtype)
        self.value = value

    def __repr__(self) -> str:
        return f"Symbol(shape={self.shape}, dtype={self.dtype})"

    def detach(self) -> Tensor:
        """The same value, cut off from the graph."""
        return Symbol(self.value)

    @property
    def array(self) -> Array:  # type: ignore[override]
        """Raises: a model that asks for it depends on values."""
        raise GraphError(
            "this model looks at the values of its input, so it cannot be recorded "
            "by shape alone and has no plan"
        )


class _Recorder:
    """The interpreter that ``trace`` puts in the place of evaluation."""

    def __init__(self, known: Mapping[int, Constant]) -> None:
        self.steps: dict[int, Step] = {}
        self.constants = dict(known)  # by their array: one array, one Constant

    def __call__(
        self, op: Primitive, inputs: Sequence[Tensor | None], params: dict[str, Any]
    ) -> Tensor:
        if not any(isinstance(x, Symbol) for x in inputs):
            return evaluate(op, inputs, params)
        shape = op.shape_rule(*(None if x is None else x.shape for x in inputs), **params)
        value = Value(len(self.steps) + 1, tuple(shape), _dtype(op, inputs, params))
        refs = tuple(self._ref(x) for x in inputs)
        self.steps[value.number] = Step(op.name, refs, params, current_scope(), value)
        return Symbol(value)

    def _ref(self, x: Tensor | None) -> Ref:
        if isinstance(x, Symbol):
            return x.value
        if x is None:
            return None
        array = x.array
        return self.constants.setdefault(id(array), Constant(array))


def _dtype(
    op: Primitive, inputs: Sequence[Tensor | None], params: dict[str, Any]
) -> np.dtype[np.generic]:
    """The dtype of what a primitive makes: that of all its inputs, unless it is a cast."""
    if op.name == "astype":
        target: np.dtype[Any] = np.dtype(params["target"])
        return target
    first = next(x.value for x in inputs if isinstance(x, Symbol)).dtype
    for x in inputs:
        if x is not None and x.dtype != first:
            raise GraphError(
                f"{op.name} in {current_scope() or 'the model'}: the plan is for {first}, "
                f"but a weight is {x.dtype}; convert the model with model.to"
            )
    return first


def trace(
    model: Callable[[Tensor], Any],
    shape: Shape,
    dtype: npt.DTypeLike,
    known: Mapping[int, Constant] | None = None,
) -> Graph:
    """Record ``model`` for an input of this shape and dtype.

    Parameters
    ----------
    model : callable
        Tensor to Tensor, or to a list of Tensors.
    shape : tuple of int
    dtype : float32 or float64
    known : mapping, optional
        What stands for an array of the model, by the array's identity; by default a Constant.

    Returns
    -------
    Graph

    Raises
    ------
    GraphError
        If the model looks at values, or its output does not depend on its input.

    Examples
    --------
    >>> import minigrad as mg
    >>> graph = trace(lambda x: mg.relu(x + x), (2, 3), "float32")
    >>> [step.op for step in graph.steps.values()]
    ['add', 'relu']
    """
    recorder = _Recorder(known or {})
    start = Value(0, tuple(shape), np.dtype(dtype))
    with no_grad(), interpreting(recorder):
        result = model(Symbol(start))
    several = list(result) if isinstance(result, (list, tuple)) else [result]
    outputs = tuple(y.value for y in several if isinstance(y, Symbol))
    if not several or len(outputs) < len(several):
        raise GraphError(
            "the model's output does not depend on its input: there is nothing to plan"
        )
    steps = needed(recorder.steps, outputs)
    return Graph(start, steps, outputs, not isinstance(result, (list, tuple)))
