"""The tables of TFLite's operators: which function of ours each one is, in floats and integers."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from minigrad import ops
from minigrad.graphs import tflite_functions as functions
from minigrad.graphs import tflite_moved as moved
from minigrad.graphs import tflite_quantised as quantised
from minigrad.graphs import tflite_shapes as shapes
from minigrad.graphs import tflite_windows as windows
from minigrad.graphs.tflite_operation import Operation
from minigrad.tensor import Tensor

__all__ = ["OPERATORS", "QUANTISED", "TURNED", "Operator"]

Function = Callable[..., "Tensor | list[Tensor]"]
Prepare = Callable[[Operation], Function]


class Operator(NamedTuple):
    """A row of a table.

    Attributes
    ----------
    prepare : callable
        Reads the options, and makes the function.
    computed : tuple of int, optional
        The inputs that are values; all of them by default.  The function takes them first.
    known : tuple of int
        The inputs that must be known from the file and the input's shape.
    """

    prepare: Prepare
    computed: tuple[int, ...] | None = None
    known: tuple[int, ...] = ()


def _one(prepare: Prepare, known: int = 1) -> Operator:
    """An operator on one value, with so many known inputs behind it."""
    return Operator(prepare, (0,), tuple(range(1, 1 + known)))


def _function(function: Function) -> Prepare:
    def prepare(o: Operation) -> Function:
        return function

    return prepare


TURNED = {  # the axes of constants that are turned otherwise than maps: (operator, input)
    ("DEPTHWISE_CONV_2D", 1): (3, 0, 1, 2),
    ("TRANSPOSE_CONV", 1): (3, 0, 1, 2),
    ("Convolution2DTransposeBias", 1): (3, 0, 1, 2),
}

SHAPES: dict[str, Operator] = {
    "BATCH_TO_SPACE_ND": _one(_function(shapes.batch_to_space), 2),
    "BROADCAST_TO": _one(_function(shapes.broadcast_to)),
    "DEPTH_TO_SPACE": _one(shapes.depth_to_space, 0),
    "EXPAND_DIMS": _one(_function(shapes.expand_dims)),
    "GATHER": _one(shapes.gather),
    "MIRROR_PAD": _one(shapes.mirror_pad),
    "PACK": Operator(shapes.pack),
    "RESHAPE": _one(shapes.reshape),
    "RESIZE_NEAREST_NEIGHBOR": _one(windows.resize_nearest),
    "REVERSE_V2": _one(_function(shapes.reverse)),
    "SLICE": _one(_function(shapes.slices), 2),
    "SPACE_TO_BATCH_ND": _one(_function(shapes.space_to_batch), 2),
    "SPACE_TO_DEPTH": _one(shapes.space_to_depth, 0),
    "SPLIT": Operator(shapes.split, (1,), (0,)),
    "SPLIT_V": _one(shapes.split_v, 2),
    "SQUEEZE": _one(shapes.squeeze, 0),
    "STRIDED_SLICE": _one(shapes.strided_slice, 3),
    "TILE": _one(_function(shapes.tile)),
    "TRANSPOSE": _one(_function(shapes.transpose)),
    "UNPACK": _one(shapes.unpack, 0),
}

OPERATORS: dict[str, Operator] = {
    **SHAPES,
    "ABS": Operator(_function(ops.absolute)),
    "ADD": Operator(functions.arithmetic(ops.add)),
    "ADD_N": Operator(functions.add_n),
    "ARG_MAX": _one(functions.arg_extreme(True)),
    "ARG_MIN": _one(functions.arg_extreme(False)),
    "AVERAGE_POOL_2D": Operator(windows.average_pool),
    "CAST": Operator(functions.cast),
    "CEIL": Operator(_function(functions.rounded("up"))),
    "CONCATENATION": Operator(shapes.concatenation),
    "CONV_2D": Operator(windows.convolution),
    "Convolution2DTransposeBias": Operator(windows.bias_transposed),
    "DEPTHWISE_CONV_2D": Operator(windows.depthwise),
    "DIV": Operator(functions.arithmetic(ops.div)),
    "ELU": Operator(_function(ops.elu)),
    "EXP": Operator(_function(ops.exp)),
    "FLOOR": Operator(_function(functions.rounded("down"))),
    "FULLY_CONNECTED": Operator(functions.fully_connected),
    "HARD_SWISH": Operator(_function(ops.hardswish)),
    "L2_NORMALIZATION": Operator(functions.l2_normalization),
    "LEAKY_RELU": Operator(functions.leaky_relu),
    "LOG": Operator(_function(ops.log)),
    "LOGISTIC": Operator(_function(ops.sigmoid)),
    "LOG_SOFTMAX": Operator(_function(functions.log_softmax)),
    "MAXIMUM": Operator(functions.plain_arithmetic(ops.maximum)),
    "MAX_POOL_2D": Operator(windows.max_pool),
    "MEAN": _one(functions.reduction(ops.mean)),
    "MINIMUM": Operator(functions.plain_arithmetic(ops.minimum)),
    "MUL": Operator(functions.arithmetic(ops.mul)),
    "NEG": Operator(_function(ops.neg)),
    "PAD": _one(_function(shapes.pad)),
    "PADV2": _one(_function(shapes.pad), 2),
    "POW": Operator(functions.plain_arithmetic(ops.power)),
    "PRELU": Operator(_function(functions.prelu)),
    "REDUCE_MAX": _one(functions.reduction(ops.max)),
    "REDUCE_MIN": _one(functions.reduction(ops.min)),
    "RELU": Operator(_function(ops.relu)),
    "RELU6": Operator(_function(ops.relu6)),
    "RELU_0_TO_1": Operator(functions.limited(0.0, 1.0)),
    "RELU_N1_TO_1": Operator(functions.limited(-1.0, 1.0)),
    "RESIZE_BILINEAR": _one(windows.resize_bilinear),
    "ROUND": Operator(_function(functions.rounded("nearest"))),
    "RSQRT": Operator(_function(functions.rsqrt)),
    "SOFTMAX": Operator(functions.softmax),
    "SQRT": Operator(_function(ops.sqrt)),
    "SQUARE": Operator(_function(functions.square)),
    "SQUARED_DIFFERENCE": Operator(functions.plain_arithmetic(functions.squared_difference)),
    "SUB": Operator(functions.arithmetic(ops.sub)),
    "SUM": _one(functions.reduction(ops.sum)),
    "TANH": Operator(_function(ops.tanh)),
    "TRANSPOSE_CONV": Operator(windows.transposed, (2, 1, 3), (0,)),
}

QUANTISED: dict[str, Operator] = {
    **{name: row._replace(prepare=moved.same(row.prepare)) for name, row in SHAPES.items()},
    "ABS": Operator(quantised.elementwise(np.abs)),
    "ADD": Operator(quantised.added(ops.add)),
    "ARG_MAX": _one(moved.places(functions.arg_extreme(True))),
    "ARG_MIN": _one(moved.places(functions.arg_extreme(False))),
    "AVERAGE_POOL_2D": Operator(moved.average_pool),
    "CONCATENATION": Operator(moved.concatenation),
    "CONV_2D": Operator(quantised.convolution),
    "DEPTHWISE_CONV_2D": Operator(quantised.depthwise),
    "DEQUANTIZE": Operator(quantised.dequantize),
    "ELU": Operator(quantised.elementwise(lambda x: np.where(x < 0, np.expm1(x), x))),
    "EXP": Operator(quantised.elementwise(np.exp)),
    "FULLY_CONNECTED": Operator(quantised.fully_connected),
    "HARD_SWISH": Operator(quantised.elementwise(lambda x: x * np.clip(x + 3, 0, 6) / 6)),
    "LEAKY_RELU": Operator(quantised.leaky_relu),
    "LOG": Operator(quantised.elementwise(np.log)),
    "LOGISTIC": Operator(quantised.elementwise(lambda x: 1 / (1 + np.exp(-x)))),
    "MAXIMUM": Operator(quantised.extremum(ops.maximum)),
    "MAX_POOL_2D": Operator(moved.max_pool),
    "MEAN": _one(moved.reduction(True)),
    "MINIMUM": Operator(quantised.extremum(ops.minimum)),
    "MUL": Operator(quantised.multiplied),
    "PAD": _one(moved.pad),
    "PADV2": _one(moved.pad, 2),
    "PRELU": Operator(quantised.prelu),
    "QUANTIZE": Operator(quantised.quantize),
    "REDUCE_MAX": _one(moved.same(functions.reduction(ops.max))),
    "REDUCE_MIN": _one(moved.same(functions.reduction(ops.min))),
    "RELU": Operator(quantised.relu(0.0, math.inf)),
    "RELU6": Operator(quantised.relu(0.0, 6.0)),
    "RELU_0_TO_1": Operator(quantised.relu(0.0, 1.0)),
    "RELU_N1_TO_1": Operator(quantised.relu(-1.0, 1.0)),
    "RESIZE_BILINEAR": _one(moved.resize_bilinear),
    "RSQRT": Operator(quantised.elementwise(lambda x: 1 / np.sqrt(x))),
    "SOFTMAX": Operator(quantised.softmax),
    "SUB": Operator(quantised.added(ops.sub)),
    "SUM": _one(moved.reduction(False)),
    "TANH": Operator(quantised.elementwise(np.tanh)),
    "TRANSPOSE_CONV": Operator(quantised.transposed, (2, 1, 3), (0,)),
}
