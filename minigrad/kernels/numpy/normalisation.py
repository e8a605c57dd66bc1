"""Batch normalisation in NumPy; means, variances and sums are kept in float64."""

from __future__ import annotations

import numpy as np

from minigrad.kernels.contract import Array
from minigrad.kernels.numpy.elementwise import constant
from minigrad.kernels.numpy.layout import over_channels
from minigrad.kernels.numpy.reductions import rounded, total

__all__ = ["batch_norm", "batch_norm_input_grad", "batch_norm_statistics", "batch_norm_sums"]


def batch_norm(x: Array, mean: Array, var: Array, gamma: Array, beta: Array, eps: float) -> Array:
    """y = (x - mean) gamma / sqrt(var + eps) + beta, per channel of axis 1."""
    scale = gamma / np.sqrt(var + constant(var, eps))
    centred = x - over_channels(mean, x)
    return np.asarray(centred * over_channels(scale, x) + over_channels(beta, x))


def _batch(x: Array) -> tuple[tuple[int, ...], int]:
    """The axes of one channel of a batch, and how many values lie along them."""
    axes = (0, *range(2, x.ndim))
    return axes, int(np.prod([x.shape[a] for a in axes]))


def batch_norm_statistics(x: Array) -> tuple[Array, Array]:
    """The mean and the biased variance of each channel of a batch."""
    axes, count = _batch(x)
    mean = total(x, axes) / count
    centred = x - over_channels(mean, x)
    var = total(centred * centred, axes) / count
    return rounded(mean, x.dtype), rounded(var, x.dtype)


def batch_norm_sums(g: Array, x: Array, mean: Array, var: Array, eps: float) -> tuple[Array, Array]:
    """sum g and sum g x^ of each channel, x^ = (x - mean) / sqrt(var + eps)."""
    along, product = _sums(g, x, mean, var, eps)
    return rounded(along, x.dtype), rounded(product, x.dtype)


def _sums(g: Array, x: Array, mean: Array, var: Array, eps: float) -> tuple[Array, Array]:
    axes, _ = _batch(x)
    centred = x - over_channels(mean.astype(np.float64), x)
    return total(g, axes), total(g * centred, axes) / np.sqrt(var.astype(np.float64) + eps)


def batch_norm_input_grad(
    g: Array, x: Array, mean: Array, var: Array, gamma: Array, eps: float
) -> Array:
    """dx = gamma r ((g - mean(g)) - x^ mean(g x^))."""
    _, count = _batch(x)
    sums = (rounded(s / count, x.dtype) for s in _sums(g, x, mean, var, eps))
    a, b = (over_channels(s, x) for s in sums)
    r = 1 / np.sqrt(var + constant(x, eps))
    xhat = (x - over_channels(mean, x)) * over_channels(r, x)
    return np.asarray(over_channels(gamma * r, x) * ((g - a) - xhat * b))
