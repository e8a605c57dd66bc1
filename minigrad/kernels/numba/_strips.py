"""Strips of neighbouring outputs, for small depthwise windows: which columns each reads."""

from __future__ import annotations

from collections import namedtuple
from typing import NamedTuple

import numpy as np

from minigrad.geometry import Axis
from minigrad.kernels.contract import Array
from minigrad.kernels.numba._launch import vector_bytes

__all__ = ["Kind", "Strip", "is_small", "strips_of"]

# Where a strip begins in a row of the output and of the source, and its kind.
Strip = namedtuple("Strip", "out source kind")


class Kind(NamedTuple):
    """What a strip is compiled for: so many columns of outputs, and which of the source exist.

    ``phase`` is (v + P) mod s of its first column in the input gradient; columns
    ``low`` to ``high`` of the source, counted from the first that any tap may reach, exist.
    """

    columns: int
    kernel: int
    stride: int
    adjoint: bool
    phase: int
    low: int
    high: int

    @property
    def first(self) -> int:
        """The first source column that a tap reaches, relative to the base of the strip."""
        return -((self.kernel - 1 - self.phase) // self.stride) if self.adjoint else 0

    @property
    def reach(self) -> int:
        """How many source columns the taps of a strip reach."""
        if self.adjoint:
            return (self.phase + self.columns - 1) // self.stride - self.first + 1
        return (self.columns - 1) * self.stride + self.kernel

    @property
    def outputs(self) -> list[list[tuple[int, int]]]:
        """For each source column, in the order in which the tile loads: (output column, tap).

        >>> Kind(2, 3, 1, False, 0, low=1, high=4).outputs
        [[(0, 1), (1, 0)], [(0, 2), (1, 1)], [(1, 2)]]
        """
        order = [
            [
                (m, b)
                for m in range(self.columns)
                for b in range(self.kernel)
                if (self.phase + m - b == (e + self.first) * self.stride if self.adjoint
                    else m * self.stride + b == e)
            ]
            for e in range(self.low, self.high)
        ]  # fmt: skip
        return order[::-1] if self.adjoint else order


def is_small(axis: Axis) -> bool:
    """Whether a row of taps is one that strips are made for."""
    return axis.kernel in (3, 5) and axis.stride in (1, 2) and axis.dilation == 1


def strips_of(
    axis: Axis, adjoint: bool, channels: int, itemsize: int
) -> tuple[tuple[Kind, ...], Array] | None:
    """The kinds of a layer's strips, and where each begins; None where it must gather."""
    width = axis.size if adjoint else axis.out
    columns = 14 if width >= 14 and vector_bytes() == 64 else 7
    if not is_small(axis) or width < columns or axis.before >= columns:
        return None
    starts = [*range(0, width - columns, columns), width - columns]
    strips = [_strip(axis, columns, adjoint, v) for v in starts]
    kinds = sorted({kind for kind, _ in strips})
    if len(kinds) > 3 or not all(kind.outputs for kind in kinds):
        return None
    pixel = channels * itemsize
    table = [
        Strip(v * pixel, base * pixel, kinds.index(kind))
        for v, (kind, base) in zip(starts, strips, strict=True)
    ]
    return tuple(kinds), np.array(table, np.int64)


def _strip(axis: Axis, columns: int, adjoint: bool, v: int) -> tuple[Kind, int]:
    """The strip that begins at column v, and the source column that it counts from."""
    if adjoint:
        phase, base = (v + axis.before) % axis.stride, (v + axis.before) // axis.stride
        size = axis.out
    else:
        phase, base, size = 0, v * axis.stride - axis.before, axis.size
    kind = Kind(columns, axis.kernel, axis.stride, adjoint, phase, 0, 0)
    base += kind.first
    high = max(min(kind.reach, size - base), 0)
    return kind._replace(low=max(0, -base), high=high), base
