"""The operations on Tensors, which are also their methods.

Each file is one idea: its formula, the forward, the shape rule and the VJP rules.
"""

from __future__ import annotations

from minigrad.ops.activation import (
    hardsigmoid,
    hardswish,
    log_softmax,
    relu,
    relu6,
    sigmoid,
    silu,
    softmax,
    tanh,
)
from minigrad.ops.casting import astype
from minigrad.ops.conv import conv2d, conv2d_input_grad, conv2d_weight_grad
from minigrad.ops.creation import full, ones, ones_like, randn, zeros, zeros_like
from minigrad.ops.elementwise import (
    absolute,
    add,
    clamp,
    div,
    exp,
    log,
    mask,
    maximum,
    minimum,
    mul,
    neg,
    power,
    sqrt,
    sub,
    where,
)
from minigrad.ops.indexing import embed, getitem
from minigrad.ops.joining import concat, stack
from minigrad.ops.loss import cross_entropy, mse_loss
from minigrad.ops.matmul import linear, matmul
from minigrad.ops.normalization import batch_norm
from minigrad.ops.pool import avg_pool2d, global_avg_pool, max_pool2d
from minigrad.ops.reduction import argmax, argmin, max, mean, min, std, sum, var
from minigrad.ops.regularization import dropout, stochastic_depth
from minigrad.ops.shaping import (
    broadcast_to,
    clone,
    flatten,
    pad,
    permute,
    reshape,
    squeeze,
    sum_to,
    transpose,
    unsqueeze,
)
from minigrad.tensor import OPERATIONS

__all__ = [
    "absolute", "add", "argmax", "argmin", "astype", "avg_pool2d", "batch_norm", "broadcast_to",
    "clamp", "clone", "concat", "conv2d", "conv2d_input_grad", "conv2d_weight_grad",
    "cross_entropy", "div", "dropout", "embed", "exp", "flatten", "full", "getitem",
    "global_avg_pool", "hardsigmoid", "hardswish", "linear", "log", "log_softmax", "mask",
    "matmul", "max", "max_pool2d", "maximum", "mean", "min", "minimum", "mse_loss", "mul", "neg",
    "ones", "ones_like", "pad", "permute", "power", "randn", "relu", "relu6", "reshape",
    "sigmoid", "silu", "softmax", "sqrt", "squeeze", "stack", "std", "stochastic_depth", "sub",
    "sum", "sum_to", "tanh", "transpose", "unsqueeze", "var", "where", "zeros", "zeros_like",
]  # fmt: skip

# What the methods of a Tensor call.
OPERATIONS.update({name: globals()[name] for name in __all__})
