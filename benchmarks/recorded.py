"""A network as every engine gets it: recorded once, with what all engines would fuse fused.

Batch norms are folded, activations, residuals and gates stand at the convolution they
belong to (the rules of RULES, no others), so that LiteRT's, ncnn's and PyTorch's graphs are
written from the same steps as the ONNX file that ONNX Runtime and OpenVINO read.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from minigrad import kernels
from minigrad.engine import fuse, interpret
from minigrad.engine.export import to_onnx
from minigrad.engine.graph import Constant, Graph, Ref, Step, Value
from minigrad.engine.trace import trace
from minigrad.kernels.contract import Array
from minigrad.models import summary
from minigrad.nn.layers import BatchNorm2d
from minigrad.nn.module import Module
from minigrad.tensor import Tensor, no_grad

__all__ = ["Job", "constants_as", "ordinary", "recorded"]

RULES = ("fold batch norm", "fuse activation", "fuse residual", "drop relu", "fuse gate")


@dataclass(frozen=True)
class Job:
    """One network and one batch, and what comes out in float64.

    ``x`` is (N, C, H, W) float32; ``expected`` is float64, of the shape of the output.  With
    ``channels_last`` our own plan is given x so, and gives its output so.
    """

    name: str
    model: Module
    x: Array
    graph: Graph
    onnx: bytes
    macs: int
    expected: Array
    channels_last: bool = False

    @classmethod
    def make(cls, name: str, model: Module, shape: Sequence[int]) -> Job:
        """The same general values for everybody."""
        x = np.random.default_rng(0).standard_normal(tuple(shape), np.float32)
        graph = recorded(model, shape)
        onnx = to_onnx(model, shape).SerializeToString()
        macs = summary(model, shape).macs * shape[0]
        return cls(name, model, x, graph, onnx, macs, _in_float64(graph, x))

    @property
    def flops(self) -> int:
        """2 x MACs."""
        return 2 * self.macs

    def difference(self, y: Array) -> float:
        """The largest, as a part of the largest output; infinite for NaN or another shape."""
        if y.shape != self.expected.shape or not np.isfinite(y).all():
            return float("inf")
        return float(np.abs(y - self.expected).max() / np.abs(self.expected).max())


def ordinary(model: Module, shape: Sequence[int]) -> Module:
    """The model with values of order one in every layer, as training would have left them.

    Its batch norms are given the statistics of one batch of general values.
    """
    x = np.random.default_rng(1).standard_normal(tuple(shape), np.float32)
    norms = [m for m in model.modules() if isinstance(m, BatchNorm2d)]
    before = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 1.0
    with no_grad():
        model.train()(Tensor(x))
    for norm, momentum in zip(norms, before, strict=True):
        norm.momentum = momentum
    return model.eval()


def recorded(model: Callable[[Tensor], Any], shape: Sequence[int]) -> Graph:
    """The steps of the model with RULES applied."""
    others = tuple(rule for rule in fuse.RULES if rule not in RULES)
    graph, _ = fuse.rewrite(trace(model, tuple(shape), np.float32), others)
    return graph


def constants_as(graph: Graph, dtype: Any) -> Graph:
    """The graph with its values and weights in another dtype."""

    def value(v: Value) -> Value:
        return v._replace(dtype=np.dtype(dtype))

    def cast(ref: Ref) -> Ref:
        if isinstance(ref, Constant):
            return Constant(ref.array.astype(dtype))
        return ref and value(ref)

    def one(step: Step) -> Step:
        residual, gate = (v and value(v) for v in (step.epilogue.residual, step.epilogue.gate))
        epilogue = step.epilogue._replace(residual=residual, gate=gate)
        inputs = tuple(map(cast, step.inputs))
        return step._replace(inputs=inputs, output=value(step.output), epilogue=epilogue)

    steps = {number: one(step) for number, step in graph.steps.items()}
    outputs = tuple(map(value, graph.outputs))
    return graph._replace(input=value(graph.input), steps=steps, outputs=outputs)


def _in_float64(graph: Graph, x: Array) -> Array:
    with kernels.backend("numpy"):
        (y,) = interpret(constants_as(graph, np.float64), x.astype(np.float64))
    return y
