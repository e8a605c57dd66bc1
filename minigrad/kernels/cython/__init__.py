"""Every function of the contract in the compiled core, ext/.

The files have the names that they have in every backend.  Read in this order:

    _ext             the extension modules, one for each instruction set
    core             the one door to them
    layout           what a kernel can read as it lies in memory
    depthwise, depthwise_gradients    one input channel for each output channel
    dense, dense_gradients    sums that mix channels, and linear
    _convolution     what all convolutions have in common: packed weights, bound calls
    elementwise      functions of one number
    reductions       sums, and softmax
    normalisation    batch norm, and its sums
    pooling          the largest, or the mean, of each window
    copying, pairs, resampling    for plans: numbers moved, joined two by two, maps in another size
    blocks           for plans: a block of convolutions as one call
    program          for plans: bound calls one after the other
    training         for training steps: fused sweeps, weights packed anew, the update

The functions called ``bind_...`` are for plans: they take every decision once, and give a
call ``.run(threads)``.

What each function returns is fixed to the bit by the values and the shape of its arguments:
not by the number of threads, the memory order of the arrays, the other images of a batch, or
the registers of the CPU (given that it has an FMA).  The order of sums is the contract's.
Functions of a number and batch_norm keep the memory order of x; pools and convolutions return
channels-last maps, and convert what comes in another order once.

What may be changed: how the work is cut and packed, and every ``bind_...`` together with
the engine that calls it; not the order of a sum (tests/test_bits.py, tests/kernels).
"""

from typing import TYPE_CHECKING

from minigrad.demand import on_demand
from minigrad.kernels.cython.core import REASON
from minigrad.kernels.tables import FUNCTIONS_OF_ONE

if TYPE_CHECKING:
    from minigrad.kernels.cython._convolution import bind_conv2d, pack
    from minigrad.kernels.cython.dense import dense_conv2d, general_conv2d, linear, pointwise_conv2d
    from minigrad.kernels.cython.dense_gradients import conv2d_input_grad, conv2d_weight_grad
    from minigrad.kernels.cython.depthwise import depthwise_conv2d
    from minigrad.kernels.cython.depthwise_gradients import (
        depthwise_conv2d_input_grad,
        depthwise_conv2d_weight_grad,
    )
    from minigrad.kernels.cython.layout import empty_channels_last
    from minigrad.kernels.cython.normalisation import (
        batch_norm,
        batch_norm_input_grad,
        batch_norm_statistics,
        batch_norm_sums,
    )
    from minigrad.kernels.cython.pooling import (
        avg_pool2d,
        avg_pool2d_input_grad,
        global_avg_pool,
        max_pool2d,
        max_pool2d_gather,
        max_pool2d_input_grad,
    )
    from minigrad.kernels.cython.program import bind_input_grad, bind_weight_grad
    from minigrad.kernels.cython.reductions import (
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
    "bind_conv2d",
    "bind_input_grad",
    "bind_weight_grad",
    "conv2d_input_grad",
    "conv2d_weight_grad",
    "dense_conv2d",
    "depthwise_conv2d",
    "depthwise_conv2d_input_grad",
    "depthwise_conv2d_weight_grad",
    "empty_channels_last",
    "general_conv2d",
    "global_avg_pool",
    "linear",
    "log_softmax",
    "log_softmax_input_grad",
    "max_pool2d",
    "max_pool2d_gather",
    "max_pool2d_input_grad",
    "pack",
    "pointwise_conv2d",
    "softmax",
    "softmax_input_grad",
    "sum",
]

UNAVAILABLE: str | None = REASON

on_demand(
    __name__,
    {
        "minigrad.kernels.cython.elementwise": " ".join(
            name for f in FUNCTIONS_OF_ONE for name in (f.name, f.input_grad if f.slope else "")
        ),
        "minigrad.kernels.cython._convolution": "bind_conv2d pack",
        "minigrad.kernels.cython.dense": ("dense_conv2d general_conv2d linear pointwise_conv2d"),
        "minigrad.kernels.cython.dense_gradients": ("conv2d_input_grad conv2d_weight_grad"),
        "minigrad.kernels.cython.depthwise": "depthwise_conv2d",
        "minigrad.kernels.cython.depthwise_gradients": (
            "depthwise_conv2d_input_grad depthwise_conv2d_weight_grad"
        ),
        "minigrad.kernels.cython.layout": "empty_channels_last",
        "minigrad.kernels.cython.normalisation": (
            "batch_norm batch_norm_input_grad batch_norm_statistics batch_norm_sums"
        ),
        "minigrad.kernels.cython.pooling": (
            "avg_pool2d avg_pool2d_input_grad global_avg_pool max_pool2d max_pool2d_gather "
            "max_pool2d_input_grad"
        ),
        "minigrad.kernels.cython.program": "bind_input_grad bind_weight_grad",
        "minigrad.kernels.cython.reductions": (
            "log_softmax log_softmax_input_grad softmax softmax_input_grad sum"
        ),
    },
)
