"""Pools: the largest, or the sum, of each window.

Lanes are channels.  A window is a rectangle of taps, row by row; which taps a position has,
and where they read, ``windows`` has found before.  So the sum over the windows that cover a
position (the gradient of an average) is the same kernel, told to read the other way round.

    maximum   the first in that order; NaN is above everything, and the first NaN wins
    sum       from +0, its taps in that order
    gather    y = x at index, and its transpose:
    scatter   dx at index += g, windows in order

A mean's division is NumPy's: rounded correctly, it has one result.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numba import types

from minigrad.kernels._numba import launch
from minigrad.kernels._numba.functions import Functions
from minigrad.kernels._numba.launch import address, compiled, job, run, vector_bytes
from minigrad.kernels._numba.vectors import (
    I64,
    Value,
    Vectors,
    fold,
    int64,
    intrinsic,
    literal,
    word,
)
from minigrad.kernels._numba.windows import Axis, Run, adjoint_runs, forward_runs
from minigrad.kernels.contract import Array

_CHANNELS = 16  # of a task of a gather or scatter: a line of the cache
Axes = tuple[Axis, Axis]


def largest(x: Array, axes: Axes) -> tuple[Array, Array]:
    """x (N, H, W, C): the maximum of each window, and its place h W + v."""
    shape = (len(x), axes[0].out, axes[1].out, x.shape[3])
    y, index = np.empty(shape, x.dtype), np.empty(shape, np.int64)
    _windows(_LARGEST, y, index, x, [forward_runs(axis) for axis in axes])
    return y, index


def window_sums(x: Array, axes: Axes) -> Array:
    """x (N, H, W, C): the sum of each window."""
    y = np.empty((len(x), axes[0].out, axes[1].out, x.shape[3]), x.dtype)
    _windows(_SUM, y, None, x, [forward_runs(axis) for axis in axes])
    return y


def cover_sums(g: Array, axes: Axes) -> Array:
    """g (N, Ho, Wo, C): for each place of the map the sum over the windows that cover it."""
    dx = np.empty((len(g), axes[0].size, axes[1].size, g.shape[3]), g.dtype)
    _windows(_SUM, dx, None, g, [adjoint_runs(axis) for axis in axes])
    return dx


def gather(x: Array, index: Array) -> Array:
    """x (N, H, W, C), index (N, Ho, Wo, C): the numbers of each map at the places of the index."""
    y = np.empty(index.shape, x.dtype)
    _at_places(_GATHER, y, index, x)
    return y


def scatter(g: Array, index: Array, size: tuple[int, int]) -> Array:
    """g and index (N, Ho, Wo, C): zeros (N, H, W, C), and g added at the places of each map."""
    dx = np.zeros((len(g), *size, g.shape[3]), g.dtype)
    _at_places(_SCATTER, g, index, dx)
    return dx


def _at_places(which: int, windows: Array, index: Array, maps: Array) -> None:
    if windows.size:
        n, ho, wo, channels = windows.shape
        parts = -(-channels // _CHANNELS)
        table = job(
            address(maps), address(windows), address(index), parts, channels, ho * wo,
            maps.shape[1] * maps.shape[2],
        )  # fmt: skip
        run(_places_kernel(which, windows.itemsize), table, n * parts)


def _windows(
    which: int, y: Array, index: Array | None, x: Array, runs: Sequence[tuple[Run, ...]]
) -> None:
    if not y.size:
        return
    (rows, row_reads), (cols, col_reads) = (_reads(r) for r in runs)
    n, height, width, channels = y.shape
    table = job(
        address(y), 0 if index is None else address(index), address(x),
        address(rows), address(row_reads), address(cols), address(col_reads),
        height, width, channels, x.shape[1] * x.shape[2], x.shape[2],
    )  # fmt: skip
    run(_kernel(which, x.itemsize, vector_bytes() // x.itemsize), table, n * height)


@functools.lru_cache(maxsize=512)
def _reads(runs: tuple[Run, ...]) -> tuple[Array, Array]:
    """Where each position reads, taps ascending: all in one list, and where its part begins."""
    reads = {
        run.first + i * run.step: [read + i * run.advance for _, read in run.taps]
        for run in runs
        for i in range(run.length)
    }
    lists = [reads[position] for position in sorted(reads)]
    begin = np.cumsum([0, *map(len, lists)], dtype=np.int64)
    return begin, np.array([*itertools.chain(*lists), 0], np.int64)  # never empty


@functools.cache
def _kernel(which: int, itemsize: int, lanes: int) -> Any:
    stamp = launch.STAMP

    def windows(table: int, first: int, last: int) -> None:
        stamp  # noqa: B018  part of the key of the cache
        rows, row_reads = word(table, 3), word(table, 4)
        cols, col_reads = word(table, 5), word(table, 6)
        height, width, channels = word(table, 7), word(table, 8), word(table, 9)
        for task in range(first, last):
            image, p = divmod(task, height)
            x = word(table, 2) + image * word(table, 10) * channels * itemsize
            row, nrows = word(rows, p), word(rows, p + 1) - word(rows, p)
            for q in range(width):
                col, ncols = word(cols, q), word(cols, q + 1) - word(cols, q)
                to = (task * width + q) * channels
                for k in range(0, channels, lanes):
                    y, index = word(table, 0) + (to + k) * itemsize, word(table, 1) + (to + k) * 8
                    if channels - k >= lanes:
                        window(
                            y, index, x + k * itemsize, row_reads + 8 * row, nrows,
                            col_reads + 8 * col, ncols, word(table, 11), channels, channels - k,
                            which, itemsize, lanes, 0,
                        )  # fmt: skip
                    else:
                        window(
                            y, index, x + k * itemsize, row_reads + 8 * row, nrows,
                            col_reads + 8 * col, ncols, word(table, 11), channels, channels - k,
                            which, itemsize, lanes, 1,
                        )  # fmt: skip

    return compiled(windows)


Begin = Callable[[Functions, Value], list[Value]]
Step = Callable[[Functions, Value, Value, list[Value]], list[Value]]


def _sum_begin(v: Functions, place: Value) -> list[Value]:
    return [v.zero]


def _sum_step(v: Functions, seen: Value, place: Value, acc: list[Value]) -> list[Value]:
    return [v.add(acc[0], seen)]


def _largest_begin(v: Functions, place: Value) -> list[Value]:
    """-inf at the place of the first tap, for a window of nothing else."""
    return [v.number(float("-inf")), v.everywhere(place)]


def _largest_step(v: Functions, seen: Value, place: Value, acc: list[Value]) -> list[Value]:
    """Greater, or the first NaN."""
    best, at = acc
    better = v.builder.and_(
        v.builder.fcmp_unordered(">", seen, best), v.builder.fcmp_ordered("ord", best, best)
    )
    return [v.where(better, seen, best), v.where(better, v.everywhere(place), at)]


KINDS: tuple[tuple[Begin, Step], ...] = (_sum_begin, _sum_step), (_largest_begin, _largest_step)
_SUM, _LARGEST = range(2)


@intrinsic
def window(
    typing: Any, y: Any, index: Any, x: Any, rows: Any, nrows: Any, cols: Any, ncols: Any,
    width: Any, channels: Any, tail: Any, which: Any, itemsize: Any, lanes: Any, masked: Any,
) -> Any:  # fmt: skip
    """One window of one vector of channels: rows of taps, and in each its columns."""
    begin, step = KINDS[literal(which)]

    def codegen(context: Any, builder: Any, signature: Any, args: Sequence[Value]) -> Value:
        y, index, x, rows, nrows, cols, ncols, width, channels, tail = args[:10]
        end = tail if literal(masked) else None
        v = Functions(builder, literal(itemsize), literal(lanes), end)
        pixel = builder.mul(channels, int64(v.itemsize))

        def place(a: Value, b: Value) -> Value:
            h = builder.load(builder.inttoptr(v.at(rows, a, 8), I64.as_pointer()))
            w = builder.load(builder.inttoptr(v.at(cols, b, 8), I64.as_pointer()))
            return builder.add(builder.mul(h, width), w)

        def row(a: Value, acc: list[Value]) -> list[Value]:
            def tap(b: Value, acc: list[Value]) -> list[Value]:
                k = place(a, b)
                seen = v.load_tail(builder.add(x, builder.mul(k, pixel)))
                return step(v, seen, k, acc)

            return fold(builder, ncols, acc, tap)

        some = builder.icmp_signed("<", int64(0), builder.mul(nrows, ncols))
        first = builder.select(some, place(int64(0), int64(0)), int64(-1))
        acc = fold(builder, nrows, begin(v, first), row)
        v.store_tail(acc[0], y)
        if len(acc) > 1:
            places = Vectors(builder, 8, v.lanes, end)
            places.store_tail(builder.bitcast(acc[1], places.type), index)
        return context.get_dummy_value()

    return types.void(*[types.int64] * 10, which, itemsize, lanes, masked), codegen


_GATHER, _SCATTER = range(2)


@functools.cache
def _places_kernel(which: int, itemsize: int) -> Any:
    stamp = launch.STAMP

    def at_places(table: int, first: int, last: int) -> None:
        stamp  # noqa: B018  part of the key of the cache
        parts, channels, windows = word(table, 3), word(table, 4), word(table, 5)
        for task in range(first, last):
            image, part = divmod(task, parts)
            maps = word(table, 0) + image * word(table, 6) * channels * itemsize
            for q in range(image * windows, (image + 1) * windows):
                for c in range(part * _CHANNELS, min((part + 1) * _CHANNELS, channels)):
                    at = q * channels + c
                    place = word(word(table, 2), at) * channels + c
                    one(maps + place * itemsize, word(table, 1) + at * itemsize, which, itemsize)

    return compiled(at_places)


@intrinsic
def one(typing: Any, place: Any, number: Any, which: Any, itemsize: Any) -> Any:
    """number = place (a gather), or place += number (a scatter)."""

    def codegen(context: Any, builder: Any, signature: Any, args: Sequence[Value]) -> Value:
        v = Functions(builder, literal(itemsize), 1)
        there = v.load(args[0])
        if literal(which) == _GATHER:
            v.store(there, args[1])
        else:
            v.store(v.add(there, v.load(args[1])), args[0])
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, which, itemsize), codegen
