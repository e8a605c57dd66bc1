"""Putting the channels last: of an image, and of the weights of a dense sum.

NumPy moves about one element a nanosecond when it transposes, as long as a layer's own
work takes.  Here a square of LANES x LANES elements is turned over in registers, by log2(LANES)
rounds of exchanges between rows r and r + s, lanes i and i + s.
"""

from __future__ import annotations

import math
from collections import namedtuple
from collections.abc import Sequence

import numpy as np

from minigrad.kernels.contract import Array
from minigrad.kernels.layout import empty
from minigrad.kernels.numba._launch import Job, kernel, lanes_of, run
from minigrad.kernels.numba._template import branch, registers, template, unroll

from minigrad.kernels.numba._vectors import (  # isort: skip
    LANES, SIZE, exchange, load, load_masked, put, stack, store, word,
)  # fmt: skip

# The words of a job: ``parts`` columns of ``part`` lanes of each group.  Steps are in bytes.
# Element i along the source becomes row (i % period) major + i // period of the result.
Turn = namedtuple(
    "Turn",
    "dst src parts dst_group src_group dst_part part lane_step lanes_in_all length period "
    "major matrices dst_matrix src_matrix row_step last_row_step",
)


def channels_last(x: Array) -> Array:
    """(N, C, H, W) of any strides as a contiguous (N, H, W, C), copied only if it must be."""
    n, c, h, w = x.shape
    wanted: Array = x.transpose(0, 2, 3, 1)
    if wanted.flags.c_contiguous and x.flags.aligned:
        return wanted
    out = empty((n, h, w, c), x.dtype)
    if not out.size:
        return out
    size, part, image = x.itemsize, 8 * lanes_of(x.dtype), out[0].nbytes
    parts = -(-c // part)
    words = Turn(
        out, np.require(x, requirements=["C", "A"]), parts, image, image, part * size, part,
        h * w * size, c, h * w, 1, 1, 1, 0, 0, c * size, c * size,
    )  # fmt: skip
    run(turn.of(x.dtype), words, n * parts, threads=1 if out.size < 20_000 else None)
    return out


class Pack:
    """Weights (Cout, Cin/groups, kh, kw) as panels: (groups, panels, kh kw K, panel).

    A row holds what one source channel k contributes to ``panel`` outputs j; rows run
    over (a, b, k).  Forward k is the input channel and j the output channel; in the
    adjoint they change places.  Rows of the last panel have ``last`` numbers.  The
    numbers beyond the last output are arbitrary and never used.
    """

    def __init__(
        self, shape: Sequence[int], dtype: np.dtype[np.generic], groups: int, adjoint: bool,
        panel: int, last: int,
    ) -> None:  # fmt: skip
        cout, inputs, kh, kw = shape
        taps, outputs, size = kh * kw, cout // groups, dtype.itemsize
        j, k = (inputs, outputs) if adjoint else (outputs, inputs)
        self.panels = -(-j // panel)
        self.shape, self.dtype = (groups, self.panels, taps * k, panel), dtype
        self.panel_bytes = taps * k * panel * size
        words = Turn(
            0, 0, self.panels, self.panels * self.panel_bytes, outputs * inputs * taps * size,
            self.panel_bytes, panel, taps * size if adjoint else inputs * taps * size, j,
            taps if adjoint else inputs * taps, taps, k, k if adjoint else 1,
            1 if adjoint else 0, inputs * taps * size if adjoint else 0, panel * size, last * size,
        )  # fmt: skip
        self.job = Job(turn.of(dtype), words, groups * self.panels)

    def __call__(self, weights: Array) -> Array:
        source = np.require(weights, requirements=["C", "A"])
        out = np.empty(self.shape, self.dtype)
        if out.size:
            self.job.on(out, source).run(1 if source.size < 20_000 else None)
        return out


def pack_depthwise(weights: Array) -> Array:
    """Weights (C, 1, kh, kw) as (vectors, kh kw, lanes), zeros after the last channel."""
    channels, lanes = len(weights), lanes_of(weights.dtype)
    packed = weights.reshape(channels, math.prod(weights.shape[2:]))
    if channels % lanes:
        packed = np.pad(packed, ((0, -channels % lanes), (0, 0)))
    return np.ascontiguousarray(packed.reshape(-1, lanes, packed.shape[1]).transpose(0, 2, 1))


# -- compiled


@kernel
def turn(job: Turn, first: int, last: int) -> None:
    """A task: one part of one group."""
    places = stack(LANES)
    for task in range(first, last):
        group, part = divmod(task, job.parts)
        row_step = job.last_row_step if part == job.parts - 1 else job.row_step
        lane0 = part * job.part
        meant = min(job.lanes_in_all - lane0, job.part)
        dst = job.dst + group * job.dst_group + part * job.dst_part
        src = job.src + group * job.src_group + lane0 * job.lane_step
        for matrix in range(job.matrices):
            to = dst + matrix * job.dst_matrix * row_step
            fro = src + matrix * job.src_matrix
            if job.lane_step == SIZE:
                for lane in range(0, meant, LANES):
                    n, at = min(meant - lane, LANES), lane * SIZE
                    store(to + at, load(fro + at, n), n)
                continue
            for column in range(0, job.length, LANES):
                columns = min(LANES, job.length - column)
                for c in range(LANES):
                    # Rows that are not there go where the last one will be written.
                    i = column + min(c, columns - 1)
                    put(places + 8 * c, (i % job.period * job.major + i // job.period) * row_step)
                for lane in range(0, meant, LANES):
                    at = fro + lane * job.lane_step + column * SIZE
                    rows = min(meant - lane, LANES)
                    square[branch(columns + rows < 2 * LANES, True, False)](
                        to + lane * SIZE, places, at, job.lane_step, rows, columns
                    )


@template
def square(
    to: int, places: int, fro: int, step: int, rows: int, columns: int, *, PARTIAL: bool
) -> None:
    """Read up to LANES rows and columns, and store each column at its place."""
    line = registers()
    for r in unroll(range(LANES)):
        row = min(r, rows - 1) if PARTIAL else r
        line[r] = load_masked(fro + row * step, columns if PARTIAL else LANES)
    for s in unroll([2**i for i in range(LANES.bit_length() - 1)]):
        for r in unroll([r for r in range(LANES) if not r & s]):
            low = exchange(line[r], line[r + s], s, 0)
            line[r + s] = exchange(line[r], line[r + s], s, 1)
            line[r] = low
    for c in unroll(reversed(range(LANES))):
        store(to + word(places + 8 * c), line[c], rows if PARTIAL else LANES)
