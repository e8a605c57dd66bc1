"""Convolutions on arrays: T(x, w, g) of ``contract``, in its order of summation.

This file turns NumPy arrays into what the kernels want (channels-last, contiguous) and their
results back; what depends on the shapes alone is decided once for each.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np

from minigrad.geometry import ConvSpec, axes, conv_output_shape
from minigrad.kernels.contract import INNER, Array, classify
from minigrad.kernels.formulas import both_words, error
from minigrad.kernels.numba._blocks import WeightGrad
from minigrad.kernels.numba._segments import Shape, Sweep
from minigrad.kernels.numba.dense import TapSum, dense_sum
from minigrad.kernels.numba.dense_gradients import dense_weight_grad
from minigrad.kernels.numba.depthwise import depthwise_sum
from minigrad.kernels.numba.depthwise_gradients import depthwise_weight_grad
from minigrad.kernels.numba.layout import channels_last

__all__ = ["conv2d", "conv2d_input_grad", "conv2d_weight_grad", "linear"]


def conv2d(x: Array, w: Array, bias: Array | None, spec: ConvSpec) -> Array:
    """y[n,o] = bias[o] + sum_{a,b,i} w[o,i,a,b] x[n, ch(o,i), p s - P + a d, q s' - P' + b d'].

    Depthwise has no sum over i; pointwise has no a and b: a product of matrices.
    """
    y = conv_output_shape(x.shape, w.shape, spec)
    return _tap_sum(x.shape, w.shape, y, spec, False, x.dtype)(channels_last(x), w, bias)


def conv2d_input_grad(g: Array, w: Array, x_shape: Sequence[int], spec: ConvSpec) -> Array:
    """dx[n,i,h,v] = sum_{a,b,o} w[o,i,a,b] g[n,o,p,q], over p, q with h = p s - P + a d, ...

    The forward sum, read from the other side: the same kernels, where each position of x
    has its own taps (every s-th of them, for a stride s).
    """
    return _tap_sum(tuple(x_shape), w.shape, g.shape, spec, True, g.dtype)(channels_last(g), w)


def conv2d_weight_grad(g: Array, x: Array, w_shape: Sequence[int], spec: ConvSpec) -> Array:
    """dw[o,i,a,b] = sum_{n,p,q} g[n,o,p,q] x[n, ch(o,i), p s - P + a d, q s' - P' + b d']."""
    gradient = _weight_grad(x.shape, tuple(w_shape), g.shape, spec, x.dtype)
    return gradient(channels_last(g), channels_last(x))


def linear(x: Array, w: Array, bias: Array | None) -> Array:
    """y[n,o] = bias[o] + sum_i x[n,i] w[o,i]: a pointwise convolution on maps of one pixel.

    More than INNER inputs are cut into blocks, which are added in two words.
    """
    blocks = [slice(k, k + INNER) for k in range(0, x.shape[1], INNER)]
    first, *others = blocks or [slice(0)]
    hi = _product(x[:, first], w[:, first], bias)
    if not others:
        return hi
    lo = np.zeros_like(hi)
    for block in others:
        b = _product(x[:, block], w[:, block], None)
        s = hi + b
        lo += error(hi, b, s)
        hi = s
    y: Array = both_words(hi, lo)
    return y


def _product(x: Array, w: Array, bias: Array | None) -> Array:
    # The batch is the width of one image, so that a tile can take several of its rows.
    image = np.ascontiguousarray(x).T[None, :, None, :]
    y: Array = conv2d(image, w[:, :, None, None], bias, ConvSpec())[0, :, 0, :].T
    return y


# What follows prepares, once for each shape, what does not depend on the numbers.


@functools.lru_cache(maxsize=1024)
def _tap_sum(
    x: Shape, w: Shape, y: Shape, spec: ConvSpec, adjoint: bool, dtype: np.dtype[np.generic]
) -> TapSum:
    sweep = _sweep(x, w, y, spec, adjoint, dtype)
    return depthwise_sum(sweep) if classify(spec, w) == "depthwise" else dense_sum(sweep)


@functools.lru_cache(maxsize=512)
def _weight_grad(
    x: Shape, w: Shape, y: Shape, spec: ConvSpec, dtype: np.dtype[np.generic]
) -> WeightGrad:
    gradient = depthwise_weight_grad if classify(spec, w) == "depthwise" else dense_weight_grad
    return gradient(_sweep(x, w, y, spec, False, dtype))


def _sweep(
    x: Shape, w: Shape, y: Shape, spec: ConvSpec, adjoint: bool, dtype: np.dtype[np.generic]
) -> Sweep:
    maps = [(n, height, width, channels) for n, channels, height, width in (x, y)]
    source, out = maps[::-1] if adjoint else maps
    rows, cols = axes(x[2:], y[2:], w[2:], spec)
    return Sweep(source, out, w, rows, cols, spec.groups, adjoint, dtype)
