"""A model recorded once, by shape rules alone.

Calling a model on a Symbol, a tensor that has a shape but no values, sends every
primitive here instead of to a kernel.  What does not depend on the input is computed on
the spot and becomes a constant; of the rest one Step is kept, with the shape that the
primitive's own rule gives.  No arithmetic on a map is ever done.

The steps are the tape: the same primitives with the same parameters that ``backward``
would see.  There is no second representation.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

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

__all__ = ["Graph", "Ref", "Step", "Symbol", "has_constants", "is_conv", "needed", "trace"]

Ref = "int | Array | None"  # a value by its number, a constant, or an argument left out


@dataclass(frozen=True)
class Step:
    """One primitive of the plan: what it reads, and the shape of what it writes.

    Attributes
    ----------
    op : str
        The name of a primitive in ``tensor.PRIMITIVES``.
    inputs : tuple of int, ndarray or None
        A number means the output of that step (0 is the input of the plan).
    params : dict
        The primitive's static parameters.
    layer : str
        The dotted name of the layer that asked for it.
    epilogue : dict
        What a rewrite moved into this step: activation, residual, gate (see ``fuse``).
    absorbed : tuple of str
        The layers whose work was moved here.
    """

    op: str
    inputs: tuple[Any, ...]
    params: dict[str, Any]
    layer: str
    shape: Shape
    epilogue: dict[str, Any] = field(default_factory=dict)
    absorbed: tuple[str, ...] = ()

    def reads(self) -> tuple[int, ...]:
        """The numbers of all values this step needs, also for its epilogue."""
        given = (*self.inputs, *self.epilogue.values())
        return tuple(r for r in given if isinstance(r, int) and not isinstance(r, bool))

    def using(self, renamed: dict[int, int]) -> Step:
        """The same step reading other values."""
        new = {k: _renamed(v, renamed) for k, v in self.epilogue.items()}
        return replace(self, inputs=tuple(_renamed(r, renamed) for r in self.inputs), epilogue=new)


def _renamed(ref: Any, renamed: dict[int, int]) -> Any:
    return renamed.get(ref, ref) if type(ref) is int else ref


@dataclass(frozen=True)
class Graph:
    """The steps of a model in the order they ran, by number; 0 stands for the input."""

    shape: Shape
    dtype: np.dtype[Any]
    steps: dict[int, Step]
    outputs: tuple[int, ...]
    returns_one: bool

    def uses(self) -> dict[int, list[int]]:
        """For each value, the numbers of the steps that read it; an output is read by -1."""
        found: dict[int, list[int]] = {number: [] for number in (0, *self.steps)}
        for number, step in self.steps.items():
            for ref in step.reads():
                found[ref].append(number)
        for number in self.outputs:
            found[number].append(-1)
        return found

    def shape_of(self, number: int) -> Shape:
        """The shape of a value."""
        return self.steps[number].shape if number else self.shape


def is_conv(step: Step | None) -> bool:
    """Whether a step is a convolution whose weights and bias are constants."""
    return step is not None and step.op == "conv2d" and has_constants(step)


def has_constants(step: Step) -> bool:
    """Whether all inputs of a step but the first are constants."""
    return not any(type(ref) is int for ref in step.inputs[1:])


class Symbol(Shaped):
    """A tensor known by shape and dtype alone, and the number of the step that makes it."""

    __slots__ = ("number",)

    def __init__(self, number: int, shape: Shape, dtype: npt.DTypeLike) -> None:
        super().__init__(shape, dtype)
        self.number = number

    @property
    def array(self) -> Array:  # type: ignore[override]
        """Not there: whoever asks for it makes the model depend on values."""
        raise GraphError(
            "this model looks at the values of its input, so it cannot be recorded "
            "by shape alone and has no plan"
        )


class _Recorder:
    """The interpreter that ``trace`` puts in the place of evaluation."""

    def __init__(self, dtype: np.dtype[Any]) -> None:
        self.dtype = dtype
        self.steps: dict[int, Step] = {}

    def __call__(
        self, op: Primitive, inputs: Sequence[Tensor | None], params: dict[str, Any]
    ) -> Tensor:
        if not any(isinstance(x, Symbol) for x in inputs):
            return evaluate(op, inputs, params)
        for x in inputs:
            if x is not None and x.dtype != self.dtype:
                raise GraphError(
                    f"{op.name} in {current_scope() or 'the model'}: the plan is for {self.dtype}, "
                    f"but a weight is {x.dtype}; convert the model with model.to"
                )
        shape = op.shape_rule(*(None if x is None else x.shape for x in inputs), **params)
        number = len(self.steps) + 1
        refs = tuple(_ref(x) for x in inputs)
        self.steps[number] = Step(op.name, refs, params, current_scope(), tuple(shape))
        return Symbol(number, shape, self.dtype)


def _ref(x: Tensor | None) -> Any:
    if isinstance(x, Symbol):
        return x.number
    return None if x is None else x.array


def trace(model: Callable[[Tensor], Any], shape: Shape, dtype: npt.DTypeLike) -> Graph:
    """Record ``model`` for an input of this shape and dtype.

    Parameters
    ----------
    model : callable
        Tensor to Tensor, or to a list of Tensors.
    shape : tuple of int
    dtype : float32 or float64

    Raises
    ------
    GraphError
        If the model looks at values, or its output does not depend on its input.
    """
    recorder = _Recorder(np.dtype(dtype))
    with no_grad(), interpreting(recorder):
        result = model(Symbol(0, shape, dtype))
    several = list(result) if isinstance(result, (list, tuple)) else [result]
    if not several or not all(isinstance(y, Symbol) for y in several):
        raise GraphError(
            "the model's output does not depend on its input: there is nothing to plan"
        )
    outputs = tuple(y.number for y in several)
    steps = needed(recorder.steps, outputs)
    return Graph(
        tuple(shape), recorder.dtype, steps, outputs, not isinstance(result, (list, tuple))
    )


def needed(steps: dict[int, Step], outputs: tuple[int, ...]) -> dict[int, Step]:
    """The steps that an output depends on, in order."""
    read = set(outputs)
    for number in sorted(steps, reverse=True):
        if number in read:
            read.update(steps[number].reads())
    return {number: step for number, step in steps.items() if number in read}
