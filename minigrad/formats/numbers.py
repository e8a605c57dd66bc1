"""From the bytes in a file to arrays of numbers that the machine can compute with."""

from __future__ import annotations

import numpy as np

from minigrad.arrays import Array
from minigrad.errors import FormatError

__all__ = ["Array", "numbers_from", "widen_bfloat16"]


def numbers_from(raw: memoryview, dtype: np.dtype[np.generic], what: object) -> Array:
    """The numbers as a flat array of the machine's byte order, over ``raw`` itself.

    Bytes that lie askew, as in a mapped file they may, are copied.
    """
    flat: Array = np.frombuffer(raw, dtype)
    if dtype.kind == "b" and np.any(flat.view(np.uint8) > 1):
        raise FormatError(f"{what} is of bool, and has other bytes than 0 and 1")
    if not flat.flags.aligned:
        flat = flat.copy()
    if not dtype.isnative:
        flat = flat.byteswap(inplace=True).view(dtype.newbyteorder("="))
    return flat


def widen_bfloat16(halves: Array) -> Array:
    """The float32 of each bfloat16, given as uint16: a bfloat16 is its upper half."""
    wide = halves.astype(np.uint32)
    wide <<= 16
    return wide.view(np.float32)
