"""Pixels as the numbers of a batch: a mean taken off, a deviation divided by."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from minigrad.models.preparation import Framing, Preparation

__all__ = ["normalise"]


def normalise(
    pixels: npt.NDArray[np.generic],
    preparation: Preparation | Framing,
    out: npt.NDArray[np.float32],
) -> None:
    """(H, W, 3) pixels into ``out`` (3, H, W), channel by channel and in place."""
    channels = (2, 1, 0) if preparation.order == "BGR" else (0, 1, 2)
    for c, plane in zip(channels, out, strict=True):
        i = channels.index(c)
        np.subtract(pixels[..., c], np.float32(preparation.mean[i]), out=plane, dtype=np.float32)
        np.divide(plane, np.float32(preparation.std[i]), out=plane)
