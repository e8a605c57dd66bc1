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
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

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


class Axis(NamedTuple):
    """One axis of a convolution: sizes of x and y, and h = p s - P + a d between them."""

    size: int
    out: int
    kernel: int
    stride: int
    before: int
    dilation: int


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
        segments = adjoint_segments if self.adjoint else forward_segments
        return segments(self.rows), segments(self.cols)


def forward_taps(axis: Axis, p: int) -> TapPlaces:
    """The taps of output position p: (tap a, the h that it reads)."""
    reads = ((a, p * axis.stride - axis.before + a * axis.dilation) for a in range(axis.kernel))
    return tuple((a, h) for a, h in reads if 0 <= h < axis.size)


def adjoint_taps(axis: Axis, h: int) -> TapPlaces:
    """The taps of input position h: (tap a, the p that it reads)."""
    steps = ((a, h + axis.before - a * axis.dilation) for a in range(axis.kernel))
    reads = ((a, *divmod(ps, axis.stride)) for a, ps in steps)
    return tuple((a, p) for a, p, rest in reads if rest == 0 and 0 <= p < axis.out)


@functools.lru_cache(maxsize=1024)
def forward_segments(axis: Axis) -> tuple[Segment, ...]:
    """The segments of the output positions p, which read x at h.

    >>> for s in forward_segments(Axis(size=5, out=5, kernel=3, stride=1, before=1, dilation=1)):
    ...     print(s.first, s.length, s.taps)
    0 1 ((1, 0), (2, 1))
    1 3 ((0, 0), (1, 1), (2, 2))
    4 1 ((0, 3), (1, 4))
    """
    return _segments(axis.out, 1, axis.stride, functools.partial(forward_taps, axis))


@functools.lru_cache(maxsize=1024)
def adjoint_segments(axis: Axis) -> tuple[Segment, ...]:
    """The segments of the input positions h, which read g at p.

    >>> for s in adjoint_segments(Axis(size=6, out=3, kernel=3, stride=2, before=1, dilation=1)):
    ...     print(s.first, s.length, s.taps)
    0 3 ((1, 0),)
    1 2 ((0, 1), (2, 0))
    5 1 ((2, 2),)
    """
    return _segments(axis.size, axis.stride, 1, functools.partial(adjoint_taps, axis))


def _segments(
    n: int, step: int, advance: int, taps_of: Callable[[int], TapPlaces]
) -> tuple[Segment, ...]:
    segments: list[Segment] = []
    for start in range(min(step, n)):
        segment = Segment(start, step, 0, taps_of(start), advance)
        for position in range(start, n, step):
            taps = taps_of(position)
            if taps != tuple((a, read + segment.length * advance) for a, read in segment.taps):
                segments.append(segment)
                segment = Segment(position, step, 0, taps, advance)
            segment = segment._replace(length=segment.length + 1)
        segments.append(segment)
    return tuple(segments)
