"""Sums of values at places, of which several may be the same: the transposes of reading.

As every sum of values (``kernels.contract``) they are kept in float64 and rounded once, at the end;
CHAIN values at a time along an axis, and the sums of these in two words.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeAlias

import numpy as np

from minigrad.kernels.contract import CHAIN
from minigrad.kernels.formulas import both_words, error
from minigrad.tensor import Array, Shape

__all__ = ["CHAIN", "Part", "added_at"]

Part: TypeAlias = "tuple[tuple[slice, ...], tuple[Any, ...], Array]"


def added_at(shape: Shape, dtype: np.dtype[np.generic], parts: Iterable[Part]) -> Array:
    """Zeros of ``shape`` to which values are added at places.

    ``parts`` gives the region of a part, places in this region, and the values there.
    """
    high, low = np.zeros(shape), np.zeros(shape)
    for region, at, values in parts:
        hi, lo = high[region], low[region]
        b = np.zeros(hi.shape)
        np.add.at(b, at, values)
        s = hi + b
        lo += error(hi, b, s)
        hi[...] = s
    y: Array = both_words(high, low).astype(dtype)
    return y
