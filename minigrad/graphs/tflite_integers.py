"""The arithmetic of LiteRT's reference kernels: how integers stand for numbers and are rounded.

    x = scale (q - zero_point)

A quantised value is carried as q - zero_point, a small integer, in float64.  Products and sums of
such integers are exact there.  To go from one scale to another is a product with a real factor,
for which fixed-point arithmetic has an integer of 31 bits and a shift:

    factor ~ m 2^(s - 31),   2^30 <= m < 2^31
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np

from minigrad.formats.numbers import Array
from minigrad.graphs.attributes import UnreadNode
from minigrad.graphs.data import TfliteTensor
from minigrad.graphs.tflite_operation import Operation
from minigrad.ops.fixed_point import lookup, rescale
from minigrad.tensor import Tensor

__all__ = ["LIMITS", "Factor", "Integers", "factor", "integers_of", "is_quantised", "table_of"]

LIMITS = {"uint8": (0, 255), "int8": (-128, 127)}
WIDE = float(1 << 31)  # no bound for an intermediate of 32 bits


class Integers(NamedTuple):
    """What the integers of one tensor stand for.

    ``low`` and ``high`` bound q - zero_point.
    """

    scale: np.float32
    zero: int
    low: int
    high: int

    def held(self, low: float, high: float) -> Integers:
        """The same between two numbers, as a fused activation holds them."""
        least, most = self.low, self.high
        if np.isfinite(low):
            least = max(least, _rounded(np.float32(low) / self.scale))
        if np.isfinite(high):
            most = min(most, _rounded(np.float32(high) / self.scale))
        return self._replace(low=least, high=most)


def _rounded(x: np.float32) -> int:
    """The nearest integer, halves away from zero."""
    return int(np.trunc(x + np.copysign(0.5, x)))


def is_quantised(tensor: TfliteTensor | None) -> bool:
    """Whether a tensor holds integers that stand for other numbers."""
    return tensor is not None and tensor.dtype in LIMITS


def integers_of(o: Operation, tensor: TfliteTensor) -> Integers:
    """What the integers of a tensor with one scale stand for."""
    if tensor.dtype not in LIMITS:
        raise UnreadNode(f"it mixes integers of 8 bits with {tensor.dtype}, which is not read")
    found = o.scale(tensor)
    if found.scale.size != 1 or not np.all(np.isfinite(found.scale) & (found.scale > 0)):
        raise UnreadNode("a tensor that is computed has not one positive scale")
    zero = int(found.zero_point[0])
    low, high = LIMITS[tensor.dtype]
    if not low <= zero <= high:
        raise UnreadNode(f"a zero point of {tensor.dtype} is {zero}")
    return Integers(np.float32(found.scale[0]), zero, low - zero, high - zero)


class Factor(NamedTuple):
    """Real factors as integers m of 31 bits and shifts s: m 2^(s - 31).

    ``once`` says that their products are rounded once, and not twice.
    """

    multiplier: Array
    shift: Array
    once: bool = False

    def times(self, x: Tensor, low: float = -WIDE, high: float = WIDE) -> Tensor:
        """x times the factors, rounded and held between two bounds."""
        return rescale(x, self.multiplier, self.shift, low, high, self.once)


def factor(values: float | Array) -> Factor:
    """The integers that come nearest to positive factors."""
    real = np.atleast_1d(np.asarray(values, np.float64))
    if not np.all(np.isfinite(real) & (real >= 0)):
        raise UnreadNode("its scales give no finite factor")
    mantissa, shift = np.frexp(real)
    m = np.floor(mantissa * (1 << 31) + 0.5).astype(np.int64)
    whole = m == 1 << 31
    m, s = np.where(whole, m >> 1, m), shift.astype(np.int64) + whole
    if np.any(s > 30):
        raise UnreadNode("its scales give a factor of 2^30 or more")
    return Factor(np.where(s < -31, 0, m), np.where(s < -31, 0, s))


def table_of(x: Integers, y: Integers, function: Callable[[Array], Array]) -> Callable[..., Tensor]:
    """The function of real numbers as a table of integers, halves rounded away from zero."""
    at = np.arange(x.low, x.high + 1, dtype=np.float64)
    with np.errstate(all="ignore"):
        values = function(at * np.float64(x.scale)) / np.float64(y.scale)
    values = np.where(np.isnan(values), y.low, np.clip(values, y.low, y.high))
    return partial(_looked_up, np.trunc(values + np.copysign(0.5, values)), x.low)


def _looked_up(table: Array, first: int, x: Tensor) -> Tensor:
    return lookup(x, table, first)
