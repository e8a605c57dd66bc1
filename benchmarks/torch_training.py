"""A recorded network as a PyTorch module that trains: the same layers, parameters of its own.

Batch norms use the statistics of the batch and keep running ones; noise (dropout,
stochastic depth) is left out on both sides.
"""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np

from benchmarks.torch_graph import step_of
from minigrad.engine.graph import Constant, Graph, Value

__all__ = ["torch_step"]


def torch_step(
    torch: ModuleType, graph: Graph, x: np.ndarray, labels: np.ndarray, mode: str
) -> Callable[[], float]:
    """A whole step of SGD with momentum: forward, loss, backward, update.

    ``mode`` is "contiguous", "channels_last" or "compile" (channels-last and torch.compile).
    """
    network = _network(torch, graph).train()
    images, targets = torch.from_numpy(x), torch.from_numpy(labels)
    if mode != "contiguous":
        network = network.to(memory_format=torch.channels_last)
        images = images.to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(network.parameters(), 1e-3, momentum=0.9, weight_decay=1e-4)
    forward = torch.compile(network) if mode == "compile" else network

    def step() -> float:
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(forward(images), targets)
        loss.backward()
        optimizer.step()
        return float(loss.item())

    return step


def _network(torch: Any, graph: Graph) -> Any:
    class Network(torch.nn.Module):  # type: ignore[misc, name-defined]
        """The steps in order, their constants as parameters."""

        def __init__(self) -> None:
            super().__init__()
            for number, step in graph.steps.items():
                for place, ref in enumerate(step.inputs):
                    if isinstance(ref, Constant):
                        value = torch.from_numpy(np.ascontiguousarray(ref.array).copy())
                        self.register_parameter(f"p{number}_{place}", torch.nn.Parameter(value))

        def forward(self, x: Any) -> Any:
            values = {0: x}
            for number, step in graph.steps.items():
                inputs = [
                    values[ref.number]
                    if isinstance(ref, Value)
                    else getattr(self, f"p{number}_{place}", None)
                    for place, ref in enumerate(step.inputs)
                ]
                values[number] = (
                    _batch_norm(torch, inputs, step.params["eps"])
                    if step.op == "batch_norm_eval"
                    else step_of(torch, step, inputs, values)
                )
            return values[graph.outputs[0].number]

    return Network()


def _batch_norm(torch: Any, inputs: list[Any], eps: float) -> Any:
    x, mean, var, gamma, beta = inputs
    return torch.nn.functional.batch_norm(
        x, mean.detach(), var.detach(), gamma, beta, training=True, momentum=0.1, eps=eps
    )
