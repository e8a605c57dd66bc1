"""One block of memory for many arrays.

A system hands out memory page by page, when it is first touched; a large block comes in
large pages, and starting a plan takes noticeably less time.
"""

from __future__ import annotations

import numpy as np

from minigrad.arrays import Array

__all__ = ["LINE", "Slab"]

LINE = 64  # bytes: where an array may begin


class Slab:
    """Zeroed bytes to be given away piece by piece; more than ``size`` comes from elsewhere.

    >>> take = Slab(100)
    >>> [len(take(60)), len(take(30)), len(take(500))]
    [60, 30, 500]
    """

    def __init__(self, size: int) -> None:
        self.memory = np.zeros(size + LINE, np.uint8)
        self.used = -self.memory.ctypes.data % LINE

    def __call__(self, size: int) -> Array:
        """A piece of so many bytes that begins with a cache line."""
        start, end = self.used, self.used + size
        if end > len(self.memory):
            return np.zeros(size, np.uint8)
        self.used = end + -size % LINE
        piece: Array = self.memory[start:end]
        return piece
