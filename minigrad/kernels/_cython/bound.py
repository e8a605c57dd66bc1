"""The functions of a network's forward pass with every decision taken, for plans.

``bind_f(x, ..., y)`` gives a call that reads x and writes y, given arrays that it keeps alive,
each time it is made: ``call(threads)``.  Nothing is allocated or checked any more, so maps must
be channels-last already, other arrays in C order, and y of the right shape.  The bits are those
of the function f.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from minigrad.geometry import ConvSpec
from minigrad.kernels._cython import memory
from minigrad.kernels.contract import Array, PoolWindow

__all__ = [
    "bind_avg_pool2d",
    "bind_batch_norm",
    "bind_elementwise",
    "bind_global_avg_pool",
    "bind_linear",
    "bind_max_pool2d",
    "bind_softmax",
]

Call = Callable[[int], None]


def _as_pixels(x: Array) -> Array:
    """The (N, H, W, C) array behind a channels-last map."""
    y: Array = x.transpose(0, 2, 3, 1)
    if not y.flags.c_contiguous:
        raise ValueError(f"a bound map must be channels-last, this one has strides {x.strides}")
    return y


def bind_elementwise(name: str, x: Array, y: Array) -> Call:
    """y = f(x) for an elementwise function; y lies in memory as x does, and may be x."""
    core = memory.core
    return lambda threads: core.elementwise(name, x, y, x.size, threads)


def bind_softmax(x: Array, y: Array, logarithm: bool = False) -> Call:
    """The softmax of each row of x, or its logarithm."""
    core, rows = memory.core, (math.prod(x.shape[:-1]), x.shape[-1])
    source, target = x.reshape(rows), y.reshape(rows)
    return lambda threads: core.softmax(source, target, logarithm, threads)


def bind_linear(x: Array, w: Array, bias: Array | None, y: Array) -> Call:
    """y = x w^T + bias, w packed now: a pointwise convolution whose pixels are the rows of x."""
    packed = memory.core.DenseWeights(memory.dense(w)[:, :, None, None], ConvSpec())
    vector = None if bias is None else memory.dense(bias)
    run: Call = packed.bind(x.T[None, :, None, :], y.T[None, :, None, :], vector).run
    return run


def bind_batch_norm(
    x: Array, mean: Array, var: Array, gamma: Array, beta: Array, eps: float, y: Array
) -> Call:
    """y = (x - mean) gamma / sqrt(var + eps) + beta on a channels-last map."""
    core, source, target = memory.core, _as_pixels(x), _as_pixels(y)
    scale = gamma / np.sqrt(var + x.dtype.type(eps))
    vectors = [memory.dense(v) for v in (mean, scale, beta)]
    rows = math.prod(source.shape[:3])
    return lambda threads: core.normalize(source, *vectors, target, rows, 1, threads)


def bind_global_avg_pool(x: Array, y: Array) -> Call:
    """y (N, C, 1, 1) = the mean of each map of x."""
    core, pixels, n, c = memory.core, _as_pixels(x), x.shape[0], x.shape[1]
    rows, total = pixels.reshape(n, -1, c), _as_pixels(y).reshape(n, c)
    return lambda threads: core.column_sums(rows, total, rows.shape[1], threads)


def bind_max_pool2d(x: Array, window: PoolWindow, y: Array) -> Call:
    """y = the maximum of each window."""
    call: Call = memory.core.Windows(_as_pixels(x), _as_pixels(y), None, window).max
    return call


def bind_avg_pool2d(x: Array, window: PoolWindow, y: Array, count_include_pad: bool = True) -> Call:
    """y = the mean of each window."""
    windows = memory.core.Windows(_as_pixels(x), _as_pixels(y), None, window, count_include_pad)
    call: Call = windows.avg
    return call
