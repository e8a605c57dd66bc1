"""Both gradients of every kind of convolution that has no function of its own, tap by tap."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from minigrad.geometry import ConvSpec
from minigrad.kernels.contract import Array
from minigrad.kernels.numpy.layout import grouped, matrices, taps
from minigrad.kernels.numpy.reductions import product, total

__all__ = ["conv2d_input_grad", "conv2d_weight_grad"]


def conv2d_input_grad(g: Array, w: Array, x_shape: Sequence[int], spec: ConvSpec) -> Array:
    """dx[S] = the sum over taps of W^T g[R]; see the contract."""
    dx = np.zeros(tuple(x_shape), g.dtype)
    filters = matrices(w, spec.groups).swapaxes(-1, -2)
    for tap in taps(x_shape[2:], g.shape[2:], w.shape[2:], spec):
        part = dx[:, :, tap.inputs[0], tap.inputs[1]]
        seen = grouped(g[:, :, tap.outputs[0], tap.outputs[1]], spec.groups)
        part += (filters[tap.a, tap.b] @ seen).reshape(part.shape)
    return dx


def conv2d_weight_grad(g: Array, x: Array, w_shape: Sequence[int], spec: ConvSpec) -> Array:
    """dW = the sum over images of g[R] x[S]^T, tap by tap; see the contract."""
    dw = np.zeros(tuple(w_shape), g.dtype)
    for tap in taps(x.shape[2:], g.shape[2:], w_shape[2:], spec):
        left = grouped(g[:, :, tap.outputs[0], tap.outputs[1]], spec.groups)
        right = grouped(x[:, :, tap.inputs[0], tap.inputs[1]], spec.groups)
        products = total(product(left, right), (0,))
        dw[:, :, tap.a, tap.b] = products.reshape(w_shape[0], w_shape[1])
    return dw
