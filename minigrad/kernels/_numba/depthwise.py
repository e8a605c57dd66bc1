"""The depthwise sums: one input channel for each output channel.

    T(x, w, g) = sum_{n,c,p,q,a,b} g[n,c,p,q] w[c,a,b] x[n, c, p s - P + a d, q s' - P' + b d']

Channels never meet, so they are the lanes of a vector, and one accumulator holds one
position of 4 to 16 channels.  Forward (fix g's place, read x) and input gradient (fix
x's place, read g) are the same sum over taps, ``WindowSum``, and differ only in where a
tap reads, which ``windows`` has found before.  (Fix w's place, read g and x: ``pixels``.)

Small windows go to the tiles of ``strip``; here is the plain tile that serves every other.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numba import types

from minigrad.kernels._numba import launch, strip
from minigrad.kernels._numba.launch import Call, address, compiled, job, vector_bytes
from minigrad.kernels._numba.vectors import Value, Vectors, fold, int64, intrinsic, literal, word
from minigrad.kernels._numba.windows import Axis, Run
from minigrad.kernels.contract import Array

# The words of a job and of a task, which is some lines of a rectangle of positions that have
# the same taps.  Steps are in bytes.
(
    OUT, SOURCE, PACKED, START, TASKS, READS, TASKS_PER_IMAGE, OUT_IMAGE, SOURCE_IMAGE, CHANNELS,
    BLOCK_BYTES,
) = range(11)  # fmt: skip
(
    OUT_CORNER, SOURCE_CORNER, LINES, OUT_DOWN, SOURCE_DOWN, LENGTH, OUT_ALONG, SOURCE_ALONG,
    FIRST_READ, READS_OF_TASK, FIRST_BLOCK, LAST_BLOCK, TASK_WORDS,
) = range(13)  # fmt: skip


def pack(weights: Array) -> Array:
    """(C, 1, kh, kw) to (blocks of lanes, kh kw, lanes), zeros after the last channel."""
    channels, lanes = len(weights), vector_bytes() // weights.itemsize
    packed = weights.reshape(channels, -1)
    if channels % lanes:
        packed = np.pad(packed, ((0, -channels % lanes), (0, 0)))
    return np.ascontiguousarray(packed.reshape(-1, lanes, packed.shape[1]).transpose(0, 2, 1))


class WindowSum:
    """out[n,h,v,c] = bias[c] + sum over the taps (a, b) of a position of w[a,b,c] source[n,.,.,c].

    Taps ascending in (a, b), one fused multiply-add each.

    Parameters
    ----------
    source : shape (N, H, W, C)
    kernel : (kh, kw)
    out : shape (N, H', W', C) of the result
    rows, cols : the runs of its two axes
    columns : the second axis itself
    adjoint : whether this is an input gradient, which reads g
    """

    def __init__(
        self, source: Sequence[int], kernel: Sequence[int], out: Sequence[int],
        rows: tuple[Run, ...], cols: tuple[Run, ...], columns: Axis, adjoint: bool,
        dtype: np.dtype[Any],
    ) -> None:  # fmt: skip
        size = dtype.itemsize
        self.lanes = vector_bytes() // size
        channels, taps = out[3], math.prod(kernel)
        self.shape, self.dtype = tuple(out), dtype
        self.blocks = -(-channels // self.lanes)
        self.zeros = np.zeros(self.blocks * self.lanes, dtype)
        strips = strip.plan(columns, adjoint, channels, size)
        line, source_line = (shape[2] * channels * size for shape in (out, source))
        if strips:
            self.kernel, self.strips = strips
            tap_row = kernel[1] * self.lanes * size
            self.tasks, self.taps = strip.tasks(rows, line, source_line, self.blocks, tap_row)
        else:
            self.kernel, self.strips = _window_kernel(size, self.lanes), self.zeros
            self.tasks, self.taps = _tasks(
                rows, cols, source[2], out[2], channels, kernel[1], self.lanes, size
            )
        self.job = job(
            0, 0, 0, 0, address(self.tasks), address(self.taps), len(self.tasks),
            line * out[1], source_line * source[1], channels, taps * self.lanes * size,
            address(self.strips), len(self.strips),
        )  # fmt: skip

    def bind(self, source: Array, packed: Array, bias: Array | None, out: Array) -> Call:
        """The call that writes the sum to ``out``; ``packed`` are the weights, see ``pack``."""
        start, table = self._start(bias), self.job.copy()
        table[:4] = address(out), address(source), address(packed), address(start)
        tasks = self.shape[0] * len(self.tasks) if out.size else 0
        return Call(self.kernel, table, tasks, self, source, packed, start, out)

    def pack(self, weights: Array) -> Array:
        """The weights in the order in which they are read."""
        return pack(weights)

    def _start(self, bias: Array | None) -> Array:
        if bias is None:
            return self.zeros
        start: Array = self.zeros.copy()
        start[: len(bias)] = bias
        return start


def _tasks(
    rows: tuple[Run, ...], cols: tuple[Run, ...], source_width: int, width: int,
    channels: int, kw: int, lanes: int, itemsize: int,
) -> tuple[Array, Array]:  # fmt: skip
    """What to do for one image: a line of integers each, and the taps they refer to.

    A rectangle (one run of rows, one of columns) has one list of taps.  It is cut into
    lines along its longer side; a task is some lines and some blocks of channels.
    """
    pixel = channels * itemsize
    blocks = -(-channels // lanes)
    tasks: list[tuple[int, ...]] = []
    taps: list[tuple[int, int]] = []
    for r in rows:
        for c in cols:
            found = [
                ((h * source_width + v) * pixel, (a * kw + b) * lanes * itemsize)
                for a, h in r.taps
                for b, v in c.taps
            ]
            down = (r.length, r.step * width * pixel, r.advance * source_width * pixel)
            along = (c.length, c.step * pixel, c.advance * pixel)
            line, step = (down, along) if c.length >= r.length else (along, down)
            corner = (r.first * width + c.first) * pixel
            few = 4 if line[0] > 8 else line[0]
            part = max(1, blocks) if line[0] > 8 else 8
            for j in range(0, line[0], few):
                for block in range(0, blocks, part):
                    tasks.append((
                        corner + j * line[1], j * line[2], min(few, line[0] - j), line[1], line[2],
                        *step, len(taps), len(found), block, min(block + part, blocks),
                    ))  # fmt: skip
            taps += found
    return np.array(tasks, np.int64), np.array(taps or [(0, 0)], np.int64)


@functools.cache
def _window_kernel(itemsize: int, lanes: int) -> Any:
    stamp = launch.STAMP

    def window(table: int, first: int, last: int) -> None:
        stamp  # noqa: B018  part of the key of the cache
        for number in range(first, last):
            image, index = divmod(number, word(table, TASKS_PER_IMAGE))
            task = word(table, TASKS) + 8 * TASK_WORDS * index
            taps, ntaps = (
                word(table, READS) + 16 * word(task, FIRST_READ),
                word(task, READS_OF_TASK),
            )
            dst_step, src_step = word(task, OUT_ALONG), word(task, SOURCE_ALONG)
            out = word(table, OUT) + image * word(table, OUT_IMAGE) + word(task, OUT_CORNER)
            source = word(table, SOURCE) + image * word(table, SOURCE_IMAGE)
            source += word(task, SOURCE_CORNER)
            for line in range(word(task, LINES)):
                for block in range(word(task, FIRST_BLOCK), word(task, LAST_BLOCK)):
                    lane = block * lanes
                    tail = word(table, CHANNELS) - lane
                    dst = out + line * word(task, OUT_DOWN) + lane * itemsize
                    src = source + line * word(task, SOURCE_DOWN) + lane * itemsize
                    w = word(table, PACKED) + block * word(table, BLOCK_BYTES)
                    bias = word(table, START) + lane * itemsize
                    left = word(task, LENGTH)
                    while left > 0:
                        if left >= 8 and tail >= lanes:
                            window_tile(
                                dst, dst_step, src, src_step, taps, ntaps, w, bias, tail, itemsize,
                                lanes, 8, 0,
                            )  # fmt: skip
                            done = 8
                        elif left >= 4:
                            window_tile(
                                dst, dst_step, src, src_step, taps, ntaps, w, bias, tail, itemsize,
                                lanes, 4, 1,
                            )  # fmt: skip
                            done = 4
                        else:
                            window_tile(
                                dst, dst_step, src, src_step, taps, ntaps, w, bias, tail, itemsize,
                                lanes, 1, 1,
                            )  # fmt: skip
                            done = 1
                        dst += done * dst_step
                        src += done * src_step
                        left -= done

    return compiled(window)


@intrinsic
def window_tile(
    typing: Any, dst: Any, dst_step: Any, src: Any, src_step: Any, taps: Any, ntaps: Any,
    weights: Any, bias: Any, tail: Any, itemsize: Any, lanes: Any, positions: Any, masked: Any,
) -> Any:  # fmt: skip
    """``positions`` accumulators in registers; one weight and so many reads for each tap."""
    count = literal(positions)

    def codegen(context: Any, builder: Any, signature: Any, args: Sequence[Value]) -> Value:
        dst, dst_step, src, src_step, taps, ntaps, weights, bias, tail = args[:9]
        v = Vectors(builder, literal(itemsize), literal(lanes), tail if literal(masked) else None)

        def tap(k: Value, acc: list[Value]) -> list[Value]:
            entry = builder.add(taps, builder.mul(k, int64(16)))
            read = builder.add(src, v.word(entry, 0))
            w = v.load(builder.add(weights, v.word(entry, 1)))
            return [v.fma(v.load_tail(v.at(read, src_step, i)), w, acc[i]) for i in range(count)]

        for i, acc in enumerate(fold(builder, ntaps, [v.load(bias)] * count, tap)):
            v.store_tail(acc, v.at(dst, dst_step, i))
        return context.get_dummy_value()

    return types.void(*[types.int64] * 9, itemsize, lanes, positions, masked), codegen
