"""Batch normalisation in NumPy; means, variances and sums are kept in float64."""

from __future__ import annotations

import numpy as np

from minigrad.kernels.batch_norm import BatchNorm
from minigrad.kernels.contract import Array
from minigrad.kernels.numpy.layout import over_channels
from minigrad.kernels.numpy.reductions import total

__all__ = ["batch_norm", "batch_norm_input_grad", "batch_norm_statistics", "batch_norm_sums"]


def _total(x: Array) -> Array:
    """The sum of each channel."""
    return total(x, (0, *range(2, x.ndim)))


def _squares(x: Array, mean: Array) -> Array:
    centred = x - over_channels(mean, x)
    return _total(centred * centred)


def _products(g: Array, x: Array, mean: Array) -> tuple[Array, Array]:
    return _total(g), _total(g * (x - over_channels(mean, x)))


def _scaled(x: Array, *vectors: Array) -> Array:
    mean, scale, shift = (over_channels(v, x) for v in vectors)
    return np.asarray((x - mean) * scale + shift)


def _slope(g: Array, x: Array, *vectors: Array) -> Array:
    mean, r, scale, a, b = (over_channels(v, x) for v in vectors)
    return np.asarray(scale * ((g - a) - (x - mean) * r * b))


_batch_norm = BatchNorm(lambda x: x, _total, _squares, _products, _scaled, _slope)
batch_norm, batch_norm_input_grad = _batch_norm.batch_norm, _batch_norm.batch_norm_input_grad
batch_norm_statistics = _batch_norm.batch_norm_statistics
batch_norm_sums = _batch_norm.batch_norm_sums
