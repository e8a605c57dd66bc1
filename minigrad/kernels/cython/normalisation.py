"""BatchNorm in the compiled core: evaluation, and the passes of training.

Every operation is rounded by itself, in the order of the formulas, so evaluation has NumPy's
bits.  Sums over the batch are float64 until they are rounded, once (``kernels/batch_norm``).
"""

from __future__ import annotations

import math

import numpy as np

from minigrad.arrays import Array
from minigrad.kernels.batch_norm import BatchNorm, scale_of
from minigrad.kernels.contract import ieee
from minigrad.kernels.cython.core import BoundCall, core
from minigrad.kernels.cython.layout import dense, pixels
from minigrad.threads import num_threads

__all__ = [
    "batch_norm",
    "batch_norm_input_grad",
    "batch_norm_statistics",
    "batch_norm_sums",
    "bind_batch_norm",
]


def _channels_to_end(x: Array) -> Array:
    """(N, C, ...) as (N, ..., C) in C order."""
    return pixels(x) if x.ndim == 4 else dense(np.moveaxis(x, 1, -1))


def _pixels(x: Array) -> Array:
    """(N, C, ...) as (1, pixels of the batch, C) in C order."""
    return _channels_to_end(x).reshape(1, x.shape[0] * math.prod(x.shape[2:]), x.shape[1])


def _total(x: Array) -> Array:
    sums = np.empty((1, x.shape[-1]))
    core.column_sums(x, sums, None, num_threads())
    total: Array = sums[0]
    return total


def _squares(x: Array, mean: Array) -> Array:
    sums = np.empty((1, x.shape[-1]))
    core.square_sums(x, mean[None], sums, num_threads())
    total: Array = sums[0]
    return total


def _products(g: Array, x: Array, mean: Array) -> tuple[Array, Array]:
    plain, centred = np.empty((2, 1, x.shape[-1]))
    core.product_sums(x, g, mean, plain, centred, num_threads())
    return plain[0], centred[0]


def _scaled(x: Array, *vectors: Array) -> Array:
    """In the memory order of x, if that is NCHW; otherwise channels-last."""
    nchw = x.flags.c_contiguous and x.flags.aligned
    lying = x if nchw else _channels_to_end(x)
    inner = math.prod(x.shape[2:]) if nchw else 1
    y = np.empty_like(lying)
    if x.size:
        pixels = x.size // x.shape[1] // inner
        core.normalize(lying, *map(dense, vectors), y, pixels, inner, num_threads())
    return y if nchw else np.moveaxis(y, -1, 1)


def _slope(g: Array, x: Array, *vectors: Array) -> Array:
    g, x = _channels_to_end(g), _channels_to_end(x)
    dx = np.empty_like(x)
    rows = math.prod(x.shape[:-1])
    core.normalize_gradient(g, x, *map(dense, vectors), dx, rows, num_threads())
    return np.moveaxis(dx, -1, 1)


_batch_norm = BatchNorm(_pixels, _total, _squares, _products, _scaled, _slope)
batch_norm = ieee(_batch_norm.batch_norm)
batch_norm_input_grad = ieee(_batch_norm.batch_norm_input_grad)
batch_norm_statistics = ieee(_batch_norm.batch_norm_statistics)
batch_norm_sums = ieee(_batch_norm.batch_norm_sums)


@ieee
def bind_batch_norm(
    x: Array, y: Array, eps: float, mean: Array, var: Array, gamma: Array, beta: Array
) -> BoundCall:
    """The call that writes ``batch_norm`` of a map to y; both channels-last and without gaps."""
    unread = np.zeros_like(mean)  # variance, as in the rows of a training step
    stats = np.stack([mean, unread, scale_of(gamma, var, eps)])
    call: BoundCall = core.BatchNormApplyCall(x, stats, dense(beta), None, y, None)
    return call
