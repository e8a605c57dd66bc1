"""The sums that mix channels: pointwise, dense and general convolution, and linear.

Forward and input gradient are one sum: a position reads, for each of its taps, a vector of
channels of the source, and multiplies it with a matrix,

    out[n,position,j] = bias[j] + sum over (a, b, k) of source[n, tap(a, b), k] weights[a,b,k,j].

Forward: source x, k the input channel, j the output channel.  Input gradient: source g,
k the output channel, j the input channel, the same weights seen from the other side.

A register tile is M positions times V vectors of j; a step reads M numbers of the source,
V vectors of weights, and makes M V fused multiply-adds.  The weights are packed into
panels of V vectors beforehand, so that a step reads them in sequence.
"""

from __future__ import annotations

import functools
import math
from collections import namedtuple
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from minigrad.kernels.contract import Array
from minigrad.kernels.numba._launch import Job, kernel, lanes_of, vector_bytes
from minigrad.kernels.numba._segments import Segment
from minigrad.kernels.numba._template import entry, registers, template, unroll

from minigrad.kernels.numba._vectors import (  # isort: skip
    BYTES, LANES, SIZE, broadcast, fma, load, put, stack, store, store_n, word,
)  # fmt: skip
from minigrad.kernels.numba.layout import Pack

__all__ = ["DenseSum", "packing"]

_MACS_A_TASK = 400_000
_WEIGHTS_A_TASK = 120_000  # what fits half of a second-level cache


class Tile(NamedTuple):
    """M positions by V vectors; the last panel of a row of vectors has ``last_v`` of them."""

    m: int
    v: int
    last_v: int


# More vectors read the source less often, more positions the weights: M V accumulators,
# V weights and a broadcast must fit the registers (32 with AVX-512, 16 with AVX2), and where
# V is 1 the M addresses too.
_TILES = {64: {1: 12, 2: 14, 3: 9, 4: 6}, 32: {1: 12, 2: 6, 3: 4}, 16: {1: 12, 2: 6, 3: 4}}


@functools.cache
def choose_tile(vectors: int, width: int) -> Tile:
    """The tile for so many vectors of outputs: whole panels first, then a wide one."""
    shapes = _TILES[width]

    def cost(n: int) -> float:
        full, rest = divmod(vectors, n)
        # A tile one vector wide is limited by its loads.
        return full * n * (1.2 if n == 1 else 1.0) + rest * (1.3 if rest == 1 else 1.0)

    best = min(sorted(shapes, key=lambda n: abs(n - 2)), key=cost)
    return Tile(shapes[best], best, vectors % best or best)


@functools.lru_cache(maxsize=512)
def packing(
    weights: tuple[int, ...], dtype: np.dtype[np.generic], groups: int, adjoint: bool
) -> tuple[Tile, Pack]:
    """The tile for weights of a shape, and what packs them for it."""
    outputs, lanes = weights[1] if adjoint else weights[0] // groups, lanes_of(dtype)
    tile = choose_tile(-(-outputs // lanes), vector_bytes())
    return tile, Pack(weights, dtype, groups, adjoint, tile.v * lanes, tile.last_v * lanes)


class DenseSum:
    """The sum above for one shape, (a, b, k) ascending, one accumulator an element.

    Parameters
    ----------
    source : shape (N, H, W, groups K)
    weights : shape (Cout, Cin/groups, kh, kw)
    out : shape (N, H', W', groups J) of the result
    rows, cols : the segments of its two axes
    adjoint : whether J is the input channel
    """

    def __init__(
        self, source: Sequence[int], weights: Sequence[int], out: Sequence[int],
        rows: tuple[Segment, ...], cols: tuple[Segment, ...], groups: int, adjoint: bool,
        dtype: np.dtype[np.generic],
    ) -> None:  # fmt: skip
        size = dtype.itemsize
        outputs, inputs = out[3] // groups, source[3] // groups
        tile, self.pack = packing(tuple(weights), dtype, groups, adjoint)
        panels, panel = self.pack.panels, tile.v * lanes_of(dtype)
        layer = _Layer(
            rows, cols, source[2], out[2], groups, inputs, outputs, weights[3], panels, size
        )
        self.shape, self.dtype = tuple(out), dtype
        tasks, reads = _tasks(layer, tile.m, panel)
        self.zeros = np.zeros((groups, panels * panel), dtype)
        self.exact = outputs == panels * panel
        words = Dense(
            0, 0, 0, 0, tasks, reads, len(tasks), math.prod(out[1:]) * size,
            math.prod(source[1:]) * size, outputs, inputs, self.pack.panel_bytes, panels,
        )  # fmt: skip
        all_tasks = out[0] * len(tasks) if math.prod(out) else 0
        self.job = Job(dense.of(dtype, *tile), words, all_tasks)

    def bind(self, source: Array, packed: Array, bias: Array | None, out: Array) -> Job:
        """The call that writes the sum to ``out``; ``packed`` are the weights, see ``pack``."""
        return self.job.on(out, source, packed, self._start(bias))

    def _start(self, bias: Array | None) -> Array:
        if bias is None:
            return self.zeros
        if self.exact and bias.flags.c_contiguous and bias.flags.aligned:
            return bias
        start: Array = self.zeros.copy()
        groups = len(start)
        start[:, : len(bias) // groups] = bias.reshape(groups, -1)
        return start


class _Layer(NamedTuple):
    rows: tuple[Segment, ...]
    cols: tuple[Segment, ...]
    source_width: int
    width: int
    groups: int
    inputs: int
    outputs: int
    kw: int
    panels: int
    itemsize: int


def _tasks(layer: _Layer, positions: int, panel: int) -> tuple[Array, Array]:
    """What there is to do for one image, and the reads that the tasks refer to.

    A rectangle (a segment of rows, one of columns) has one list of taps.  Its positions,
    counted row by row, are cut into tasks of whole tiles; large weights are cut too, the
    positions inside, so that a part of them stays in the cache.
    """
    pixel_in = layer.groups * layer.inputs * layer.itemsize
    pixel_out = layer.groups * layer.outputs * layer.itemsize
    tasks: list[Task] = []
    reads: list[Read] = []
    for r in layer.rows:
        for c in layer.cols:
            there = list(_reads(layer, r, c, pixel_in))
            depth = max(1, sum(read.length for read in there))
            area = (
                (r.first * layer.width + c.first) * pixel_out, c.length,
                r.step * layer.width * pixel_out, r.advance * layer.source_width * pixel_in,
                c.step * pixel_out, c.advance * pixel_in,
            )  # fmt: skip
            for group, cut in _cuts(layer, r.length * c.length, positions, depth * panel):
                tasks.append(Task(group, *area, *cut, len(reads), len(there)))
            reads += there
    return np.array(tasks, np.int64), np.array(reads or [Read(0, 0, 0)], np.int64)


def _reads(layer: _Layer, r: Segment, c: Segment, pixel: int) -> Iterator[Read]:
    """The reads of the taps, neighbours joined."""
    read = Read(0, 0, 0)
    for a, h in r.taps:
        for b, v in c.taps:
            at, row = (h * layer.source_width + v) * pixel, (a * layer.kw + b) * layer.inputs
            follows = at == read.at + read.length * layer.itemsize and row == read.row + read.length
            if read.length and follows:
                read = read._replace(length=read.length + layer.inputs)
                continue
            if read.length:
                yield read
            read = Read(at, row, layer.inputs)
    if read.length:
        yield read


def _cuts(
    layer: _Layer, area: int, positions: int, macs: int
) -> Iterator[tuple[int, tuple[int, int, int, int]]]:
    """(group, (first and last position, first and last panel)) of each task."""
    most = max(1, _WEIGHTS_A_TASK // macs)
    few = max(1, _MACS_A_TASK // (macs * positions))
    wide = max(1, min(layer.panels, most, few))  # no outputs, no panels
    tall = max(1, _MACS_A_TASK // (macs * positions * wide)) * positions
    for group in range(layer.groups):
        for panel in range(0, layer.panels, wide):
            for first in range(0, area, tall):
                last_panel = min(panel + wide, layer.panels)
                yield group, (first, min(first + tall, area), panel, last_panel)


# -- compiled


# The words of a job.  Steps are in bytes.
Dense = namedtuple(
    "Dense",
    "out source packed bias tasks reads tasks_per_image out_image source_image outputs inputs "
    "panel_bytes panels",
)


# Positions [first, last) of a rectangle, ``width`` to a row, and some panels; ``corner``: in the
# output.
Task = namedtuple(
    "Task",
    "group corner width out_down source_down out_along source_along first last first_panel "
    "last_panel first_read reads",
)


# ``length`` numbers of the source, from ``at`` on, meet as many rows of the weights.
Read = namedtuple("Read", "at row length")


@kernel
def dense(job: Dense, first: int, last: int, *, M: int, V: int, LAST_V: int) -> None:
    """A task: tile after tile of positions, and for each the panels of weights."""
    to, fro = stack(M), stack(M)
    outputs, panels = job.outputs, job.panels
    for number in range(first, last):
        image = number // job.tasks_per_image
        task = entry(Task, job.tasks, number - image * job.tasks_per_image)
        reads = job.reads + task.first_read * 24
        out = job.out + image * job.out_image + task.corner + task.group * outputs * SIZE
        source = job.source + image * job.source_image + task.group * job.inputs * SIZE
        t, end, width = task.first, task.last, task.width
        while t < end:
            m = M if end - t > (M + 1) // 2 else (M + 1) // 2
            y = t // width
            x = t - y * width
            for r in range(m):
                put(to + 8 * r, y * task.out_down + x * task.out_along)
                put(fro + 8 * r, y * task.source_down + x * task.source_along)
                if t + r < end - 1:  # after that the last one is done again, to the same bits
                    x += 1
                    if x == width:
                        x = 0
                        y += 1
            for panel in range(task.first_panel, task.last_panel):
                j = panel * V * LANES
                w = job.packed + (task.group * panels + panel) * job.panel_bytes
                bias = job.bias + (task.group * panels * V * LANES + j) * SIZE
                y0, n = out + j * SIZE, outputs - j
                if panel == panels - 1:
                    if m == M:
                        tile[M, LAST_V](y0, to, source, fro, reads, task.reads, w, bias, n)
                    else:
                        tile[(M + 1) // 2, LAST_V](
                            y0, to, source, fro, reads, task.reads, w, bias, n
                        )
                elif m == M:
                    tile[M, V](y0, to, source, fro, reads, task.reads, w, bias, n)
                else:
                    tile[(M + 1) // 2, V](y0, to, source, fro, reads, task.reads, w, bias, n)
            t += m


@template
def tile(
    y: int,
    to: int,
    x: int,
    fro: int,
    reads: int,
    count: int,
    w: int,
    bias: int,
    n: int,
    *,
    M: int,
    V: int,
) -> None:
    """y[m, v] = bias[v], then for each read, for each i: y[m, v] += x[m, i] w[i, v]."""
    acc, xs, ws = registers(3)
    for m in unroll(range(M)):
        for v in unroll(range(V)):
            acc[m, v] = load(bias + v * BYTES)
    for number in range(count):
        read = entry(Read, reads, number)
        w_i = w + read.row * (V * BYTES)
        start = x + read.at
        for m in unroll(range(M)):
            xs[m] = start + word(fro + m * 8, 0)
        for i in range(read.length):
            for v in unroll(range(V)):
                ws[v] = load(w_i + v * BYTES)
            for m in unroll(range(M)):
                s = broadcast(xs[m] + i * SIZE)
                for v in unroll(range(V)):
                    acc[m, v] = fma(s, ws[v], acc[m, v])
            w_i += V * BYTES
    if n >= V * LANES:
        for m in unroll(range(M)):
            at = y + word(to + m * 8, 0)
            for v in unroll(range(V)):
                store(at + v * BYTES, acc[m, v])
    else:
        for m in unroll(range(M)):
            at = y + word(to + m * 8, 0)
            for v in unroll(range(V)):
                store_n(at + v * BYTES, acc[m, v], n - v * LANES)
