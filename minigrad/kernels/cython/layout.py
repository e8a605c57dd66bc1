"""How arrays lie in memory, for the compiled core: what a kernel can read as it is.

A kernel reads numbers at whole steps from an aligned address.  Maps it reads channels-last:
(N, H, W, C) in memory, of which a user sees the (N, C, H, W) view.
"""

from __future__ import annotations

import math
from ctypes import addressof, c_char
from typing import Any

import numpy as np

from minigrad.arrays import Array
from minigrad.kernels.cython.core import core
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

LINE = 64  # bytes of a cache line: a register that lies across two is loaded twice


def regular(x: Array) -> bool:
    """Whether every number of x lies at a whole number of items from the first."""
    return x.flags.aligned and math.gcd(*x.strides, x.itemsize) == x.itemsize


def dense(x: Array) -> Array:
    """x itself if it lies in C order, otherwise a copy that does."""
    return x if x.flags.c_contiguous and x.flags.aligned else np.array(x, order="C")


def pixels(x: Array) -> Array:
    """(N, C, H, W) in any memory order as (N, H, W, C) in C order, copied only if it must be."""
    y: Array = x.transpose(0, 2, 3, 1)
    if y.flags.c_contiguous and x.flags.aligned:
        return y
    y = np.empty(y.shape, x.dtype)
    core.copy_map(x if regular(x) else dense(x), nchw(y), num_threads())
    return y


def nchw(y: Array) -> Array:
    """The (N, C, H, W) view of (N, H, W, C)."""
    view: Array = y.transpose(0, 3, 1, 2)
    return view


def in_order_of(x: Array, y: Array) -> Array:
    """y, of x's shape, as it would lie in the memory order of x, which has no gaps."""
    if y.strides == x.strides and y.flags.aligned:
        return y
    if x.ndim == 4 and x.transpose(0, 2, 3, 1).flags.c_contiguous:
        return nchw(pixels(y))
    copy = np.empty_like(x, subok=False)
    copy[...] = y
    return copy


def empty_channels_last(shape: tuple[int, ...], dtype: Any) -> Array:
    """An uninitialised array of NCHW shape, its channels adjacent, on a cache line."""
    n, c, h, w = shape
    count, size = math.prod(shape), np.dtype(dtype).itemsize
    check_memory(count * size, "a map of shape", shape)
    memory = np.empty(count + LINE // size, dtype)
    start = -addressof(c_char.from_buffer(memory)) % LINE // size
    return nchw(memory[start : start + count].reshape(n, h, w, c))


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
