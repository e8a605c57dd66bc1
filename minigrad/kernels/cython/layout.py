"""What the compiled core copies, so that its kernels can read it (``kernels/layout``)."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from minigrad.arrays import Array
from minigrad.kernels import layout
from minigrad.kernels.cython.core import core
from minigrad.kernels.layout import dense, nchw, regular
from minigrad.resources import check_memory
from minigrad.threads import num_threads

__all__ = [
    "channels_last",
    "copy_map",
    "dense",
    "empty_channels_last",
    "has_no_gaps",
    "in_order_of",
    "is_channels_last",
    "nchw",
    "pixels",
    "regular",
]


def pixels(x: Array) -> Array:
    """(N, C, H, W) in any memory order as (N, H, W, C) in C order, copied only if it must be."""
    y: Array = x.transpose(0, 2, 3, 1)
    if y.flags.c_contiguous and x.flags.aligned:
        return y
    y = np.empty(y.shape, x.dtype)
    core.copy_map(x if regular(x) else dense(x), nchw(y), num_threads())
    return y


def in_order_of(x: Array, y: Array) -> Array:
    """y, of x's shape, as it would lie in the memory order of x, which has no gaps."""
    if y.strides != x.strides and x.ndim == 4 and x.transpose(0, 2, 3, 1).flags.c_contiguous:
        return nchw(pixels(y))
    return layout.in_order_of(x, y)


def empty_channels_last(shape: tuple[int, ...], dtype: Any) -> Array:
    """An uninitialised array of NCHW shape, its channels adjacent, on a cache line."""
    check_memory(math.prod(shape) * np.dtype(dtype).itemsize, "a map of shape", shape)
    n, c, h, w = shape
    return nchw(layout.empty((n, h, w, c), dtype))


def copy_map(x: Array, y: Array, threads: int = 1) -> None:
    """Copy x to y; a map of the same dtype to one that is channels-last by the core."""
    if x.ndim == 4 and x.dtype == y.dtype and has_no_gaps(y) and y.size:
        core.copy_map(x if regular(x) else dense(x), y, threads)
    else:
        np.copyto(y, x)


def has_no_gaps(x: Array) -> bool:
    """Whether a map is channels-last in memory, one number behind the other."""
    return bool(x.transpose(0, 2, 3, 1).flags.c_contiguous)


def is_channels_last(x: Array) -> bool:
    """Whether a kernel can read x as it lies: whole-number steps, channels adjacent."""
    return regular(x) and (x.strides[1] == x.itemsize or x.shape[1] == 1)


def channels_last(x: Array, threads: int = 1) -> Array:
    """x itself if its channels are adjacent in memory, otherwise a copy of which they are."""
    if is_channels_last(x):
        return x
    y = empty_channels_last(x.shape, x.dtype)
    core.copy_map(x if regular(x) else dense(x), y, threads)
    return y
