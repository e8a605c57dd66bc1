"""The weight gradient of the sums that mix channels.

    dw[o,i,a,b] = sum over (n, p, q) of g[n,o,p,q] x[n,i,h,v],    h = p s - P + a d, ...

For each tap a product of matrices over the pixels: of x and g, one gives the rows of a
register tile, the other its vectors, whichever fits the tile better; the sums and
their order are the same.  An accumulator belongs to one weight and one thread, meets the
pixels in ascending order, and no sum is cut: between two blocks of lines of pixels, chosen
so that x and g stay in the cache, it waits in memory.
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

_BLOCK_BYTES = 80_000  # of x and g, to stay in the caches while all tiles pass over them
_ROWS = {64: {1: (12,), 2: (14, 12, 10, 8, 4)}, 32: {1: (8,), 2: (6, 5, 4)}}


class _Side(NamedTuple):
    """How one of x and g moves with (n, p, q), in bytes, and its channels in a group."""

    channels: int
    image: int
    down: int
    along: int


class OuterSum:
    """The weight gradient for one shape.

    Parameters
    ----------
    x : shape (N, H, W, Cin)
    weights : shape (Cout, Cin/groups, kh, kw)
    g : shape (N, Ho, Wo, Cout)
    rows, cols : the two axes
    """

    def __init__(
        self, x: Sequence[int], weights: Sequence[int], g: Sequence[int],
        rows: Axis, cols: Axis, groups: int, dtype: np.dtype[Any],
    ) -> None:  # fmt: skip
        cout, cin, kh, kw = weights
        size, self.dtype = dtype.itemsize, dtype
        if _flat(rows, cols):
            n, length = _lines(math.prod(g[:3]), g[2])
            x, g = (1, n, length, x[3]), (1, n, length, g[3])
            rows, cols = Axis(n, n, 1, 1, 0, 1), Axis(length, length, 1, 1, 0, 1)
        x_side = _side(x, cin, rows.stride, cols.stride, size)
        g_side = _side(g, cout // groups, 1, 1, size)
        lanes = vector_bytes() // size
        straight, turned = (
            _tile(a, b, lanes) for a, b in ((cin, cout // groups), (cout // groups, cin))
        )
        # The sums of a turned 1x1 window lie as dw does, which saves what few pixels cost.
        direct = kh == kw == 1 and math.prod(g[:3]) < 1000
        self.turned = turned[0] < straight[0] * (1.25 if direct else 1)
        tile = (turned if self.turned else straight)[1]
        a, b = (g_side, x_side) if self.turned else (x_side, g_side)
        self.shape = (groups, kh, kw, a.channels, b.channels)
        self.taps = _taps(rows, cols, x_side, g_side, self.turned)
        per_group = -(-a.channels // tile[0]) * -(-b.channels // (tile[1] * lanes))
        self.tiles = groups * kh * kw * per_group
        line = cols.out * (a.along + b.along)
        self.job = job(
            0, 0, 0, address(self.taps), self.tiles, 0, groups, a.channels, b.channels,
            -(-a.channels // tile[0]), -(-b.channels // (tile[1] * lanes)), x[0], rows.out,
            max(1, _BLOCK_BYTES // max(1, line)), a.image, a.down, a.along,
            b.image, b.down, b.along,
        )  # fmt: skip
        self.kernel = _kernel(size, lanes, *tile)

    def bind(self, g: Array, x: Array, dw: Array) -> SumCall:
        """The call that writes the sums to ``dw``, (Cout, Cin/groups, kh, kw) in C order."""
        direct = self.turned and math.prod(self.shape[1:3]) == 1
        sums = dw.reshape(self.shape) if direct else empty(self.shape, self.dtype)
        ordered = sums.transpose((0, 3, 4, 1, 2) if self.turned else (0, 4, 3, 1, 2))
        parts, table = dw.reshape(ordered.shape), self.job.copy()

        def deliver() -> None:
            if not direct:
                parts[...] = ordered

        a, b = (g, x) if self.turned else (x, g)
        table[:3] = address(sums), address(a), address(b)
        tiles = self.tiles if sums.size and g.size else 0
        return SumCall(self.kernel, table, TASKS, tiles, sums, deliver, self, a, b)


def _flat(rows: Axis, cols: Axis) -> bool:
    """Whether the pixels of x and g pair up one to one, so that rows do not matter."""
    return all(axis[2:] == (1, 1, 0, 1) and axis.size == axis.out for axis in (rows, cols))


def _lines(pixels: int, width: int) -> tuple[int, int]:
    """Pixels as equal lines, as long as a block of the cache would like, or image rows."""
    length = max((n for n in range(1, 513) if pixels % n == 0), default=1) if pixels else 1
    length = length if length >= min(64, pixels) else width
    return pixels // length, length


def _side(shape: Sequence[int], channels: int, down: int, along: int, size: int) -> _Side:
    _, h, w, c = shape
    return _Side(channels, h * w * c * size, down * w * c * size, along * c * size)


def _tile(rows: int, lanes_of: int, lanes: int) -> tuple[float, tuple[int, int, int, int]]:
    """(what it costs, (R, L, L of the last panel, whether that one is partial))."""
    vectors = -(-lanes_of // lanes)
    wide = 1 if vectors < 2 else 2
    last = vectors % wide or wide
    full = vectors // wide - (last == wide)
    choices = _ROWS.get(vector_bytes(), _ROWS[32])[wide]
    # A step costs its rows and some more, and a single vector waits for its broadcasts.
    work = {r: -(-rows // r) * (r + 4) * (full + 1) * (2 if wide == 2 else 1.3) for r in choices}
    best = min(choices, key=lambda r: work[r])
    return work[best], (best, wide, last, int(lanes_of % lanes != 0))


def _taps(rows: Axis, cols: Axis, x: _Side, g: _Side, turned: bool) -> Array:
    """For each tap: its first and last p, how many q, and where x and g begin at p = 0."""
    table = []
    for a in range(rows.kernel):
        p0, p1 = valid_range(rows.size, rows.out, a, rows.stride, rows.before, rows.dilation)
        for b in range(cols.kernel):
            q0, q1 = valid_range(cols.size, cols.out, b, cols.stride, cols.before, cols.dilation)
            h, v = a * rows.dilation - rows.before, b * cols.dilation - cols.before
            at_x = h * (x.down // rows.stride) + v * (x.along // cols.stride) + q0 * x.along
            at_g = q0 * g.along
            sides = (at_g, at_x) if turned else (at_x, at_g)
            table.append((p0, p1, q1 - q0, *sides))
    return np.array(table, np.int64)


# The words of a job and of a tap.  Steps are in bytes.
(
    OUT, A, B, TAPS, TILES, TASKS, GROUPS, A_CHANNELS, B_CHANNELS, ROW_BLOCKS, PANELS, IMAGES,
    LINES, BLOCK, A_IMAGE, A_DOWN, A_ALONG, B_IMAGE, B_DOWN, B_ALONG,
) = range(20)  # fmt: skip
P_FIRST, P_LAST, COUNT, A_START, B_START, TAP_WORDS = range(6)


@functools.cache
def _kernel(itemsize: int, lanes: int, rows: int, wide: int, last_wide: int, partial: int) -> Any:
    stamp = launch.STAMP

    def outer(table: int, first: int, last: int) -> None:
        stamp  # noqa: B018  part of the key of the cache
        tiles, tasks = word(table, TILES), word(table, TASKS)
        row_blocks, panels = word(table, ROW_BLOCKS), word(table, PANELS)
        a_channels, b_channels = word(table, A_CHANNELS), word(table, B_CHANNELS)
        taps = tiles // (word(table, GROUPS) * row_blocks * panels)
        block = word(table, BLOCK)
        for image in range(word(table, IMAGES)):
            for line in range(0, word(table, LINES), block):
                for number in range(tiles * first // tasks, tiles * last // tasks):
                    rest, row_block = divmod(number, row_blocks)
                    rest, tap = divmod(rest, taps)
                    group, panel = divmod(rest, panels)
                    matrix = group * taps + tap
                    entry = word(table, TAPS) + 8 * TAP_WORDS * tap
                    p = max(line, word(entry, P_FIRST))
                    lines = min(line + block, word(entry, P_LAST)) - p
                    row, lane = row_block * rows, panel * wide * lanes
                    out = (
                        word(table, OUT)
                        + ((matrix * a_channels + row) * b_channels + lane) * itemsize
                    )
                    a = word(table, A) + image * word(table, A_IMAGE) + word(entry, A_START)
                    a += p * word(table, A_DOWN) + (group * a_channels + row) * itemsize
                    b = word(table, B) + image * word(table, B_IMAGE) + word(entry, B_START)
                    b += p * word(table, B_DOWN) + (group * b_channels + lane) * itemsize
                    there, tail = a_channels - row, b_channels - lane
                    step, a_down, a_along = (
                        b_channels * itemsize,
                        word(table, A_DOWN),
                        word(table, A_ALONG),
                    )
                    b_down, b_along, count = (
                        word(table, B_DOWN),
                        word(table, B_ALONG),
                        word(entry, COUNT),
                    )
                    if panel < panels - 1:
                        tile(
                            out, step, a, a_down, a_along, b, b_down, b_along, lines, count, there,
                            tail, itemsize, lanes, rows, wide, 0,
                        )  # fmt: skip
                    else:
                        tile(
                            out, step, a, a_down, a_along, b, b_down, b_along, lines, count, there,
                            tail, itemsize, lanes, rows, last_wide, partial,
                        )  # fmt: skip

    return compiled(outer)


@intrinsic
def tile(
    typing: Any, out: Any, step: Any, a: Any, a_down: Any, a_along: Any, b: Any, b_down: Any,
    b_along: Any, lines: Any, count: Any, there: Any, tail: Any,
    itemsize: Any, lanes: Any, rows: Any, vectors: Any, masked: Any,
) -> Any:  # fmt: skip
    """acc[r][l] += a[line, k, r] b[line, k, l] over lines and k; rows not there repeat the last."""
    tall, wide = range(literal(rows)), range(literal(vectors))

    def codegen(context: Any, builder: Any, signature: Any, args: Sequence[Value]) -> Value:
        out, step, a, a_down, a_along, b, b_down, b_along, lines, count, there, tail = args[:12]
        vectors = [
            Vectors(
                builder, literal(itemsize), literal(lanes),
                builder.sub(tail, int64(l * literal(lanes))) if literal(masked) else None,
            )
            for l in wide
        ]  # fmt: skip
        v = vectors[0]
        last = builder.sub(there, int64(1))
        index = [
            builder.select(builder.icmp_signed("<", int64(r), there), int64(r), last) for r in tall
        ]
        offsets = [builder.mul(i, int64(v.itemsize)) for i in index]
        places = [
            builder.add(builder.add(out, builder.mul(i, step)), int64(l * v.bytes))
            for i in index
            for l in wide
        ]

        def line(number: Value, acc: list[Value]) -> list[Value]:
            a_line = builder.add(a, builder.mul(number, a_down))
            b_line = builder.add(b, builder.mul(number, b_down))
            starts = [builder.add(a_line, offset) for offset in offsets]

            def pixel(k: Value, acc: list[Value]) -> list[Value]:
                at = builder.add(b_line, builder.mul(k, b_along))
                loaded = [vectors[l].load_tail(v.at(at, int64(v.bytes), l)) for l in wide]
                along = builder.mul(k, a_along)
                result = []
                for r in tall:
                    one = v.broadcast(builder.add(starts[r], along))
                    result += [v.fma(one, loaded[l], acc[r * len(wide) + l]) for l in wide]
                return result

            return fold(builder, count, acc, pixel)

        begin = [vectors[i % len(wide)].load_tail(place) for i, place in enumerate(places)]
        for i, acc in enumerate(fold(builder, lines, begin, line)):
            vectors[i % len(wide)].store_tail(acc, places[i])
        return context.get_dummy_value()

    return types.void(*[types.int64] * 12, itemsize, lanes, rows, vectors, masked), codegen
