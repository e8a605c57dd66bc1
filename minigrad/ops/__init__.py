"""The operations on Tensors, and the table that makes them methods.

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
)
from minigrad.ops.loss import cross_entropy
from minigrad.ops.matmul import linear, matmul
from minigrad.ops.normalization import batch_norm
from minigrad.ops.pool import avg_pool2d, global_avg_pool, max_pool2d
from minigrad.ops.reduction import max, mean, sum, var
from minigrad.ops.regularization import dropout, stochastic_depth
from minigrad.ops.shaping import (
    broadcast_to,
    concat,
    embed,
    flatten,
    getitem,
    pad,
    reshape,
    squeeze,
    sum_to,
    transpose,
    unsqueeze,
)
from minigrad.tensor import Tensor

__all__ = [
    "absolute", "add", "astype", "avg_pool2d", "batch_norm", "broadcast_to", "clamp", "concat",
    "conv2d", "conv2d_input_grad", "conv2d_weight_grad", "cross_entropy", "div", "dropout",
    "embed", "exp", "flatten", "getitem", "global_avg_pool", "hardsigmoid", "hardswish",
    "linear", "log", "log_softmax", "mask", "matmul", "max", "max_pool2d", "maximum", "mean",
    "minimum", "mul", "neg", "pad", "power", "relu", "relu6", "reshape", "sigmoid", "silu",
    "softmax", "sqrt", "squeeze", "stochastic_depth", "sub", "sum", "sum_to", "tanh",
    "transpose", "unsqueeze", "var",
]  # fmt: skip

METHODS = {
    "__add__": add,
    "__radd__": lambda a, b: add(b, a),
    "__sub__": sub,
    "__rsub__": lambda a, b: sub(b, a),
    "__mul__": mul,
    "__rmul__": lambda a, b: mul(b, a),
    "__truediv__": div,
    "__rtruediv__": lambda a, b: div(b, a),
    "__matmul__": matmul,
    "__rmatmul__": lambda a, b: matmul(b, a),
    "__pow__": power,
    "__neg__": neg,
    "__abs__": absolute,
    "__getitem__": getitem,
    "abs": absolute,
    "astype": astype,
    "broadcast_to": broadcast_to,
    "clamp": clamp,
    "exp": exp,
    "flatten": flatten,
    "log": log,
    "log_softmax": log_softmax,
    "max": max,
    "mean": mean,
    "relu": relu,
    "reshape": reshape,
    "sigmoid": sigmoid,
    "softmax": softmax,
    "sqrt": sqrt,
    "squeeze": squeeze,
    "sum": sum,
    "tanh": tanh,
    "transpose": transpose,
    "unsqueeze": unsqueeze,
    "var": var,
}

for _name, _method in METHODS.items():
    setattr(Tensor, _name, _method)
Tensor.T = property(transpose)  # type: ignore[attr-defined]
