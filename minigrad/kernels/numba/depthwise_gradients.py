"""The gradients of the depthwise sums.

The input gradient is the forward sum of ``depthwise``, read from the other side.  The weight
gradient is

    dw[c,a,b] = sum over (n, p, q) of g[n,c,p,q] x[n,c,h,v],    h = p s - P + a d, ...

Lanes are channels.  For small windows a tile holds the chains of R rows of the window, all K
taps of one vector of channels, and walks along the lines of g: at each pixel it loads g once,
and each column of x once in a row of taps.  At the ends of a line some taps lie outside x; the
tile knows when it is compiled which, and skips them.  Lines that lack a row of taps go row by
row.  For other windows each tap is a tile of its own, of several vectors, with its own range
of q.  How the pixels are cut into blocks: ``_blocks``.
"""

from __future__ import annotations

import itertools
import math
from collections import namedtuple
from collections.abc import Sequence
from itertools import product
from typing import NamedTuple

import numpy as np

from minigrad.geometry import valid_range
from minigrad.kernels.contract import PIXELS, Array
from minigrad.kernels.numba._blocks import Blocks, SumCall, blocks_of, carry, over_blocks
from minigrad.kernels.numba._launch import Job, empty, lanes_of, vector_bytes
from minigrad.kernels.numba._segments import Axis
from minigrad.kernels.numba._template import entry, registers, static, template, unroll
from minigrad.kernels.numba._vectors import BYTES, LANES, fma, load, load_n, step, store

__all__ = ["DepthwiseWeightGrad"]

_CACHED = 100_000  # bytes of x and g that one visit of a tile may have
_CHAINS = {64: 25, 32: 10, 16: 10}
_WIDEST = {64: 16, 32: 10, 16: 10}  # vectors of a tile of one tap
Pair = tuple[int, int]


class Ends(NamedTuple):
    """The taps of a line's ends: ``left`` pixels lack taps before, ``right`` ones after.

    At pixel i of the left end, tap b exists if i s + b >= before; at pixel j of the right
    end, if j s + b < after.
    """

    left: int
    right: int
    before: int
    after: int


class Window(NamedTuple):
    """What a tile knows when it is compiled: the taps of a row, their stride, the ends."""

    kernel: int
    stride: int
    ends: Ends

    @property
    def pixels(self) -> int:
        """How many pixels are taken together in the middle of a line."""
        return 4 if self.kernel > 1 else 1

    @property
    def parts(self) -> list[tuple[str, list[list[int]]]]:
        """The parts of a line: how often they come, and for each of their pixels its taps."""
        every, s = list(range(self.kernel)), self.stride
        left = [[b for b in every if i * s + b >= self.ends.before] for i in range(self.ends.left)]
        right = [[b for b in every if j * s + b < self.ends.after] for j in range(self.ends.right)]
        middle = [("many", [every] * self.pixels)]
        if self.pixels > 1:
            middle.append(("rest", [every]))
        return [part for part in (("once", left), *middle, ("once", right)) if part[1]]

    @property
    def most(self) -> int:
        """The most pixels of a part."""
        return max(len(taps) for _, taps in self.parts)


def readers_of(taps: Sequence[Sequence[int]], stride: int) -> list[list[Pair]]:
    """For each column that neighbouring pixels with these taps reach: (pixel, tap) of each.

    A pixel whose whole window lies on padding has no taps.
    """
    reached = (j * stride + b + 1 for j, valid in enumerate(taps) for b in valid)
    columns = max(reached, default=0)
    return [
        [(j, e - j * stride) for j, valid in enumerate(taps) if e - j * stride in valid]
        for e in range(columns)
    ]


class Tile(NamedTuple):
    """The chains of R rows of the window, for V vectors, perhaps not whole."""

    r: int
    v: int
    window: Window
    partial: bool


# Lines [p, p_end) of g with the same rows of taps, ``tall`` of them from ``tap`` on. q from ``q``
# to ``q_end``; x and g begin at ``x`` and ``g`` where p = 0.
Rows = namedtuple("Rows", "p p_end q q_end x tap tall")


# The words of a job: a tile is a group of vectors of channels; ``x_tap``: to the next tap of a
# row; ``x_row``: to the next row of taps.
Tiles = namedtuple(
    "Tiles",
    "chain hi lo x g blocks tiles tasks rows row_count taps channels vectors x_image x_down "
    "x_along x_tap x_row g_image g_down g_along",
)


class DepthwiseWeightGrad:
    """The weight gradient for one shape.

    Parameters
    ----------
    x : shape (N, H, W, C)
    g : shape (N, Ho, Wo, C)
    rows, cols : the two axes
    """

    def __init__(
        self,
        x: Sequence[int],
        g: Sequence[int],
        rows: Axis,
        cols: Axis,
        dtype: np.dtype[np.generic],
    ) -> None:
        size, lanes, channels = dtype.itemsize, lanes_of(dtype), x[3]
        self.dtype, self.channels, self.window = dtype, channels, (rows.kernel, cols.kernel)
        vectors = -(-channels // lanes)
        self.padded = vectors * lanes
        ends = _ends(cols)
        window = Window(cols.kernel, cols.stride, ends) if ends else Window(1, 0, Ends(0, 0, 0, 0))
        tall = max(min(_CHAINS[vector_bytes()] // cols.kernel, rows.kernel), 1) if ends else 1
        wide = 1 if ends else _width(vectors)
        pixel, line, x_line = (n * channels * size for n in (1, g[2], x[2]))
        both = wide * lanes * size * (1 + cols.stride)
        self.blocks = blocks_of(g, False, _CACHED // both)
        table = _rows(rows, cols, x_line, pixel, tall, whole=ends is not None)
        groups = -(-vectors // wide) if self.blocks.number else 0
        words = Tiles(
            0, 0, 0, 0, 0, np.array(self.blocks), groups, 0, table, len(table),
            math.prod(self.window), channels, vectors, math.prod(x[1:]) * size,
            rows.stride * x_line, cols.stride * pixel, pixel,
            rows.dilation * x_line, math.prod(g[1:]) * size, line, pixel,
        )  # fmt: skip
        tiles = tiles_of_visit.of(Tile(tall, wide, window, channels % lanes != 0))
        self.job = Job(over_blocks.of(dtype, tiles), words, groups)

    def bind(self, g: Array, x: Array, dw: Array) -> SumCall:
        """The call that writes the sums to ``dw``, (C, 1, kh, kw), best a view of (kh, kw, C)."""
        wanted, padded = dw[:, 0].transpose(1, 2, 0), (*self.window, self.padded)
        direct = wanted.shape == padded and wanted.flags.c_contiguous
        sums = wanted if direct else empty(padded, self.dtype)

        def deliver() -> None:
            if not direct:
                wanted[...] = sums[..., : self.channels]

        return SumCall(self.job, self.blocks.number > 1, x, g, sums, deliver)


def _ends(cols: Axis) -> Ends | None:
    """The ends of a line, if the window is small and the line long enough to have two."""
    small = cols.kernel in (3, 5) and cols.stride in (1, 2) and cols.dilation == 1
    ranges = [
        valid_range(cols.size, cols.out, b, cols.stride, cols.before, 1) for b in range(cols.kernel)
    ]
    first, last = max(r[0] for r in ranges), min(r[1] for r in ranges)
    left, right = first, cols.out - last
    if not small or first >= last or left > 3 or right > 3 or cols.out > PIXELS:
        return None
    return Ends(left, right, cols.before, cols.size + cols.before - last * cols.stride)


def _width(vectors: int) -> int:
    """How many vectors of channels a tile of one tap takes: little waste first, then many."""
    most = max(1, min(_WIDEST[vector_bytes()], vectors))
    return min(range(1, most + 1), key=lambda v: (-(-vectors // v) * max(v, 8), -v))


def _rows(rows: Axis, cols: Axis, line: int, pixel: int, tall: int, whole: bool) -> Array:
    """The table of ``Rows``, in the order in which every tap meets its lines.

    ``tall`` is the most rows of taps that one has, ``whole`` whether it has all taps of a row.
    """
    table = []
    for p, p_end, first, last in _runs(rows):
        a = first
        while a < last:
            count = tall if a + tall <= last else 1
            down = (a * rows.dilation - rows.before) * line
            for b in range(1 if whole else cols.kernel):
                q = (0, cols.out) if whole else valid_range(
                    cols.size, cols.out, b, cols.stride, cols.before, cols.dilation
                )  # fmt: skip
                x = down + (b * cols.dilation - cols.before) * pixel
                table.append(Rows(p, p_end, *q, x, a * cols.kernel + b, count))
            a += count
    return np.array(table, np.int64).reshape(-1, len(Rows._fields))


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


# -- compiled


@template
def tiles_of_visit(
    job: Tiles, first: int, last: int, image: int, p: int, p_end: int, q: int, q_end: int,
    block: int, *, TILE: Tile,
) -> None:  # fmt: skip
    """Groups first to last on the pixels [p, p_end) x [q, q_end) of an image."""
    tap_bytes = job.vectors * BYTES
    for group in range(first, last):
        vector = group * TILE.v
        for number in range(job.row_count):
            rows = entry(Rows, job.rows, number)
            top, left = max(p, rows.p), max(q, rows.q)
            lines, pixels = min(p_end, rows.p_end) - top, min(q_end, rows.q_end) - left
            if lines > 0 and pixels > 0:
                y = job.chain + rows.tap * tap_bytes
                x = job.x + rows.x + image * job.x_image + top * job.x_down + left * job.x_along
                g = job.g + image * job.g_image + top * job.g_down + left * job.g_along
                if rows.tall == TILE.r:
                    sweep[TILE.r, TILE](job, y, x, g, lines, pixels, vector)
                else:
                    sweep[1, TILE](job, y, x, g, lines, pixels, vector)
        if block >= 0:
            blocks = entry(Blocks, job.blocks, 0)
            for tap in range(job.taps):
                for v in range(vector, min(vector + TILE.v, job.vectors)):
                    k = tap * tap_bytes + v * BYTES
                    carry[False](job.chain + k, job.hi + k, job.lo + k, 0, block, blocks.number)


@template
def sweep(
    job: Tiles, y: int, x: int, g: int, lines: int, pixels: int, vector: int, *, R: int, TILE: Tile
) -> None:
    """y[v, a, b] += g[line, q, v] x[line, a, q s + b, v] over lines and q.

    Vectors that are not there repeat the last.
    """
    acc, gs, at, n, tap, beside = registers(6)
    x_along, x_tap, x_row, g_along = job.x_along, job.x_tap, job.x_row, job.g_along
    tap_bytes = job.vectors * BYTES
    many = (pixels - TILE.window.ends.left - TILE.window.ends.right) // TILE.window.pixels
    rest = (pixels - TILE.window.ends.left - TILE.window.ends.right) % TILE.window.pixels
    for j in unroll(range(TILE.window.most)):
        beside[j] = j * g_along
    for v in unroll(range(TILE.v)):
        at[v] = min(vector + v, job.vectors - 1) * BYTES
        n[v] = job.channels - min(vector + v, job.vectors - 1) * LANES
        for k in unroll(range(R * TILE.window.kernel)):
            tap[k] = k * tap_bytes
            acc[v, k] = load(y + at[v] + tap[k])
    for line in range(lines):
        x_pixel, g_pixel = x + line * job.x_down, g + line * job.g_down
        for times, taps in unroll(TILE.window.parts):
            for _ in range(
                many if static(times == "many") else 1 if static(times == "once") else rest
            ):
                for v, j in unroll(product(range(TILE.v), range(len(taps)))):
                    if static(TILE.partial):
                        gs[v, j] = load_n(g_pixel + beside[j] + at[v], n[v])
                    else:
                        gs[v, j] = load(g_pixel + beside[j] + at[v])
                for a in unroll(range(R)):
                    column = step(x_pixel + a * x_row, 0)
                    for readers in unroll(readers_of(taps, TILE.window.stride)):
                        for v in unroll(range(TILE.v)):
                            if static(TILE.partial):
                                c = load_n(column + at[v], n[v])
                            else:
                                c = load(column + at[v])
                            for j, b in unroll(readers):
                                acc[v, a * TILE.window.kernel + b] = fma(
                                    gs[v, j], c, acc[v, a * TILE.window.kernel + b]
                                )
                        column = step(column, x_tap)
                x_pixel += len(taps) * x_along
                g_pixel += len(taps) * g_along
    for v in unroll(range(TILE.v)):
        for k in unroll(range(R * TILE.window.kernel)):
            store(y + at[v] + tap[k], acc[v, k])
