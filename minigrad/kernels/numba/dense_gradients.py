"""The gradients of the sums that mix channels.

The input gradient is the forward sum of ``dense``, read from the other side.  The weight
gradient,

    dw[o,i,a,b] = sum over (n, p, q) of g[n,o,p,q] x[n,i,h,v],    h = p s - P + a d, ...

is for each tap a product of matrices over the pixels: of x and g, one gives the rows of a
register tile, the other its vectors, whichever fits the tile better; the sums and their
order are the same (``_blocks``).  Large depthwise windows have the same kernel: a tile is
vectors of channels, and g gives vectors too.
"""

from __future__ import annotations

import itertools
import math
from collections import namedtuple
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from minigrad.geometry import Axis
from minigrad.kernels.contract import Array
from minigrad.kernels.numba._blocks import WeightGrad, blocks_of, carry, over_blocks
from minigrad.kernels.numba._launch import Job, lanes_of, vector_bytes
from minigrad.kernels.numba._segments import Sweep
from minigrad.kernels.numba._template import branch, entry, registers, template, unroll
from minigrad.kernels.numba._vectors import BYTES, LANES, SIZE, broadcast, fma, load_masked, store
from minigrad.kernels.numba.dense import Panel, table_of

__all__ = ["dense_weight_grad", "tapwise_weight_grad", "valid_ranges"]

_CACHED = 80_000  # bytes of x and g that one visit may have
_ROWS = {64: {1: (12,), 2: (14, 12, 10, 8, 4)}, 32: {1: (8,), 2: (6, 5, 4)}}
_WIDE = 8  # vectors of a tile that does not mix channels


class Side(NamedTuple):
    """How one of x and g moves with (n, p, q), in bytes, and its channels in a group."""

    channels: int
    image: int
    down: int
    along: int


class Tile(NamedTuple):
    """M rows by a panel of vectors; the last rows are ``last_m``, the last panel ``last``."""

    m: int
    last_m: int
    panel: Panel
    last: Panel
    mixes: bool


# Where w[a, b] meets the map: rows [p, p_end), pixels [q, q_end). ``a`` and ``b`` are where the
# two sides begin at p = q = 0.
Tap = namedtuple("Tap", "p p_end q q_end a b")


# The words of a job.  Side a gives the rows of a tile, side b its vectors.
Tiles = namedtuple(
    "Tiles",
    "chain hi lo a b blocks tiles tasks taps tap_count row_blocks panels a_channels a_image "
    "a_down a_along b_channels b_image b_down b_along",
)


def dense_weight_grad(sweep: Sweep) -> WeightGrad:
    """The weight gradient for one shape."""
    inputs, outputs = sweep.weights[1], sweep.weights[0] // sweep.groups
    pairs = (inputs, outputs), (outputs, inputs)
    straight, turned = (_tile(*sides, sweep.dtype) for sides in pairs)
    # The sums of a turned 1x1 window lie as dw does, which saves what few pixels cost.
    direct = sweep.weights[2:] == (1, 1) and math.prod(sweep.out[:3]) < 1000
    is_turned = turned[0] < straight[0] * (1.25 if direct else 1)
    tile = (turned if is_turned else straight)[1]
    return _weight_grad(sweep, inputs, outputs, tile, is_turned)


def tapwise_weight_grad(sweep: Sweep) -> WeightGrad:
    """The weight gradient that keeps channels apart, for any window, one tap after another."""
    channels, lanes = sweep.source[3], lanes_of(sweep.dtype)
    vectors = -(-channels // lanes)
    last = Panel(vectors % _WIDE or _WIDE, channels % lanes != 0)
    tile = Tile(1, 1, Panel(_WIDE, False), last, False)
    return _weight_grad(sweep._replace(groups=1), channels, 1, tile, True)


def _weight_grad(sweep: Sweep, inputs: int, outputs: int, tile: Tile, turned: bool) -> WeightGrad:
    """The weight gradient with this tile; ``inputs`` and ``outputs`` are a group's of x and g."""
    x, g, rows, cols, groups, dtype = (
        sweep.source, sweep.out, sweep.rows, sweep.cols, sweep.groups, sweep.dtype,
    )  # fmt: skip
    x_side = _side(x, inputs, rows.stride, cols.stride, dtype.itemsize)
    g_side = _side(g, outputs, 1, 1, dtype.itemsize)
    a, b = (g_side, x_side) if turned else (x_side, g_side)
    row_blocks = -(-a.channels // tile.m)
    panels = -(-b.channels // (tile.panel.v * lanes_of(dtype)))
    flat = all(axis[2:] == (1, 1, 0, 1) and axis.size == axis.out for axis in (rows, cols))
    blocks = blocks_of(g, flat, _CACHED // max(a.along + b.along, 1))
    taps = _taps(rows, cols, x_side, turned, blocks.width)
    tiles = groups * len(taps) * row_blocks * panels if blocks.number else 0
    words = Tiles(
        0, 0, 0, 0, 0, np.array(blocks), tiles, 0, taps, len(taps), row_blocks, panels, *a, *b
    )
    job = Job(over_blocks.of(dtype, tiles_of_visit.of(tile)), words, tiles)
    shape = groups, rows.kernel, cols.kernel, a.channels, b.channels
    return WeightGrad(job, blocks.number > 1, shape, turned, sweep)


def _side(shape: Sequence[int], channels: int, down: int, along: int, size: int) -> Side:
    _, h, w, c = shape
    return Side(channels, h * w * c * size, down * w * c * size, along * c * size)


def _tile(rows: int, outputs: int, dtype: np.dtype[np.generic]) -> tuple[float, Tile]:
    """What a tile costs for so many rows and lanes, and the tile."""
    lanes = lanes_of(dtype)
    vectors = -(-outputs // lanes)
    wide = 1 if vectors < 2 else 2
    last = vectors % wide or wide
    full = vectors // wide - (last == wide)
    choices = _ROWS.get(vector_bytes(), _ROWS[32])[wide]
    # A step costs its rows and some more, and a single vector waits for its broadcasts.
    work = {r: -(-rows // r) * (r + 4) * (full + 1) * (2 if wide == 2 else 1.3) for r in choices}
    best = min(choices, key=lambda r: work[r])
    panel, last_panel = Panel(wide, False), Panel(last, outputs % lanes != 0)
    return work[best], Tile(best, rows % best or best, panel, last_panel, True)


def valid_ranges(axis: Axis) -> list[tuple[int, int]]:
    """For each tap the positions [p, p_end) of the output whose input is there."""
    return [axis.valid(a) for a in range(axis.kernel)]


def _taps(rows: Axis, cols: Axis, x: Side, turned: bool, width: int) -> Array:
    """The table of taps; of one that is flat, all pixels are one row of ``width``."""
    table = []
    taps = itertools.product(enumerate(valid_ranges(rows)), enumerate(valid_ranges(cols)))
    for (a, p), (b, q) in taps:
        h, v = a * rows.dilation - rows.before, b * cols.dilation - cols.before
        at = h * (x.down // rows.stride) + v * (x.along // cols.stride)
        p, q = ((0, 1), (0, width)) if width != cols.out else (p, q)
        table.append(Tap(*p, *q, *((0, at) if turned else (at, 0))))
    return table_of(table, Tap)


# -- compiled


@template
def tiles_of_visit(
    job: Tiles, first: int, last: int, image: int, p: int, p_end: int, q: int, q_end: int,
    block: int, *, TILE: Tile,
) -> None:  # fmt: skip
    """Tiles first to last on the pixels [p, p_end) x [q, q_end) of an image."""
    row_blocks, panels, taps = job.row_blocks, job.panels, job.tap_count
    for number in range(first, last):
        rest, row_block = divmod(number, row_blocks)
        rest, tap_number = divmod(rest, taps)
        group, panel = divmod(rest, panels)
        tap = entry(Tap, job.taps, tap_number)
        row, lane = row_block * TILE.m, panel * (TILE.panel.v * LANES)
        rows, lanes = min(TILE.m, job.a_channels - row), job.b_channels - lane
        at = (((group * taps + tap_number) * job.a_channels + row) * job.b_channels + lane) * SIZE
        top, left = max(p, tap.p), max(q, tap.q)
        lines, pixels = min(p_end, tap.p_end) - top, min(q_end, tap.q_end) - left
        a = job.a + tap.a + image * job.a_image + top * job.a_down + left * job.a_along
        b = job.b + tap.b + image * job.b_image + top * job.b_down + left * job.b_along
        a += (group * job.a_channels + row if TILE.mixes else lane) * SIZE
        b += (group * job.b_channels + lane) * SIZE
        product[
            branch(rows == TILE.m, TILE.m, TILE.last_m),
            branch(panel < panels - 1, TILE.panel, TILE.last),
            TILE.mixes,
        ](job, job.chain + at, a, b, lines, pixels, lanes)
        if block >= 0:
            step, wide = job.b_channels * SIZE, min(lanes, TILE.panel.v * LANES)
            carry(job, at, rows, step, wide, block)


@template
def product(
    job: Tiles, y: int, a: int, b: int, lines: int, pixels: int, lanes: int,
    *, M: int, PANEL: Panel, MIXES: bool,
) -> None:  # fmt: skip
    """y[m, v] += a[line, k, m] b[line, k, v] over lines and k."""
    acc, bs, to, n = registers(4)
    step, a_along, b_along = job.b_channels * SIZE, job.a_along, job.b_along
    for v in unroll(range(PANEL.v)):
        n[v] = lanes - v * LANES if PANEL.partial else LANES
    for m in unroll(range(M)):
        to[m] = y + m * step
        for v in unroll(range(PANEL.v)):
            acc[m, v] = load_masked(to[m] + v * BYTES, n[v])
    for line in range(lines):
        a_pixel, b_pixel = a + line * job.a_down, b + line * job.b_down
        for _ in range(pixels):
            for v in unroll(range(PANEL.v)):
                bs[v] = load_masked(b_pixel + v * BYTES, n[v])
            for m in unroll(range(M)):
                if MIXES:
                    s = broadcast(a_pixel + m * SIZE)
                for v in unroll(range(PANEL.v)):
                    if not MIXES:
                        s = load_masked(a_pixel + v * BYTES, n[v])
                    acc[m, v] = fma(s, bs[v], acc[m, v])
            a_pixel += a_along
            b_pixel += b_along
    for m in unroll(range(M)):
        for v in unroll(range(PANEL.v)):
            store(to[m] + v * BYTES, acc[m, v], n[v])
