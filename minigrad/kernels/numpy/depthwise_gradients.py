"""Both gradients of a depthwise convolution: products per channel, tap by tap."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from minigrad.geometry import ConvSpec
from minigrad.kernels.contract import Array
from minigrad.kernels.numpy.layout import taps
from minigrad.kernels.numpy.reductions import rounded, total

__all__ = ["depthwise_conv2d_input_grad", "depthwise_conv2d_weight_grad"]


def depthwise_conv2d_input_grad(
    g: Array, w: Array, x_shape: Sequence[int], spec: ConvSpec
) -> Array:
    """dx[S] = the sum over taps of w[a,b] g[R], channel by channel."""
    dx = np.zeros(tuple(x_shape), g.dtype)
    for tap in taps(x_shape[2:], g.shape[2:], w.shape[2:], spec):
        weight = w[:, 0, tap.a, tap.b][:, None, None]
        dx[:, :, tap.inputs[0], tap.inputs[1]] += g[:, :, tap.outputs[0], tap.outputs[1]] * weight
    return dx


def depthwise_conv2d_weight_grad(
    g: Array, x: Array, w_shape: Sequence[int], spec: ConvSpec
) -> Array:
    """dw[c,a,b] = <g[R], x[S]> over images and pixels, channel by channel."""
    dw = np.zeros(tuple(w_shape), g.dtype)
    for tap in taps(x.shape[2:], g.shape[2:], w_shape[2:], spec):
        left = g[:, :, tap.outputs[0], tap.outputs[1]]
        right = x[:, :, tap.inputs[0], tap.inputs[1]]
        products = left.astype(np.float64) * right
        dw[:, 0, tap.a, tap.b] = rounded(total(products, (0, 2, 3)), g.dtype)
    return dw
