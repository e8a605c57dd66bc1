"""Convolutions that mix channels, and linear, in the compiled core: ext/dense.pyx.tp.

The sums are those of ``reference``, in the same order; what is different is how many are
computed at once, and that results are channels-last in memory: an NCHW-shaped view of an
NHWC array.  An input in another layout is converted once.
"""

from __future__ import annotations

import numpy as np

from minigrad.arrays import Array
from minigrad.kernels.cython._convolution import convolve
from minigrad.kernels.cython.core import BoundCall, core
from minigrad.kernels.cython.layout import dense
from minigrad.threads import num_threads

__all__ = ["bind_linear", "dense_conv2d", "general_conv2d", "linear", "pointwise_conv2d"]

pointwise_conv2d = dense_conv2d = general_conv2d = convolve


def linear(x: Array, w: Array, bias: Array | None) -> Array:
    """y[n,o] = bias[o] + sum_i x[n,i] w[o,i], i ascending, one FMA each."""
    y = np.empty((x.shape[0], w.shape[0]), x.dtype)
    if y.size:
        if not (w.T.flags.c_contiguous and w.flags.aligned):
            w = dense(w)
        bias = None if bias is None else dense(bias)
        bind_linear(dense(x), w, bias, y).run(num_threads())
    return y


def bind_linear(x: Array, w: Array, bias: Array | None, y: Array) -> BoundCall:
    """The call that writes it to y; x, bias and y are in C order, w or its transpose is."""
    call: BoundCall = core.LinearCall(x, w, bias, y)
    return call
