"""Sums in an order that the shape alone decides, and what stands on them.

The order is the compiled core's (its rule: ``kernels/contract.py``), so the bits are too:

    column sums   y[b, k] = x[b, 0, k] + x[b, 1, k] + ...     one chain, lanes run across k
    row sums      y[b] = 16 chains, chain c taking x[b, c], x[b, c + 16], ...; then chains 8
                  apart are added, 4 apart, 2 apart, and the last two; a row longer than
                  4096 in blocks of 4096, and the row of their sums likewise

Subtraction, division and the like are NumPy's: rounded correctly, they have one result.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numba import types

from minigrad.kernels._numba import launch
from minigrad.kernels._numba.functions import Functions, elementwise
from minigrad.kernels._numba.launch import address, compiled, job, run, vector_bytes
from minigrad.kernels._numba.transpose import channels_last
from minigrad.kernels._numba.vectors import Value, fold, int64, intrinsic, literal, word
from minigrad.kernels.contract import Array

BLOCK, CHAINS = 4096, 16
_VECTORS = 4  # of a task of column sums


def total(x: Array, axes: tuple[int, ...], keepdims: bool) -> Array:
    """The sum over ``axes`` (ascending, not negative)."""
    if not axes:
        return np.array(x)
    if x.ndim == 4 and axes == (0, 2, 3):  # each image by itself, then the images
        return total(total(x, (2, 3), keepdims), (0,), keepdims)
    kept = tuple(k for k in range(x.ndim) if k not in axes)
    by_channel = x.ndim == 4 and 1 in kept
    if by_channel or x.ndim - 1 in kept:
        y = _columns(x, axes, kept, 1 if by_channel else x.ndim - 1)
    else:
        shape = [x.shape[k] for k in kept]
        rows = np.ascontiguousarray(x.transpose(*kept, *axes))
        y = row_sums(rows.reshape(math.prod(shape), -1 if x.size else 0)).reshape(shape)
    result: Array = np.expand_dims(y, axes) if keepdims else y
    return result


def _columns(x: Array, axes: tuple[int, ...], kept: tuple[int, ...], inner: int) -> Array:
    outer = tuple(k for k in kept if k != inner)
    if inner == 1 and x.ndim == 4:
        x = channels_last(x).transpose(0, 3, 1, 2)
    shape = [x.shape[k] for k in (*outer, inner)]
    length = math.prod(x.shape[k] for k in axes)
    columns = np.ascontiguousarray(x.transpose(*outer, *axes, inner))
    y = column_sums(columns.reshape(math.prod(shape[:-1]), length, shape[-1])).reshape(shape)
    back: Array = y.transpose([(*outer, inner).index(k) for k in kept])
    return back


def column_sums(x: Array) -> Array:
    """(batch, length, width) in C order to (batch, width)."""
    batch, length, width = x.shape
    y = np.empty((batch, width), x.dtype)
    if y.size:
        size, lanes = x.itemsize, vector_bytes() // x.itemsize
        parts = -(-width // (_VECTORS * lanes))
        x = np.require(x, requirements="A")  # a name of its own: the kernel reads its memory
        table = job(address(y), address(x), parts, length, width)
        run(_column_kernel(size, lanes), table, batch * parts)
    return y


def row_sums(rows: Array) -> Array:
    """(batch, length) in C order to (batch,)."""
    rows = np.require(rows, requirements="A")
    while True:
        batch, length = rows.shape
        blocks = max(-(-length // BLOCK), 1)
        y = np.empty((batch, blocks), rows.dtype)
        if y.size:
            lanes = min(vector_bytes() // rows.itemsize, CHAINS)
            table = job(address(y), address(rows), blocks, length)
            run(_row_kernel(rows.itemsize, lanes), table, y.size)
        if blocks == 1:
            return y[:, 0]
        rows = y


def softmax(x: Array, logarithm: bool) -> Array:
    """e^(x - m) / s along the last axis, or x - m - ln s; m the maximum, s the sum of e^(x - m)."""
    if not x.size:
        return np.empty_like(x)
    shifted = np.ascontiguousarray(x - x.max(axis=-1, keepdims=True))
    e = elementwise("exp", shifted)
    s = row_sums(e.reshape(-1, x.shape[-1])).reshape(*x.shape[:-1], 1)
    y: Array = shifted - elementwise("log", s) if logarithm else e / s
    return y


def softmax_gradient(g: Array, y: Array, logarithm: bool) -> Array:
    """y (g - sum g y), or g - e^y sum g, y being what softmax gave; sums along the last axis."""
    if not y.size:
        return np.empty_like(y)
    terms = np.ascontiguousarray(g if logarithm else g * y)
    s = row_sums(terms.reshape(-1, y.shape[-1])).reshape(*y.shape[:-1], 1)
    dx: Array = g - elementwise("exp", np.ascontiguousarray(y)) * s if logarithm else y * (g - s)
    return dx


def global_average(x: Array) -> Array:
    """(N, C, H, W) to (N, C, 1, 1): the sum over each map, divided by H W."""
    n, c, h, w = x.shape
    y = column_sums(channels_last(x).reshape(n, h * w, c)) / x.dtype.type(h * w)
    mean: Array = y.reshape(n, c, 1, 1)
    return mean


@functools.cache
def _column_kernel(itemsize: int, lanes: int) -> Any:
    stamp = launch.STAMP

    def columns(table: int, first: int, last: int) -> None:
        stamp  # noqa: B018  part of the key of the cache
        parts, length, width = word(table, 2), word(table, 3), word(table, 4)
        step = width * itemsize
        for task in range(first, last):
            batch, part = divmod(task, parts)
            start = part * _VECTORS * lanes
            for k in range(start, min(start + _VECTORS * lanes, width), lanes):
                x = word(table, 1) + batch * length * step + k * itemsize
                column(
                    word(table, 0) + batch * step + k * itemsize, x, step, length, width - k,
                    itemsize, lanes,
                )  # fmt: skip

    return compiled(columns)


@intrinsic
def column(
    typing: Any, y: Any, x: Any, step: Any, length: Any, tail: Any, itemsize: Any, lanes: Any
) -> Any:
    """y = x[0] + x[1] + ..., from +0, for one vector of columns."""

    def codegen(context: Any, builder: Any, signature: Any, args: Sequence[Value]) -> Value:
        y, x, step, length, tail = args[:5]
        v = Functions(builder, literal(itemsize), literal(lanes), tail)

        def add(k: Value, acc: list[Value]) -> list[Value]:
            return [v.add(acc[0], v.load_tail(builder.add(x, builder.mul(k, step))))]

        v.store_tail(fold(builder, length, [v.zero], add)[0], y)
        return context.get_dummy_value()

    return types.void(*[types.int64] * 5, itemsize, lanes), codegen


@functools.cache
def _row_kernel(itemsize: int, lanes: int) -> Any:
    stamp = launch.STAMP

    def rows(table: int, first: int, last: int) -> None:
        stamp  # noqa: B018  part of the key of the cache
        blocks, length = word(table, 2), word(table, 3)
        for task in range(first, last):
            row, block = divmod(task, blocks)
            start = block * BLOCK
            x = word(table, 1) + (row * length + start) * itemsize
            chains(word(table, 0) + task * itemsize, x, min(BLOCK, length - start), itemsize, lanes)

    return compiled(rows)


@intrinsic
def chains(typing: Any, y: Any, x: Any, count: Any, itemsize: Any, lanes: Any) -> Any:
    """y = the sum of up to 4096 numbers, in 16 chains that are added in pairs."""
    size, n = literal(itemsize), literal(lanes)
    vectors = range(CHAINS // n)

    def codegen(context: Any, builder: Any, signature: Any, args: Sequence[Value]) -> Value:
        y, x, count = args[:3]
        v = Functions(builder, size, n)
        full = builder.sdiv(count, int64(CHAINS))

        def place(k: Value, j: int) -> Value:
            at = builder.add(builder.mul(k, int64(CHAINS)), int64(j * n))
            return builder.add(x, builder.mul(at, int64(size)))

        def add(k: Value, acc: list[Value]) -> list[Value]:
            return [v.add(acc[j], v.load(place(k, j))) for j in vectors]

        acc = fold(builder, full, [v.zero for _ in vectors], add)
        rest = builder.sub(count, builder.mul(full, int64(CHAINS)))
        sums = []
        for j in vectors:  # a chain that has run out adds +0, which changes nothing
            tail = Functions(builder, size, n, builder.sub(rest, int64(j * n)))
            whole = v.add(acc[j], tail.load_tail(place(full, j)))
            sums += [builder.extract_element(whole, int64(i)) for i in range(n)]
        apart = CHAINS // 2
        while apart:
            sums = [builder.fadd(sums[k], sums[k + apart]) for k in range(apart)]
            apart //= 2
        v.store_scalar(sums[0], y)
        return context.get_dummy_value()

    return types.void(*[types.int64] * 3, itemsize, lanes), codegen
