"""How arrays lie in memory, for the compiled backends: what a kernel can read as it is.

A kernel reads numbers at whole steps from an aligned address.  Maps it reads channels-last:
(N, H, W, C) in memory, of which a user sees the (N, C, H, W) view.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from ctypes import addressof, c_char
from typing import Any

import numpy as np

from minigrad.arrays import Array
from minigrad.resources import check_memory

__all__ = ["dense", "empty", "in_order_of", "nchw", "regular"]

LINE = 64  # bytes of a cache line: a register that lies across two is loaded twice


def regular(x: Array) -> bool:
    """Whether every number of x lies at a whole number of items from the first."""
    return x.flags.aligned and math.gcd(*x.strides, x.itemsize) == x.itemsize


def dense(x: Array) -> Array:
    """x itself if it lies in C order, otherwise a copy that does."""
    return x if x.flags.c_contiguous and x.flags.aligned else np.array(x, order="C")


def empty(shape: Sequence[int], dtype: Any) -> Array:
    """An uninitialised array in C order that begins on a cache line."""
    count, size = math.prod(shape), np.dtype(dtype).itemsize
    check_memory(count * size, "a map of shape", tuple(shape))
    memory = np.empty(count + LINE // size, dtype)
    start = -addressof(c_char.from_buffer(memory)) % LINE // size
    return memory[start : start + count].reshape(shape)


def nchw(y: Array) -> Array:
    """The (N, C, H, W) view of (N, H, W, C)."""
    view: Array = y.transpose(0, 3, 1, 2)
    return view


def in_order_of(x: Array, y: Array) -> Array:
    """y, of x's shape, as it would lie in the memory order of x, which has no gaps."""
    if y.strides == x.strides and y.flags.aligned:
        return y
    copy = np.empty_like(x, subok=False)
    copy[...] = y
    return copy
