"""Pools, window by window."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from minigrad.kernels.contract import Array, PoolWindow, check_places
from minigrad.kernels.reference.layout import windows

__all__ = [
    "avg_pool2d", "avg_pool2d_input_grad", "global_avg_pool", "max_pool2d", "max_pool2d_gather",
    "max_pool2d_input_grad",
]  # fmt: skip


def max_pool2d(x: Array, window: PoolWindow) -> tuple[Array, Array]:
    """The maximum of each window and where it was: h W + v of the first, NaN above all."""
    shape = window.output_shape(x.shape)
    y, index = np.empty(shape, x.dtype), np.empty(shape, np.intp)
    for (p, q), covered in windows(x.shape, window):
        for n, c in np.ndindex(*shape[:2]):
            values = [float(x[n, c, h, v]) for h, v in covered]
            nans = [k for k, value in enumerate(values) if math.isnan(value)]
            best = nans[0] if nans else values.index(max(values))
            h, v = covered[best]
            y[n, c, p, q], index[n, c, p, q] = values[best], h * x.shape[3] + v
    return y, index


def max_pool2d_gather(x: Array, index: Array) -> Array:
    """y[n,c,p,q] = x[n,c] at index[n,c,p,q]."""
    check_places("max_pool2d_gather", index, x.shape)
    y = np.empty(index.shape, x.dtype)
    for at in np.ndindex(*index.shape):
        h, v = divmod(int(index[at]), x.shape[3])
        n, c = at[:2]
        y[at] = x[n, c, h, v]
    return y


def max_pool2d_input_grad(g: Array, index: Array, x_shape: Sequence[int]) -> Array:
    """dx[n,c] at index[n,c,p,q] += g[n,c,p,q]."""
    check_places("max_pool2d_input_grad", index, x_shape)
    dx = np.zeros(tuple(x_shape))
    for at in np.ndindex(*index.shape):
        h, v = divmod(int(index[at]), x_shape[3])
        n, c = at[:2]
        dx[n, c, h, v] += g[at]
    return dx.astype(g.dtype)


def avg_pool2d(x: Array, window: PoolWindow, count_include_pad: bool = True) -> Array:
    """The sum of each window over the number of positions in it.

    With ``count_include_pad`` positions on the pad count, those beyond it do not.
    """
    y = np.empty(window.output_shape(x.shape))
    for (p, q), covered in windows(x.shape, window):
        count = _padded_count(x.shape, window, p, q) if count_include_pad else len(covered)
        for n, c in np.ndindex(*y.shape[:2]):
            y[n, c, p, q] = sum(float(x[n, c, h, v]) for h, v in covered) / count
    return y.astype(x.dtype)


def avg_pool2d_input_grad(
    g: Array, x_shape: Sequence[int], window: PoolWindow, count_include_pad: bool = True
) -> Array:
    """dx[n,c,h,v] = the sum of g[n,c,p,q] / count over the windows that cover h, v."""
    dx = np.zeros(tuple(x_shape))
    for (p, q), covered in windows(x_shape, window):
        count = _padded_count(x_shape, window, p, q) if count_include_pad else len(covered)
        for h, v in covered:
            for n, c in np.ndindex(*dx.shape[:2]):
                dx[n, c, h, v] += float(g[n, c, p, q]) / count
    return dx.astype(g.dtype)


def _padded_count(x_shape: Sequence[int], window: PoolWindow, p: int, q: int) -> int:
    count = 1
    for axis, at in enumerate((p, q)):
        start = at * window.stride[axis] - window.padding[axis][0]
        end = x_shape[2 + axis] + window.padding[axis][1]
        count *= min(start + window.kernel[axis], end) - start
    return count


def global_avg_pool(x: Array) -> Array:
    """y[n,c] = sum_{h,v} x[n,c,h,v] / (H W), of shape (N, C, 1, 1)."""
    y = np.empty((*x.shape[:2], 1, 1))
    for n, c in np.ndindex(*x.shape[:2]):
        values = x[n, c].ravel().tolist()
        y[n, c] = sum(values) / len(values) if values else math.nan
    return y.astype(x.dtype)
