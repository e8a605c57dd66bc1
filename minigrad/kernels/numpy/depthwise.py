"""A depthwise convolution: the general sum with 1x1 matrices, a product per channel."""

from __future__ import annotations

import numpy as np

from minigrad.geometry import ConvSpec, conv_output_shape
from minigrad.kernels.contract import Array
from minigrad.kernels.numpy.layout import taps

__all__ = ["depthwise_conv2d"]


def depthwise_conv2d(x: Array, w: Array, bias: Array | None, spec: ConvSpec) -> Array:
    """The general function with 1x1 matrices: W x is a product per channel."""
    shape = conv_output_shape(x.shape, w.shape, spec)
    y = np.zeros(shape, x.dtype)
    if bias is not None:
        y += bias[:, None, None]
    for tap in taps(x.shape[2:], shape[2:], w.shape[2:], spec):
        weight = w[:, 0, tap.a, tap.b][:, None, None]
        y[:, :, tap.outputs[0], tap.outputs[1]] += x[:, :, tap.inputs[0], tap.inputs[1]] * weight
    return y
