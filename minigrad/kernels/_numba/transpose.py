"""Putting the channels last: of an image, and of the weights of a matrix sum.

NumPy moves about one element a nanosecond when it transposes, as long as a layer's own
work takes.  Here a square of lanes x lanes elements is turned over in registers, by log2(lanes)
rounds of exchanges between rows r and r + s, lanes i and i + s.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
from numba import types

from minigrad.kernels._numba import launch
from minigrad.kernels._numba.launch import address, compiled, empty, job, run, vector_bytes
from minigrad.kernels._numba.vectors import (
    Value,
    Vectors,
    array,
    int64,
    intrinsic,
    literal,
    put,
    word,
)
from minigrad.kernels.contract import Array

# The words of a job.  Steps are in bytes.
(
    DST, SRC, PARTS, DST_GROUP, SRC_GROUP, DST_PART, PART_LANES, LANE_STEP, LANES_IN_ALL, LENGTH,
    PERIOD, MAJOR, MATRICES, DST_MATRIX, SRC_MATRIX, ROW_STEP, LAST_ROW_STEP,
) = range(17)  # fmt: skip


def channels_last(x: Array) -> Array:
    """(N, C, H, W) of any strides as a contiguous (N, H, W, C), copied only if it must be."""
    n, c, h, w = x.shape
    wanted: Array = x.transpose(0, 2, 3, 1)
    if wanted.flags.c_contiguous and x.flags.aligned:
        return wanted
    source = np.require(x, requirements=["C", "A"])
    out = empty((n, h, w, c), x.dtype)
    if not out.size:
        return out
    size = x.itemsize
    lanes = vector_bytes() // size
    part = 8 * lanes
    parts = -(-c // part)
    table = job(
        address(out), address(source), parts, out[0].nbytes, out[0].nbytes, part * size, part,
        h * w * size, c, h * w, 1, 1, 1, 0, 0, c * size, c * size,
    )  # fmt: skip
    run(_kernel(size, lanes), table, n * parts, threads=1 if out.size < 20_000 else None)
    return out


class Pack:
    """Weights (Cout, Cin/groups, kh, kw) as panels: (groups, panels, kh kw K, panel).

    A row holds what one source channel k contributes to ``panel`` outputs j; rows run
    over (a, b, k).  Forward k is the input channel and j the output channel; in the
    adjoint they change places.  Rows of the last panel have ``last`` numbers.  The
    numbers beyond the last output are arbitrary and never used.
    """

    def __init__(
        self, shape: Sequence[int], dtype: np.dtype[Any], groups: int, adjoint: bool,
        panel: int, last: int,
    ) -> None:  # fmt: skip
        cout, inputs, kh, kw = shape
        taps, outputs, size = kh * kw, cout // groups, dtype.itemsize
        j, k = (inputs, outputs) if adjoint else (outputs, inputs)
        self.panels = -(-j // panel)
        self.shape, self.dtype = (groups, self.panels, taps * k, panel), dtype
        self.panel_bytes = taps * k * panel * size
        self.kernel, self.tasks = _kernel(size, vector_bytes() // size), groups * self.panels
        turn = (taps, taps, k, k, 1, inputs * taps) if adjoint else (
            inputs * taps, inputs * taps, k, 1, 0, 0
        )  # fmt: skip
        lane_step, length, major, matrices, row, matrix = turn
        self.job = job(
            0, 0, self.panels, self.panels * self.panel_bytes, outputs * inputs * taps * size,
            self.panel_bytes, panel, lane_step * size, j, length, taps, major,
            matrices, row, matrix * size, panel * size, last * size,
        )  # fmt: skip

    def __call__(self, weights: Array) -> Array:
        source = weights
        if not (source.flags.c_contiguous and source.flags.aligned):
            source = np.require(weights, requirements=["C", "A"])
        out = np.empty(self.shape, self.dtype)
        table = self.job.copy()
        table[DST], table[SRC] = address(out), address(source)
        run(self.kernel, table, self.tasks, threads=1 if source.size < 20_000 else None)
        return out


@functools.cache
def _kernel(itemsize: int, lanes: int) -> Any:
    stamp = launch.STAMP

    def transpose(table: int, first: int, last: int) -> None:
        stamp  # noqa: B018  part of the key of the cache
        places = array(lanes)
        parts, length, period = word(table, PARTS), word(table, LENGTH), word(table, PERIOD)
        lane_step = word(table, LANE_STEP)
        for task in range(first, last):
            group, part = divmod(task, parts)
            is_last = part == parts - 1
            row_step = word(table, LAST_ROW_STEP) if is_last else word(table, ROW_STEP)
            lane0 = part * word(table, PART_LANES)
            meant = min(word(table, LANES_IN_ALL) - lane0, word(table, PART_LANES))
            dst = word(table, DST) + group * word(table, DST_GROUP) + part * word(table, DST_PART)
            src = word(table, SRC) + group * word(table, SRC_GROUP) + lane0 * lane_step
            for matrix in range(word(table, MATRICES)):
                down = dst + matrix * word(table, DST_MATRIX) * row_step
                read = src + matrix * word(table, SRC_MATRIX)
                if lane_step == itemsize:
                    for lane in range(0, meant, lanes):
                        at = lane * itemsize
                        copy(down + at, read + at, meant - lane, itemsize, lanes)
                    continue
                for column in range(0, length, lanes):
                    columns = min(lanes, length - column)
                    for c in range(lanes):
                        # Rows that are not there go where the last one will be written.
                        i = column + min(c, columns - 1)
                        put(places, c, (i % period * word(table, MAJOR) + i // period) * row_step)
                    for lane in range(0, meant, lanes):
                        to = down + lane * itemsize
                        fro = read + lane * lane_step + column * itemsize
                        rest = meant - lane
                        if columns == lanes and rest >= lanes:
                            square(to, places, fro, lane_step, rest, columns, itemsize, lanes, 0)
                        else:
                            square(to, places, fro, lane_step, rest, columns, itemsize, lanes, 1)

    return compiled(transpose)


@intrinsic
def copy(typing: Any, to: Any, fro: Any, tail: Any, itemsize: Any, lanes: Any) -> Any:
    """Copy up to one vector."""

    def codegen(context: Any, builder: Any, signature: Any, args: Sequence[Value]) -> Value:
        v = Vectors(builder, literal(itemsize), literal(lanes), args[2])
        v.store_tail(v.load_tail(args[1]), args[0])
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, types.int64, itemsize, lanes), codegen


@intrinsic
def square(
    typing: Any, to: Any, places: Any, fro: Any, step: Any, rows: Any, columns: Any,
    itemsize: Any, lanes: Any, masked: Any,
) -> Any:  # fmt: skip
    """Read up to lanes rows and columns, and store each column at its place."""
    n = literal(lanes)

    def codegen(context: Any, builder: Any, signature: Any, args: Sequence[Value]) -> Value:
        to, places, fro, step, rows, columns = args[:6]
        partial = literal(masked)
        reads = Vectors(builder, literal(itemsize), n, columns if partial else None)
        writes = Vectors(builder, literal(itemsize), n, rows if partial else None)
        last = builder.sub(rows, int64(1))

        def row(r: int) -> Value:
            inside = builder.icmp_signed("<", int64(r), rows)
            return builder.mul(
                step, builder.select(inside, int64(r), last) if partial else int64(r)
            )

        square = [reads.load_tail(builder.add(fro, row(r))) for r in range(n)]
        s = 1
        while s < n:
            for r in (r for r in range(n) if not r & s):
                square[r], square[r + s] = reads.exchange(square[r], square[r + s], s)
            s *= 2
        for c in reversed(range(n)):
            writes.store_tail(square[c], builder.add(to, reads.word(places, c)))
        return context.get_dummy_value()

    return types.void(*[types.int64] * 6, itemsize, lanes, masked), codegen
