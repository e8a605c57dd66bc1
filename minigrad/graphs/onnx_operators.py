"""The table of ONNX's operators: which function of ours each one is.

A function that a row makes takes the node's inputs in order: the first ``computed`` of them as
Tensors, the others as arrays, which must be known from the file and the input's shape.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from minigrad import ops
from minigrad.graphs import onnx_functions as functions
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
    """

    prepare: Callable[[Attributes], Function]
    computed: int | None = None
    buffers: tuple[int, ...] = ()


ARITHMETIC = frozenset(("Add", "Sub", "Mul", "Div", "Pow", "Min", "Max"))

OPERATORS: dict[str, Operator] = {
    "Abs": Operator(functions.plain(ops.absolute)),
    "Add": Operator(functions.plain(ops.add)),
    "AveragePool": Operator(windows.average_pool),
    "BatchNormalization": Operator(functions.batch_norm, buffers=(3, 4)),
    "Cast": Operator(functions.cast),
    "Clip": Operator(functions.clip, computed=1),
    "Concat": Operator(shapes.concat),
    "Conv": Operator(windows.convolution),
    "ConvTranspose": Operator(windows.transposed),
    "Div": Operator(functions.plain(ops.div)),
    "Dropout": Operator(functions.dropout, computed=1),
    "Elu": Operator(functions.elu),
    "Exp": Operator(functions.plain(ops.exp)),
    "Flatten": Operator(shapes.flatten),
    "Gather": Operator(shapes.gather, computed=1),
    "Gemm": Operator(functions.gemm),
    "GlobalAveragePool": Operator(windows.global_average_pool),
    "HardSigmoid": Operator(functions.hard_sigmoid),
    "HardSwish": Operator(functions.plain(ops.hardswish)),
    "Identity": Operator(functions.plain(functions.identity)),
    "LeakyRelu": Operator(functions.leaky_relu),
    "Log": Operator(functions.plain(ops.log)),
    "LogSoftmax": Operator(functions.softmax(ops.log_softmax)),
    "MatMul": Operator(functions.plain(ops.matmul)),
    "Max": Operator(functions.chain(ops.maximum)),
    "MaxPool": Operator(windows.max_pool),
    "Min": Operator(functions.chain(ops.minimum)),
    "Mul": Operator(functions.plain(ops.mul)),
    "Neg": Operator(functions.plain(ops.neg)),
    "PRelu": Operator(functions.plain(functions.prelu)),
    "Pad": Operator(shapes.pad, computed=1),
    "Pow": Operator(functions.plain(ops.power)),
    "ReduceMax": Operator(functions.reduction(ops.max), computed=1),
    "ReduceMean": Operator(functions.reduction(ops.mean), computed=1),
    "ReduceSum": Operator(functions.reduction(ops.sum, moved=13), computed=1),
    "Relu": Operator(functions.plain(ops.relu)),
    "Reshape": Operator(shapes.reshape, computed=1),
    "Resize": Operator(shapes.resize, computed=1),
    "Sigmoid": Operator(functions.plain(ops.sigmoid)),
    "Slice": Operator(shapes.slices, computed=1),
    "Softmax": Operator(functions.softmax(ops.softmax)),
    "Split": Operator(shapes.split, computed=1),
    "Sqrt": Operator(functions.plain(ops.sqrt)),
    "Squeeze": Operator(shapes.squeeze, computed=1),
    "Sub": Operator(functions.plain(ops.sub)),
    "Sum": Operator(functions.chain(ops.add)),
    "Tanh": Operator(functions.plain(ops.tanh)),
    "Transpose": Operator(shapes.transpose),
    "Unsqueeze": Operator(shapes.unsqueeze, computed=1),
    "Upsample": Operator(shapes.resize, computed=1),
}
