"""What a network costs, layer by layer, from its shapes alone.

The network is recorded once by the shape rules of its operations (``engine.trace``): no
arithmetic is done, and no weight is drawn.  Then, with output maps of Ho x Wo,

    MACs of a convolution   Cout Ho Wo (Cin/groups) kh kw,      of a linear layer  O I,

one MAC being one multiply-add of a weight: BatchNorm, activations, biases, pools and sums
are not counted.  FLOPs are 2 MACs.  Parameters are what training changes: running means and
variances are not counted.

Receptive field.  Output position p of a layer sees the input pixels p j + a .. p j + b along
an axis; j is its jump, b - a + 1 its receptive field, (a + b)/2 the centre of position 0.
Through a window (kernel k, stride s, dilation d, pad P)

    a' = a - P j,        b' = b + (d (k - 1) - P) j,        j' = s j,

and where branches meet, a is the least and b the largest of theirs.  The gate of squeeze
and excitation sees the whole image through its mean and is left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any, NamedTuple

import numpy as np

from minigrad.engine.graph import Graph, Step
from minigrad.engine.trace import trace
from minigrad.errors import ShapeError
from minigrad.models.cost_table import cost_table, times
from minigrad.models.layer import COUNTED, Field, Fields, Layer
from minigrad.nn.module import Module
from minigrad.nn.parameter import shapes_only
from minigrad.tensor import Shape, Tensor

__all__ = ["Field", "Layer", "Summary", "record", "summary"]


class Summary(NamedTuple):
    """Every layer of a network for one image of ``input_shape``."""

    name: str
    input_shape: Shape
    layers: tuple[Layer, ...]
    parameters: int

    @property
    def macs(self) -> int:
        """Multiply-adds of convolution and linear weights, for one image."""
        return sum(layer.macs for layer in self.layers)

    @property
    def flops(self) -> int:
        """2 MACs."""
        return 2 * self.macs

    def as_dict(self) -> dict[str, object]:
        """The whole as plain data."""
        return {
            "name": self.name,
            "input_shape": self.input_shape,
            "parameters": self.parameters,
            "macs": self.macs,
            "flops": self.flops,
            "counted": COUNTED,
            "layers": [layer.as_dict() for layer in self.layers],
        }

    def table(self, width: int = 80) -> str:
        """A line for each operation and what follows it, none longer than ``width``.

        Parameters
        ----------
        width : int
            Where it is small, columns are left out.

        Returns
        -------
        str
        """
        title = f"{self.name}, {times(self.input_shape[1:])}".removeprefix(", ")
        return "\n".join(cost_table(title, self.layers, self.parameters, width))

    def __str__(self) -> str:
        return self.table()

    def __repr__(self) -> str:
        return (
            f"<summary of {self.name or 'a network'}: {len(self.layers)} layers, "
            f"{self.parameters:,} parameters, {self.macs:,} MACs>"
        )


def summary(
    model: Module[Tensor | list[Tensor]], input_shape: Sequence[int] = (1, 3, 224, 224)
) -> Summary:
    """What each layer of ``model`` does to an image of ``input_shape``.

    Parameters
    ----------
    model : Module
        From one tensor (N, C, H, W) to a tensor or a list of them.
    input_shape : (N, C, H, W)
        N is not counted: the figures are for one image.

    Returns
    -------
    Summary
        Its layers as data; printed, a table.

    Raises
    ------
    ShapeError
        If the shape is not that of images, or too small for the network.

    Examples
    --------
    >>> import minigrad as mg
    >>> s = summary(mg.models.create("mobilenet_v2"), (1, 3, 224, 224))
    >>> s.parameters, s.macs
    (3504872, 300774272)
    """
    if len(input_shape) != 4:
        raise ShapeError(f"summary: input_shape must be (N, C, H, W), got {tuple(input_shape)}")
    graph = record(model, input_shape)
    fields: dict[int, Fields | None] = {0: (Field(), Field())}
    for number, step in graph.steps.items():
        fields[number] = _fields(step, [fields[value.number] for value in step.reads()])
    layers = tuple(_layer(step, fields[n]) for n, step in graph.steps.items())
    count = sum(p.size for p in model.parameters())
    return Summary(getattr(model, "name", ""), graph.shape, layers, count)


def record(model: Module[Tensor | list[Tensor]], input_shape: Sequence[int]) -> Graph:
    """The operations of ``model`` in evaluation mode, for one image of ``input_shape``."""
    dtype = next((p.dtype for p in model.parameters()), np.dtype(np.float32))
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        with shapes_only():
            return trace(model, (1, *input_shape[1:]), dtype)
    finally:
        for module, training in modes:
            module.training = training


def _layer(step: Step, fields: Fields | None) -> Layer:
    kernel, stride = _window(step)
    weights = [constant.array for constant in step.constants()]
    return Layer(
        step.layer,
        step.op,
        step.shape,
        kernel,
        stride,
        sum(w.size for w in _trained(step, weights)),
        prod(step.shape) * prod(weights[0].shape[1:]) if step.op in WEIGHTED else 0,
        step.output.nbytes,
        fields,
    )


WEIGHTED = ("conv2d", "linear")


def _trained(step: Step, weights: list[Any]) -> list[Any]:
    """Of a step's constants, those that training changes: not BatchNorm's statistics."""
    if step.op in WEIGHTED:
        return weights
    return weights[2:] if step.op == "batch_norm_eval" else []


def _window(step: Step) -> tuple[tuple[int, int] | None, tuple[int, int] | None]:
    """(kernel, stride) of a convolution or a pool."""
    if "spec" in step.params:
        kh, kw = step.weights.shape[2:]
        return (kh, kw), step.params["spec"].stride
    window = step.params.get("window")
    return (window.kernel, window.stride) if window else (None, None)


def _fields(step: Step, before: Sequence[Fields | None]) -> Fields | None:
    """What a position of this step's map sees; None once a mean has seen everything."""
    known = [f for f in before if f is not None]
    if not known or len(step.shape) != 4 or step.op == "global_avg_pool":
        return None
    rows, columns = (_axis(step, [f[axis] for f in known], axis) for axis in (0, 1))
    return rows, columns


def _axis(step: Step, before: Sequence[Field], axis: int) -> Field:
    first, last = min(f.first for f in before), max(f.last for f in before)
    merged = Field(before[0].jump, first, last)
    kernel, _ = _window(step)
    if kernel is None:
        return merged
    move = step.params["spec"] if "spec" in step.params else step.params["window"]
    before_pad = move.padding[axis][0]
    return merged.through(kernel[axis], move.stride[axis], move.dilation[axis], before_pad)
