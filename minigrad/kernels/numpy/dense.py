"""Convolution in NumPy: a sum over taps, one matrix product each; and the linear map.

With R the outputs that a tap (a, b) reaches, S the inputs that they read (``layout``), and
W the matrix w[:, :, a, b] of a group, T falls into one product per tap:

    conv2d              y[R]   += W   x[S]
    conv2d_input_grad   dx[S]  += W^T g[R]
    conv2d_weight_grad  dW      = g[R] x[S]^T   summed over images

No im2col, no bounds test, taps on padding never touched.  The products go to BLAS, so
this backend is held to the error bound, not to the bits.
"""

from __future__ import annotations

import numpy as np

from minigrad.geometry import ConvSpec, conv_output_shape
from minigrad.kernels.contract import Array
from minigrad.kernels.numpy.layout import grouped, matrices, taps
from minigrad.kernels.numpy.reductions import product

__all__ = ["conv2d", "linear"]


def conv2d(x: Array, w: Array, bias: Array | None, spec: ConvSpec) -> Array:
    """y[n,o] = bias[o] + sum over taps and channels; see the contract."""
    shape = conv_output_shape(x.shape, w.shape, spec)
    y = np.zeros(shape, x.dtype)
    if bias is not None:
        y += bias[:, None, None]
    filters = matrices(w, spec.groups)
    for tap in taps(x.shape[2:], shape[2:], w.shape[2:], spec):
        part = y[:, :, tap.outputs[0], tap.outputs[1]]
        seen = grouped(x[:, :, tap.inputs[0], tap.inputs[1]], spec.groups)
        part += (filters[tap.a, tap.b] @ seen).reshape(part.shape)
    return y


def linear(x: Array, w: Array, bias: Array | None) -> Array:
    """y = x w^T + bias, x (N, I), w (O, I)."""
    y = product(x, w)
    return y if bias is None else y + bias
