"""Pooling in the compiled core; the maps that come out are channels-last.

The taps of a window are taken row by row.  The maximum is the first in that order, NaN above
all; the sum of a window starts from +0.  Each has NumPy's bits.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from minigrad.arrays import Array
from minigrad.geometry import PoolWindow
from minigrad.kernels.cython.core import core
from minigrad.kernels.cython.layout import nchw, pixels
from minigrad.threads import num_threads

__all__ = [
    "avg_pool2d",
    "avg_pool2d_input_grad",
    "bind_avg_pool2d",
    "bind_avg_pool2d_input_grad",
    "bind_column_sums",
    "bind_global_avg_pool",
    "bind_max_pool2d",
    "bind_max_pool2d_places",
    "bind_scatter",
    "global_avg_pool",
    "max_pool2d",
    "max_pool2d_gather",
    "max_pool2d_input_grad",
    "max_pool2d_values",
]


def max_pool2d(x: Array, window: PoolWindow) -> tuple[Array, Array]:
    """The maximum of each window, and h W + v of the first; NaN is above all."""
    index = np.empty(_last(window.output_shape(x.shape)), np.int64)
    return max_pool2d_values(x, window, index), nchw(index)


def max_pool2d_values(x: Array, window: PoolWindow, index: Array | None = None) -> Array:
    """The maxima of ``max_pool2d`` alone; ``index``, (N, Ho, Wo, C), takes where they lie."""
    y = np.empty(_last(window.output_shape(x.shape)), x.dtype)
    if y.size:
        core.Windows(pixels(x), y, index, window).max(num_threads())
    return nchw(y)


def _last(shape: tuple[int, int, int, int]) -> tuple[int, int, int, int]:
    n, c, h, w = shape
    return n, h, w, c


def max_pool2d_gather(x: Array, index: Array) -> Array:
    """y[n,c,p,q] = x[n,c] at index[n,c,p,q]."""
    places = _places(index)
    y = np.empty(places.shape, x.dtype)
    if y.size and not core.Windows(pixels(x), y, places).gather(num_threads()):
        from minigrad.kernels.contract import misplaced

        raise misplaced("max_pool2d_gather", x.shape)
    return nchw(y)


def max_pool2d_input_grad(g: Array, index: Array, x_shape: Sequence[int]) -> Array:
    """dx[n,c] at index[n,c,p,q] += g[n,c,p,q], in order of p, q."""
    places = _places(index)
    n, c, h, w = x_shape
    dx = np.empty((n, h, w, c), g.dtype)
    if not core.Windows(dx, pixels(g), places).scatter(num_threads()):
        from minigrad.kernels.contract import misplaced

        raise misplaced("max_pool2d_input_grad", x_shape)
    return nchw(dx)


def _places(index: Array) -> Array:
    """``index`` as (N, Ho, Wo, C) in C order."""
    return np.ascontiguousarray(index.transpose(0, 2, 3, 1), dtype=np.int64)


def avg_pool2d(x: Array, window: PoolWindow, count_include_pad: bool = True) -> Array:
    """The sum of each window, row by row, over the number of positions it counts."""
    y = np.empty(_last(window.output_shape(x.shape)), x.dtype)
    if y.size:
        windows = core.Windows(pixels(x), y, None, window, count_include_pad)
        windows.avg(num_threads())
    return nchw(y)


def avg_pool2d_input_grad(
    g: Array, x_shape: Sequence[int], window: PoolWindow, count_include_pad: bool = True
) -> Array:
    """dx[h,v] = the sum of g / count over the windows that cover h, v, by taps ascending."""
    n, c, h, w = x_shape
    dx = np.empty((n, h, w, c), g.dtype)
    if dx.size:
        g = pixels(g)
        windows = core.Windows(dx, g, None, window, count_include_pad)
        windows.avg_gradient(np.empty_like(g), num_threads())
    return nchw(dx)


def global_avg_pool(x: Array) -> Array:
    """The mean of each map: the sum over axes (2, 3), divided by H W."""
    n, c, h, w = x.shape
    y = np.empty((n, c), x.dtype)
    if y.size:
        core.column_sums(pixels(x).reshape(n, h * w, c), y, h * w, num_threads())
    return y.reshape(n, c, 1, 1)


def bind_max_pool2d(x: Array, window: PoolWindow, y: Array) -> Any:
    """The call that writes the maximum of each window; x and y are channels-last in memory."""
    return core.MaxPoolCall(_as_pixels(x), _as_pixels(y), window)


def bind_avg_pool2d(x: Array, window: PoolWindow, y: Array, count_include_pad: bool) -> Any:
    """The call that writes the mean of each window; x and y are channels-last in memory."""
    return core.AvgPoolCall(_as_pixels(x), _as_pixels(y), window, count_include_pad)


def bind_global_avg_pool(x: Array, y: Array) -> Any:
    """The call that writes the mean of each map to y (N, C, 1, 1); x is channels-last."""
    n, c, h, w = x.shape
    columns = _as_pixels(x).reshape(n, h * w, c)
    return core.ColumnSumsCall(columns, _as_pixels(y).reshape(n, c), divides=True)


def bind_column_sums(x: Array, y: Array) -> Any:
    """The call that writes sum_m x[b, m, k] to y (B, K), whatever its axes; both in C order."""
    b, _, k = x.shape
    steps = (k * y.itemsize, y.itemsize)
    return core.ColumnSumsCall(x, np.lib.stride_tricks.as_strided(y, (b, k), steps))


def bind_max_pool2d_places(x: Array, window: PoolWindow, index: Array) -> Any:
    """The call that writes where the maximum of each window lies, int64; all channels-last."""
    values = np.empty(_as_pixels(index).shape, x.dtype)
    return core.MaxPoolPlacesCall(_as_pixels(x), values, _as_pixels(index), window)


def bind_avg_pool2d_input_grad(
    g: Array, window: PoolWindow, dx: Array, count_include_pad: bool
) -> Any:
    """The call that writes the gradient of the means to dx; g and dx are channels-last."""
    g = _as_pixels(g)
    return core.AvgPoolGradientCall(_as_pixels(dx), g, np.empty_like(g), window, count_include_pad)


def bind_scatter(g: Array, index: Array, dx: Array) -> Any:
    """The call that writes to dx the sums of g at the places ``index``; all channels-last."""
    return core.ScatterCall(_as_pixels(dx), _as_pixels(g), _as_pixels(index))


def _as_pixels(x: Array) -> Array:
    """The (N, H, W, C) array behind a channels-last map."""
    y: Array = x.transpose(0, 2, 3, 1)
    if not y.flags.c_contiguous:
        raise ValueError(f"a bound map must be channels-last, this one has strides {x.strides}")
    return y
