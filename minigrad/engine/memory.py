"""Every buffer a place in one arena, by lifetime.

A value lives from the step that writes it to the last step that reads it.  Two values
may share memory if their lives do not overlap.  Placing intervals of given sizes into the
least memory is NP-hard (it is dynamic storage allocation, Garey & Johnson problem SR2);
the greedy used here, largest first, each at the lowest free offset, is at most a small
factor off, and the plan prints both what it reached and the lower bound: the largest sum
of the sizes that live at one step.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

__all__ = ["ALIGNMENT", "Life", "live_peak", "place"]

ALIGNMENT = 64  # bytes: a cache line, and the widest register


class Life(NamedTuple):
    """A buffer: its size in bytes, and the first and last step it is needed at."""

    size: int
    first: int
    last: int


def aligned(size: int) -> int:
    """``size`` rounded up to whole cache lines."""
    return -(-size // ALIGNMENT) * ALIGNMENT


def live_peak(lives: Mapping[int, Life]) -> int:
    """The largest sum of sizes needed at one step: no arena can be smaller.

    >>> live_peak({1: Life(64, 0, 1), 2: Life(128, 1, 2), 3: Life(64, 2, 3)})
    192
    """
    moments = {life.first for life in lives.values()}
    return max(
        (sum(aligned(b.size) for b in lives.values() if b.first <= t <= b.last) for t in moments),
        default=0,
    )


def place(lives: Mapping[int, Life]) -> tuple[dict[int, int], int]:
    """An offset for each buffer, and the size of the arena they need.

    >>> place({1: Life(64, 0, 1), 2: Life(128, 1, 2), 3: Life(64, 2, 3)})
    ({2: 0, 1: 128, 3: 128}, 192)
    """
    offsets: dict[int, int] = {}
    for key in sorted(lives, key=lambda k: (-lives[k].size, lives[k].first)):
        offsets[key] = _lowest_gap(key, lives, offsets)
    ends = (offset + aligned(lives[key].size) for key, offset in offsets.items())
    return offsets, max(ends, default=0)


def _lowest_gap(key: int, lives: Mapping[int, Life], offsets: Mapping[int, int]) -> int:
    """The lowest offset at which nothing that lives at the same time lies."""
    life = lives[key]
    busy = sorted(
        (offset, offset + aligned(lives[k].size))
        for k, offset in offsets.items()
        if lives[k].first <= life.last and life.first <= lives[k].last
    )
    at = 0
    for start, end in busy:
        if at + aligned(life.size) <= start:
            break
        at = max(at, end)
    return at
