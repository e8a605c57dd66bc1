"""BatchNorm: what happens to each number, and the sums over a batch.

    y  = (x - mean) scale + shift                    evaluation, and training's forward
    dx = scale ((g - a) - xhat b),  xhat = (x - mean) r
    sum x, sum (x - mean)^2;   sum g and sum g (x - mean)    over all pixels of a batch

Lanes are channels.  What is made of these stands in ``kernels/batch_norm``.
"""

from __future__ import annotations

import math
from collections import namedtuple

import numpy as np

from minigrad.kernels.batch_norm import BatchNorm
from minigrad.kernels.contract import Array
from minigrad.kernels.layout import dense
from minigrad.kernels.numba._launch import kernel, run
from minigrad.kernels.numba._template import registers, unroll
from minigrad.kernels.numba._vectors import LANES, SIZE, load, store
from minigrad.kernels.numba.elementwise import NUMBERS
from minigrad.kernels.numba.layout import channels_last
from minigrad.kernels.numba.reductions import column_sums


def _channels_to_end(x: Array) -> Array:
    """(N, C, ...) as (N, ..., C) in C order."""
    return channels_last(x) if x.ndim == 4 else dense(np.moveaxis(x, 1, -1))


def _pixels(x: Array) -> Array:
    """(N, C, ...) as (1, pixels of the batch, C)."""
    x = _channels_to_end(x)
    return x.reshape(1, math.prod(x.shape[:-1]), x.shape[-1])


def _total(x: Array) -> Array:
    total: Array = column_sums("plain", x)[0][0]
    return total


def _squares(x: Array, mean: Array) -> Array:
    total: Array = column_sums("square", x, mean=mean)[0][0]
    return total


def _products(g: Array, x: Array, mean: Array) -> tuple[Array, Array]:
    along, across = column_sums("product", x, g, mean)
    return along[0], across[0]


def _each(g: Array, x: Array, *vectors: Array) -> Array:
    """The formula at every number; that with three vectors does not read g."""
    g, x = _channels_to_end(g), _channels_to_end(x)
    y, channels = np.empty_like(x), x.shape[-1]
    if y.size:
        pixels, each = y.size // channels, max(NUMBERS // channels, 1)
        words = Numbers(y, x, g, np.stack(vectors), channels, pixels, each)
        run(each_number.of(y.dtype, len(vectors)), words, -(-pixels // each))
    return np.moveaxis(y, -1, 1)


_batch_norm = BatchNorm(
    _pixels, _total, _squares, _products, lambda x, *vectors: _each(x, x, *vectors), _each
)
batch_norm, batch_norm_input_grad = _batch_norm.batch_norm, _batch_norm.batch_norm_input_grad
batch_norm_statistics = _batch_norm.batch_norm_statistics
batch_norm_sums = _batch_norm.batch_norm_sums


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
