"""The depthwise sums: one input channel for each output channel.

    T(x, w, g) = sum_{n,c,p,q,a,b} g[n,c,p,q] w[c,a,b] x[n, c, p s - P + a d, q s' - P' + b d']

Channels never meet, so they are the lanes of a vector, and one accumulator holds one
position of 4 to 16 channels.  Forward (fix g's place, read x) and input gradient (fix
x's place, read g) are the same sum over taps, and differ only in where a tap reads, which
``_segments`` has found before.

Small windows walk: a tile is a strip of neighbouring columns of one output row, a register
for each; it goes down the rows of the window, loads each column of the source once, and adds
it to every output that has a tap there.  Which outputs those are is known when the tile is
compiled, and so are the columns that the source does not have: no padding is read, no test
is made.  For an accumulator the taps must come in ascending order.  In the forward sum tap b
reads column v s - P + b, so the source is passed from left to right; in the input gradient it
reads (v + P - b) / s, so the source is passed from right to left.

Other windows gather, a tap at a time, with the tiles of ``dense``.
"""

from __future__ import annotations

import math
from collections import namedtuple

from minigrad.kernels.contract import Array
from minigrad.kernels.numba._launch import Job, kernel, lanes_of
from minigrad.kernels.numba._segments import Segment, Sweep
from minigrad.kernels.numba._strips import Kind, Strip, strips_of
from minigrad.kernels.numba._template import branch, entry, registers, template, unroll
from minigrad.kernels.numba._vectors import BYTES, LANES, SIZE, fma, load, load_masked, step, store
from minigrad.kernels.numba.dense import TapSum, gathered_sum, table_of
from minigrad.kernels.numba.layout import pack_depthwise

__all__ = ["depthwise_sum"]


def depthwise_sum(sweep: Sweep) -> TapSum:
    """out[n,h,v,c] = bias[c] + sum over the taps (a, b) of a position of w[a,b,c] source[n,.,.,c].

    Taps ascending in (a, b), one fused multiply-add each.
    """
    out, source, dtype = sweep.out, sweep.source, sweep.dtype
    size, lanes, channels = dtype.itemsize, lanes_of(dtype), out[3]
    walk = strips_of(sweep.cols, sweep.adjoint, channels, size)
    if not walk:
        return gathered_sum(sweep)
    kinds, strips = walk
    vectors, vector, window = -(-channels // lanes), lanes * size, sweep.weights[2:]
    line, source_line = (shape[2] * channels * size for shape in (out, source))
    tasks, reads = _tasks(sweep.segments[0], line, source_line, vectors, window[1] * vector)
    words = Depthwise(
        0, 0, 0, 0, tasks, reads, strips, len(strips), len(tasks), line * out[1],
        source_line * source[1], channels, math.prod(window) * vector,
    )  # fmt: skip
    number = out[0] * len(tasks) if math.prod(out) else 0
    job = Job(walks.of(dtype, kinds, channels % lanes != 0), words, number)
    return TapSum(job, out, pack_depthwise, vectors * lanes, 1, dtype)


def _tasks(
    rows: tuple[Segment, ...], out_row: int, source_row: int, vectors: int, tap_row: int
) -> tuple[Array, Array]:
    """What there is to do for one image: some rows of a segment, some vectors of channels."""
    tasks: list[Task] = []
    reads: list[Read] = []
    total = sum(r.length for r in rows)
    part = max(1, vectors if total >= 28 else -(-vectors // 4))
    for r in rows:
        few = max(4, -(-r.length // 8)) if total >= 28 else r.length
        tasks += (
            Task(
                (r.first + j * r.step) * out_row, j * r.advance * source_row,
                min(few, r.length - j), r.step * out_row, r.advance * source_row,
                len(reads), len(r.taps), vector, min(vector + part, vectors),
            )
            for j in range(0, r.length, few)
            for vector in range(0, vectors, part)
        )  # fmt: skip
        reads += (Read(h * source_row, a * tap_row) for a, h in r.taps)
    return table_of(tasks, Task), table_of(reads, Read)


# -- compiled


# The words of a job.  Steps are in bytes; ``w_vector``: to the weights of the next vector of
# channels.
Depthwise = namedtuple(
    "Depthwise",
    "out source packed bias tasks reads strips strip_count tasks_per_image out_image "
    "source_image channels w_vector",
)


# Some rows with the same taps, and vectors [first, last) of channels.
Task = namedtuple("Task", "out source lines out_down source_down first_read reads first last")


# Where a row of taps reads the source, and its weights.
Read = namedtuple("Read", "at w")


@kernel
def walks(job: Depthwise, first: int, last: int, *, KINDS: tuple[Kind, ...], PARTIAL: bool) -> None:
    """A task: strip beside strip, each going down the rows; PARTIAL: the last vector is."""
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
                            walk[kind, branch(n < LANES, PARTIAL, False)](
                                y, x, pixel, reads, task.reads, w, bias, n
                            )
                    y += task.out_down
                    x += task.source_down


@template
def walk(
    y: int, x: int, pixel: int, reads: int, count: int, w: int, bias: int, n: int,
    *, KIND: Kind, PARTIAL: bool,
) -> None:  # fmt: skip
    """y[m] = bias, then for each row of the window: y[m] += w[b] x[column]."""
    acc, ws = registers(2)
    lanes = n if PARTIAL else LANES
    for m in unroll(range(KIND.columns)):
        acc[m] = load(bias)
    for number in range(count):
        read = entry(Read, reads, number)
        row = x + read.at
        for b in unroll(range(KIND.kernel)):
            ws[b] = load(w + read.w + b * BYTES)
        column = step(row + (KIND.high - 1 if KIND.adjoint else KIND.low) * pixel, 0)
        for outputs in unroll(KIND.outputs):
            v = load_masked(column, lanes)
            for m, b in unroll(outputs):
                acc[m] = fma(v, ws[b], acc[m])
            column = step(column, -pixel if KIND.adjoint else pixel)
    for m in unroll(range(KIND.columns)):
        store(y + m * pixel, acc[m], lanes)
