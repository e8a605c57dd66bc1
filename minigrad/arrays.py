"""What an array is here, for annotations, and the numbers that it may have."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["FLOATS", "Array", "Shape"]

Array: TypeAlias = "npt.NDArray[Any]"  # a string: importing numpy.typing takes milliseconds
Shape = tuple[int, ...]
FLOATS = (np.dtype(np.float32), np.dtype(np.float64))  # what every kernel computes with
