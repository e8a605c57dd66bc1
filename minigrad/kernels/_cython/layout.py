"""Channels-last arrays: what the kernels of the compiled core read and write."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from minigrad.kernels._ext import core
from minigrad.kernels.contract import Array

__all__ = ["channels_last", "empty_channels_last", "is_channels_last"]

LINE = 64  # bytes of a cache line: a register that lies across two is loaded twice


def empty_channels_last(shape: tuple[int, ...], dtype: Any) -> Array:
    """An uninitialised array of NCHW shape, its channels adjacent, on a cache line."""
    n, c, h, w = shape
    size = np.dtype(dtype).itemsize
    memory = np.empty(math.prod(shape) + LINE // size, dtype)
    start = -memory.__array_interface__["data"][0] % LINE // size
    pixels = memory[start : start + math.prod(shape)].reshape(n, h, w, c)
    y: Array = pixels.transpose(0, 3, 1, 2)
    return y


def is_channels_last(x: Array) -> bool:
    """Whether a kernel can read x as it lies: whole-number steps, channels adjacent."""
    size = x.itemsize
    return (
        x.flags.aligned
        and (x.strides[1] == size or x.shape[1] == 1)
        and not any(step % size for step in x.strides)
    )


def channels_last(x: Array, threads: int = 1) -> Array:
    """x itself if its channels are adjacent in memory, otherwise a copy of which they are."""
    if is_channels_last(x):
        return x
    if not x.flags.aligned or any(step % x.itemsize for step in x.strides):
        x = np.array(x, order="C")
    y = empty_channels_last(x.shape, x.dtype)
    core.to_channels_last(x, y, threads)  # type: ignore[union-attr]
    return y
