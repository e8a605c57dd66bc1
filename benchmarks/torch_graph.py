"""A recorded network as a PyTorch module: the same steps as calls of torch.nn.functional."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from minigrad.engine.graph import Constant, Graph, Step, Value
from minigrad.errors import GraphError

__all__ = ["step_of", "torch_network"]

NAMES = {"relu": "relu", "relu6": "relu6", "hardswish": "hardswish", "hardsigmoid": "hardsigmoid",
         "silu": "silu", "sigmoid": "sigmoid", "tanh": "tanh"}  # fmt: skip


def torch_network(torch: Any, graph: Graph) -> Callable[[Any], Any]:
    """The network as a frozen TorchScript function of a channels-last tensor."""
    n = torch.empty(graph.shape).to(memory_format=torch.channels_last)
    module = _module(torch, graph)
    with torch.no_grad():
        frozen: Callable[[Any], Any] = torch.jit.freeze(torch.jit.trace(module.eval(), n))
    return frozen


def _module(torch: Any, graph: Graph) -> Any:
    constants = {
        (number, place): _tensor(torch, ref.array)
        for number, step in graph.steps.items()
        for place, ref in enumerate(step.inputs)
        if isinstance(ref, Constant)
    }

    class Network(torch.nn.Module):  # type: ignore[misc, name-defined]
        """The steps in order."""

        def forward(self, x: Any) -> Any:
            values = {0: x}
            for number, step in graph.steps.items():
                inputs = [
                    values[ref.number] if isinstance(ref, Value) else constants.get((number, place))
                    for place, ref in enumerate(step.inputs)
                ]
                values[number] = step_of(torch, step, inputs, values)
            return values[graph.outputs[0].number]

    return Network()


def _tensor(torch: Any, array: Any) -> Any:
    tensor = torch.from_numpy(np.ascontiguousarray(array))
    return tensor.to(memory_format=torch.channels_last) if array.ndim == 4 else tensor


def step_of(torch: Any, step: Step, inputs: list[Any], values: dict[int, Any]) -> Any:
    epilogue = step.epilogue
    if epilogue.gate:
        inputs[0] = inputs[0] * values[epilogue.gate.number]
    y = _plain(torch.nn.functional, step, inputs)
    if epilogue.activation:
        y = getattr(torch.nn.functional, NAMES[epilogue.activation])(y)
    return y + values[epilogue.residual.number] if epilogue.residual else y


def _plain(f: Any, step: Step, inputs: list[Any]) -> Any:
    if step.op in NAMES:
        return getattr(f, NAMES[step.op])(inputs[0])
    if step.op not in _STEPS:
        raise GraphError(f"torch: no call is written for {step.op}")
    return _STEPS[step.op](f, step, inputs)


def _conv2d(f: Any, step: Step, inputs: list[Any]) -> Any:
    spec = step.params["spec"]
    (top, bottom), (left, right) = spec.padding
    x, pads = inputs[0], (top, left)
    if (top, left) != (bottom, right):
        x, pads = f.pad(x, (left, right, top, bottom)), (0, 0)
    return f.conv2d(x, *inputs[1:], spec.stride, pads, spec.dilation, spec.groups)


def _max_pool2d(f: Any, step: Step, inputs: list[Any]) -> Any:
    window = step.params["window"]
    pads = [before for before, _ in window.padding]
    return f.max_pool2d(inputs[0], window.kernel, window.stride, pads, window.dilation,
                        window.ceil_mode)  # fmt: skip


_STEPS: dict[str, Callable[[Any, Step, list[Any]], Any]] = {
    "conv2d": _conv2d,
    "max_pool2d": _max_pool2d,
    "linear": lambda f, step, inputs: f.linear(*inputs),
    "add": lambda f, step, inputs: inputs[0] + inputs[1],
    "mul": lambda f, step, inputs: inputs[0] * inputs[1],
    "global_avg_pool": lambda f, step, inputs: f.adaptive_avg_pool2d(inputs[0], 1),
    "broadcast_to": lambda f, step, inputs: inputs[0].expand(step.shape),
    "reshape": lambda f, step, inputs: inputs[0].reshape(step.shape),
}
