"""Blocks of convolutions as one call of the compiled core (``ext/blocks.pyx.tp``).

A block is a list of stages, each a convolution

    y_k = clamp(activation(T(x_k, w_k) + bias_k) + residual_k),     or, where it is last,
    y_k = activation(T(x_k, w_k) + bias_k + residual_k)

or a gate, y_k = x_k s, or the maxima of windows.  What a stage reads or adds is an array, or
what an earlier stage makes; only the last stage's map is written out, the others pass through
cache by rows.
The numbers are those of the stages run one after the other, to the bit.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, TypeAlias, cast

import numpy as np

from minigrad.arrays import Array
from minigrad.geometry import ConvSpec, PoolWindow, conv_output_shape
from minigrad.kernels.cython._convolution import epilogue, pack
from minigrad.kernels.cython.core import core
from minigrad.kernels.tables import CACHES
from minigrad.records import NamedTuple

__all__ = ["Stage", "bind_block", "block_bytes", "ghost"]

Shape: TypeAlias = "tuple[int, ...]"

CHUNK_BYTES, SPARE_BYTES = CACHES["CHUNK_BYTES"], CACHES["SPARE_BYTES"]
SPAN_BYTES = 64  # of a lane, for what it has still to do


class Stage(NamedTuple):
    """One convolution or gate of a block.

    Attributes
    ----------
    x, residual : ndarray or int
        Arrays of NCHW shape, channels-last, or the number of an earlier stage.
    w : ndarray
        (Cout, Cin/groups, kh, kw), or the same packed; or the gate (N, C), C-contiguous, if
        spec is None; None if spec is a PoolWindow.
    spends : bool
        Whether a gate may write over x.
    """

    x: Any
    w: Any
    spec: ConvSpec | PoolWindow | None
    bias: Array | None = None
    residual: Any = None
    activation: str | None = None
    slope: Array | None = None
    last: bool = False
    clamp: str | None = None
    spends: bool = False


def bind_block(stages: Sequence[Stage], y: Array, scratch: Any) -> Any:
    """A call that computes y, the last stage's map: ``.run(threads)``.

    All shapes have been checked.  The call keeps the arrays alive, and reads and writes
    them every time it is run.
    """
    shapes, chunk, capacities = _layout(stages, y.dtype)
    maps = [_made(*inner, y.dtype) for inner in zip(stages, shapes, strict=True)]
    maps[-1] = y
    made = [
        (
            _packed(stage),
            _array(stage.x, maps),
            maps[k],
            None if stage.bias is None else np.ascontiguousarray(stage.bias),
            _array(stage.residual, maps),
            epilogue(stage.activation, stage.slope, stage.last, stage.clamp),
            _number(stage.x),
            _number(stage.residual),
        )
        for k, stage in enumerate(stages)
    ]
    return core.StreamCall(made, scratch, chunk, capacities)


def _made(stage: Stage, shape: Shape, dtype: np.dtype[np.generic]) -> Array:
    """Where a stage's map lies: in a lane's buffer, or, of a gate that spends x, over x."""
    y = ghost(shape, dtype)
    over: bool = stage.spends and stage.x.strides == y.strides
    return stage.x if over else y


def _packed(stage: Stage) -> Any:
    """The stage's weights as the kernels read them; a gate, a window, what is packed, as it is."""
    if isinstance(stage.spec, PoolWindow):
        return tuple(stage.spec)
    packed = stage.spec is None or not isinstance(stage.w, np.ndarray)
    return stage.w if packed else pack(stage.w, cast(ConvSpec, stage.spec))


def block_bytes(stages: Sequence[Stage], dtype: np.dtype[np.generic]) -> int:
    """The size of the buffers that one thread needs for a block."""
    shapes, _, capacities = _layout(stages, dtype)
    rows = [c * w * dtype.itemsize for _, c, _, w in shapes]
    buffers = sum((n * row + 127) & ~63 for n, row in zip(capacities, rows[:-1], strict=True))
    return SPAN_BYTES + buffers


def _layout(
    stages: Sequence[Stage], dtype: np.dtype[np.generic]
) -> tuple[list[Shape], int, list[int]]:
    """Of each stage the shape; output rows at a time; of each stage the rows of its buffer."""
    shapes = map_shapes(stages)
    chunk = rows_at_a_time(shapes, dtype.itemsize)
    return shapes, chunk, buffer_rows(stages, shapes, dtype.itemsize, chunk)


def map_shapes(stages: Sequence[Stage]) -> list[Shape]:
    """The shape of what each stage makes."""
    shapes: list[Shape] = []
    for stage in stages:
        x_shape = shapes[stage.x] if isinstance(stage.x, int) else stage.x.shape
        made = x_shape
        if isinstance(stage.spec, PoolWindow):
            made = stage.spec.output_shape(x_shape)
        elif stage.spec is not None:
            made = conv_output_shape(x_shape, stage.w.shape, stage.spec)
        shapes.append(made)
    return shapes


def rows_at_a_time(shapes: Sequence[Shape], itemsize: int) -> int:
    """Output rows for which about CHUNK_BYTES of the widest map are made."""
    rows = max(shapes[-1][2], 1)
    widest = max(math.prod(shape[1:]) * itemsize for shape in shapes)
    return max(1, min(rows, round(CHUNK_BYTES * rows / max(widest, 1))))


def buffer_rows(
    stages: Sequence[Stage], shapes: Sequence[Shape], itemsize: int, chunk: int
) -> list[int]:
    """Rows that the buffer of each stage but the last must hold.

    Output rows [0, chunk) of the block are made from rows [low, high) of each stage before
    it, the map taken as endless; a buffer holds them, and as many more as are to spare, for
    the more it holds the more rarely its rows are moved.
    """
    low, high = [0] * len(stages), [0] * len(stages)
    high[-1] = chunk
    for k in range(len(stages) - 1, -1, -1):
        stage = stages[k]
        if isinstance(stage.x, int):
            first, last = _under(stage, low[k], high[k])
            low[stage.x] = min(low[stage.x], first) if high[stage.x] else first
            high[stage.x] = max(high[stage.x], last)
        if isinstance(stage.residual, int):
            j = stage.residual
            low[j], high[j] = min(low[j], low[k]), max(high[j], high[k])
    spare = [SPARE_BYTES // max(c * w * itemsize, 1) for _, c, _, w in shapes]
    return [min(high[k] - low[k] + spare[k], shapes[k][2]) for k in range(len(stages) - 1)]


def _under(stage: Stage, low: int, high: int) -> tuple[int, int]:
    """The rows under the windows of output rows [low, high)."""
    if stage.spec is None:
        return low, high
    stride, dilation = stage.spec.stride[0], stage.spec.dilation[0]
    first = low * stride - stage.spec.padding[0][0]
    kernel = stage.spec.kernel if isinstance(stage.spec, PoolWindow) else stage.w.shape[2:]
    reach = (kernel[0] - 1) * dilation + 1
    return first, first + (high - 1 - low) * stride + reach


def ghost(shape: tuple[int, ...], dtype: np.dtype[np.generic]) -> Array:
    """A map without memory: a shape, channels-last steps, and an address nobody uses."""
    _, c, h, w = shape
    steps = (h * w * c, 1, w * c, c)
    strides = [step * dtype.itemsize for step in steps]
    return np.lib.stride_tricks.as_strided(np.empty(1, dtype), shape, strides)


def _array(ref: Any, maps: Sequence[Array]) -> Any:
    return maps[ref] if isinstance(ref, int) else ref


def _number(ref: Any) -> int:
    return ref if isinstance(ref, int) else -1
