"""Saved steps as calls of the public functions, on shapes alone, as a model would call them.

They check every argument, and say what is wrong with it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from minigrad import ops
from minigrad.engine.build import recorded
from minigrad.engine.files import PLAIN
from minigrad.engine.graph import Constant, Epilogue, Graph, Value
from minigrad.engine.loading_moves import MOVES, Inputs, Params, given
from minigrad.engine.outline import is_name
from minigrad.engine.trace import Symbol
from minigrad.errors import FormatError, quote
from minigrad.tensor import Tensor, from_numpy, scope

__all__ = ["CALLS", "called"]

MOST_INPUTS = 64  # of a step


def _conv2d(inputs: Inputs, params: Params) -> Tensor:
    stride, padding, dilation, groups = params["spec"]
    x, w, bias = inputs
    return ops.conv2d(given(x), given(w), bias, stride, padding, dilation, groups)


def _max_pool2d(inputs: Inputs, params: Params) -> Tensor:
    return ops.max_pool2d(given(inputs[0]), *params["window"])


def _avg_pool2d(inputs: Inputs, params: Params) -> Tensor:
    kernel, stride, padding, _, ceil_mode = params["window"]
    counts = params["count_include_pad"]
    return ops.avg_pool2d(given(inputs[0]), kernel, stride, padding, ceil_mode, counts)


def _batch_norm(inputs: Inputs, params: Params) -> Tensor:
    x, mean, var, gamma, beta = map(given, inputs)
    return ops.batch_norm(x, mean, var, gamma, beta, eps=params["eps"])


def _broadcast_to(inputs: Inputs, params: Params) -> Tensor:
    """To the shape of the second input, or of the parameter."""
    x, *like = inputs
    shape = given(like[0]).shape if like else params["shape"]
    return ops.broadcast_to(given(x), shape)


def _plain(name: str) -> Callable[[Inputs, Params], Tensor]:
    """The public function of a primitive without parameters."""

    def call(inputs: Inputs, params: Params) -> Tensor:
        made: Tensor = getattr(ops, name)(*inputs)
        return made

    return call


CALLS: dict[str, Callable[[Inputs, Params], Tensor]] = {
    "conv2d": _conv2d,
    "max_pool2d": _max_pool2d,
    "avg_pool2d": _avg_pool2d,
    "batch_norm_eval": _batch_norm,
    "reshape": lambda inputs, params: ops.reshape(given(inputs[0]), *params["shape"]),
    "broadcast_to": _broadcast_to,
    "transpose": lambda inputs, params: ops.permute(given(inputs[0]), *params["axes"]),
    "sum": lambda inputs, params: ops.sum(given(inputs[0]), params["axes"], params["keepdims"]),
    "concat": lambda inputs, params: ops.concat([*map(given, inputs)], params["axis"]),
    **MOVES,
    **{name: _plain(name) for name in PLAIN},
}


class _Saved:
    """The network that a plan file describes, as a model: call it with a Symbol."""

    def __init__(
        self, steps: Sequence[object], constants: Mapping[str, Constant], outputs: Sequence[object],
        returns_one: bool,
    ) -> None:  # fmt: skip
        self.steps, self.outputs, self.returns_one = steps, outputs, returns_one
        self.constants = {name: from_numpy(constant.key) for name, constant in constants.items()}
        self.last: dict[int, str] = {}  # by the number of the value that a step makes

    def __call__(self, x: Tensor) -> Tensor | list[Tensor]:
        values = {**self.constants, "0": x}
        for number, described in enumerate(self.steps, 1):
            for name, part in _parts(described, str(number)):
                y, last = _called(part, values, f"step {number}")
                values[name], self.last[y.value.number] = y, last
        made = [values[name] for name in _names(self.outputs, values, "the outputs")]
        return made[0] if self.returns_one and len(made) == 1 else made


def called(
    steps: Sequence[object], constants: Mapping[str, Constant], outputs: Sequence[object],
    returns_one: bool, start: Value,
) -> Graph:  # fmt: skip
    """The graph that the steps make of an input, recorded call by call.

    Each step knows the last layer whose work it does.

    Raises
    ------
    MinigradError
        If they cannot be called so.
    """
    saved = _Saved(steps, constants, outputs, returns_one)
    known = {id(constant.key): constant for constant in constants.values()}
    graph = recorded(saved, start.shape, np.dtype(start.dtype), known)
    return graph.with_steps(
        {
            number: step._replace(absorbed=(saved.last.get(number, step.layer),))
            for number, step in graph.steps.items()
        }
    )


def _parts(described: object, name: str) -> Iterator[tuple[str, object]]:
    """A step as primitives, each with the name of its value: what was fused into it apart."""
    match described:
        case [op, [x, *others], params, layer, last, dict(words)]:
            pass
        case _:
            yield name, described
            return
    for word, value in words.items():
        if word not in Epilogue._fields or type(value) not in (str, bool, type(None)):
            raise FormatError(f"step {name} has {quote(word)} fused into it, which is nothing")
    epilogue = Epilogue(**words)  # of names, where that of a step has values
    if epilogue.gate is not None:
        yield f"{name} wide", ["broadcast_to", [epilogue.gate, x], {}, layer, layer]
        yield f"{name} scaled", ["mul", [x, f"{name} wide"], {}, layer, layer]
        x = f"{name} scaled"
    after = list(epilogue.after())
    names = [*(f"{name} part {k}" for k in range(len(after))), name]
    yield names[0], [op, [x, *others], params, layer, layer if after else last]
    for k, (function, read) in enumerate(after):
        yield names[k + 1], [function, [names[k], *read], {}, last, last]


def _names(names: Any, values: dict[str, Tensor], place: str) -> Iterator[str]:
    """Names of values that are there."""
    for name in names:
        if not isinstance(name, str) or name not in values:
            raise FormatError(f"{place} reads {quote(name)}, which is not there")
        yield name


def _called(described: object, values: dict[str, Tensor], place: str) -> tuple[Symbol, str]:
    """What a step makes, exactly one primitive, the one that it names; and its last layer."""
    match described:
        case [str(op), list(names), dict(params), str(layer), str(last)] if op in CALLS:
            pass
        case _:
            raise FormatError(f"{place} is not an operation with inputs, parameters and layers")
    if len(names) > MOST_INPUTS:
        raise FormatError(f"{place} reads {len(names)} values, and {MOST_INPUTS} are the most")
    for name in (layer, last):
        if not is_name(name):
            raise FormatError(f"{place} has the layer {quote(name)}, which is no name")
    read = [name for name in names if name is not None]
    tensors = {name: values[name] for name in _names(read, values, place)}
    inputs = [None if name is None else tensors[name] for name in names]
    with scope(layer):
        y = CALLS[op](inputs, params)
    if not isinstance(y, Symbol) or any(y is x for x in inputs):
        raise FormatError(f"{place}, {op}, does not depend on the input")
    return y, last
