"""Which taps a position has, found once, so that no inner loop asks.

One axis of T(x, w, g) couples an input position h, an output position p and a tap a by

    h = p s - P + a d.

The forward sum fixes p and reads h; the input gradient fixes h and reads p.  Either way
the positions that have the same taps, and read side by side, form a few segments: the left
border, the interior, the right border (for an input gradient, once for each remainder of
h modulo s).  Within a segment a kernel needs no test: every position does the same.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np

from minigrad.geometry import Axis

TapPlaces = tuple[tuple[int, int], ...]
Shape = tuple[int, ...]


class Segment(NamedTuple):
    """Positions first, first + step, ... that have the same taps.

    Attributes
    ----------
    taps : tuple of (tap, where the first position reads)
        In ascending order of the tap, which is the order of the sum.
    advance : int
        How far the place that is read moves from one position to the next.
    """

    first: int
    step: int
    length: int
    taps: TapPlaces
    advance: int


class Sweep(NamedTuple):
    """A convolution for one shape, as the sums over its taps go through it.

    Attributes
    ----------
    source, out : (N, H, W, C)
        The map that is read and the one that is written: x and y or, in the input gradient,
        g and x's gradient.  A weight gradient reads both, x and g.
    weights : (Cout, Cin/groups, kh, kw)
    rows, cols : Axis
    groups : int
    adjoint : bool
        Whether this is an input gradient.
    dtype : of all arrays
    """

    source: Shape
    out: Shape
    weights: Shape
    rows: Axis
    cols: Axis
    groups: int
    adjoint: bool
    dtype: np.dtype[np.generic]

    @property
    def segments(self) -> tuple[tuple[Segment, ...], tuple[Segment, ...]]:
        """Of the rows and columns of ``out``."""
        return segments(self.rows, self.adjoint), segments(self.cols, self.adjoint)


def taps_of(axis: Axis, adjoint: bool, position: int) -> TapPlaces:
    """The taps of an output position, with where they read; or those of an input position."""
    return tuple((axis.readers if adjoint else axis.reads)(position))


@functools.lru_cache(maxsize=1024)
def segments(axis: Axis, adjoint: bool) -> tuple[Segment, ...]:
    """The segments of the output positions p, which read x at h; or of h, which read g at p.

    >>> axis = Axis(size=5, out=5, kernel=3, stride=1, before=1, dilation=1)
    >>> for s in segments(axis, adjoint=False):
    ...     print(s.first, s.length, s.taps)
    0 1 ((1, 0), (2, 1))
    1 3 ((0, 0), (1, 1), (2, 2))
    4 1 ((0, 3), (1, 4))
    >>> axis = Axis(size=6, out=3, kernel=3, stride=2, before=1, dilation=1)
    >>> for s in segments(axis, adjoint=True):
    ...     print(s.first, s.length, s.taps)
    0 3 ((1, 0),)
    1 2 ((0, 1), (2, 0))
    5 1 ((2, 2),)
    """
    n, step, advance = (axis.size, axis.stride, 1) if adjoint else (axis.out, 1, axis.stride)
    result: list[Segment] = []
    for start in range(min(step, n)):
        segment = Segment(start, step, 0, taps_of(axis, adjoint, start), advance)
        for position in range(start, n, step):
            taps = taps_of(axis, adjoint, position)
            if taps != tuple((a, read + segment.length * advance) for a, read in segment.taps):
                result.append(segment)
                segment = Segment(position, step, 0, taps, advance)
            segment = segment._replace(length=segment.length + 1)
        result.append(segment)
    return tuple(result)
