"""Pools in NumPy, tap by tap; a mean is kept in float64 until its end."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from minigrad.kernels.contract import Array, PoolWindow, check_places
from minigrad.kernels.numpy.layout import taps
from minigrad.kernels.numpy.reductions import rounded, total

__all__ = [
    "avg_pool2d", "avg_pool2d_input_grad", "global_avg_pool", "max_pool2d", "max_pool2d_gather",
    "max_pool2d_input_grad",
]  # fmt: skip


def max_pool2d(x: Array, window: PoolWindow) -> tuple[Array, Array]:
    """The maximum of each window, and h W + v of the first; NaN is above all."""
    shape = window.output_shape(x.shape)
    y, index = np.full(shape, -np.inf, x.dtype), np.full(shape, -1, np.intp)
    flat = np.arange(x.shape[2] * x.shape[3], dtype=np.intp).reshape(x.shape[2:])
    for tap in taps(x.shape[2:], shape[2:], window.kernel, window):
        seen = x[:, :, tap.inputs[0], tap.inputs[1]]
        best, where = (a[:, :, tap.outputs[0], tap.outputs[1]] for a in (y, index))
        better = (seen > best) | (where < 0) | (np.isnan(seen) & ~np.isnan(best))
        np.copyto(best, seen, where=better)
        np.copyto(where, flat[tap.inputs], where=better)
    return y, index


def max_pool2d_gather(x: Array, index: Array) -> Array:
    """y[n,c,p,q] = x[n,c] at index[n,c,p,q]: a max pool whose choices are made."""
    check_places("max_pool2d_gather", index, x.shape)
    n, c = x.shape[:2]
    maps, at = (a.reshape(n, c, a.shape[2] * a.shape[3]) for a in (x, index))
    return np.take_along_axis(maps, at, axis=2).reshape(index.shape)


def max_pool2d_input_grad(g: Array, index: Array, x_shape: Sequence[int]) -> Array:
    """The transpose of the gather: dx[n,c] at index[n,c,p,q] += g[n,c,p,q], in order of p, q."""
    check_places("max_pool2d_input_grad", index, x_shape)
    planes, size = x_shape[0] * x_shape[1], x_shape[2] * x_shape[3]
    dx = np.zeros(planes * size, g.dtype)
    at = index.reshape(planes, index.shape[2] * index.shape[3]) + size * np.arange(planes)[:, None]
    np.add.at(dx, at.ravel(), g.ravel())
    return dx.reshape(tuple(x_shape))


def divisor(x_shape: Sequence[int], window: PoolWindow, count_include_pad: bool) -> Array:
    """How many positions each window counts: the outer product of rows and columns."""
    counts = []
    for i in (0, 1):
        out, before, after = window.output_shape(x_shape)[2 + i], *window.padding[i]
        start = np.arange(out) * window.stride[i] - before
        stop = np.minimum(start + window.kernel[i], x_shape[2 + i] + after)
        if not count_include_pad:
            start, stop = np.maximum(start, 0), np.minimum(stop, x_shape[2 + i])
        counts.append(stop - start)
    return np.multiply.outer(counts[0], counts[1])


def avg_pool2d(x: Array, window: PoolWindow, count_include_pad: bool = True) -> Array:
    """The sum of each window over the number of positions it counts."""
    y = np.zeros(window.output_shape(x.shape))
    for tap in taps(x.shape[2:], y.shape[2:], window.kernel, window):
        y[:, :, tap.outputs[0], tap.outputs[1]] += x[:, :, tap.inputs[0], tap.inputs[1]]
    return rounded(y / divisor(x.shape, window, count_include_pad), x.dtype)


def avg_pool2d_input_grad(
    g: Array, x_shape: Sequence[int], window: PoolWindow, count_include_pad: bool = True
) -> Array:
    """The transpose of avg_pool2d: every position gets g over the count of each window."""
    dx = np.zeros(tuple(x_shape))
    share = g / divisor(x_shape, window, count_include_pad).astype(g.dtype)
    for tap in taps(x_shape[2:], g.shape[2:], window.kernel, window):
        dx[:, :, tap.inputs[0], tap.inputs[1]] += share[:, :, tap.outputs[0], tap.outputs[1]]
    return rounded(dx, g.dtype)


def global_avg_pool(x: Array) -> Array:
    """The mean over each map: (N, C, H, W) to (N, C, 1, 1)."""
    mean = total(x, (2, 3)) / (x.shape[2] * x.shape[3])
    return rounded(mean, x.dtype)[:, :, None, None]
