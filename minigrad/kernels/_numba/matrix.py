"""The sums that mix channels: pointwise, dense and general convolution.

Forward and input gradient are one sum, ``gather_sum``: a position reads, for each of its
taps, a vector of channels of the source, and multiplies it with a matrix,

    out[n,position,j] = bias[j] + sum over (a, b, k) of source[n, tap(a, b), k] weights[a,b,k,j].

Forward: source x, k the input channel, j the output channel.  Input gradient: source g,
k the output channel, j the input channel, the same weights seen from the other side.

A register tile is R positions times L vectors of j; a step reads R floats of the source,
L vectors of weights, and makes R L fused multiply-adds.  The weights are packed into
panels of L vectors beforehand, so that a step reads them in sequence.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numba import types

from minigrad.kernels._numba import launch
from minigrad.kernels._numba.launch import Call, address, compiled, job, vector_bytes
from minigrad.kernels._numba.transpose import Pack
from minigrad.kernels._numba.vectors import (
    Value,
    Vectors,
    array,
    fold,
    int64,
    intrinsic,
    literal,
    put,
    word,
)
from minigrad.kernels._numba.windows import Run
from minigrad.kernels.contract import Array

_MACS_A_TASK = 400_000
_WEIGHTS_A_TASK = 120_000  # what fits half of a second-level cache


class Tile(NamedTuple):
    """R positions by L vectors; the last panel of a row of vectors has ``last`` of them."""

    positions: int
    vectors: int
    last: int


# More vectors read the source less often, more positions the weights: R L accumulators,
# L weights and a broadcast must fit the registers (32 with AVX-512, 16 with AVX2), and where
# L is 1 the R addresses too.
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
    weights: tuple[int, ...], dtype: np.dtype[Any], groups: int, adjoint: bool
) -> tuple[Tile, Pack]:
    """The tile for weights of a shape, and what packs them for it."""
    outputs, lanes = (
        weights[1] if adjoint else weights[0] // groups,
        vector_bytes() // dtype.itemsize,
    )
    tile = choose_tile(-(-outputs // lanes), vector_bytes())
    return tile, Pack(weights, dtype, groups, adjoint, tile.vectors * lanes, tile.last * lanes)


class GatherSum:
    """The sum above for one shape, (a, b, k) ascending, one accumulator an element.

    Parameters
    ----------
    source : shape (N, H, W, groups K)
    weights : shape (Cout, Cin/groups, kh, kw)
    out : shape (N, H', W', groups J) of the result
    rows, cols : the runs of its two axes
    adjoint : whether J is the input channel
    """

    def __init__(
        self, source: Sequence[int], weights: Sequence[int], out: Sequence[int],
        rows: tuple[Run, ...], cols: tuple[Run, ...], groups: int, adjoint: bool,
        dtype: np.dtype[Any],
    ) -> None:  # fmt: skip
        size, lanes = dtype.itemsize, vector_bytes() // dtype.itemsize
        outputs, inputs = out[3] // groups, source[3] // groups
        tile, self.pack = packing(tuple(weights), dtype, groups, adjoint)
        panels, panel = self.pack.panels, tile.vectors * lanes
        layer = _Layer(
            rows, cols, source[2], out[2], groups, inputs, outputs, weights[3], panels, size
        )
        self.shape, self.dtype = tuple(out), dtype
        self.tasks, self.reads = _tasks(layer, tile.positions, panel)
        self.zeros = np.zeros((groups, panels * panel), dtype)
        self.exact = outputs == panels * panel
        self.job = job(
            0, 0, 0, 0, address(self.tasks), address(self.reads), len(self.tasks),
            math.prod(out[1:]) * size, math.prod(source[1:]) * size,
            outputs, inputs, self.pack.panel_bytes, panels,
        )  # fmt: skip
        self.kernel = _kernel(size, lanes, *tile)

    def bind(self, source: Array, packed: Array, bias: Array | None, out: Array) -> Call:
        """The call that writes the sum to ``out``; ``packed`` are the weights, see ``pack``."""
        start, table = self._start(bias), self.job.copy()
        table[:4] = address(out), address(source), address(packed), address(start)
        tasks = self.shape[0] * len(self.tasks) if out.size else 0
        return Call(self.kernel, table, tasks, self, source, packed, start, out)

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
    rows: tuple[Run, ...]
    cols: tuple[Run, ...]
    source_width: int
    width: int
    groups: int
    inputs: int
    outputs: int
    kw: int
    panels: int
    itemsize: int


# The words of a job and of a task.  Steps are in bytes.
(
    OUT, SOURCE, PACKED, START, TASKS, READS, TASKS_PER_IMAGE, OUT_IMAGE, SOURCE_IMAGE, OUTPUTS,
    INPUTS, PANEL_BYTES, PANELS,
) = range(13)  # fmt: skip
(
    GROUP, OUT_CORNER, WIDTH, OUT_DOWN, SOURCE_DOWN, OUT_ALONG, SOURCE_ALONG,
    FIRST, LAST, FIRST_PANEL, LAST_PANEL, FIRST_READ, READS_OF_TASK, TASK_WORDS,
) = range(14)  # fmt: skip


def _tasks(layer: _Layer, positions: int, panel: int) -> tuple[Array, Array]:
    """What there is to do for one image, and the reads that the tasks refer to.

    A rectangle (one run of rows, one of columns) has one list of taps.  Its positions,
    counted row by row, are cut into tasks of whole tiles; large weights are cut too, the
    positions inside, so that a part of them stays in the cache.
    """
    pixel_in = layer.groups * layer.inputs * layer.itemsize
    pixel_out = layer.groups * layer.outputs * layer.itemsize
    tasks: list[tuple[int, ...]] = []
    reads: list[tuple[int, int, int]] = []
    for r in layer.rows:
        for c in layer.cols:
            found = list(_reads(layer, r, c, pixel_in))
            depth = max(1, sum(length for _, _, length in found))
            area = (
                (r.first * layer.width + c.first) * pixel_out, c.length,
                r.step * layer.width * pixel_out, r.advance * layer.source_width * pixel_in,
                c.step * pixel_out, c.advance * pixel_in,
            )  # fmt: skip
            for group, cut in _cuts(layer, r.length * c.length, positions, depth * panel):
                tasks.append((group, *area, *cut, len(reads), len(found)))
            reads += found
    return np.array(tasks, np.int64), np.array(reads or [(0, 0, 0)], np.int64)


def _reads(layer: _Layer, r: Run, c: Run, pixel: int) -> Iterator[tuple[int, int, int]]:
    """(place in the source, row of the packed weights, length) of the taps, neighbours joined."""
    place, row, length = 0, 0, 0
    for a, h in r.taps:
        for b, v in c.taps:
            here, k = (h * layer.source_width + v) * pixel, (a * layer.kw + b) * layer.inputs
            if length and here == place + length * layer.itemsize and k == row + length:
                length += layer.inputs
                continue
            if length:
                yield place, row, length
            place, row, length = here, k, layer.inputs
    if length:
        yield place, row, length


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
                yield (
                    group,
                    (first, min(first + tall, area), panel, min(panel + wide, layer.panels)),
                )


@functools.cache
def _kernel(itemsize: int, lanes: int, positions: int, vectors: int, last_vectors: int) -> Any:
    stamp = launch.STAMP
    half = (positions + 1) // 2

    def gather(table: int, first: int, last: int) -> None:
        stamp  # noqa: B018  part of the key of the cache
        outs, sources = array(positions), array(positions)
        outputs, panels = word(table, OUTPUTS), word(table, PANELS)
        for number in range(first, last):
            image, index = divmod(number, word(table, TASKS_PER_IMAGE))
            task = word(table, TASKS) + 8 * TASK_WORDS * index
            group, width = word(task, GROUP), word(task, WIDTH)
            reads, count = (
                word(table, READS) + 24 * word(task, FIRST_READ),
                word(task, READS_OF_TASK),
            )
            out = word(table, OUT) + image * word(table, OUT_IMAGE) + word(task, OUT_CORNER)
            source = word(table, SOURCE) + image * word(table, SOURCE_IMAGE)
            source += group * word(table, INPUTS) * itemsize
            end, t = word(task, LAST), word(task, FIRST)
            out_down, out_along = word(task, OUT_DOWN), word(task, OUT_ALONG)
            source_down, source_along = word(task, SOURCE_DOWN), word(task, SOURCE_ALONG)
            while t < end:
                rows = positions if end - t > half else half
                y, x = divmod(t, width)
                for r in range(rows):
                    put(outs, r, y * out_down + x * out_along)
                    put(sources, r, y * source_down + x * source_along)
                    if t + r < end - 1:  # after that the last one is done again, to the same bits
                        x += 1
                        if x == width:
                            x = 0
                            y += 1
                for panel in range(word(task, FIRST_PANEL), word(task, LAST_PANEL)):
                    j = panel * vectors * lanes
                    w = word(table, PACKED) + (group * panels + panel) * word(table, PANEL_BYTES)
                    bias = word(table, START) + (group * panels * vectors * lanes + j) * itemsize
                    to = out + (group * outputs + j) * itemsize
                    tail = outputs - j
                    if panel == panels - 1:
                        if rows == positions:
                            tile(
                                to, outs, source, sources, reads, count, w, bias, tail, itemsize,
                                lanes, positions, last_vectors,
                            )  # fmt: skip
                        else:
                            tile(
                                to, outs, source, sources, reads, count, w, bias, tail, itemsize,
                                lanes, half, last_vectors,
                            )  # fmt: skip
                    elif rows == positions:
                        tile(
                            to, outs, source, sources, reads, count, w, bias, tail, itemsize,
                            lanes, positions, vectors,
                        )  # fmt: skip
                    else:
                        tile(
                            to, outs, source, sources, reads, count, w, bias, tail, itemsize,
                            lanes, half, vectors,
                        )  # fmt: skip
                t += rows

    return compiled(gather)


@intrinsic
def tile(
    typing: Any, out: Any, outs: Any, source: Any, sources: Any, reads: Any, count: Any,
    weights: Any, bias: Any, tail: Any, itemsize: Any, lanes: Any, positions: Any, vectors: Any,
) -> Any:  # fmt: skip
    """acc[r][l] = bias[l], then for each read, for each k: acc[r][l] += source[r][k] w[k][l]."""
    rows, wide = range(literal(positions)), range(literal(vectors))

    def codegen(context: Any, builder: Any, signature: Any, args: Sequence[Value]) -> Value:
        out, outs, source, sources, reads, count, weights, bias, tail = args[:9]
        v = Vectors(builder, literal(itemsize), literal(lanes))
        row_bytes = int64(len(wide) * v.bytes)

        def read(number: Value, acc: list[Value]) -> list[Value]:
            entry = builder.add(reads, builder.mul(number, int64(24)))
            start = builder.add(source, v.word(entry, 0))
            places = [builder.add(start, v.word(sources, r)) for r in rows]
            panel = builder.add(weights, builder.mul(v.word(entry, 1), row_bytes))

            def step(k: Value, acc: list[Value]) -> list[Value]:
                at = builder.add(panel, builder.mul(k, row_bytes))
                w = [v.load(v.at(at, int64(v.bytes), l)) for l in wide]
                along = builder.mul(k, int64(v.itemsize))
                result = []
                for r in rows:
                    x = v.broadcast(builder.add(places[r], along))
                    result += [v.fma(x, w[l], acc[r * len(wide) + l]) for l in wide]
                return result

            return fold(builder, v.word(entry, 2), acc, step)

        begin = [v.load(v.at(bias, int64(v.bytes), l)) for _ in rows for l in wide]
        acc = fold(builder, count, begin, read)
        whole = builder.icmp_signed(">=", tail, int64(len(wide) * v.lanes))
        with builder.if_else(whole) as (full, partial):
            for inside, masked in ((full, False), (partial, True)):
                with inside:
                    for l in wide:
                        left = builder.sub(tail, int64(l * v.lanes)) if masked else None
                        u = Vectors(builder, v.itemsize, v.lanes, left)
                        for r in rows:
                            to = builder.add(builder.add(out, v.word(outs, r)), int64(l * v.bytes))
                            u.store_tail(acc[r * len(wide) + l], to)
        return context.get_dummy_value()

    return types.void(*[types.int64] * 9, itemsize, lanes, positions, vectors), codegen
