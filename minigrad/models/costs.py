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
from textwrap import wrap
from typing import Any, NamedTuple

import numpy as np

from minigrad.engine.graph import Graph, Step
from minigrad.engine.trace import trace
from minigrad.errors import ShapeError
from minigrad.nn.functions import ACTIVATIONS
from minigrad.nn.module import Module
from minigrad.nn.parameter import shapes_only
from minigrad.tensor import Shape

__all__ = ["Field", "Layer", "Summary", "record", "summary"]

COUNTED = (
    "parameters: trained ones only (BatchNorm's running statistics are not counted); "
    "MACs: multiply-adds of convolution and linear weights for one image; FLOPs = 2 MACs; "
    "bytes: of the layer's output for one image"
)


class Field(NamedTuple):
    """What position 0 of a map sees along an axis, and how far the next position is."""

    jump: int = 1
    first: int = 0
    last: int = 0

    @property
    def size(self) -> int:
        """The receptive field in input pixels."""
        return self.last - self.first + 1

    @property
    def centre(self) -> float:
        """The middle of what position 0 sees."""
        return (self.first + self.last) / 2

    def through(self, kernel: int, stride: int, dilation: int, before: int) -> Field:
        """The field behind a window."""
        reach = dilation * (kernel - 1)
        return Field(
            self.jump * stride,
            self.first - before * self.jump,
            self.last + (reach - before) * self.jump,
        )


Fields = tuple[Field, Field]  # of the rows, of the columns


class Layer(NamedTuple):
    """One recorded operation; receptive field, jump and centre are (vertical, horizontal)."""

    name: str
    operation: str
    output_shape: Shape
    kernel: tuple[int, int] | None
    stride: tuple[int, int] | None
    parameters: int
    macs: int
    activation_bytes: int
    fields: Fields | None

    @property
    def flops(self) -> int:
        """2 MACs."""
        return 2 * self.macs

    def as_dict(self) -> dict[str, Any]:
        """The row as plain data."""
        row = self._asdict() | {"flops": self.flops}
        fields = row.pop("fields")
        return row | {
            "receptive_field": [f.size for f in fields] if fields else None,
            "jump": [f.jump for f in fields] if fields else None,
            "centre": [f.centre for f in fields] if fields else None,
        }


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

    def as_dict(self) -> dict[str, Any]:
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
        """One line a unit: an operation with the BatchNorm and activation that follow it.

        From 116 columns on with operations, activation bytes and jumps.
        """
        wide = width >= 116
        rows = [_cells(unit, wide) for unit in _units(self.layers)]
        head = ["layer", "output", "window", "params", "MACs", "field"]
        head += ["jump", "KiB", "operations"] if wide else []
        widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]
        total = (
            f"{self.parameters:,} parameters, {self.macs:,} MACs = {self.flops:,} FLOPs "
            f"for one image of {'x'.join(map(str, self.input_shape[1:]))}"
        )
        lines = [_line(row, widths) for row in [head, ["-" * w for w in widths], *rows]]
        return "\n".join([*lines, "", *wrap(total, width), *wrap(COUNTED, width)])

    def __str__(self) -> str:
        return self.table()


def _units(layers: Sequence[Layer]) -> list[list[Layer]]:
    """Each operation with what is done to its result at once."""
    units: list[list[Layer]] = []
    for layer in (x for x in layers if x.operation != "broadcast_to"):
        follows = layer.operation in FOLLOWERS or layer.operation == "reshape"
        if not (units and follows):
            units.append([])
        units[-1].append(layer)
    return units


FOLLOWERS = ("batch_norm_eval", *ACTIVATIONS)


def _cells(unit: Sequence[Layer], wide: bool) -> list[str]:
    first = unit[0]
    name = first.name.removesuffix(".conv")
    bare = first.kernel is None and first.operation != "linear"
    operation = first.operation.replace("global_avg_pool", "mean")
    cells = [
        f"{name} {operation}".strip() if bare else name,
        "x".join(map(str, first.output_shape[1:])),
        _window_text(first),
        _number(sum(layer.parameters for layer in unit)),
        _number(first.macs),
        "x".join(str(f.size) for f in first.fields or ()),
    ]
    operations = (layer.operation.removesuffix("_eval") for layer in unit)
    jump = str(first.fields[0].jump) if first.fields else ""
    kib = f"{first.activation_bytes / 1024:,.0f}"
    return [*cells, jump, kib, " ".join(o for o in operations if o != "reshape")] if wide else cells


def _window_text(layer: Layer) -> str:
    """Kernel and stride: 3x1 /2."""
    if layer.kernel is None or layer.stride is None:
        return ""
    return f"{layer.kernel[0]}x{layer.kernel[1]} /{layer.stride[0]}"


def _number(n: int) -> str:
    return f"{n:,}" if n else ""


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    """Numbers to the right, words to the left."""
    words = (0, 1, 8)
    put = (c.ljust(w) if i in words else c.rjust(w)
           for i, (c, w) in enumerate(zip(cells, widths, strict=True)))  # fmt: skip
    return "  ".join(put).rstrip()


def summary(model: Module, input_shape: Sequence[int] = (1, 3, 224, 224)) -> Summary:
    """What each layer of ``model`` does to an image of ``input_shape``.

    Parameters
    ----------
    model : Module
        From one tensor (N, C, H, W) to a tensor or a list of them.
    input_shape : (N, C, H, W)
        N is not counted: the figures are for one image.

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


def record(model: Module, input_shape: Sequence[int]) -> Graph:
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
