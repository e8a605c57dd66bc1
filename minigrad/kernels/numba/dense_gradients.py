"""The gradients of the sums that mix channels.

The input gradient is the forward sum of ``dense``, read from the other side.  The weight
gradient,

    dw[o,i,a,b] = sum over (n, p, q) of g[n,o,p,q] x[n,i,h,v],    h = p s - P + a d, ...

is for each tap a product of matrices over the pixels: of x and g, one gives the rows of a
register tile, the other its vectors, whichever fits the tile better; the sums and their
order are the same (``_blocks``).
"""

from __future__ import annotations

import math
from collections import namedtuple
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from minigrad.geometry import valid_range
from minigrad.kernels.contract import Array
from minigrad.kernels.numba._blocks import Blocks, SumCall, blocks_of, carry, over_blocks
from minigrad.kernels.numba._launch import Job, empty, lanes_of, vector_bytes
from minigrad.kernels.numba._segments import Axis
from minigrad.kernels.numba._template import entry, registers, static, template, unroll

from minigrad.kernels.numba._vectors import (  # isort: skip
    BYTES, LANES, SIZE, broadcast, fma, load, load_n, store, store_n,
)  # fmt: skip

__all__ = ["DenseWeightGrad"]

_CACHED = 80_000  # bytes of x and g that one visit may have
_ROWS = {64: {1: (12,), 2: (14, 12, 10, 8, 4)}, 32: {1: (8,), 2: (6, 5, 4)}}


class Side(NamedTuple):
    """How one of x and g moves with (n, p, q), in bytes, and its channels in a group."""

    channels: int
    image: int
    down: int
    along: int


class Tile(NamedTuple):
    """M rows by V vectors; the last rows are ``last_m``, the last panel has ``last_v``.

    ``partial``: the last vector is not whole.
    """

    m: int
    last_m: int
    v: int
    last_v: int
    partial: bool


# Where w[a, b] meets the map: rows [p, p_end), pixels [q, q_end). ``a`` and ``b`` are where the
# two sides begin at p = q = 0.
Tap = namedtuple("Tap", "p p_end q q_end a b")


# The words of a job.  Side a gives the rows of a tile, side b its vectors.
Tiles = namedtuple(
    "Tiles",
    "chain hi lo a b blocks tiles tasks taps tap_count row_blocks panels a_channels a_image "
    "a_down a_along b_channels b_image b_down b_along",
)


class DenseWeightGrad:
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
        rows: Axis, cols: Axis, groups: int, dtype: np.dtype[np.generic],
    ) -> None:  # fmt: skip
        cout, cin, kh, kw = weights
        lanes, self.dtype = lanes_of(dtype), dtype
        x_side = _side(x, cin, rows.stride, cols.stride, dtype.itemsize)
        g_side = _side(g, cout // groups, 1, 1, dtype.itemsize)
        straight, turned = (
            _tile(a, b, lanes) for a, b in ((cin, cout // groups), (cout // groups, cin))
        )
        # The sums of a turned 1x1 window lie as dw does, which saves what few pixels cost.
        direct = kh == kw == 1 and math.prod(g[:3]) < 1000
        self.turned = turned[0] < straight[0] * (1.25 if direct else 1)
        tile = (turned if self.turned else straight)[1]
        a, b = (g_side, x_side) if self.turned else (x_side, g_side)
        self.shape = (groups, kh, kw, a.channels, b.channels)
        row_blocks, panels = -(-a.channels // tile.m), -(-b.channels // (tile.v * lanes))
        flat = all(axis[2:] == (1, 1, 0, 1) and axis.size == axis.out for axis in (rows, cols))
        self.blocks = blocks_of(g, flat, _CACHED // max(a.along + b.along, 1))
        tiles = groups * kh * kw * row_blocks * panels if self.blocks.number else 0
        words = Tiles(
            0, 0, 0, 0, 0, np.array(self.blocks), tiles, 0,
            _taps(rows, cols, x_side, self.turned, self.blocks.width), kh * kw, row_blocks, panels,
            *a, *b,
        )  # fmt: skip
        self.job = Job(over_blocks.of(dtype, tiles_of_visit.of(tile)), words, tiles)

    def bind(self, g: Array, x: Array, dw: Array) -> SumCall:
        """The call that writes the sums to ``dw``, (Cout, Cin/groups, kh, kw) in C order."""
        if not dw.flags.c_contiguous:
            raise ValueError(f"dw must be C-contiguous, this one has strides {dw.strides}")
        direct = self.turned and math.prod(self.shape[1:3]) == 1
        sums = dw.reshape(self.shape) if direct else empty(self.shape, self.dtype)
        ordered = sums.transpose((0, 3, 4, 1, 2) if self.turned else (0, 4, 3, 1, 2))
        parts = dw.reshape(ordered.shape)

        def deliver() -> None:
            if not direct:
                parts[...] = ordered

        a, b = (g, x) if self.turned else (x, g)
        return SumCall(self.job, self.blocks.number > 1, a, b, sums, deliver)


def _side(shape: Sequence[int], channels: int, down: int, along: int, size: int) -> Side:
    _, h, w, c = shape
    return Side(channels, h * w * c * size, down * w * c * size, along * c * size)


def _tile(rows: int, lanes_of: int, lanes: int) -> tuple[float, Tile]:
    """What it costs, and the tile."""
    vectors = -(-lanes_of // lanes)
    wide = 1 if vectors < 2 else 2
    last = vectors % wide or wide
    full = vectors // wide - (last == wide)
    choices = _ROWS.get(vector_bytes(), _ROWS[32])[wide]
    # A step costs its rows and some more, and a single vector waits for its broadcasts.
    work = {r: -(-rows // r) * (r + 4) * (full + 1) * (2 if wide == 2 else 1.3) for r in choices}
    best = min(choices, key=lambda r: work[r])
    return work[best], Tile(best, rows % best or best, wide, last, lanes_of % lanes != 0)


def _taps(rows: Axis, cols: Axis, x: Side, turned: bool, width: int) -> Array:
    """The table of taps; of one that is flat, all pixels are one row of ``width``."""
    table = []
    for a in range(rows.kernel):
        p = valid_range(rows.size, rows.out, a, rows.stride, rows.before, rows.dilation)
        for b in range(cols.kernel):
            q = valid_range(cols.size, cols.out, b, cols.stride, cols.before, cols.dilation)
            h, v = a * rows.dilation - rows.before, b * cols.dilation - cols.before
            at = h * (x.down // rows.stride) + v * (x.along // cols.stride)
            flat = width != cols.out
            p, q = ((0, 1), (0, width)) if flat else (p, q)
            table.append(Tap(*p, *q, *((0, at) if turned else (at, 0))))
    return np.array(table, np.int64)


# -- compiled


@template
def tiles_of_visit(
    job: Tiles, first: int, last: int, image: int, p: int, p_end: int, q: int, q_end: int,
    block: int, *, TILE: Tile,
) -> None:  # fmt: skip
    """Tiles first to last on the pixels [p, p_end) x [q, q_end) of an image."""
    row_blocks, panels, taps = job.row_blocks, job.panels, job.tap_count
    blocks = entry(Blocks, job.blocks, 0)
    for number in range(first, last):
        rest, row_block = divmod(number, row_blocks)
        rest, tap_number = divmod(rest, taps)
        group, panel = divmod(rest, panels)
        tap = entry(Tap, job.taps, tap_number)
        row, lane = row_block * TILE.m, panel * TILE.v * LANES
        rows, lanes = job.a_channels - row, job.b_channels - lane
        at = (((group * taps + tap_number) * job.a_channels + row) * job.b_channels + lane) * SIZE
        top, left = max(p, tap.p), max(q, tap.q)
        lines, pixels = min(p_end, tap.p_end) - top, min(q_end, tap.q_end) - left
        a = job.a + tap.a + image * job.a_image + top * job.a_down + left * job.a_along
        b = job.b + tap.b + image * job.b_image + top * job.b_down + left * job.b_along
        a += (group * job.a_channels + row) * SIZE
        b += (group * job.b_channels + lane) * SIZE
        for m in unroll(sorted({TILE.m, TILE.last_m})):
            if m == min(TILE.m, rows):
                if panel < panels - 1:
                    product[m, TILE.v, False](job, job.chain + at, a, b, lines, pixels, lanes)
                else:
                    product[m, TILE.last_v, TILE.partial](
                        job, job.chain + at, a, b, lines, pixels, lanes
                    )
        if block >= 0:
            for m in range(min(TILE.m, rows)):
                for v in range(0, min(TILE.v * LANES, lanes), LANES):
                    k, n = at + (m * job.b_channels + v) * SIZE, lanes - v
                    if n >= LANES:
                        carry[False](job.chain + k, job.hi + k, job.lo + k, n, block, blocks.number)
                    else:
                        carry[True](job.chain + k, job.hi + k, job.lo + k, n, block, blocks.number)


@template
def product(
    job: Tiles, y: int, a: int, b: int, lines: int, pixels: int, lanes: int,
    *, M: int, V: int, PARTIAL: bool,
) -> None:  # fmt: skip
    """y[m, v] += a[line, k, m] b[line, k, v] over lines and k."""
    acc, bs, to = registers(3)
    step, a_along, b_along = job.b_channels * SIZE, job.a_along, job.b_along
    for m in unroll(range(M)):
        to[m] = y + m * step
        for v in unroll(range(V)):
            if static(PARTIAL):
                acc[m, v] = load_n(to[m] + v * BYTES, lanes - v * LANES)
            else:
                acc[m, v] = load(to[m] + v * BYTES)
    for line in range(lines):
        a_pixel, b_pixel = a + line * job.a_down, b + line * job.b_down
        for _ in range(pixels):
            for v in unroll(range(V)):
                if static(PARTIAL):
                    bs[v] = load_n(b_pixel + v * BYTES, lanes - v * LANES)
                else:
                    bs[v] = load(b_pixel + v * BYTES)
            for m in unroll(range(M)):
                s = broadcast(a_pixel + m * SIZE)
                for v in unroll(range(V)):
                    acc[m, v] = fma(s, bs[v], acc[m, v])
            a_pixel += a_along
            b_pixel += b_along
    for m in unroll(range(M)):
        for v in unroll(range(V)):
            if static(PARTIAL):
                store_n(to[m] + v * BYTES, acc[m, v], lanes - v * LANES)
            else:
                store(to[m] + v * BYTES, acc[m, v])
