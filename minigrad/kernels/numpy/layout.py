"""Where the pixels of a tap lie: the rectangles that every windowed function is a sum over.

For one tap (a, b) the positions p, q whose input position lies inside the map form a
rectangle of outputs R, and a rectangle S of inputs of the same size (strided).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from minigrad.geometry import ConvSpec, valid_range
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
    axes = [
        [
            _axis(k, *valid_range(size[i], out[i], k, spec.stride[i], spec.padding[i][0],
                                  spec.dilation[i]), spec, i)
            for k in range(kernel[i])
        ]
        for i in (0, 1)
    ]  # fmt: skip
    for a, (rows, from_rows) in enumerate(axes[0]):
        for b, (cols, from_cols) in enumerate(axes[1]):
            if rows.stop > rows.start and cols.stop > cols.start:
                yield Tap(a, b, (rows, cols), (from_rows, from_cols))


def _axis(
    tap: int, first: int, last: int, spec: ConvSpec | PoolWindow, i: int
) -> tuple[slice, slice]:
    stride, offset = spec.stride[i], tap * spec.dilation[i] - spec.padding[i][0]
    start = first * stride + offset
    return slice(first, last), slice(start, start + (last - first) * stride, stride)


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
