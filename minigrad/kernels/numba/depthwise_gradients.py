"""The gradients of the depthwise sums.

The input gradient is the forward sum of ``depthwise``, read from the other side.  The weight
gradient is

    dw[c,a,b] = sum over (n, p, q) of g[n,c,p,q] x[n,c,h,v],    h = p s - P + a d, ...

Lanes are channels.  For small windows a tile holds the chains of R rows of the window, all K
taps of one vector of channels, and walks along the lines of g, strip by strip: of each strip
it loads g once, and each column of x once in a row of taps.  At the ends of a line some taps
lie outside x; the tile knows when it is compiled which (``_strips``), and skips them.  Lines
that lack a row of taps go row by row.  Other windows go tap by tap (``dense_gradients``).
"""

from __future__ import annotations

import itertools
import math
from collections import namedtuple
from typing import NamedTuple

import numpy as np

from minigrad.geometry import Axis
from minigrad.kernels.contract import PIXELS, Array
from minigrad.kernels.numba._blocks import WeightGrad, blocks_of, carry, over_blocks
from minigrad.kernels.numba._launch import Job, lanes_of, vector_bytes
from minigrad.kernels.numba._segments import Sweep
from minigrad.kernels.numba._strips import Kind, is_small
from minigrad.kernels.numba._template import branch, entry, registers, template, unroll
from minigrad.kernels.numba._vectors import BYTES, LANES, fma, load_masked, step, store
from minigrad.kernels.numba.dense import table_of
from minigrad.kernels.numba.dense_gradients import tapwise_weight_grad, valid_ranges

__all__ = ["depthwise_weight_grad"]

_CACHED = 100_000  # bytes of x and g that one visit of a tile may have
_CHAINS = {64: 25, 32: 10, 16: 10}


class Line(NamedTuple):
    """A line of g in strips: the left end, as many as there are of two lengths, the right end."""

    left: Kind
    many: Kind
    one: Kind
    right: Kind

    @property
    def parts(self) -> list[tuple[str, Kind]]:
        """The strips that are there, and how often each comes: once, or a count by its name."""
        parts = zip(self._fields, self, strict=True)
        return [(name, kind) for name, kind in parts if kind.columns]


class Tile(NamedTuple):
    """The chains of R rows of the window, for one vector of channels, perhaps not whole."""

    r: int
    line: Line
    partial: bool


# Lines [p, p_end) of g with the same rows of taps, ``tall`` of them from ``a`` on. x begins at
# ``x`` where p = 0.
Rows = namedtuple("Rows", "p p_end x a tall")


# The words of a job: a tile is a vector of channels; ``pixel`` is from column to column of x and
# of g, ``x_row`` to the next row of taps.
Tiles = namedtuple(
    "Tiles",
    "chain hi lo g x blocks tiles tasks rows row_count taps channels pixel x_image x_down "
    "x_along x_row g_image g_down",
)


def depthwise_weight_grad(sweep: Sweep) -> WeightGrad:
    """The weight gradient for one shape."""
    x, g, rows, cols, dtype = sweep.source, sweep.out, sweep.rows, sweep.cols, sweep.dtype
    line = _line(cols)
    if not line:
        return tapwise_weight_grad(sweep)
    size, lanes, channels = dtype.itemsize, lanes_of(dtype), x[3]
    tall = max(min(_CHAINS[vector_bytes()] // cols.kernel, rows.kernel), 1)
    pixel, g_line, x_line = (n * channels * size for n in (1, g[2], x[2]))
    blocks = blocks_of(g, False, _CACHED // (lanes * size * (1 + cols.stride)))
    table = _rows(rows, x_line, -cols.before * pixel, tall)
    vectors, taps = -(-channels // lanes) if blocks.number else 0, rows.kernel * cols.kernel
    words = Tiles(
        0, 0, 0, 0, 0, np.array(blocks), vectors, 0, table, len(table), taps, channels, pixel,
        math.prod(x[1:]) * size, rows.stride * x_line, cols.stride * pixel,
        rows.dilation * x_line, math.prod(g[1:]) * size, g_line,
    )  # fmt: skip
    tiles = tiles_of_visit.of(Tile(tall, line, channels % lanes != 0))
    job = Job(over_blocks.of(dtype, tiles), words, vectors)
    shape = 1, rows.kernel, cols.kernel, 1, channels
    return WeightGrad(job, blocks.number > 1, shape, True, sweep)


def _line(cols: Axis) -> Line | None:
    """The strips of a line, if the window is small and the line long enough to have two ends."""
    ranges = valid_ranges(cols)
    left, last = max(r[0] for r in ranges), min(r[1] for r in ranges)
    right = cols.out - last
    if not is_small(cols) or left >= last or left > 3 or right > 3 or cols.out > PIXELS:
        return None

    def strip(columns: int, low: int = 0, high: int | None = None) -> Kind:
        kind = Kind(columns, cols.kernel, cols.stride, False, 0, low, 0)
        return kind._replace(high=kind.reach if high is None else min(kind.reach, high))

    after = cols.size + cols.before - last * cols.stride
    return Line(strip(left, low=cols.before), strip(4), strip(1), strip(right, high=after))


def _rows(rows: Axis, line: int, start: int, tall: int) -> Array:
    """The table of ``Rows``, in the order in which every tap meets its lines.

    ``tall`` is the most rows of taps that one has; x begins at ``start`` where p = a = 0.
    """
    ranges, table = valid_ranges(rows), []
    for p, p_end in itertools.pairwise(sorted({p for r in ranges for p in r})):
        there = [a for a, r in enumerate(ranges) if r[0] <= p and p_end <= r[1]]
        while there:
            a, count = there[0], tall if len(there) >= tall else 1
            x = start + (a * rows.dilation - rows.before) * line
            table.append(Rows(p, p_end, x, a, count))
            del there[:count]
    return table_of(table, Rows)


# -- compiled


@template
def tiles_of_visit(
    job: Tiles, first: int, last: int, image: int, p: int, p_end: int, q: int, q_end: int,
    block: int, *, TILE: Tile,
) -> None:  # fmt: skip
    """Vectors first to last on the lines [p, p_end) of an image, each whole: [q, q_end)."""
    for vector in range(first, last):
        at, n = vector * BYTES, job.channels - vector * LANES
        for number in range(job.row_count):
            rows = entry(Rows, job.rows, number)
            top = max(p, rows.p)
            lines = min(p_end, rows.p_end) - top
            if lines > 0:
                y = job.chain + rows.a * (TILE.line.many.kernel * job.pixel) + at
                x = job.x + rows.x + image * job.x_image + top * job.x_down + at
                g = job.g + image * job.g_image + top * job.g_down + at
                sweep[branch(rows.tall == TILE.r, TILE.r, 1), TILE](
                    job, y, x, g, lines, q_end - q, n
                )
        if block >= 0:
            carry(job, at, job.taps, job.pixel, min(n, LANES), block)


@template
def sweep(
    job: Tiles, y: int, x: int, g: int, lines: int, pixels: int, n: int, *, R: int, TILE: Tile
) -> None:
    """y[a, b] += g[line, q] x[line, a, q s + b] over lines and q."""
    acc, gs, tap, beside = registers(4)
    vector = n if TILE.partial else LANES
    x_along, x_row, pixel = job.x_along, job.x_row, job.pixel
    inner = pixels - (TILE.line.left.columns + TILE.line.right.columns)
    many, one = divmod(inner, TILE.line.many.columns)
    for j in unroll(range(TILE.line.many.columns)):
        beside[j] = j * pixel
    for k in unroll(range(R * TILE.line.many.kernel)):
        tap[k] = y + k * pixel
        acc[k] = load_masked(tap[k], vector)
    for line in range(lines):
        x_pixel, g_pixel = x + line * job.x_down, g + line * job.g_down
        for name, strip in unroll(TILE.line.parts):
            for _ in range(many if name == "many" else one if name == "one" else 1):
                for j in unroll(range(strip.columns)):
                    gs[j] = load_masked(g_pixel + beside[j], vector)
                for a in unroll(range(R)):
                    column = step(x_pixel + a * x_row + strip.low * pixel, 0)
                    for readers in unroll(strip.outputs):
                        c = load_masked(column, vector)
                        for j, b in unroll(readers):
                            acc[a * strip.kernel + b] = fma(gs[j], c, acc[a * strip.kernel + b])
                        column = step(column, pixel)
                x_pixel += strip.columns * x_along
                g_pixel += strip.columns * pixel
    for k in unroll(range(R * TILE.line.many.kernel)):
        store(tap[k], acc[k], vector)
