"""Photographs of bytes as a plan's input: the scaling that comes before the first step.

    x[n, c, h, v] = (pixel[n, c, h, v] - mean[c]) / std[c],        pixel in 0..255,

in float32, as ``minigrad.vision.preprocess`` computes it.  A byte has 256 values, so a plan looks
the number up in a table, on the way into its first step.  What a window sees beyond the edge of
the photograph is 0 after scaling, as everywhere.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np

from minigrad.arguments import quoted
from minigrad.arrays import Array
from minigrad.errors import ArgumentError

__all__ = ["Prepares", "Scaling", "scaling_of"]


class Prepares(Protocol):
    """What says how bytes are scaled: a ``minigrad.models.Preparation``, or its like."""

    @property
    def mean(self) -> Sequence[float]:
        """Of each channel, on the scale 0..255."""

    @property
    def std(self) -> Sequence[float]:
        """Of each channel, on the scale 0..255."""

    @property
    def order(self) -> str:
        """The order of the channels that the network reads: "RGB" or "BGR"."""


class Scaling(NamedTuple):
    """The mean and the deviation of each channel, in the order that the network reads.

    >>> Scaling((127.0,), (128.0,))(np.array([[[[255]]]], np.uint8)).tolist()
    [[[[1.0]]]]
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    order: str = "RGB"

    def table(self) -> Array:
        """The number that each byte stands for in each channel, (C, 256)."""
        mean, std = (np.array(v, np.float32)[:, None] for v in (self.mean, self.std))
        numbers: Array = (np.arange(256, dtype=np.float32) - mean) / std
        return numbers

    def turned(self, pixels: Array) -> Array:
        """Pixels of red, green and blue (N, C, H, W) in the network's order: a view."""
        return pixels[:, ::-1] if self.order == "BGR" else pixels

    def __call__(self, pixels: Array) -> Array:
        """The numbers of pixels (N, C, H, W) in the network's order."""
        channels = np.arange(len(self.mean))[:, None, None]
        numbers: Array = self.table()[channels, pixels]
        return numbers


def scaling_of(preparation: Prepares) -> Scaling:
    """The scaling of a preparation, checked.

    Raises
    ------
    ArgumentError
        If it is none.
    """
    try:
        mean, std = (tuple(map(float, v)) for v in (preparation.mean, preparation.std))
        order = preparation.order
    except (AttributeError, TypeError, ValueError):
        raise ArgumentError(
            f"compile: preparation must have mean, std and order, as "
            f"minigrad.vision.preparation_for gives them, not {quoted(preparation)}"
        ) from None
    if len(mean) != len(std) or not all(map(math.isfinite, (*mean, *std))) or 0 in std:
        raise ArgumentError(
            f"compile: the mean and std of a preparation must be finite numbers, one a channel and "
            f"no std 0, not {quoted(mean)} and {quoted(std)}"
        )
    if order not in ("RGB", "BGR"):
        raise ArgumentError(
            f"compile: the order of channels must be RGB or BGR, not {quoted(order)}"
        )
    return Scaling(mean, std, order)
