"""Pools: the largest, or the mean, of each window.

Lanes are channels.  A window is a rectangle of taps, row by row; which taps a position has,
and where they read, is found before (``_segments``).  So the sum over the windows that cover a
position (the gradient of a mean) is the same kernel, told to read the other way round.

    maximum   the first in that order; NaN is above everything, and the first NaN wins
    mean      kept in float64: chains of CHAIN taps from +0, added in two words, and divided
    gather    y = x at index, and its transpose:
    scatter   dx at index += g, windows in order
"""

from __future__ import annotations

import functools
import itertools
import math
from collections import namedtuple
from collections.abc import Sequence

import numpy as np

from minigrad.geometry import Axis, axes
from minigrad.kernels.contract import CHAIN, Array, PoolWindow, check_places
from minigrad.kernels.formulas import both_words, error
from minigrad.kernels.layout import nchw
from minigrad.kernels.numba._launch import kernel, kernel_of, run
from minigrad.kernels.numba._segments import taps_of
from minigrad.kernels.numba._template import branch, entry, template

from minigrad.kernels.numba._vectors import (  # isort: skip
    BYTES, LANES, SIZE, load, load_masked, narrow, places, splat, store, where, wide, widen, word,
)  # fmt: skip
from minigrad.kernels.numba.layout import channels_last
from minigrad.kernels.numba.reductions import column_sums
from minigrad.kernels.numpy.pooling import divisor

_CHANNELS = 16  # of a task of a gather or scatter: a line of the cache
_ONE = np.ones(1, np.int64)


def max_pool2d(x: Array, window: PoolWindow) -> tuple[Array, Array]:
    """The maximum of each window, and h W + v of the first; NaN is above all."""
    out = window.output_shape(x.shape)
    y, index = _empty(out, x.dtype), _empty(out, np.dtype(np.int64))
    _windows("max", channels_last(x), y, x.shape, window, index)
    return nchw(y), nchw(index)


def avg_pool2d(x: Array, window: PoolWindow, count_include_pad: bool = True) -> Array:
    """The sum of each window, row by row, over the number of positions it counts."""
    y = _empty(window.output_shape(x.shape), x.dtype)
    counts = divisor(x.shape, window, count_include_pad).astype(np.int64)
    _windows("mean", channels_last(x), y, x.shape, window, counts)
    return nchw(y)


def avg_pool2d_input_grad(
    g: Array, x_shape: Sequence[int], window: PoolWindow, count_include_pad: bool = True
) -> Array:
    """dx[h,v] = the sum of g / count over the windows that cover h, v, by taps ascending."""
    counts = divisor(x_shape, window, count_include_pad).astype(g.dtype)
    dx = _empty(x_shape, g.dtype)
    share = channels_last(g) / counts[..., None]
    _windows("mean", share, dx, x_shape, window, _ONE, adjoint=True)
    return nchw(dx)


def global_avg_pool(x: Array) -> Array:
    """The mean of each map: (N, C, H, W) to (N, C, 1, 1)."""
    n, c, h, w = x.shape
    (y,) = column_sums("plain", channels_last(x).reshape(n, h * w, c))
    mean: Array = (y / np.float64(h * w)).astype(x.dtype)
    return mean.reshape(n, c, 1, 1)


def max_pool2d_gather(x: Array, index: Array) -> Array:
    """y[n,c,p,q] = x[n,c] at index[n,c,p,q]."""
    at = _places("max_pool2d_gather", index, x.shape)
    y = np.empty(at.shape, x.dtype)
    _at_places(False, channels_last(x), y, at)
    return nchw(y)


def max_pool2d_input_grad(g: Array, index: Array, x_shape: Sequence[int]) -> Array:
    """dx[n,c] at index[n,c,p,q] += g[n,c,p,q], in order of p, q."""
    at = _places("max_pool2d_input_grad", index, x_shape)
    n, c, h, w = x_shape
    dx = np.zeros((n, h, w, c), g.dtype)
    _at_places(True, dx, channels_last(g), at)
    return nchw(dx)


def _places(function: str, index: Array, x_shape: Sequence[int]) -> Array:
    """``index`` as (N, Ho, Wo, C) in C order, every place on the map."""
    check_places(function, index, x_shape)
    return np.require(index.transpose(0, 2, 3, 1), np.int64, ["C", "A"])


def _empty(shape: Sequence[int], dtype: np.dtype[np.generic]) -> Array:
    """(N, H, W, C) for an NCHW shape."""
    n, c, h, w = shape
    return np.empty((n, h, w, c), dtype)


def _windows(
    kind: str, x: Array, y: Array, x_shape: Sequence[int], window: PoolWindow, beside: Array,
    adjoint: bool = False,
) -> None:  # fmt: skip
    """Every window of y; ``beside`` are the places of the maxima, or the counts of the means."""
    if y.size:
        both = axes(x_shape[2:], window.output_shape(x_shape)[2:], window.kernel, window)
        (rows, row_reads), (cols, col_reads) = (_reads(axis, adjoint) for axis in both)
        n, height, width, channels = y.shape
        each = int(kind == "mean" and beside.size > 1)
        words = Windows(
            y, x, beside, rows, row_reads, cols, col_reads, height, width, channels,
            math.prod(x.shape[1:3]), x.shape[2], each,
        )  # fmt: skip
        run(windows.of(x.dtype, kind), words, n * height)


@functools.lru_cache(maxsize=512)
def _reads(axis: Axis, adjoint: bool) -> tuple[Array, Array]:
    """The taps of each position, and where they read, taps ascending: all in one list."""
    positions = range(axis.size if adjoint else axis.out)
    lists = [[read for _, read in taps_of(axis, adjoint, position)] for position in positions]
    begin = np.cumsum([0, *map(len, lists)], dtype=np.int64)
    taps = np.stack([begin[:-1], begin[1:]], axis=1)
    return taps, np.array([*itertools.chain(*lists), 0], np.int64)  # never empty


def _at_places(adds: bool, maps: Array, pooled: Array, index: Array) -> None:
    if pooled.size:
        n, ho, wo, channels = pooled.shape
        parts = -(-channels // _CHANNELS)
        words = Places(maps, pooled, index, parts, channels, ho * wo, maps.shape[1] * maps.shape[2])
        run(at_places.of(maps.dtype, adds), words, n * parts)


# -- compiled


# The words of a job: y (N, height, width, channels) of maps of ``area`` pixels. ``rows`` says
# which of ``row_reads`` are the taps of each row; ``each`` is 1 where every window has its own
# count.
Windows = namedtuple(
    "Windows", "y x beside rows row_reads cols col_reads height width channels area x_width each"
)


# The taps of one row or column of y: where they read stands at [first, end) in a list.
Taps = namedtuple("Taps", "first end")


@kernel
def windows(job: Windows, first: int, last: int, *, KIND: str) -> None:
    """A task: one row of windows."""
    channels, pixel = job.channels, job.channels * SIZE
    for task in range(first, last):
        image, p = divmod(task, job.height)
        for q in range(job.width):
            to = (task * job.width + q) * channels
            x, y = job.x + image * job.area * pixel, job.y + to * SIZE
            index, count = job.beside + to * 8, job.beside + job.each * (p * job.width + q) * 8
            for k in range(0, channels, LANES):
                n = channels - k
                if KIND == "mean":
                    mean[branch(n < LANES, True, False)](job, y, count, x, p, q, n)
                else:
                    largest[branch(n < LANES, True, False)](job, y, index, x, p, q, n)
                x, y, index = x + BYTES, y + BYTES, index + 8 * LANES


@template
def largest(
    job: Windows, y: int, index: int, x: int, p: int, q: int, n: int, *, PARTIAL: bool
) -> None:
    """The maximum of one window: greater, or the first NaN; -inf where it has no tap."""
    lanes = n if PARTIAL else LANES
    best, at, pixel = splat(-math.inf), places(-1), job.channels * SIZE
    rows = entry(Taps, job.rows, p)
    cols = entry(Taps, job.cols, q)
    if rows.first < rows.end and cols.first < cols.end:
        row = word(job.row_reads + 8 * rows.first) * job.x_width
        at = places(row + word(job.col_reads + 8 * cols.first))
    for a in range(rows.first, rows.end):
        row = word(job.row_reads + 8 * a) * job.x_width
        for b in range(cols.first, cols.end):
            k = row + word(job.col_reads + 8 * b)
            seen = load_masked(x + k * pixel, lanes)
            better = ~(seen <= best) & (best == best)
            best, at = where(better, seen, best), where(better, places(k), at)
    store(y, best, lanes)
    store(index, at, lanes)


@template
def mean(
    job: Windows, y: int, count: int, x: int, p: int, q: int, n: int, *, PARTIAL: bool
) -> None:
    """The sum of one window, in blocks of CHAIN taps, over its count."""
    lanes = n if PARTIAL else LANES
    hi = lo = s = widen(splat(0))
    taps, pixel = 0, job.channels * SIZE
    rows = entry(Taps, job.rows, p)
    cols = entry(Taps, job.cols, q)
    for a in range(rows.first, rows.end):
        row = word(job.row_reads + 8 * a) * job.x_width
        for b in range(cols.first, cols.end):
            s += widen(load_masked(x + (row + word(job.col_reads + 8 * b)) * pixel, lanes))
            taps += 1
            if taps % CHAIN == 0:
                hi, lo = hi + s, lo + error(hi, s, hi + s)
                s = widen(splat(0))
    both = both_words(hi + s, lo + error(hi, s, hi + s))
    store(y, narrow(both / wide(word(count))), lanes)


# The words of a job at places of maps of ``area`` pixels; pooled maps have ``windows``.
Places = namedtuple("Places", "maps pooled index parts channels windows area")


@kernel_of(lanes=1)
def at_places(job: Places, first: int, last: int, *, ADDS: bool) -> None:
    """A task: some channels of an image.  pooled = maps at index, or maps at index += pooled."""
    for task in range(first, last):
        image, part = divmod(task, job.parts)
        maps = job.maps + image * job.area * job.channels * SIZE
        start = part * _CHANNELS
        end = min(start + _CHANNELS, job.channels)
        for q in range(image * job.windows, (image + 1) * job.windows):
            for c in range(start, end):
                k = q * job.channels + c
                place = maps + (word(job.index + 8 * k) * job.channels + c) * SIZE
                pooled = job.pooled + k * SIZE
                if ADDS:
                    store(place, load(place) + load(pooled))
                else:
                    store(pooled, load(place))
