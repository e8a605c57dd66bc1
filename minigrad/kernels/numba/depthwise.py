"""The depthwise sums: one input channel for each output channel.

    T(x, w, g) = sum_{n,c,p,q,a,b} g[n,c,p,q] w[c,a,b] x[n, c, p s - P + a d, q s' - P' + b d']

Channels never meet, so they are the lanes of a vector, and one accumulator holds one
position of 4 to 16 channels.  Forward (fix g's place, read x) and input gradient (fix
x's place, read g) are the same sum over taps, ``DepthwiseSum``, and differ only in where a
tap reads, which ``_segments`` has found before.

Small windows walk: a tile is a strip of neighbouring columns of one output row, a register
for each; it goes down the rows of the window, loads each column of the source once, and adds
it to every output that has a tap there.  Which outputs those are is known when the tile is
compiled, and so are the columns that the source does not have: no padding is read, no test
is made.  For an accumulator the taps must come in ascending order.  In the forward sum tap b
reads column v s - P + b, so the source is passed from left to right; in the input gradient it
reads (v + P - b) / s, so the source is passed from right to left.

Other windows gather: a tap at a time, on segments whose positions all have the same taps.
"""

from __future__ import annotations

import math
from collections import namedtuple
from collections.abc import Sequence

import numpy as np

from minigrad.kernels.contract import Array
from minigrad.kernels.numba._launch import Job, kernel, lanes_of
from minigrad.kernels.numba._segments import Axis, Segment
from minigrad.kernels.numba._strips import Kind, Strip, strips_of
from minigrad.kernels.numba._template import entry, registers, static, template, unroll

from minigrad.kernels.numba._vectors import (  # isort: skip
    BYTES, LANES, SIZE, fma, load, load_n, step, store, store_n,
)  # fmt: skip

__all__ = ["DepthwiseSum", "pack"]


def pack(weights: Array) -> Array:
    """(C, 1, kh, kw) to (vectors, kh kw, lanes), zeros after the last channel."""
    channels, lanes = len(weights), lanes_of(weights.dtype)
    packed = weights.reshape(channels, math.prod(weights.shape[2:]))
    if channels % lanes:
        packed = np.pad(packed, ((0, -channels % lanes), (0, 0)))
    return np.ascontiguousarray(packed.reshape(-1, lanes, packed.shape[1]).transpose(0, 2, 1))


class DepthwiseSum:
    """out[n,h,v,c] = bias[c] + sum over the taps (a, b) of a position of w[a,b,c] source[n,.,.,c].

    Taps ascending in (a, b), one fused multiply-add each.

    Parameters
    ----------
    source : shape (N, H, W, C)
    window : (kh, kw)
    out : shape (N, H', W', C) of the result
    rows, cols : the segments of its two axes
    columns : the second axis itself
    adjoint : whether this is an input gradient, which reads g
    """

    def __init__(
        self, source: Sequence[int], window: Sequence[int], out: Sequence[int],
        rows: tuple[Segment, ...], cols: tuple[Segment, ...], columns: Axis, adjoint: bool,
        dtype: np.dtype[np.generic],
    ) -> None:  # fmt: skip
        size, lanes = dtype.itemsize, lanes_of(dtype)
        channels, taps = out[3], math.prod(window)
        self.shape, self.dtype, self.pack = tuple(out), dtype, pack
        vectors = -(-channels // lanes)
        self.zeros = np.zeros(vectors * lanes, dtype)
        line, source_line = (shape[2] * channels * size for shape in (out, source))
        steps = (len(window) and line, source_line)
        walk = strips_of(columns, adjoint, channels, size)
        if walk:
            kinds, strips = walk
            tap_row = window[1] * lanes * size
            tasks, reads = _walk_tasks(rows, *steps, vectors, tap_row)
            compiled = walks.of(dtype, kinds, channels % lanes == 0)
        else:
            strips = np.zeros((1, len(Strip._fields)), np.int64)
            tasks, reads = _gather_tasks(
                rows, cols, steps, channels * size, vectors, (window[1], lanes * size)
            )
            compiled = gathers.of(dtype)
        words = Depthwise(
            0, 0, 0, 0, tasks, reads, strips, len(strips), len(tasks), line * out[1],
            source_line * source[1], channels, taps * lanes * size,
        )  # fmt: skip
        self.job = Job(compiled, words, out[0] * len(tasks) if math.prod(out) else 0)

    def bind(self, source: Array, packed: Array, bias: Array | None, out: Array) -> Job:
        """The call that writes the sum to ``out``; ``packed`` are the weights, see ``pack``."""
        start = self.zeros
        if bias is not None:
            start = self.zeros.copy()
            start[: len(bias)] = bias
        return self.job.on(out, source, packed, start)


# -- tasks


def _walk_tasks(
    rows: tuple[Segment, ...], out_row: int, source_row: int, vectors: int, tap_row: int
) -> tuple[Array, Array]:
    """What there is to do for one image: some rows of a segment, some vectors of channels."""
    tasks: list[Task] = []
    reads: list[Read] = []
    total = sum(r.length for r in rows)
    part = max(1, vectors if total >= 28 else -(-vectors // 4))
    for r in rows:
        few = max(4, -(-r.length // 8)) if total >= 28 else r.length
        for j in range(0, r.length, few):
            for vector in range(0, vectors, part):
                tasks.append(Task(
                    (r.first + j * r.step) * out_row, j * r.advance * source_row,
                    min(few, r.length - j), r.step * out_row, r.advance * source_row, 0, 0, 0,
                    len(reads), len(r.taps), vector, min(vector + part, vectors),
                ))  # fmt: skip
        reads += [Read(h * source_row, a * tap_row) for a, h in r.taps]
    return np.array(tasks, np.int64), np.array(reads or [Read(0, 0)], np.int64)


def _gather_tasks(
    rows: tuple[Segment, ...], cols: tuple[Segment, ...], steps: tuple[int, int], pixel: int,
    vectors: int, taps: tuple[int, int],
) -> tuple[Array, Array]:  # fmt: skip
    """What there is to do for one image.

    A rectangle (a segment of rows, one of columns) has one list of taps.  It is cut into
    lines along its longer side; a task is some lines and some vectors of channels.
    """
    out_row, source_row = steps
    kw, tap = taps
    tasks: list[Task] = []
    reads: list[Read] = []
    for r in rows:
        for c in cols:
            there = [
                Read(h * source_row + v * pixel, (a * kw + b) * tap)
                for a, h in r.taps
                for b, v in c.taps
            ]
            down = (r.length, r.step * out_row, r.advance * source_row)
            along = (c.length, c.step * pixel, c.advance * pixel)
            line, step = (down, along) if c.length >= r.length else (along, down)
            corner = r.first * out_row + c.first * pixel
            few = 4 if line[0] > 8 else line[0]
            part = max(1, vectors) if line[0] > 8 else 8
            for j in range(0, line[0], few):
                for vector in range(0, vectors, part):
                    tasks.append(Task(
                        corner + j * line[1], j * line[2], min(few, line[0] - j), *line[1:], *step,
                        len(reads), len(there), vector, min(vector + part, vectors),
                    ))  # fmt: skip
            reads += there
    return np.array(tasks, np.int64), np.array(reads or [Read(0, 0)], np.int64)


# -- compiled


# The words of a job.  Steps are in bytes; ``w_vector``: to the weights of the next vector of
# channels.
Depthwise = namedtuple(
    "Depthwise",
    "out source packed bias tasks reads strips strip_count tasks_per_image out_image "
    "source_image channels w_vector",
)


# Some lines of positions (a walk: rows), and vectors [first, last) of channels.
Task = namedtuple(
    "Task",
    "out source lines out_down source_down length out_along source_along first_read reads "
    "first last",
)


# Where a tap (a walk: a row of taps) reads the source, and its weights.
Read = namedtuple("Read", "at w")


@kernel
def walks(job: Depthwise, first: int, last: int, *, KINDS: tuple[Kind, ...], WHOLE: bool) -> None:
    """A task: strip beside strip, each going down the rows."""
    pixel = job.channels * SIZE
    for number in range(first, last):
        image = number // job.tasks_per_image
        task = entry(Task, job.tasks, number - image * job.tasks_per_image)
        reads = job.reads + task.first_read * 16
        top = job.out + image * job.out_image + task.out
        source_top = job.source + image * job.source_image + task.source
        for vector in range(task.first, task.last):
            at, n = vector * BYTES, job.channels - vector * LANES
            w, bias = job.packed + vector * job.w_vector, job.bias + vector * BYTES
            for s in range(job.strip_count):
                strip = entry(Strip, job.strips, s)
                y, x = top + strip.out + at, source_top + strip.source + at
                for _ in range(task.lines):
                    for k, kind in unroll(enumerate(KINDS)):
                        if strip.kind == k:
                            for partial in unroll((False,) if WHOLE else (False, True)):
                                if (n < LANES) == partial:
                                    walk[kind, partial](y, x, pixel, reads, task.reads, w, bias, n)
                    y += task.out_down
                    x += task.source_down


@template
def walk(
    y: int,
    x: int,
    pixel: int,
    reads: int,
    count: int,
    w: int,
    bias: int,
    n: int,
    *,
    KIND: Kind,
    PARTIAL: bool,
) -> None:
    """y[m] = bias, then for each row of the window: y[m] += w[b] x[column]."""
    acc, ws = registers(2)
    for m in unroll(range(KIND.columns)):
        acc[m] = load(bias)
    for number in range(count):
        read = entry(Read, reads, number)
        row = x + read.at
        for b in unroll(range(KIND.kernel)):
            ws[b] = load(w + read.w + b * BYTES)
        column = step(row + (KIND.high - 1 if static(KIND.adjoint) else KIND.low) * pixel, 0)
        for outputs in unroll(KIND.outputs):
            v = load_n(column, n) if static(PARTIAL) else load(column)
            for m, b in unroll(outputs):
                acc[m] = fma(v, ws[b], acc[m])
            column = step(column, -pixel if static(KIND.adjoint) else pixel)
    for m in unroll(range(KIND.columns)):
        if static(PARTIAL):
            store_n(y + m * pixel, acc[m], n)
        else:
            store(y + m * pixel, acc[m])


@kernel
def gathers(job: Depthwise, first: int, last: int) -> None:
    """A task: some positions of a line at a time."""
    for number in range(first, last):
        image = number // job.tasks_per_image
        task = entry(Task, job.tasks, number - image * job.tasks_per_image)
        reads, count = job.reads + task.first_read * 16, task.reads
        out = job.out + image * job.out_image + task.out
        source = job.source + image * job.source_image + task.source
        ym, xm = task.out_along, task.source_along
        for line in range(task.lines):
            for vector in range(task.first, task.last):
                n, at = job.channels - vector * LANES, vector * BYTES
                y, x = out + line * task.out_down + at, source + line * task.source_down + at
                w, bias = job.packed + vector * job.w_vector, job.bias + at
                left = task.length
                while left >= 8 and n >= LANES:
                    gather[8, False](y, ym, x, xm, reads, count, w, bias, n)
                    y, x, left = y + 8 * ym, x + 8 * xm, left - 8
                while left >= 4:
                    gather[4, True](y, ym, x, xm, reads, count, w, bias, n)
                    y, x, left = y + 4 * ym, x + 4 * xm, left - 4
                while left > 0:
                    gather[1, True](y, ym, x, xm, reads, count, w, bias, n)
                    y, x, left = y + ym, x + xm, left - 1


@template
def gather(
    y: int,
    ym: int,
    x: int,
    xm: int,
    reads: int,
    count: int,
    w: int,
    bias: int,
    n: int,
    *,
    M: int,
    PARTIAL: bool,
) -> None:
    """y[m] = bias, then for each tap: y[m] += w x[m]."""
    acc = registers()
    for m in unroll(range(M)):
        acc[m] = load(bias)
    for number in range(count):
        read = entry(Read, reads, number)
        v = load(w + read.w)
        for m in unroll(range(M)):
            if static(PARTIAL):
                acc[m] = fma(load_n(x + read.at + m * xm, n), v, acc[m])
            else:
                acc[m] = fma(load(x + read.at + m * xm), v, acc[m])
    for m in unroll(range(M)):
        if static(PARTIAL):
            store_n(y + m * ym, acc[m], n)
        else:
            store(y + m * ym, acc[m])
