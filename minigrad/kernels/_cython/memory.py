"""How arrays lie in memory, for the compiled core: what a kernel can read as it is.

A kernel reads numbers at whole steps from an aligned address.  Maps it reads channels-last:
(N, H, W, C) in C order, of which a user sees the (N, C, H, W) view.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minigrad.kernels import _ext
from minigrad.kernels.contract import Array
from minigrad.threads import num_threads

__all__ = ["core", "dense", "in_order_of", "nchw", "pixels", "regular"]

core: Any = _ext.core


def regular(x: Array) -> bool:
    """Whether every number of x lies at a whole number of items from the first."""
    return x.flags.aligned and not any(step % x.itemsize for step in x.strides)


def dense(x: Array) -> Array:
    """x itself if it lies in C order, otherwise a copy that does."""
    return x if x.flags.c_contiguous and x.flags.aligned else np.array(x, order="C")


def pixels(x: Array) -> Array:
    """(N, C, H, W) in any memory order as (N, H, W, C) in C order, copied only if it must be."""
    y: Array = x.transpose(0, 2, 3, 1)
    if y.flags.c_contiguous and x.flags.aligned:
        return y
    y = np.empty(y.shape, x.dtype)
    core.to_channels_last(x if regular(x) else dense(x), nchw(y), num_threads())
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
