"""The weight gradient of the depthwise sums.

    dw[c,a,b] = sum over (n, p, q) of g[n,c,p,q] x[n,c,h,v],    h = p s - P + a d, ...

Lanes are channels.  For small windows a tile holds the accumulators of R rows of the window,
all kw taps of one vector of channels, and walks along the lines of g: at each pixel it loads
g once, and each column of x once in a row of taps.  At the ends of a line some taps lie outside
x; the tile knows when it is compiled which, and skips them.  Lines that lack a row of taps go
row by row.  For other windows each tap is a tile of its own, of several vectors, with its own
range of q.  Pixels come in ascending order for every accumulator, and no sum is cut.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numba import types

from minigrad.geometry import valid_range
from minigrad.kernels._numba import launch
from minigrad.kernels._numba.launch import SumCall, address, compiled, empty, job, vector_bytes
from minigrad.kernels._numba.vectors import (
    Value,
    Vectors,
    fold,
    int64,
    intrinsic,
    literal,
    word,
)
from minigrad.kernels._numba.windows import Axis
from minigrad.kernels.contract import Array

_BLOCK_BYTES = 100_000  # of x and g for one tile, to stay in a second-level cache
_ACCUMULATORS = {64: 25, 32: 10, 16: 10}
_WIDEST = {64: 16, 32: 10, 16: 10}  # vectors of a tile of one tap


class Ends(NamedTuple):
    """The taps of a line's ends: ``left`` pixels lack taps before, ``right`` ones after.

    At pixel i of the left end, tap b exists if i s + b >= before; at pixel j of the right
    end, if j s + b < after.
    """

    left: int
    right: int
    before: int
    after: int


class PixelSum:
    """The weight gradient for one shape.

    Parameters
    ----------
    x : shape (N, H, W, C)
    g : shape (N, Ho, Wo, C)
    rows, cols : the two axes
    """

    def __init__(
        self, x: Sequence[int], g: Sequence[int], rows: Axis, cols: Axis, dtype: np.dtype[Any]
    ) -> None:
        size, channels = dtype.itemsize, x[3]
        self.dtype, self.channels, self.window = dtype, channels, (rows.kernel, cols.kernel)
        self.lanes = vector_bytes() // size
        self.blocks = -(-channels // self.lanes)
        ends = _ends(cols)
        taps, wide, tall = 1, _width(self.blocks), 1
        if ends:
            taps, wide = cols.kernel, 1
            tall = max(min(_ACCUMULATORS[vector_bytes()] // taps, rows.kernel), 1)
        self.taps = _taps(rows, cols, x, channels * size, tall, whole=ends is not None)
        self.groups = -(-self.blocks // wide)
        pixel, line, x_line = (n * channels * size for n in (1, g[2], x[2]))
        both = wide * self.lanes * size * (g[2] + x[2])
        self.job = job(
            0, 0, 0, address(self.taps), len(self.taps), self.groups, 0, channels, self.blocks,
            x[0], rows.out, max(1, _BLOCK_BYTES // max(1, both)), math.prod(x[1:]) * size,
            rows.stride * x_line, cols.stride * pixel, pixel, math.prod(g[1:]) * size, line, pixel,
            self.lanes * size, self.blocks * self.lanes * size,
            rows.dilation * x_line,
        )  # fmt: skip
        self.kernel = _kernel(
            size, self.lanes, wide, tall, taps, cols.stride if ends else 0,
            *(ends or Ends(0, 0, 0, 0)), int(channels % self.lanes != 0),
        )  # fmt: skip

    def bind(self, g: Array, x: Array, dw: Array) -> SumCall:
        """The call that writes the sums to ``dw``, (C, 1, kh, kw), best a view of (kh, kw, C)."""
        wanted, padded = dw[:, 0].transpose(1, 2, 0), (*self.window, self.blocks * self.lanes)
        direct = wanted.shape == padded and wanted.flags.c_contiguous
        sums = wanted if direct else empty(padded, self.dtype)
        table = self.job.copy()

        def deliver() -> None:
            if not direct:
                wanted[...] = sums[..., : self.channels]

        table[:3] = address(sums), address(x), address(g)
        tiles = self.groups if sums.size and g.size else 0
        return SumCall(self.kernel, table, TASKS, tiles, sums, deliver, g, x)


def _ends(cols: Axis) -> Ends | None:
    """The ends of a line, if the window is small and the line long enough to have two."""
    small = cols.kernel in (3, 5) and cols.stride in (1, 2) and cols.dilation == 1
    ranges = [
        valid_range(cols.size, cols.out, b, cols.stride, cols.before, 1) for b in range(cols.kernel)
    ]
    first, last = max(r[0] for r in ranges), min(r[1] for r in ranges)
    left, right = first, cols.out - last
    if not small or first >= last or left > 3 or right > 3:
        return None
    return Ends(left, right, cols.before, cols.size + cols.before - last * cols.stride)


def _width(blocks: int) -> int:
    """How many vectors of channels a tile of one tap takes: little waste first, then many."""
    most = max(1, min(_WIDEST[vector_bytes()], blocks))
    return min(range(1, most + 1), key=lambda v: (-(-blocks // v) * max(v, 8), -v))


def _taps(rows: Axis, cols: Axis, x: Sequence[int], pixel: int, tall: int, whole: bool) -> Array:
    """For each tile: first and last p, how many q, where x and g begin, the tap, rows of taps.

    Tiles are in the order in which every tap meets its lines.  ``tall`` is the most rows of
    taps that one has, ``whole`` whether it has all taps of a row.
    """
    table = []
    for p0, p1, first, last in _runs(rows):
        a = first
        while a < last:
            count = tall if a + tall <= last else 1
            down = (a * rows.dilation - rows.before) * x[2] * pixel
            for b in range(1 if whole else cols.kernel):
                q0, q1 = 0, cols.out
                if not whole:
                    q0, q1 = valid_range(
                        cols.size, cols.out, b, cols.stride, cols.before, cols.dilation
                    )
                v = q0 * cols.stride - cols.before + b * cols.dilation
                tap = a * cols.kernel + b
                table.append((p0, p1, q1 - q0, down + v * pixel, q0 * pixel, tap, count))
            a += count
    return np.array(table, np.int64).reshape(-1, TAP_WORDS)


def _runs(rows: Axis) -> list[tuple[int, int, int, int]]:
    """Lines p0 to p1 that have the same rows of taps, first to last."""
    ranges = [
        valid_range(rows.size, rows.out, a, rows.stride, rows.before, rows.dilation)
        for a in range(rows.kernel)
    ]
    ends = sorted({p for r in ranges for p in r})
    runs = []
    for p0, p1 in itertools.pairwise(ends):
        there = [a for a, r in enumerate(ranges) if r[0] <= p0 and p1 <= r[1]]
        if there:
            runs.append((p0, p1, there[0], there[-1] + 1))
    return runs


# The words of a job and of a tap.  Steps are in bytes.
(
    OUT, X, G, TAPS, TAPS_COUNT, GROUPS, TASKS, CHANNELS, BLOCKS, IMAGES, LINES, BLOCK, X_IMAGE,
    X_DOWN, X_ALONG, X_TAP, G_IMAGE, G_DOWN, G_ALONG, OUT_BLOCK, OUT_TAP, X_ROW,
) = range(22)  # fmt: skip
P_FIRST, P_LAST, COUNT, X_START, G_START, TAP, ROWS, TAP_WORDS = range(8)


@functools.cache
def _kernel(
    itemsize: int, lanes: int, wide: int, tall: int, taps: int, stride: int,
    left: int, right: int, before: int, after: int, partial: int,
) -> Any:  # fmt: skip
    stamp = launch.STAMP

    def pixels(table: int, first: int, last: int) -> None:
        stamp  # noqa: B018  part of the key of the cache
        groups, tasks = word(table, GROUPS), word(table, TASKS)
        for group in range(groups * first // tasks, groups * last // tasks):
            block = group * wide
            lane = block * lanes * itemsize
            for image in range(word(table, IMAGES)):
                for line in range(0, word(table, LINES), word(table, BLOCK)):
                    for number in range(word(table, TAPS_COUNT)):
                        entry = word(table, TAPS) + 8 * TAP_WORDS * number
                        p = max(line, word(entry, P_FIRST))
                        lines = min(line + word(table, BLOCK), word(entry, P_LAST)) - p
                        out = word(table, OUT) + block * word(table, OUT_BLOCK)
                        out += word(entry, TAP) * word(table, OUT_TAP)
                        x = word(table, X) + image * word(table, X_IMAGE) + word(entry, X_START)
                        x += p * word(table, X_DOWN) + lane
                        g = word(table, G) + image * word(table, G_IMAGE) + word(entry, G_START)
                        g += p * word(table, G_DOWN) + lane
                        if lines <= 0:
                            continue
                        if word(entry, ROWS) == tall:
                            tile(
                                out, word(table, OUT_BLOCK), word(table, OUT_TAP), x,
                                word(table, X_DOWN),
                                word(table, X_ALONG), word(table, X_TAP), word(table, X_ROW), g,
                                word(table, G_DOWN), word(table, G_ALONG), lines,
                                word(entry, COUNT), word(table, BLOCKS) - block,
                                word(table, CHANNELS) - block * lanes, itemsize, lanes, wide, tall,
                                taps, stride, left, right, before, after, partial,
                            )  # fmt: skip
                        else:
                            tile(
                                out, word(table, OUT_BLOCK), word(table, OUT_TAP), x,
                                word(table, X_DOWN),
                                word(table, X_ALONG), word(table, X_TAP), word(table, X_ROW), g,
                                word(table, G_DOWN), word(table, G_ALONG), lines,
                                word(entry, COUNT), word(table, BLOCKS) - block,
                                word(table, CHANNELS) - block * lanes, itemsize, lanes, wide, 1,
                                taps, stride, left, right, before, after, partial,
                            )  # fmt: skip

    return compiled(pixels)


@intrinsic
def tile(
    typing: Any, out: Any, out_block: Any, out_tap: Any, x: Any, x_down: Any, x_along: Any,
    x_tap: Any, x_row: Any, g: Any, g_down: Any, g_along: Any, lines: Any, count: Any, there: Any,
    tail: Any, itemsize: Any, lanes: Any, vectors: Any, rows: Any, taps: Any, stride: Any,
    left: Any, right: Any, before: Any, after: Any, partial: Any,
) -> Any:  # fmt: skip
    """acc[v][a, b] += g[line, q, v] x[line, a, q s + b, v] over lines and q.

    Blocks v that are not there repeat the last.
    """
    wide, tall, kw = range(literal(vectors)), range(literal(rows)), literal(taps)
    ends, s = Ends(*(literal(e) for e in (left, right, before, after))), literal(stride)

    def codegen(context: Any, builder: Any, signature: Any, args: Sequence[Value]) -> Value:
        out, out_block, out_tap, x, x_down, x_along, x_tap, x_row, g, g_down = args[:10]
        g_along, lines, count, there, tail = args[10:15]
        size, n = literal(itemsize), literal(lanes)
        last = builder.sub(there, int64(1))
        blocks = [
            builder.select(builder.icmp_signed("<", int64(i), there), int64(i), last) for i in wide
        ]
        vs = [
            Vectors(
                builder,
                size,
                n,
                builder.sub(tail, builder.mul(b, int64(n))) if literal(partial) else None,
            )
            for b in blocks
        ]
        v = vs[0]
        starts = [builder.mul(b, int64(v.bytes)) for b in blocks]
        places = [
            v.at(builder.add(out, builder.mul(block, out_block)), out_tap, b)
            for block in blocks
            for b in range(len(tall) * kw)
        ]

        def pixels(
            x_at: Value, g_at: Value, acc: list[Value], first: Sequence[Sequence[int]]
        ) -> list[Value]:
            """Neighbouring pixels, ``first[j]`` the taps of the j-th."""
            acc = list(acc)
            for i in wide:
                gs = [
                    vs[i].load_tail(builder.add(v.at(g_at, g_along, j), starts[i]))
                    for j in range(len(first))
                ]
                for a in tall:
                    x_a = builder.add(v.at(x_at, x_row, a), starts[i])
                    for e in range((len(first) - 1) * s + kw):
                        pairs = [
                            (j, e - j * s) for j, valid in enumerate(first) if e - j * s in valid
                        ]
                        if not pairs:
                            continue
                        column = vs[i].load_tail(v.at(x_a, x_tap, e))
                        for j, b in pairs:
                            k = (i * len(tall) + a) * kw + b
                            acc[k] = v.fma(gs[j], column, acc[k])
            return acc

        every = range(kw)
        unroll = 4 if kw > 1 else 1

        def line(number: Value, acc: list[Value]) -> list[Value]:
            x_line = builder.add(x, builder.mul(number, x_down))
            g_line = builder.add(g, builder.mul(number, g_down))

            def place(q: Value) -> tuple[Value, Value]:
                return (
                    builder.add(x_line, builder.mul(q, x_along)),
                    builder.add(g_line, builder.mul(q, g_along)),
                )

            for i in range(ends.left):
                valid = [b for b in every if i * s + b >= ends.before]
                acc = pixels(*place(int64(i)), acc, [valid])
            inner = builder.sub(count, int64(ends.left + ends.right))
            steps = builder.sdiv(inner, int64(unroll))

            def several(k: Value, acc: list[Value]) -> list[Value]:
                q = builder.add(builder.mul(k, int64(unroll)), int64(ends.left))
                return pixels(*place(q), acc, [every] * unroll)

            acc = fold(builder, steps, acc, several)
            done = builder.add(builder.mul(steps, int64(unroll)), int64(ends.left))
            rest = builder.sub(builder.sub(count, int64(ends.right)), done)
            if unroll > 1:
                acc = fold(
                    builder, rest, acc,
                    lambda k, acc: pixels(*place(builder.add(done, k)), acc, [every]),
                )  # fmt: skip
            for j in range(ends.right):
                valid = [b for b in every if j * s + b < ends.after]
                acc = pixels(*place(builder.add(count, int64(j - ends.right))), acc, [valid])
            return acc

        begin = [v.load(place) for place in places]
        for i, acc in enumerate(fold(builder, lines, begin, line)):
            v.store(acc, places[i])
        return context.get_dummy_value()

    literals = (itemsize, lanes, vectors, rows, taps, stride, left, right, before, after, partial)
    return types.void(*[types.int64] * 15, *literals), codegen
