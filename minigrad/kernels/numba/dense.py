"""Sums over taps: pointwise, dense and general convolution, linear, and large depthwise windows.

Forward and input gradient are one sum: a position reads, for each of its taps, a vector of
channels of the source, and multiplies it with a matrix,

    out[n,position,j] = bias[j] + sum over (a, b, k) of source[n, tap(a, b), k] weights[a,b,k,j].

Forward: source x, k the input channel, j the output channel.  Input gradient: source g,
k the output channel, j the input channel, the same weights seen from the other side.  Where
channels do not mix (depthwise) there is no k, and j is the channel of the source too.

A register tile is M positions times V vectors of j; a step reads M numbers of the source,
V vectors of weights, and makes M V fused multiply-adds.  The weights are packed into
panels of V vectors beforehand, so that a step reads them in sequence.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections import namedtuple
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from minigrad.kernels.contract import Array
from minigrad.kernels.layout import empty, nchw
from minigrad.kernels.numba._launch import Job, kernel, lanes_of, vector_bytes
from minigrad.kernels.numba._segments import Segment, Sweep
from minigrad.kernels.numba._template import branch, entry, registers, template, unroll

from minigrad.kernels.numba._vectors import (  # isort: skip
    BYTES, LANES, SIZE, broadcast, fma, load, load_masked, put, stack, store, word,
)  # fmt: skip
from minigrad.kernels.numba.layout import Pack, pack_depthwise

__all__ = ["Panel", "TapSum", "Task", "dense_sum", "gathered_sum", "packing", "table_of"]

_MACS_A_TASK = 400_000
_WEIGHTS_A_TASK = 120_000  # what fits half of a second-level cache


class Panel(NamedTuple):
    """So many vectors of outputs; ``partial``: some lanes lie beyond the last output."""

    v: int
    partial: bool


class Tile(NamedTuple):
    """M positions by one panel, of which the last of a position differs."""

    m: int
    panel: Panel
    last: Panel


# More vectors read the source less often, more positions the weights: M V accumulators,
# V weights and a broadcast must fit the registers (32 with AVX-512, 16 with AVX2), and where
# V is 1 the M addresses too.
_TILES = {64: {1: 12, 2: 14, 3: 9, 4: 6}, 32: {1: 12, 2: 6, 3: 4}, 16: {1: 12, 2: 6, 3: 4}}


@functools.cache
def choose_tile(outputs: int, lanes: int, width: int) -> Tile:
    """The tile for so many outputs: whole panels first, then a wide one."""
    shapes, vectors = _TILES[width], -(-outputs // lanes)

    def cost(n: int) -> float:
        full, rest = divmod(vectors, n)
        # A tile one vector wide is limited by its loads.
        return full * n * (1.2 if n == 1 else 1.0) + rest * (1.3 if rest == 1 else 1.0)

    best = min(sorted(shapes, key=lambda n: abs(n - 2)), key=cost)
    last = Panel(vectors % best or best, outputs % lanes != 0)
    return Tile(shapes[best], Panel(best, False), last)


@functools.lru_cache(maxsize=512)
def packing(
    weights: tuple[int, ...], dtype: np.dtype[np.generic], groups: int, adjoint: bool
) -> tuple[Tile, Pack]:
    """The tile for weights of a shape, and what packs them for it."""
    outputs, lanes = weights[1] if adjoint else weights[0] // groups, lanes_of(dtype)
    tile = choose_tile(outputs, lanes, vector_bytes())
    return tile, Pack(weights, dtype, groups, adjoint, tile.panel.v * lanes, tile.last.v * lanes)


class TapSum:
    """The sum above for one shape, (a, b, k) ascending, one accumulator an element.

    Parameters
    ----------
    job : whose first words are the result, the source, the packed weights and the biases
    out : shape (N, H', W', C) of the result
    pack : puts the weights in the order in which the job reads them
    padded : numbers of bias that it reads for each group
    groups : how many groups there are
    dtype : of all arrays
    """

    def __init__(
        self, job: Job, out: Sequence[int], pack: Callable[[Array], Array], padded: int,
        groups: int, dtype: np.dtype[np.generic],
    ) -> None:  # fmt: skip
        self.job, self.shape, self.pack = job, tuple(out), pack
        self.zeros: Array = np.zeros((groups, padded), dtype)

    def __call__(self, source: Array, weights: Array, bias: Array | None = None) -> Array:
        """The sum over a channels-last map, as one of NCHW shape."""
        out = empty(self.shape, self.zeros.dtype)
        if out.size:
            self.job.on(out, source, self.pack(weights), self._start(bias)).run()
        return nchw(out)

    def _start(self, bias: Array | None) -> Array:
        """The biases of each group, padded."""
        if bias is None:
            return self.zeros
        groups = len(self.zeros)
        if len(bias) == self.zeros.size and bias.flags.c_contiguous and bias.flags.aligned:
            return bias
        start: Array = self.zeros.copy()
        start[:, : len(bias) // groups] = bias.reshape(groups, -1)
        return start


def dense_sum(sweep: Sweep) -> TapSum:
    """The sum that mixes the channels of each group."""
    tile, pack = packing(sweep.weights, sweep.dtype, sweep.groups, sweep.adjoint)
    return _sum(sweep, tile, pack, sweep.source[3] // sweep.groups, True)


def gathered_sum(sweep: Sweep) -> TapSum:
    """The sum that keeps channels apart, for any window: vectors of the source, not numbers."""
    partial = sweep.out[3] % lanes_of(sweep.dtype) != 0
    tile = Tile(_TILES[vector_bytes()][1], Panel(1, False), Panel(1, partial))
    return _sum(sweep._replace(groups=1), tile, pack_depthwise, 1, False)


def _sum(
    sweep: Sweep, tile: Tile, pack: Callable[[Array], Array], inputs: int, mixes: bool
) -> TapSum:
    """The sum with this tile; a group has so many inputs for each tap, mixed or kept apart."""
    size, padded = sweep.dtype.itemsize, tile.panel.v * lanes_of(sweep.dtype)
    outputs = sweep.out[3] // sweep.groups
    panels = -(-outputs // padded)
    tasks, reads = _tasks(sweep, tile.m, panels, padded, inputs)
    words = Dense(
        0, 0, 0, 0, tasks, reads, len(tasks), math.prod(sweep.out[1:]) * size,
        math.prod(sweep.source[1:]) * size, outputs, inputs,
        math.prod(sweep.weights[2:]) * inputs * padded * size, panels,
    )  # fmt: skip
    number = sweep.out[0] * len(tasks) if math.prod(sweep.out) else 0
    job = Job(dense.of(sweep.dtype, *tile, mixes), words, number)
    return TapSum(job, sweep.out, pack, panels * padded, sweep.groups, sweep.dtype)


def _tasks(
    sweep: Sweep, positions: int, panels: int, panel: int, inputs: int
) -> tuple[Array, Array]:
    """What there is to do for one image, and the reads that the tasks refer to.

    A rectangle (a segment of rows, one of columns) has one list of taps.  Its positions,
    counted row by row, are cut into tasks of whole tiles; large weights are cut too, the
    positions inside, so that a part of them stays in the cache.
    """
    size, width, source_width = sweep.dtype.itemsize, sweep.out[2], sweep.source[2]
    pixel, read_pixel = sweep.out[3] * size, sweep.source[3] * size
    tasks: list[Task] = []
    reads: list[Read] = []
    for r, c in itertools.product(*sweep.segments):
        there, area = _reads(sweep, inputs, r, c), r.length * c.length
        rectangle = (
            (r.first * width + c.first) * pixel, c.length, r.step * width * pixel,
            r.advance * source_width * read_pixel, c.step * pixel, c.advance * read_pixel,
        )  # fmt: skip
        macs = max(1, sum(read.length for read in there)) * panel
        few = max(1, _MACS_A_TASK // (macs * positions))
        wide = max(1, min(panels, _WEIGHTS_A_TASK // macs, few))  # no outputs, no panels
        tall = max(1, few // wide) * positions
        tasks += (
            Task(
                group, *rectangle, first, min(first + tall, area), left,
                min(left + wide, panels), len(reads), len(there),
            )
            for group in range(sweep.groups)
            for left in range(0, panels, wide)
            for first in range(0, area, tall)
        )  # fmt: skip
        reads += there
    return table_of(tasks, Task), table_of(reads, Read)


def _reads(sweep: Sweep, inputs: int, r: Segment, c: Segment) -> list[Read]:
    """The reads of the taps of a rectangle, neighbours joined."""
    size, follows = sweep.dtype.itemsize, (-1, -1)
    reads: list[Read] = []
    for (a, h), (b, v) in itertools.product(r.taps, c.taps):
        at = (h * sweep.source[2] + v) * sweep.source[3] * size
        row, length = (a * sweep.weights[3] + b) * inputs, inputs
        if follows == (at, row):
            at, row, length = reads.pop()
            length += inputs
        reads.append(Read(at, row, length))
        follows = at + length * size, row + length
    return reads


def table_of(lines: Sequence[tuple[int, ...]], words: type[tuple[int, ...]]) -> Array:
    """Lines of words as the table that ``entry`` reads."""
    width = len(getattr(words, "_fields", ()))
    return np.array(lines, np.int64).reshape(-1, width)


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
def dense(
    job: Dense, first: int, last: int, *, M: int, PANEL: Panel, LAST: Panel, MIXES: bool
) -> None:
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
                at = panel * (PANEL.v * BYTES)
                number_of_panel = task.group * panels + panel
                w = job.packed + number_of_panel * job.panel_bytes
                bias = job.bias + number_of_panel * (PANEL.v * BYTES)
                tile[
                    branch(m == M, M, (M + 1) // 2), branch(panel == panels - 1, LAST, PANEL), MIXES
                ](
                    out + at, to, source if MIXES else source + at, fro, reads, task.reads,
                    w, bias, outputs - panel * (PANEL.v * LANES),
                )  # fmt: skip
            t += m


@template
def tile(
    y: int, to: int, x: int, fro: int, reads: int, count: int, w: int, bias: int, n: int,
    *, M: int, PANEL: Panel, MIXES: bool,
) -> None:  # fmt: skip
    """y[m, v] = bias[v], then for each read, for each i: y[m, v] += x[m, i] w[i, v]."""
    acc, xs, ws, left = registers(4)
    for v in unroll(range(PANEL.v)):
        left[v] = n - v * LANES if PANEL.partial else LANES
        ws[v] = load(bias + v * BYTES)
        for m in unroll(range(M)):
            acc[m, v] = ws[v]
    for number in range(count):
        read = entry(Read, reads, number)
        w_i = w + read.row * (PANEL.v * BYTES)
        start = x + read.at
        for m in unroll(range(M)):
            xs[m] = start + word(fro + m * 8)
        for i in range(read.length):
            for v in unroll(range(PANEL.v)):
                ws[v] = load(w_i + v * BYTES)
            for m in unroll(range(M)):
                at = xs[m] + i * SIZE
                s = broadcast(at) if MIXES else load_masked(at, left[0])  # one vector
                for v in unroll(range(PANEL.v)):
                    acc[m, v] = fma(s, ws[v], acc[m, v])
            w_i += PANEL.v * BYTES
    for m in unroll(range(M)):
        at = y + word(to + m * 8)
        for v in unroll(range(PANEL.v)):
            store(at + v * BYTES, acc[m, v], left[v])
