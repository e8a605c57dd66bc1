"""The table of ONNX's operators: which function of ours each one is.

A function that a row makes takes the node's inputs in order: the first ``computed`` of them as
Tensors, the others as arrays, which must be known from the file and the input's shape.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from minigrad import ops
from minigrad.graphs import onnx_choices as choices
from minigrad.graphs import onnx_functions as functions
from minigrad.graphs import onnx_resizing as resizing
from minigrad.graphs import onnx_shapes as shapes
from minigrad.graphs import onnx_windows as windows
from minigrad.graphs.attributes import Attributes
from minigrad.tensor import Tensor

__all__ = ["ARITHMETIC", "OPERATORS", "Function", "Operator"]

Function = Callable[..., "Tensor | list[Tensor]"]


class Operator(NamedTuple):
    """A row of the table.

    Attributes
    ----------
    prepare : callable
        Reads the attributes, and makes the function.
    computed : int, optional
        How many inputs may be computed values; all of them by default.
    buffers : tuple of int
        The inputs that training does not change.
    either : tuple of int
        The inputs behind those that may be computed or known.
    """

    prepare: Callable[[Attributes], Function]
    computed: int | None = None
    buffers: tuple[int, ...] = ()
    either: tuple[int, ...] = ()


INFINITY = float("inf")
ARITHMETIC = frozenset(("Add", "Sub", "Mul", "Div", "Pow", "Min", "Max"))

_plain = functions.plain

OPERATORS: dict[str, Operator] = {
    "Abs": Operator(_plain(ops.absolute)),
    "Add": Operator(_plain(ops.add)),
    "And": Operator(_plain(choices.both)),
    "ArgMax": Operator(choices.arg(largest=True)),
    "ArgMin": Operator(choices.arg(largest=False)),
    "AveragePool": Operator(windows.average_pool),
    "BatchNormalization": Operator(functions.batch_norm, buffers=(3, 4)),
    "Cast": Operator(choices.cast),
    "CastLike": Operator(choices.cast_like, computed=1, either=(1,)),
    "Ceil": Operator(functions.rounding("up")),
    "Clip": Operator(functions.clip, computed=1),
    "Concat": Operator(shapes.concat),
    "Conv": Operator(windows.convolution),
    "ConvTranspose": Operator(windows.transposed),
    "DepthToSpace": Operator(shapes.depth_to_space),
    "DequantizeLinear": Operator(choices.dequantize, computed=1),
    "Div": Operator(choices.divide),
    "Dropout": Operator(functions.dropout, computed=1),
    "Elu": Operator(functions.elu),
    "Equal": Operator(choices.comparison("==")),
    "Exp": Operator(_plain(ops.exp)),
    "Expand": Operator(_plain(shapes.expand), computed=1),
    "Flatten": Operator(shapes.flatten),
    "Floor": Operator(functions.rounding("down")),
    "Gather": Operator(shapes.gather, computed=1, either=(1,)),
    "GatherElements": Operator(shapes.gather_elements),
    "Gemm": Operator(functions.gemm),
    "GlobalAveragePool": Operator(windows.global_average_pool),
    "GlobalMaxPool": Operator(_plain(windows.global_max_pool)),
    "Greater": Operator(choices.comparison(">")),
    "GreaterOrEqual": Operator(choices.comparison(">=")),
    "HardSigmoid": Operator(functions.hard_sigmoid),
    "HardSwish": Operator(_plain(ops.hardswish)),
    "Identity": Operator(_plain(functions.identity)),
    "LeakyRelu": Operator(functions.leaky_relu),
    "Less": Operator(choices.comparison("<")),
    "LessOrEqual": Operator(choices.comparison("<=")),
    "Log": Operator(_plain(ops.log)),
    "LogSoftmax": Operator(functions.softmax(ops.log_softmax)),
    "MatMul": Operator(_plain(ops.matmul)),
    "Max": Operator(functions.chain(ops.maximum)),
    "MaxPool": Operator(windows.max_pool),
    "Mean": Operator(_plain(functions.mean)),
    "Min": Operator(functions.chain(ops.minimum)),
    "Mul": Operator(_plain(ops.mul)),
    "Neg": Operator(_plain(ops.neg)),
    "NonMaxSuppression": Operator(choices.suppression, computed=2),
    "Not": Operator(_plain(choices.negation)),
    "Or": Operator(_plain(choices.either)),
    "PRelu": Operator(_plain(functions.prelu)),
    "Pad": Operator(shapes.pad, computed=1),
    "Pow": Operator(choices.power),
    "QuantizeLinear": Operator(choices.quantize, computed=1),
    "Reciprocal": Operator(_plain(functions.reciprocal)),
    "ReduceL1": Operator(functions.reduction(functions.absolutes), computed=1),
    "ReduceL2": Operator(functions.reduction(functions.lengths), computed=1),
    "ReduceLogSum": Operator(functions.reduction(functions.log_sums), computed=1),
    "ReduceLogSumExp": Operator(functions.reduction(functions.log_exponentials), computed=1),
    "ReduceMax": Operator(functions.reduction(ops.max, nothing=(-INFINITY, 0.0)), computed=1),
    "ReduceMean": Operator(functions.reduction(ops.mean), computed=1),
    "ReduceMin": Operator(functions.reduction(ops.min, nothing=(INFINITY, 1.0)), computed=1),
    "ReduceProd": Operator(functions.reduction(functions.product), computed=1),
    "ReduceSum": Operator(functions.reduction(ops.sum, moved=13), computed=1),
    "ReduceSumSquare": Operator(functions.reduction(functions.squares), computed=1),
    "Relu": Operator(_plain(ops.relu)),
    "Reshape": Operator(shapes.reshape, computed=1),
    "Resize": Operator(resizing.resize, computed=1),
    "Round": Operator(functions.rounding("nearest")),
    "Sigmoid": Operator(_plain(ops.sigmoid)),
    "Sign": Operator(functions.rounding("sign")),
    "Slice": Operator(shapes.slices, computed=1),
    "Softmax": Operator(functions.softmax(ops.softmax)),
    "SpaceToDepth": Operator(shapes.space_to_depth),
    "Split": Operator(shapes.split, computed=1),
    "Sqrt": Operator(_plain(ops.sqrt)),
    "Squeeze": Operator(shapes.squeeze, computed=1),
    "Sub": Operator(_plain(ops.sub)),
    "Sum": Operator(functions.chain(ops.add)),
    "Swish": Operator(functions.swish),
    "Tanh": Operator(_plain(ops.tanh)),
    "Tile": Operator(_plain(shapes.tile), computed=1),
    "TopK": Operator(choices.topk, computed=1),
    "Transpose": Operator(shapes.transpose),
    "Unsqueeze": Operator(shapes.unsqueeze, computed=1),
    "Upsample": Operator(resizing.upsample, computed=1),
    "Where": Operator(_plain(choices.one_of_two)),
}
