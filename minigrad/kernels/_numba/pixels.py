"""The weight gradient of the depthwise sums.

    dw[c,a,b] = sum over (n, p, q) of g[n,c,p,q] x[n,c,h,v],    h = p s - P + a d, ...

Lanes are channels.  A tile holds the accumulators of one row of the window, all kw taps of
V vectors of channels, and walks along the lines of g: at each pixel it loads g once and
x at each tap.  At the ends of a line some taps lie outside x; for small windows the tile
knows when it is compiled which, and skips them.  For other windows each tap is a tile of
its own, with its own range of q.  Pixels come in ascending order for every accumulator,
and no sum is cut.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numba import types

from minigrad.geometry import valid_range
from minigrad.kernels._numba import launch
from minigrad.kernels._numba.launch import address, compiled, job, run, vector_bytes
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
from minigrad.threads import num_threads

_BLOCK_BYTES = 100_000  # of x and g for one tile, to stay in a second-level cache
_ACCUMULATORS = {64: 16, 32: 10, 16: 10}


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
        taps = cols.kernel if ends else 1
        wide = _width(self.blocks, taps)
        self.taps = _taps(rows, cols, x, channels * size, whole=ends is not None)
        self.groups = -(-self.blocks // wide)
        pixel, line, x_line = (n * channels * size for n in (1, g[2], x[2]))
        both = wide * self.lanes * size * (g[2] + x[2])
        self.job = job(
            0, 0, 0, address(self.taps), len(self.taps), self.groups, 0, channels, self.blocks,
            x[0], rows.out, max(1, _BLOCK_BYTES // max(1, both)), math.prod(x[1:]) * size,
            rows.stride * x_line, cols.stride * pixel, pixel, math.prod(g[1:]) * size, line, pixel,
            math.prod(self.window) * self.lanes * size, self.lanes * size,
        )  # fmt: skip
        self.kernel = _kernel(
            size, self.lanes, wide, taps, cols.stride if ends else 0, *(ends or Ends(0, 0, 0, 0)),
            int(channels % self.lanes != 0),
        )  # fmt: skip

    def __call__(self, g: Array, x: Array) -> Array:
        """(C, 1, kh, kw)."""
        out = np.zeros((self.blocks, math.prod(self.window), self.lanes), self.dtype)
        if out.size and g.size:
            table = self.job.copy()
            tiles = len(self.taps) * self.groups
            table[:3] = address(out), address(x), address(g)
            table[TASKS] = tasks = min(num_threads(), tiles)
            run(self.kernel, table, tasks)
        whole = out.transpose(0, 2, 1).reshape(-1, *self.window)
        dw: Array = whole[: self.channels, None]
        return dw


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


def _width(blocks: int, taps: int) -> int:
    """How many vectors of channels a tile takes: little waste first, then many."""
    most = max(1, _ACCUMULATORS[vector_bytes()] // taps)
    return min(
        range(1, min(most, blocks) + 1), key=lambda v: (-(-blocks // v) * max(v * taps, 8), -v)
    )


def _taps(rows: Axis, cols: Axis, x: Sequence[int], pixel: int, whole: bool) -> Array:
    """For each tile of taps: first and last p, how many q, where x and g begin, and the tap."""
    table = []
    for a in range(rows.kernel):
        p0, p1 = valid_range(rows.size, rows.out, a, rows.stride, rows.before, rows.dilation)
        down = (a * rows.dilation - rows.before) * x[2] * pixel
        for b in range(1 if whole else cols.kernel):
            q0, q1 = 0, cols.out
            if not whole:
                q0, q1 = valid_range(
                    cols.size, cols.out, b, cols.stride, cols.before, cols.dilation
                )
            v = q0 * cols.stride - cols.before + b * cols.dilation
            table.append((p0, p1, q1 - q0, down + v * pixel, q0 * pixel, a * cols.kernel + b))
    return np.array(table, np.int64)


# The words of a job and of a tap.  Steps are in bytes.
(
    OUT, X, G, TAPS, TAPS_COUNT, GROUPS, TASKS, CHANNELS, BLOCKS, IMAGES, LINES, BLOCK, X_IMAGE,
    X_DOWN, X_ALONG, X_TAP, G_IMAGE, G_DOWN, G_ALONG, OUT_BLOCK, OUT_TAP,
) = range(21)  # fmt: skip
P_FIRST, P_LAST, COUNT, X_START, G_START, TAP, TAP_WORDS = range(7)


@functools.cache
def _kernel(
    itemsize: int, lanes: int, wide: int, taps: int, stride: int,
    left: int, right: int, before: int, after: int, partial: int,
) -> Any:  # fmt: skip
    stamp = launch.STAMP

    def pixels(table: int, first: int, last: int) -> None:
        stamp  # noqa: B018  part of the key of the cache
        count, groups, tasks = word(table, TAPS_COUNT), word(table, GROUPS), word(table, TASKS)
        begin, end = count * groups * first // tasks, count * groups * last // tasks
        while begin < end:
            group = begin // count
            stop = min(end, (group + 1) * count)
            block = group * wide
            for image in range(word(table, IMAGES)):
                for line in range(0, word(table, LINES), word(table, BLOCK)):
                    for number in range(begin - group * count, stop - group * count):
                        entry = word(table, TAPS) + 8 * TAP_WORDS * number
                        p = max(line, word(entry, P_FIRST))
                        lines = min(line + word(table, BLOCK), word(entry, P_LAST)) - p
                        lane = block * lanes * itemsize
                        out = word(table, OUT) + block * word(table, OUT_BLOCK)
                        out += word(entry, TAP) * word(table, OUT_TAP)
                        x = word(table, X) + image * word(table, X_IMAGE) + word(entry, X_START)
                        x += p * word(table, X_DOWN) + lane
                        g = word(table, G) + image * word(table, G_IMAGE) + word(entry, G_START)
                        g += p * word(table, G_DOWN) + lane
                        tile(
                            out, word(table, OUT_BLOCK), x, word(table, X_DOWN),
                            word(table, X_ALONG), word(table, X_TAP), g, word(table, G_DOWN),
                            word(table, G_ALONG), lines, word(entry, COUNT),
                            word(table, BLOCKS) - block, word(table, CHANNELS) - block * lanes,
                            itemsize, lanes, wide, taps, stride,
                            left, right, before, after, partial,
                        )  # fmt: skip
            begin = stop

    return compiled(pixels)


@intrinsic
def tile(
    typing: Any, out: Any, out_block: Any, x: Any, x_down: Any, x_along: Any, x_tap: Any, g: Any,
    g_down: Any, g_along: Any, lines: Any, count: Any, there: Any, tail: Any,
    itemsize: Any, lanes: Any, vectors: Any, taps: Any, stride: Any,
    left: Any, right: Any, before: Any, after: Any, partial: Any,
) -> Any:  # fmt: skip
    """acc[v][b] += g[line, q, v] x[line, q s + b, v] over lines and q; blocks not there repeat."""
    wide, kw = range(literal(vectors)), literal(taps)
    ends, s = Ends(*(literal(e) for e in (left, right, before, after))), literal(stride)

    def codegen(context: Any, builder: Any, signature: Any, args: Sequence[Value]) -> Value:
        out, out_block, x, x_down, x_along, x_tap, g, g_down, g_along, lines, count, there, tail = (
            args[:13]
        )
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
            builder.add(builder.add(out, builder.mul(block, out_block)), int64(b * v.bytes))
            for block in blocks
            for b in range(kw)
        ]

        def pixels(
            x_at: Value, g_at: Value, acc: list[Value], first: Sequence[Sequence[int]]
        ) -> list[Value]:
            """Neighbouring pixels, ``first[i]`` the taps of the i-th; x is loaded once a column."""
            acc = list(acc)
            for i in wide:
                gs = [
                    vs[i].load_tail(builder.add(v.at(g_at, g_along, j), starts[i]))
                    for j in range(len(first))
                ]
                columns: dict[int, Value] = {}
                for j, valid in enumerate(first):
                    for b in valid:
                        e = j * s + b
                        if e not in columns:
                            columns[e] = vs[i].load_tail(
                                builder.add(v.at(x_at, x_tap, e), starts[i])
                            )
                        acc[i * kw + b] = v.fma(gs[j], columns[e], acc[i * kw + b])
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

        begin = [vs[i // kw].load(place) for i, place in enumerate(places)]
        for i, acc in enumerate(fold(builder, lines, begin, line)):
            v.store(acc, places[i])
        return context.get_dummy_value()

    literals = (itemsize, lanes, vectors, taps, stride, left, right, before, after, partial)
    return types.void(*[types.int64] * 13, *literals), codegen
