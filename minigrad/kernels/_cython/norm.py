"""BatchNorm in the compiled core: evaluation, and the passes of training.

Every operation is rounded by itself, in the order of the formulas, so evaluation has NumPy's
bits.  A sum over the batch is one chain for each image and channel, pixels row by row from
+0; then the images are added in order.
"""

from __future__ import annotations

import math

import numpy as np

from minigrad.errors import ShapeError
from minigrad.kernels._cython import memory
from minigrad.kernels._cython.sums import sum
from minigrad.kernels.contract import Array, one_dtype
from minigrad.threads import num_threads

__all__ = ["batch_norm", "batch_norm_input_grad", "batch_norm_statistics", "batch_norm_sums"]


def batch_norm(x: Array, mean: Array, var: Array, gamma: Array, beta: Array, eps: float) -> Array:
    """y = (x - mean) scale + beta, scale = gamma / sqrt(var + eps): every operation rounded."""
    one_dtype("batch_norm", x=x, mean=mean, var=var, gamma=gamma, beta=beta)
    _check_vectors("batch_norm", x, mean=mean, var=var, gamma=gamma, beta=beta)
    scale = gamma / np.sqrt(var + x.dtype.type(eps))
    vectors = [memory.dense(v) for v in (mean, scale, beta)]
    nchw = x.flags.c_contiguous and x.flags.aligned
    lying = x if nchw else _channels_to_end(x)
    inner = math.prod(x.shape[2:]) if nchw else 1
    y = np.empty_like(lying)
    if x.size:
        memory.core.normalize(
            lying, *vectors, y, x.size // x.shape[1] // inner, inner, num_threads()
        )
    return y if nchw else np.moveaxis(y, -1, 1)


def _check_vectors(function: str, x: Array, **vectors: Array) -> None:
    if x.ndim < 2:
        raise ShapeError(f"{function}: x must be (N, C, ...), got shape {x.shape}")
    for name, v in vectors.items():
        if v.shape != (x.shape[1],):
            raise ShapeError(f"{function}: {name} must be ({x.shape[1]},), got {v.shape}")


def _channels_to_end(x: Array) -> Array:
    """(N, C, ...) as (N, ..., C) in C order."""
    return memory.pixels(x) if x.ndim == 4 else memory.dense(np.moveaxis(x, 1, -1))


def batch_norm_statistics(x: Array) -> tuple[Array, Array]:
    """The mean and the biased variance of each channel of a batch x (N, C, ...).

    mean = sum x / m, then var = sum (x - mean)^2 / m, with m = N H W; each sum is one chain
    an image, and then the images in order.
    """
    one_dtype("batch_norm_statistics", x=x)
    _check_vectors("batch_norm_statistics", x)
    pixels = _images(x)
    count = x.dtype.type(pixels.shape[0] * pixels.shape[1])
    y = np.empty((pixels.shape[0], pixels.shape[2]), x.dtype)
    memory.core.column_sums(pixels, y, num_threads())
    mean = np.asarray(sum(y, (0,), False) / count)
    memory.core.square_sums(pixels, mean, y, num_threads())
    return mean, np.asarray(sum(y, (0,), False) / count)


def _images(x: Array) -> Array:
    """(N, C, ...) as (N, pixels, C) in C order."""
    last = _channels_to_end(x)
    return last.reshape(x.shape[0], math.prod(x.shape[2:]), x.shape[1])


def batch_norm_sums(g: Array, x: Array, mean: Array, var: Array, eps: float) -> tuple[Array, Array]:
    """sum g and sum g x̂ a channel, x̂ = (x - mean) / sqrt(var + eps): β̄ and γ̄ of a batch."""
    one_dtype("batch_norm_sums", g=g, x=x, mean=mean, var=var)
    _check_vectors("batch_norm_sums", x, mean=mean, var=var)
    if g.shape != x.shape:
        raise ShapeError(f"batch_norm_sums: g must have x's shape {x.shape}, got {g.shape}")
    r = 1 / np.sqrt(var + x.dtype.type(eps))
    pixels = _images(x)
    y = np.empty((2, pixels.shape[0], pixels.shape[2]), x.dtype)
    memory.core.product_sums(pixels, _images(g), memory.dense(mean), r, y[0], y[1], num_threads())
    return sum(y[0], (0,), False), sum(y[1], (0,), False)


def batch_norm_input_grad(
    g: Array, x: Array, mean: Array, var: Array, gamma: Array, eps: float
) -> Array:
    """dx = gamma r ((g - mean(g)) - x̂ mean(g x̂)), r = 1 / sqrt(var + eps), x̂ = (x - mean) r.

    ``mean`` and ``var`` are the batch's own; see ``batch_norm_statistics``.
    """
    totals = batch_norm_sums(g, x, mean, var, eps)
    _check_vectors("batch_norm_input_grad", x, gamma=gamma)
    one_dtype("batch_norm_input_grad", x=x, gamma=gamma)
    count = x.dtype.type(x.size // max(x.shape[1], 1))
    r = 1 / np.sqrt(var + x.dtype.type(eps))
    a, b = (np.asarray(t / count) for t in totals)
    pixels = _channels_to_end(x)
    y = np.empty_like(pixels)
    vectors = (memory.dense(mean), r, gamma * r, a, b)
    rows = pixels.size // max(x.shape[1], 1)
    memory.core.normalize_gradient(_channels_to_end(g), pixels, *vectors, y, rows, num_threads())
    return np.moveaxis(y, -1, 1)
