"""A training step recorded once: forward by shape rules alone, and backward by the chain rule.

While a model runs on Symbols (``trace``), each primitive leaves its step and, as in eager
mode, its node.  ``autograd`` then walks these nodes from a Symbol that stands for the
cotangent of the output.  Its rules are made of primitives, so they leave steps too.  The steps
are those that eager mode would take, in its order, and so they have its bits.

What changes from step to step is a value: the input, the cotangent, every parameter and
buffer, and the noise of dropout.  Five things are no primitives and have names of their own:

    batch_norm_statistics    (x) -> (2, C): mean and variance
    row                      (x) -> x[k]
    running                  (kept, batch) -> what a running statistic becomes
    noise                    () -> a mask of dropout, divided by the share that it keeps
    max_pool2d_where         (x) -> where the maxima of a pool lie
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from minigrad.autograd import steps as backward_steps
from minigrad.engine.graph import Constant, Graph, Ref, Step, Value, needed
from minigrad.engine.trace import Symbol
from minigrad.errors import GraphError
from minigrad.kernels import find
from minigrad.ops.creation import generator
from minigrad.ops.normalization import running_value
from minigrad.ops.regularization import mask_of
from minigrad.tensor import (
    PRIMITIVES,
    Array,
    Primitive,
    Recorder,
    Shape,
    Tensor,
    current_scope,
    evaluate,
    interpreting,
    record,
)

if TYPE_CHECKING:
    import numpy.typing as npt

    from minigrad.kernels.contract import PoolWindow

__all__ = ["Recording", "carry_out", "record_step"]


class Recording(NamedTuple):
    """A training step without its loss and its update.

    Attributes
    ----------
    graph : Graph
        Forward and backward; its outputs are the model's output, the gradients, and what
        buffers become.
    output, cotangent : Value
        What the model makes, and dL/d(output), which begins the backward pass.
    leaves : dict of int to Tensor
        The parameters and buffers, by the numbers of the values that stand for them.
    gradients : list of (Tensor, Value)
        Each parameter that has one.
    moved : list of (Tensor, Value)
        Each buffer, and what it becomes.
    """

    graph: Graph
    output: Value
    cotangent: Value
    leaves: dict[int, Tensor]
    gradients: list[tuple[Tensor, Value]]
    moved: list[tuple[Tensor, Value]]

    def homes(self) -> dict[int, Tensor]:
        """The values that lie in the model's own memory: leaves, and what buffers become."""
        return self.leaves | {value.number: buffer for buffer, value in self.moved}


class _Tape(Recorder):
    """The interpreter that records: every primitive a step and, where it is wanted, a node."""

    def __init__(self, leaves: Iterable[Tensor]) -> None:
        self.steps: dict[int, Step] = {}
        self.leaves = {id(t): t for t in leaves}
        self.values: dict[int, Value] = {}  # of leaves, by id
        self.constants: dict[int, Constant] = {}
        self.moved: list[tuple[Tensor, Value]] = []

    def __call__(
        self, op: Primitive, inputs: Sequence[Tensor | None], params: dict[str, Any]
    ) -> Tensor:
        several = (*inputs, *params.values())
        if not any(isinstance(x, Symbol) or id(x) in self.leaves for x in several):
            return evaluate(op, inputs, params)
        tensors = [x for x in inputs if x is not None]
        for x in tensors:
            if x.dtype != tensors[0].dtype:
                raise GraphError(
                    f"{op.name} in {current_scope() or 'the model'}: the inputs are of "
                    f"{tensors[0].dtype} and {x.dtype}; convert the model with model.to"
                )
        shapes = (None if x is None else x.shape for x in inputs)
        shape = op.shape_rule(*shapes, **params)
        target = np.dtype(params["target"]) if op.name == "astype" else tensors[0].dtype
        y = self.add(op.name, inputs, params, tuple(shape), target)
        record(op, inputs, params, y, self._kept_besides(op, inputs, params, y))
        return y

    def add(
        self,
        op: str,
        inputs: Sequence[Tensor | None],
        params: dict[str, Any],
        shape: Shape,
        dtype: npt.DTypeLike,
    ) -> Symbol:
        """A step, and the Symbol of what it makes."""
        refs = tuple(self._ref(x) for x in inputs)
        values = {k: v.value if isinstance(v, Symbol) else v for k, v in params.items()}
        made = Value(len(self.steps) + 1, shape, np.dtype(dtype))
        self.steps[made.number] = Step(op, refs, values, current_scope(), made)
        return Symbol(made)

    def statistics(self, x: Tensor) -> tuple[Tensor, Tensor]:
        channels = x.shape[1:2]
        both = self.add("batch_norm_statistics", [x], {}, (2, *channels), x.dtype)
        mean, var = (self.add("row", [both], {"k": k}, channels, x.dtype) for k in (0, 1))
        return mean, var

    def running(self, kept: Tensor, batch: Tensor, momentum: float, factor: float) -> None:
        params = {"momentum": momentum, "factor": factor}
        new = self.add("running", [kept, batch], params, kept.shape, kept.dtype)
        self.moved.append((kept, new.value))

    def noise(self, shape: Shape, rate: float, rng: object, like: Tensor) -> Tensor:
        return self.add("noise", [], {"shape": shape, "rate": rate, "rng": rng}, shape, like.dtype)

    def _kept_besides(
        self, op: Primitive, inputs: Sequence[Tensor | None], params: dict[str, Any], y: Tensor
    ) -> dict[str, Any] | None:
        """What the forward of a primitive keeps for its rules beside its output."""
        if op.name != "max_pool2d":
            return None
        return {"where": self.add("max_pool2d_where", inputs, params, y.shape, np.int64)}

    def _ref(self, x: Tensor | None) -> Ref:
        if isinstance(x, Symbol):
            return x.value
        if x is None:
            return None
        if id(x) in self.leaves:
            if id(x) not in self.values:
                self.values[id(x)] = self.add("given", [], {}, x.shape, x.dtype).value
            return self.values[id(x)]
        return self.constants.setdefault(id(x.array), Constant(x.array))


def record_step(
    model: Callable[[Tensor], Any], leaves: Sequence[Tensor], shape: Shape, dtype: npt.DTypeLike
) -> Recording:
    """Record the forward and the backward pass of ``model`` for an input of this shape.

    Parameters
    ----------
    model : callable
        Tensor to Tensor.
    leaves : sequence of Tensor
        Its parameters and buffers: what changes from step to step.
    shape : tuple of int
    dtype : float32 or float64

    Returns
    -------
    Recording

    Raises
    ------
    GraphError
        If the model looks at values, gives several outputs, or none that can be trained.

    Examples
    --------
    >>> import minigrad as mg
    >>> w = mg.Tensor([2.0], requires_grad=True)
    >>> recording = record_step(lambda x: mg.relu(x * w), [w], (1,), "float32")
    >>> [step.op for step in recording.graph.steps.values()]
    ['given', 'mul', 'relu', 'given', 'line_slope', 'mul']
    """
    tape = _Tape(leaves)
    start = Value(0, tuple(shape), np.dtype(dtype))
    with interpreting(tape):
        y = model(Symbol(start))
        if not isinstance(y, Symbol) or not y.requires_grad:
            raise GraphError(
                "compile_training takes a model with one output that depends on its parameters"
            )
        cotangent = tape.add("given", [], {}, y.shape, y.dtype)
        sums: dict[int, Tensor] = {}
        for step in backward_steps(y, cotangent):
            if isinstance(step.target, Tensor):
                sums[id(step.target)] = step.running
    gradients = [
        (tape.leaves[key], total.value) for key, total in sums.items() if isinstance(total, Symbol)
    ]
    outputs = (y.value, *(v for _, v in gradients), *(v for _, v in tape.moved))
    steps = needed(tape.steps, (*outputs, cotangent.value))
    graph = Graph(start, steps, outputs, returns_one=False)
    named = {value.number: tape.leaves[key] for key, value in tape.values.items()}
    return Recording(graph, y.value, cotangent.value, named, gradients, tape.moved)


# ---------------------------------------------------------------- what steps mean


def _statistics(x: Array) -> Array:
    return np.stack(find("batch_norm_statistics").call(x))


def _row(x: Array, *, k: int) -> Array:
    row: Array = x[k]
    return row


def _where(x: Array, *, window: PoolWindow) -> Array:
    where: Array = find("max_pool2d").call(x, window)[1]
    return where


_MEANINGS: dict[str, Callable[..., Array]] = {
    "batch_norm_statistics": _statistics,
    "row": _row,
    "running": running_value,
    "max_pool2d_where": _where,
}


def carry_out(step: Step, get: Callable[[Ref], Array | None], rng: object = None) -> Array:
    """What a step makes, by its definition; ``rng`` takes the place of the layers' own."""
    params: dict[str, Any] = {
        k: get(v) if isinstance(v, Value) else v for k, v in step.params.items()
    }
    if step.op == "noise":
        own = params["rng"] if rng is None else rng
        mask = mask_of(step.shape, params["rate"], generator("dropout", own))
        return mask.astype(step.output.dtype)
    forward = _MEANINGS.get(step.op) or PRIMITIVES[step.op].forward
    result = forward(*(get(ref) for ref in step.inputs), **params)
    y: Array = result[0] if isinstance(result, tuple) else result
    return y
