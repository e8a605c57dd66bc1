"""The depthwise sum of small windows, a strip of columns at a time.

A tile is a strip of Q neighbouring columns of one output row, a register for each; it goes
down the rows of the window, loads each column of the source once, and adds it to every
output that has a tap there.  Which outputs those are is known when the tile is compiled,
and so are the columns that the source does not have: no padding is read, no test is made.

For an accumulator the taps must come in ascending order.  In the forward sum tap b reads
column v s - P + b, so the source is passed from left to right; in the input gradient it
reads (v + P - b) / s, so the source is passed from right to left.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numba import types

from minigrad.kernels._numba import launch
from minigrad.kernels._numba.launch import compiled, vector_bytes
from minigrad.kernels._numba.vectors import (
    Value,
    Vectors,
    fold,
    int64,
    intrinsic,
    literal,
    word,
)
from minigrad.kernels._numba.windows import Axis, Run
from minigrad.kernels.contract import Array

_FIELD = 64  # three small numbers in one literal, see Strip.code


class Strip(NamedTuple):
    """Where a strip begins and what it may read, relative to its own base.

    ``phase`` is (v + P) mod s of its first column in the input gradient; columns
    ``low`` to ``high`` of the source, counted from the first that any tap may reach, exist.
    """

    phase: int
    low: int
    high: int

    @property
    def code(self) -> int:
        return (self.phase * _FIELD + self.low) * _FIELD + self.high


class Pattern(NamedTuple):
    """What all strips of a layer share."""

    columns: int
    kernel: int
    stride: int
    adjoint: int


def touches(pattern: Pattern, strip: Strip) -> list[tuple[int, list[tuple[int, int]]]]:
    """(source column, [(output column, tap)]) in the order in which the tile loads.

    >>> touches(Pattern(columns=2, kernel=3, stride=1, adjoint=0), Strip(0, 1, 4))
    [(1, [(0, 1), (1, 0)]), (2, [(0, 2), (1, 1)]), (3, [(1, 2)])]
    """
    columns, kernel, stride, adjoint = pattern
    order = []
    for e in range(strip.low, strip.high):
        first = first_reach(pattern, strip.phase)
        pairs = [
            (i, b)
            for i in range(columns)
            for b in range(kernel)
            if (strip.phase + i - b == (e + first) * stride if adjoint else i * stride + b == e)
        ]
        order.append((e, pairs))
    return order[::-1] if adjoint else order


def first_reach(pattern: Pattern, phase: int) -> int:
    """The first source column that a tap reaches, relative to the base of the strip."""
    return -((pattern.kernel - 1 - phase) // pattern.stride) if pattern.adjoint else 0


def reach(pattern: Pattern, phase: int) -> int:
    """How many source columns the taps of a strip reach."""
    if pattern.adjoint:
        last = (phase + pattern.columns - 1) // pattern.stride
        return last - first_reach(pattern, phase) + 1
    return (pattern.columns - 1) * pattern.stride + pattern.kernel


class Plan(NamedTuple):
    """The strips of a layer: their kernel, and the table of where each begins."""

    kernel: Any
    table: Array


def plan(axis: Axis, adjoint: bool, channels: int, itemsize: int) -> Plan | None:
    """Strips for the columns of a layer, or None where the plain tile must do."""
    width = axis.size if adjoint else axis.out
    lanes = vector_bytes() // itemsize
    columns = 14 if width >= 14 and vector_bytes() == 64 else 7
    small = axis.kernel in (3, 5) and axis.stride in (1, 2) and axis.dilation == 1
    if not small or width < columns or axis.before >= columns:
        return None
    pattern = Pattern(columns, axis.kernel, axis.stride, int(adjoint))
    starts = [*range(0, width - columns, columns), width - columns]
    strips = [_strip(pattern, axis, v) for v in starts]
    kinds = sorted({strip for strip, _ in strips})
    if len(kinds) > 3 or not all(touches(pattern, kind) for kind in kinds):
        return None
    codes = [kind.code for kind in kinds]
    table = [
        (v * channels * itemsize, base * channels * itemsize, kinds.index(strip))
        for v, (strip, base) in zip(starts, strips, strict=True)
    ]
    kernel = _kernel(itemsize, lanes, *pattern, *(codes + codes[:1] * 3)[:3])
    return Plan(kernel, np.array(table, np.int64))


def _strip(pattern: Pattern, axis: Axis, v: int) -> tuple[Strip, int]:
    """The strip that begins at column v, and the source column that it counts from."""
    if pattern.adjoint:
        phase, base = (v + axis.before) % axis.stride, (v + axis.before) // axis.stride
        size = axis.out
    else:
        phase, base, size = 0, v * axis.stride - axis.before, axis.size
    base += first_reach(pattern, phase)
    high = min(reach(pattern, phase), size - base)
    return Strip(phase, max(0, -base), max(high, 0)), base


# The words of a job, of a task, and of a strip.  Steps are in bytes.
(
    OUT, SOURCE, PACKED, START, TASKS, READS, TASKS_PER_IMAGE, OUT_IMAGE, SOURCE_IMAGE, CHANNELS,
    BLOCK_BYTES, STRIPS, STRIP_COUNT,
) = range(13)  # fmt: skip
(
    OUT_ROW, SOURCE_ROW, ROWS, OUT_DOWN, SOURCE_DOWN, FIRST_READ, READS_OF_TASK, FIRST_BLOCK,
    LAST_BLOCK, TASK_WORDS,
) = range(10)  # fmt: skip


def tasks(
    rows: tuple[Run, ...], out_row: int, source_row: int, blocks: int, tap_row: int
) -> tuple[Array, Array]:
    """What there is to do for one image: some rows of a run, some blocks of channels."""
    lines: list[tuple[int, ...]] = []
    reads: list[tuple[int, int]] = []
    total = sum(r.length for r in rows)
    part = max(1, blocks if total >= 28 else -(-blocks // 4))
    for r in rows:
        found = [(h * source_row, a * tap_row) for a, h in r.taps]
        few = max(4, -(-r.length // 8)) if total >= 28 else r.length
        for j in range(0, r.length, few):
            for block in range(0, blocks, part):
                lines.append((
                    (r.first + j * r.step) * out_row, j * r.advance * source_row,
                    min(few, r.length - j), r.step * out_row, r.advance * source_row,
                    len(reads), len(found), block, min(block + part, blocks),
                ))  # fmt: skip
        reads += found
    return np.array(lines, np.int64), np.array(reads or [(0, 0)], np.int64)


@functools.cache
def _kernel(
    itemsize: int, lanes: int, columns: int, kw: int, stride: int, adjoint: int,
    code0: int, code1: int, code2: int,
) -> Any:  # fmt: skip
    stamp = launch.STAMP

    def strips(table: int, first: int, last: int) -> None:
        stamp  # noqa: B018  part of the key of the cache
        channels, count = word(table, CHANNELS), word(table, STRIP_COUNT)
        pixel = channels * itemsize
        for number in range(first, last):
            image, index = divmod(number, word(table, TASKS_PER_IMAGE))
            task = word(table, TASKS) + 8 * TASK_WORDS * index
            reads, n = word(table, READS) + 16 * word(task, FIRST_READ), word(task, READS_OF_TASK)
            top = word(table, OUT) + image * word(table, OUT_IMAGE) + word(task, OUT_ROW)
            source_top = (
                word(table, SOURCE) + image * word(table, SOURCE_IMAGE) + word(task, SOURCE_ROW)
            )
            for s in range(count):
                strip = word(table, STRIPS) + 24 * s
                kind = word(strip, 2)
                for block in range(word(task, FIRST_BLOCK), word(task, LAST_BLOCK)):
                    lane = block * lanes
                    tail = channels - lane
                    w = word(table, PACKED) + block * word(table, BLOCK_BYTES)
                    bias = word(table, START) + lane * itemsize
                    out = top + word(strip, 0) + lane * itemsize
                    source = source_top + word(strip, 1) + lane * itemsize
                    for _ in range(word(task, ROWS)):
                        if tail < lanes:
                            if kind == 0:
                                tile(
                                    out, source, pixel, reads, n, w, bias, tail, itemsize, lanes,
                                    columns, kw, stride, adjoint, code0, 1,
                                )  # fmt: skip
                            elif kind == 1:
                                tile(
                                    out, source, pixel, reads, n, w, bias, tail, itemsize, lanes,
                                    columns, kw, stride, adjoint, code1, 1,
                                )  # fmt: skip
                            else:
                                tile(
                                    out, source, pixel, reads, n, w, bias, tail, itemsize, lanes,
                                    columns, kw, stride, adjoint, code2, 1,
                                )  # fmt: skip
                        elif kind == 0:
                            tile(
                                out, source, pixel, reads, n, w, bias, tail, itemsize, lanes,
                                columns, kw, stride, adjoint, code0, 0,
                            )  # fmt: skip
                        elif kind == 1:
                            tile(
                                out, source, pixel, reads, n, w, bias, tail, itemsize, lanes,
                                columns, kw, stride, adjoint, code1, 0,
                            )  # fmt: skip
                        else:
                            tile(
                                out, source, pixel, reads, n, w, bias, tail, itemsize, lanes,
                                columns, kw, stride, adjoint, code2, 0,
                            )  # fmt: skip
                        out += word(task, OUT_DOWN)
                        source += word(task, SOURCE_DOWN)

    return compiled(strips)


@intrinsic
def tile(
    typing: Any, out: Any, source: Any, pixel: Any, reads: Any, count: Any, weights: Any,
    bias: Any, tail: Any, itemsize: Any, lanes: Any, columns: Any, kw: Any, stride: Any,
    adjoint: Any, code: Any, masked: Any,
) -> Any:  # fmt: skip
    """acc[i] = bias, then for each row of the window: acc[i] += w[b] source[column]."""
    pattern = Pattern(*(literal(x) for x in (columns, kw, stride, adjoint)))
    rest, high = divmod(literal(code), _FIELD)
    order = touches(pattern, Strip(*divmod(rest, _FIELD), high))

    def codegen(context: Any, builder: Any, signature: Any, args: Sequence[Value]) -> Value:
        out, source, pixel, reads, count, weights, bias, tail = args[:8]
        v = Vectors(builder, literal(itemsize), literal(lanes), tail if literal(masked) else None)

        def row(number: Value, acc: list[Value]) -> list[Value]:
            entry = builder.add(reads, builder.mul(number, int64(16)))
            line = builder.add(source, v.word(entry, 0))
            taps = builder.add(weights, v.word(entry, 1))
            w = [v.load(builder.add(taps, int64(b * v.bytes))) for b in range(pattern.kernel)]
            acc = list(acc)
            for column, pairs in order:
                x = v.load_tail(v.at(line, pixel, column))
                for i, b in pairs:
                    acc[i] = v.fma(x, w[b], acc[i])
            return acc

        begin = [v.load(bias)] * pattern.columns
        for i, acc in enumerate(fold(builder, count, begin, row)):
            v.store_tail(acc, v.at(out, pixel, i))
        return context.get_dummy_value()

    return types.void(
        *[types.int64] * 8, itemsize, lanes, columns, kw, stride, adjoint, code, masked
    ), codegen
