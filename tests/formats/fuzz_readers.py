"""What the fuzzer runs: reads a file of weights into a value that can be compared."""

from __future__ import annotations

import hashlib

import numpy as np

from minigrad.formats import load


def weights(path: str) -> list[tuple[str, str, str]]:
    """Names, dtypes and shapes, and a digest of each array's numbers."""
    return [
        (name, f"{a.dtype}{a.shape}", hashlib.sha1(a.tobytes(), usedforsecurity=False).hexdigest())
        for name, a in load(path).items()
        if a.nbytes < 1 << 24  # an expanded tensor may look like more than there is
    ]


def size(path: str) -> int:
    """Bytes of the arrays, those that share memory counted once."""
    owners = {}
    for array in load(path).values():
        while isinstance(array.base, np.ndarray):
            array = array.base
        owners[id(array)] = array.nbytes
    return sum(owners.values())
