"""Every function of the contract in plain loops: what the others mean, slow on purpose.

Numbers are kept in float64 whatever the dtype of the arrays, and rounded once at the end, so
that the reference is at least as accurate as any kernel that is held against it.  A depthwise
convolution is one with as many groups as channels: it has no file of its own here.
"""

from minigrad.kernels.reference.dense import conv2d, linear
from minigrad.kernels.reference.dense_gradients import conv2d_input_grad, conv2d_weight_grad
from minigrad.kernels.reference.elementwise import (
    exp,
    hardsigmoid,
    hardsigmoid_input_grad,
    hardswish,
    hardswish_input_grad,
    log,
    relu,
    relu6,
    relu6_input_grad,
    relu_input_grad,
    sigmoid,
    sigmoid_input_grad,
    silu,
    silu_input_grad,
    tanh,
    tanh_input_grad,
)
from minigrad.kernels.reference.layout import terms
from minigrad.kernels.reference.normalisation import (
    batch_norm,
    batch_norm_input_grad,
    batch_norm_statistics,
    batch_norm_sums,
)
from minigrad.kernels.reference.pooling import (
    avg_pool2d,
    avg_pool2d_input_grad,
    global_avg_pool,
    max_pool2d,
    max_pool2d_gather,
    max_pool2d_input_grad,
)
from minigrad.kernels.reference.reductions import (
    log_softmax,
    log_softmax_input_grad,
    softmax,
    softmax_input_grad,
    sum,
)

__all__ = [
    "UNAVAILABLE",
    "avg_pool2d",
    "avg_pool2d_input_grad",
    "batch_norm",
    "batch_norm_input_grad",
    "batch_norm_statistics",
    "batch_norm_sums",
    "conv2d",
    "conv2d_input_grad",
    "conv2d_weight_grad",
    "exp",
    "global_avg_pool",
    "hardsigmoid",
    "hardsigmoid_input_grad",
    "hardswish",
    "hardswish_input_grad",
    "linear",
    "log",
    "log_softmax",
    "log_softmax_input_grad",
    "max_pool2d",
    "max_pool2d_gather",
    "max_pool2d_input_grad",
    "relu",
    "relu6",
    "relu6_input_grad",
    "relu_input_grad",
    "sigmoid",
    "sigmoid_input_grad",
    "silu",
    "silu_input_grad",
    "softmax",
    "softmax_input_grad",
    "sum",
    "tanh",
    "tanh_input_grad",
    "terms",
]

UNAVAILABLE: str | None = None
