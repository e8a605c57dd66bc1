"""Every function of the contract in NumPy: sums over taps, and sums over axes.

``layout`` says where the pixels of a tap lie; the other files have the names that they have
in every backend.
"""

from minigrad.kernels.numpy.dense import conv2d, linear
from minigrad.kernels.numpy.dense_gradients import conv2d_input_grad, conv2d_weight_grad
from minigrad.kernels.numpy.depthwise import depthwise_conv2d
from minigrad.kernels.numpy.depthwise_gradients import (
    depthwise_conv2d_input_grad,
    depthwise_conv2d_weight_grad,
)
from minigrad.kernels.numpy.elementwise import (
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
from minigrad.kernels.numpy.normalisation import (
    batch_norm,
    batch_norm_input_grad,
    batch_norm_statistics,
    batch_norm_sums,
)
from minigrad.kernels.numpy.pooling import (
    avg_pool2d,
    avg_pool2d_input_grad,
    global_avg_pool,
    max_pool2d,
    max_pool2d_gather,
    max_pool2d_input_grad,
)
from minigrad.kernels.numpy.reductions import (
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
    "depthwise_conv2d",
    "depthwise_conv2d_input_grad",
    "depthwise_conv2d_weight_grad",
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
]

UNAVAILABLE: str | None = None
