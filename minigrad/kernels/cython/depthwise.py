"""Depthwise convolution in the compiled core, lanes across channels: ext/depthwise.pyx.tp.

The same call as every other kind; what its weights are packed into decides which kernel runs.
"""

from minigrad.kernels.cython._convolution import convolve

__all__ = ["depthwise_conv2d"]

depthwise_conv2d = convolve
