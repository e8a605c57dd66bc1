"""BatchNorm in the compiled core: evaluation, and the passes of training.

Every operation is rounded by itself, in the order of the formulas, so evaluation has NumPy's
bits.  Sums over the batch are float64 until they are rounded, once (``contract``).
"""

from __future__ import annotations

import math

import numpy as np

from minigrad.arrays import Array
from minigrad.kernels.contract import ieee
from minigrad.kernels.cython.core import core
from minigrad.kernels.cython.layout import dense, pixels
from minigrad.threads import num_threads

__all__ = ["batch_norm", "batch_norm_input_grad", "batch_norm_statistics", "batch_norm_sums"]


@ieee
def batch_norm(x: Array, mean: Array, var: Array, gamma: Array, beta: Array, eps: float) -> Array:
    """y = (x - mean) scale + beta, scale = gamma / sqrt(var + eps): every operation rounded."""
    scale = gamma / np.sqrt(var + x.dtype.type(eps))
    vectors = [dense(v) for v in (mean, scale, beta)]
    nchw = x.flags.c_contiguous and x.flags.aligned
    lying = x if nchw else _channels_to_end(x)
    inner = math.prod(x.shape[2:]) if nchw else 1
    y = np.empty_like(lying)
    if x.size:
        core.normalize(lying, *vectors, y, x.size // x.shape[1] // inner, inner, num_threads())
    return y if nchw else np.moveaxis(y, -1, 1)


def _channels_to_end(x: Array) -> Array:
    """(N, C, ...) as (N, ..., C) in C order."""
    return pixels(x) if x.ndim == 4 else dense(np.moveaxis(x, 1, -1))


@ieee
def batch_norm_statistics(x: Array) -> tuple[Array, Array]:
    """The mean and the biased variance of each channel of a batch x (N, C, ...).

    mean = sum x / m, then var = sum (x - mean)^2 / m with that mean before it is rounded,
    and m = N H W.
    """
    rows = _pixels(x)
    mean, var = np.empty((2, 1, x.shape[1]))
    core.column_sums(rows, mean, rows.shape[1], num_threads())
    core.square_sums(rows, mean, var, num_threads())
    var /= rows.shape[1]
    return mean[0].astype(x.dtype), var[0].astype(x.dtype)


def _pixels(x: Array) -> Array:
    """(N, C, ...) as (1, pixels of the batch, C) in C order."""
    return _channels_to_end(x).reshape(1, x.shape[0] * math.prod(x.shape[2:]), x.shape[1])


@ieee
def batch_norm_sums(g: Array, x: Array, mean: Array, var: Array, eps: float) -> tuple[Array, Array]:
    """sum g and sum g x̂ a channel, x̂ = (x - mean) / sqrt(var + eps): β̄ and γ̄ of a batch."""
    plain, centred = _wide_sums(g, x, mean, var, eps)
    return plain.astype(x.dtype), centred.astype(x.dtype)


def _wide_sums(g: Array, x: Array, mean: Array, var: Array, eps: float) -> tuple[Array, Array]:
    """The same in float64."""
    plain, centred = np.empty((2, 1, x.shape[1]))
    wide = mean.astype(np.float64, order="C")
    core.product_sums(_pixels(x), _pixels(g), wide, plain, centred, num_threads())
    return plain[0], centred[0] * (1 / np.sqrt(var.astype(np.float64) + eps))


@ieee
def batch_norm_input_grad(
    g: Array, x: Array, mean: Array, var: Array, gamma: Array, eps: float
) -> Array:
    """dx = gamma r ((g - mean(g)) - x̂ mean(g x̂)), r = 1 / sqrt(var + eps), x̂ = (x - mean) r.

    ``mean`` and ``var`` are the batch's own; see ``batch_norm_statistics``.
    """
    totals = _wide_sums(g, x, mean, var, eps)
    rows = x.shape[0] * math.prod(x.shape[2:])
    r = 1 / np.sqrt(var + x.dtype.type(eps))
    a, b = ((t / rows).astype(x.dtype) for t in totals)
    lying = _channels_to_end(x)
    y = np.empty_like(lying)
    vectors = (dense(mean), r, gamma * r, a, b)
    core.normalize_gradient(_channels_to_end(g), lying, *vectors, y, rows, num_threads())
    return np.moveaxis(y, -1, 1)
