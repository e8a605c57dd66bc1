"""Maps in another size, for plans: ext/resample.pyx.tp."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from minigrad.arrays import Array
from minigrad.kernels.cython.core import core

if TYPE_CHECKING:
    from minigrad.sampling import Taps

__all__ = ["bind_resample"]


def bind_resample(x: Array, rows: Taps, columns: Taps, y: Array) -> Any:
    """The call that writes x in another size; x and y are channels-last in memory."""
    tables = [
        np.array(table, dtype)
        for taps in (rows.written_out(), columns.written_out())
        for table, dtype in ((taps.pixels, np.int32), (taps.weights, x.dtype))
    ]
    return core.ResampleCall(x.transpose(0, 2, 3, 1), y.transpose(0, 2, 3, 1), *tables)
