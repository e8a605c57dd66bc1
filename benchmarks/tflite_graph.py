"""A recorded network as a TFLite flatbuffer, as a converter would write it.

NHWC throughout; convolutions with their ReLU or ReLU6 inside and padding SAME where it is
TensorFlow's, else a PAD before (which XNNPACK merges into the convolution); hard-swish,
sigmoid and the rest as operators of their own:

    silu       MUL(x, LOGISTIC(x))              residual   ADD
    hardsigmoid  MUL(RELU6(ADD(x, 3)), 1/6)     gate       MUL before the convolution
    mean       MEAN over height and width       linear     FULLY_CONNECTED
    resize     RESIZE_BILINEAR                  broadcast  the operator that follows does it
    rows       RESHAPE of a map, whose channels are last already; CONCATENATION
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmarks.formats import TFLite
from minigrad.engine.graph import Graph, Step, Value
from minigrad.errors import GraphError
from minigrad.geometry import Pads, same_padding
from minigrad.sampling import Resizing, resize_taps
from minigrad.tensor import Shape

__all__ = ["tflite_network"]

INSIDE = {"relu": "RELU", "relu6": "RELU6"}  # what an operator can do to its own result
UNARY = {"sigmoid": "LOGISTIC", "hardswish": "HARD_SWISH", "tanh": "TANH", "relu": "RELU",
         "relu6": "RELU6"}  # fmt: skip
NO_PADS = ((0, 0), (0, 0))
LAST = (0, 2, 3, 1)  # the axes of a map with the channels last


def tflite_network(graph: Graph) -> bytes:
    """The flatbuffer of a graph with one output."""
    return _Network(graph).bytes()


def nhwc(shape: Shape) -> Shape:
    """A map's shape with the channels last; other shapes as they are."""
    return (shape[0], shape[2], shape[3], shape[1]) if len(shape) == 4 else shape


class _Network(TFLite):
    """The tensors of a graph by number."""

    def __init__(self, graph: Graph) -> None:
        super().__init__()
        self.graph = graph
        self.last: set[int] = set()  # values whose own axes are those of a map in TFLite
        self.values = {0: self.tensor("x", nhwc(graph.shape))}
        for number, step in graph.steps.items():
            self.values[number] = self.step(step)

    def bytes(self) -> bytes:
        (out,) = self.graph.outputs
        return self.finish(self.values[0], self.values[out.number])

    def step(self, step: Step) -> int:
        """Write one step and its epilogue; returns the tensor of its value."""
        write = getattr(self, f"_{step.op}", None)
        if write is not None:
            y: int = write(step)
        else:
            y = self.activation(step.op, self.values[step.source.number], step.shape)
        if step.epilogue.residual:
            y = self.binary("ADD", y, self.values[step.epilogue.residual.number], step.shape)
        return y

    def new(self, shape: Shape) -> int:
        return self.tensor(f"t{len(self.tensors)}", nhwc(shape))

    def scalar(self, value: float) -> int:
        return self.constant("c", np.array(value, np.float32))

    def binary(self, code: str, a: int, b: int, shape: Shape, inside: str = "NONE") -> int:
        kind = code.capitalize() + "Options"
        how = getattr(self.schema, kind + "T")(fusedActivationFunction=self.code(inside))
        y = self.new(shape)
        self.operator(code, [a, b], y, kind, how)
        return y

    def code(self, inside: str) -> int:
        number: int = getattr(self.schema.ActivationFunctionType, inside)
        return number

    def activation(self, name: str, x: int, shape: Shape) -> int:
        if name == "silu":
            return self.binary("MUL", x, self.activation("sigmoid", x, shape), shape)
        if name == "hardsigmoid":
            raised = self.binary("ADD", x, self.scalar(3), shape, "RELU6")
            return self.binary("MUL", raised, self.scalar(1 / 6), shape)
        if name not in UNARY:
            raise GraphError(f"LiteRT: no operator is written for {name}")
        y = self.new(shape)
        self.operator(UNARY[name], [x], y, "NONE", None)
        return y

    def _conv2d(self, step: Step) -> int:
        source, w, bias = step.source, step.weights, step.bias
        spec, shape = step.params["spec"], source.shape
        depthwise = spec.groups == shape[1] == w.shape[0]
        if spec.groups > 1 and not depthwise:
            raise GraphError("LiteRT: no operator is written for a convolution in groups")
        x = self.values[source.number]
        if step.epilogue.gate:
            x = self.binary("MUL", x, self.values[step.epilogue.gate.number], shape)
        same = _is_same(spec.padding, shape, w.shape[2:], spec)
        if not same and spec.padding != NO_PADS:
            x = self.padded(x, shape, spec.padding)
        weights = w.transpose((1, 2, 3, 0) if depthwise else (0, 2, 3, 1))
        zeros = np.zeros(w.shape[0], np.float32)
        inputs = [x, self.constant("w", weights)]
        inputs.append(self.constant("b", zeros if bias is None else bias))
        y, act = self.new(step.shape), step.epilogue.activation
        self.window(inputs, y, spec, same, depthwise, INSIDE.get(act or "", "NONE"))
        return y if act is None or act in INSIDE else self.activation(act, y, step.shape)

    def padded(self, x: int, shape: Shape, pads: Pads) -> int:
        (top, bottom), (left, right) = pads
        n, c, h, w = shape
        y = self.new((n, c, h + top + bottom, w + left + right))
        self.pad(x, y, pads)
        return y

    def window(
        self, inputs: list[int], y: int, spec: Any, same: bool, depthwise: bool, inside: str
    ) -> None:
        s = self.schema
        how = {
            "padding": s.Padding.SAME if same else s.Padding.VALID,
            "strideH": spec.stride[0], "strideW": spec.stride[1],
            "dilationHFactor": spec.dilation[0], "dilationWFactor": spec.dilation[1],
            "fusedActivationFunction": self.code(inside),
        }  # fmt: skip
        if depthwise:
            options = s.DepthwiseConv2DOptionsT(depthMultiplier=1, **how)
            self.operator("DEPTHWISE_CONV_2D", inputs, y, "DepthwiseConv2DOptions", options)
        else:
            self.operator("CONV_2D", inputs, y, "Conv2DOptions", s.Conv2DOptionsT(**how))

    def _linear(self, step: Step) -> int:
        w, bias = step.weights, step.bias
        y = self.new(step.shape)
        zeros = np.zeros(w.shape[0], np.float32)
        inputs = [self.values[step.source.number], self.constant("w", w)]
        inputs.append(self.constant("b", zeros if bias is None else bias))
        options = self.schema.FullyConnectedOptionsT()
        self.operator("FULLY_CONNECTED", inputs, y, "FullyConnectedOptions", options)
        return y

    def both(self, step: Step) -> tuple[int, int]:
        """The two values that a step reads."""
        a, b = (self.values[ref.number] for ref in step.inputs if isinstance(ref, Value))
        return a, b

    def _add(self, step: Step) -> int:
        return self.binary("ADD", *self.both(step), step.shape)

    def _mul(self, step: Step) -> int:
        return self.binary("MUL", *self.both(step), step.shape)

    def _global_avg_pool(self, step: Step) -> int:
        y = self.new(step.shape)
        axes = self.constant("axes", np.array([1, 2], np.int32))
        options = self.schema.ReducerOptionsT(keepDims=True)
        self.operator("MEAN", [self.values[step.source.number], axes], y, "ReducerOptions", options)
        return y

    def _max_pool2d(self, step: Step) -> int:
        s, window = self.schema, step.params["window"]
        shape, y = step.source.shape, self.new(step.shape)
        options = s.Pool2DOptionsT(
            padding=getattr(s.Padding, _pool_padding(shape, step.shape, window)),
            strideH=window.stride[0], strideW=window.stride[1],
            filterHeight=window.kernel[0], filterWidth=window.kernel[1],
        )  # fmt: skip
        self.operator("MAX_POOL_2D", [self.values[step.source.number]], y, "Pool2DOptions", options)
        return y

    def _reshape(self, step: Step) -> int:
        before = step.source.shape
        if before == step.shape:
            return self.values[step.source.number]
        pixels = len(step.shape) == 4 and before[:2] == step.shape[:2]  # rows of them, joined
        if before[2:] != (1, 1) and not pixels and step.source.number not in self.last:
            raise GraphError("LiteRT: a reshape of a map would need its layout changed")
        y, shape = self.new(step.shape), nhwc(step.shape)
        to = self.constant("shape", np.array(shape, np.int32))
        options = self.schema.ReshapeOptionsT(newShape=list(shape))
        self.operator(
            "RESHAPE", [self.values[step.source.number], to], y, "ReshapeOptions", options
        )
        return y

    def _transpose(self, step: Step) -> int:
        if step.params["axes"] != LAST:
            raise GraphError("LiteRT: no operator is written for such a transpose")
        self.last.add(step.output.number)
        return self.values[step.source.number]

    def _concat(self, step: Step) -> int:
        axis = step.params["axis"]
        options = self.schema.ConcatenationOptionsT(
            axis=LAST.index(axis) if len(step.shape) == 4 else axis
        )
        several = [self.values[ref.number] for ref in step.inputs if isinstance(ref, Value)]
        y = self.new(step.shape)
        self.operator("CONCATENATION", several, y, "ConcatenationOptions", options)
        return y

    def _broadcast_to(self, step: Step) -> int:
        return self.values[step.source.number]

    def _resample(self, step: Step) -> int:
        before, after = step.source.shape[2:], step.shape[2:]
        taps = step.params["rows"], step.params["columns"]
        aligned = _taps(before, after, "align_corners") == taps
        if not aligned and _taps(before, after, "half_pixel") != taps:
            raise GraphError("LiteRT: no operator is written for such a resize")
        size, y = self.constant("size", np.array(after, np.int32)), self.new(step.shape)
        options = self.schema.ResizeBilinearOptionsT(
            alignCorners=aligned, halfPixelCenters=not aligned
        )
        x = self.values[step.source.number]
        self.operator("RESIZE_BILINEAR", [x, size], y, "ResizeBilinearOptions", options)
        return y


def _taps(before: Sequence[int], after: Sequence[int], coordinates: str) -> tuple[Any, ...]:
    how = Resizing("linear", coordinates)
    return tuple(resize_taps(n, m, m / n, how)[0] for n, m in zip(before, after, strict=True))


def _is_same(pads: Pads, shape: Shape, kernel: Sequence[int], spec: Any) -> bool:
    wanted = tuple(
        same_padding(shape[2 + i], kernel[i], spec.stride[i], spec.dilation[i]) for i in (0, 1)
    )
    return pads == wanted


def _pool_padding(before: Shape, after: Shape, window: Any) -> str:
    """VALID if every window lies inside the map, SAME if it overhangs as TensorFlow's do."""
    pads, same = [], []
    for i in (0, 1):
        first, stride, kernel = window.padding[i][0], window.stride[i], window.kernel[i]
        last = (after[2 + i] - 1) * stride + kernel - before[2 + i] - first
        pads.append((first, max(last, 0)))
        same.append(same_padding(before[2 + i], kernel, stride))
    if window.dilation == (1, 1) and pads in ([*NO_PADS], same):
        return "VALID" if pads == [*NO_PADS] else "SAME"
    raise GraphError("LiteRT: no operator is written for a max pool with such padding")
