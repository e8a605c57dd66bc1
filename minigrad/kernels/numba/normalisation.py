"""BatchNorm: what happens to each number, and the sums over a batch.

    y  = (x - mean) scale + shift                    evaluation, and training's forward
    dx = scale ((g - a) - xhat b),  xhat = (x - mean) r
    sum x, sum (x - mean)^2;   sum g and sum g (x - mean)    over all pixels of a batch

Lanes are channels.  What happens to each number is rounded operation by operation, in the
order of the formula.  The sums, means and variances are kept in float64 (``reductions``),
and rounded once.
"""

from __future__ import annotations

import math
from collections import namedtuple

import numpy as np

from minigrad.kernels.contract import Array
from minigrad.kernels.numba._launch import kernel, run
from minigrad.kernels.numba._template import registers, unroll
from minigrad.kernels.numba._vectors import LANES, SIZE, load, store
from minigrad.kernels.numba.layout import channels_last
from minigrad.kernels.numba.reductions import column_sums

_NUMBERS = 16_384  # of one task


def batch_norm(x: Array, mean: Array, var: Array, gamma: Array, beta: Array, eps: float) -> Array:
    """y = (x - mean) scale + beta, scale = gamma / sqrt(var + eps): every operation rounded."""
    scale = gamma / np.sqrt(var + x.dtype.type(eps))
    return _each(x, None, mean, scale, beta)


def batch_norm_statistics(x: Array) -> tuple[Array, Array]:
    """mean = sum x / m and var = sum (x - mean)^2 / m of each channel, m = N H W."""
    pixels = _pixels(x)
    count = np.float64(pixels.shape[1])
    mean = column_sums("plain", pixels)[0][0] / count
    var = column_sums("square", pixels, mean=mean)[0][0] / count
    return mean.astype(x.dtype), var.astype(x.dtype)


def batch_norm_sums(g: Array, x: Array, mean: Array, var: Array, eps: float) -> tuple[Array, Array]:
    """sum g and sum g xhat a channel, xhat = (x - mean) / sqrt(var + eps)."""
    along, across = _sums(g, x, mean, var, eps)
    return along.astype(x.dtype), across.astype(x.dtype)


def batch_norm_input_grad(
    g: Array, x: Array, mean: Array, var: Array, gamma: Array, eps: float
) -> Array:
    """dx = gamma r ((g - mean(g)) - xhat mean(g xhat)), r = 1 / sqrt(var + eps)."""
    count = np.float64(x.size // max(x.shape[1], 1))
    a, b = ((s / count).astype(x.dtype) for s in _sums(g, x, mean, var, eps))
    r = 1 / np.sqrt(var + x.dtype.type(eps))
    return _each(x, g, mean, r, gamma * r, a, b)


def _sums(g: Array, x: Array, mean: Array, var: Array, eps: float) -> tuple[Array, Array]:
    """sum g and sum g xhat in float64."""
    along, across = column_sums("product", _pixels(x), _pixels(g), mean)
    return along[0], across[0] * (1 / np.sqrt(var.astype(np.float64) + eps))


def _channels_to_end(x: Array) -> Array:
    """(N, C, ...) as (N, ..., C) in C order."""
    if x.ndim == 4:
        return channels_last(x)
    return np.require(np.moveaxis(x, 1, -1), requirements=["C", "A"])


def _pixels(x: Array) -> Array:
    """(N, C, ...) as (1, pixels of the batch, C)."""
    count = math.prod((x.shape[0], *x.shape[2:]))
    return _channels_to_end(x).reshape(1, count, x.shape[1])


def _each(x: Array, g: Array | None, *vectors: Array) -> Array:
    """The formula at every number."""
    x = _channels_to_end(x)
    g = x if g is None else _channels_to_end(g)
    y, channels = np.empty_like(x), x.shape[-1]
    if y.size:
        pixels, each = y.size // channels, max(_NUMBERS // channels, 1)
        words = Numbers(y, x, g, np.stack(vectors), channels, pixels, each)
        run(each_number.of(y.dtype, len(vectors)), words, -(-pixels // each))
    return np.moveaxis(y, -1, 1)


# -- compiled


# The words of a job; ``vectors`` are one number a channel each, one after another.
Numbers = namedtuple("Numbers", "y x g vectors channels pixels each")


@kernel
def each_number(job: Numbers, first: int, last: int, *, VECTORS: int) -> None:
    channels, step = job.channels, job.channels * SIZE
    y, x, g, vectors = job.y, job.x, job.g, job.vectors
    vector = registers()
    for pixel in range(first * job.each, min(last * job.each, job.pixels)):
        for k in range(0, channels, LANES):
            at, n = pixel * step + k * SIZE, channels - k
            for i in unroll(range(VECTORS)):
                vector[i] = load(vectors + k * SIZE + i * step, n)
            d = load(x + at, n) - vector[0]
            if VECTORS == 3:  # mean, scale, shift
                result = d * vector[1] + vector[2]
            else:  # mean, r, scale, a, b
                centred = load(g + at, n) - vector[3]
                result = vector[2] * (centred - d * vector[1] * vector[4])
            store(y + at, result, n)
