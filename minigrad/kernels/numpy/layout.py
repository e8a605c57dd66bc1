"""Where the pixels of a tap lie: the rectangles that every windowed function is a sum over.

For one tap (a, b) the positions p, q whose input position lies inside the map form a
rectangle of outputs R, and a rectangle S of inputs of the same size (strided).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from minigrad.geometry import Axis, ConvSpec, axes
from minigrad.kernels.contract import Array, PoolWindow

__all__ = ["Tap", "grouped", "matrices", "over_channels", "taps"]


class Tap(NamedTuple):
    """One kernel position: where it is, the outputs it reaches, the inputs they read."""

    a: int
    b: int
    outputs: tuple[slice, slice]
    inputs: tuple[slice, slice]


def taps(
    size: Sequence[int], out: Sequence[int], kernel: Sequence[int], spec: ConvSpec | PoolWindow
) -> Iterator[Tap]:
    """Every tap that reaches at least one input position, row by row."""
    rows_of_taps, cols_of_taps = (
        [_slices(axis, tap) for tap in range(axis.kernel)] for axis in axes(size, out, kernel, spec)
    )
    for a, (rows, from_rows) in enumerate(rows_of_taps):
        for b, (cols, from_cols) in enumerate(cols_of_taps):
            if rows.stop > rows.start and cols.stop > cols.start:
                yield Tap(a, b, (rows, cols), (from_rows, from_cols))


def _slices(axis: Axis, tap: int) -> tuple[slice, slice]:
    first, last = axis.valid(tap)
    start = first * axis.stride - axis.before + tap * axis.dilation
    return slice(first, last), slice(start, start + (last - first) * axis.stride, axis.stride)


def grouped(x: Array, groups: int) -> Array:
    """(N, C, h, w) as (N, G, C/G, h w)."""
    n, c, h, w = x.shape
    return x.reshape(n, groups, c // groups, h * w)


def matrices(w: Array, groups: int) -> Array:
    """(Cout, Cin/G, kh, kw) as (kh, kw, G, Cout/G, Cin/G), each matrix contiguous."""
    cout, cin, kh, kw = w.shape
    parts = w.reshape(groups, cout // groups, cin, kh, kw)
    return np.ascontiguousarray(parts.transpose(3, 4, 0, 1, 2))


def over_channels(v: Array, x: Array) -> Array:
    """(C,) against (N, C, ...)."""
    return v.reshape(v.size, *(1,) * (x.ndim - 2))
