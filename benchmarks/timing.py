"""Times, taken as ``minigrad bench`` takes them, and their geometric mean."""

from __future__ import annotations

import math
from collections.abc import Iterable

from minigrad.cli.stopwatch import Timing, interleave, settle

__all__ = ["Timing", "geometric_mean", "interleave", "settle"]


def geometric_mean(values: Iterable[float]) -> float:
    """(v_1 v_2 ... v_n)^(1/n); NaN of nothing.

    >>> geometric_mean([0.5, 2.0])
    1.0
    """
    logs = [math.log(v) for v in values]
    return math.exp(sum(logs) / len(logs)) if logs else math.nan
