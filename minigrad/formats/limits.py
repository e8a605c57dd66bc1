"""What a file may cost: one budget of bytes and of work, spent before anything is made.

A file is untrusted input.  Nothing is allocated because a header says so: a size is first
held against the file (do the bytes exist?) and against the budget (may they be had?).  The
work that a file causes, such as opcodes run and tensors described, is counted too.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from minigrad.errors import FormatError, quote
from minigrad.sizes import GiB, MiB

__all__ = ["Budget", "byte_count", "default_limit", "no_duplicates"]

MAX_NDIM = 32  # NumPy 1.26 has no arrays of more axes

MAX_STEPS = 700_000  # one is about an opcode of a pickle; a tensor takes 60, 300 tensors 18,000
MAX_VALUES = 48 * MiB  # of headers, pickles and their strings; 300 tensors have about 50 KB


def default_limit(file_size: int) -> int:
    """Bytes that the arrays of a file may take if the caller does not say.

    Twice the file holds bfloat16, which is read as float32; the 64 MiB keep small compressed
    files readable, and 4 GiB is more than any network here needs.
    """
    return min(64 * MiB + 2 * file_size, 4 * GiB)


class Budget:
    """What is left for one file, with an error instead of an overdraft.

    Parameters
    ----------
    limit : int
        The most bytes that the arrays may take.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.memory = limit
        self.elements = limit
        self.values = MAX_VALUES
        self.steps = MAX_STEPS

    def spend_memory(self, nbytes: int, what: object) -> None:
        """Pay for memory that arrays will lie in."""
        self.memory -= nbytes
        self._check(self.memory, nbytes, what)

    def spend_elements(self, nbytes: int, what: object) -> None:
        """Pay for an array as if it were contiguous: elements may share memory (a stride of 0)."""
        self.elements -= nbytes
        self._check(self.elements, nbytes, what)

    def _check(self, left: int, nbytes: int, what: object) -> None:
        if left < 0:
            raise FormatError(
                f"{what} needs {nbytes:,} bytes, more than the budget of {self.limit:,} bytes "
                f"leaves for this file; if the file is sound, pass a larger budget="
            )

    def spend_values(self, nbytes: int, what: object) -> None:
        """Pay for what describes the arrays: headers, pickles and the strings in them."""
        self.values -= nbytes
        if self.values < 0:
            raise FormatError(
                f"{what} takes the descriptions in the file over {MAX_VALUES:,} bytes, more than "
                f"any network needs"
            )

    def work(self, steps: int) -> None:
        """Pay for work."""
        self.steps -= steps
        if self.steps < 0:
            raise FormatError(
                f"the file takes over {MAX_STEPS:,} steps to read, more than any network needs"
            )


def byte_count(shape: Sequence[object], itemsize: int, what: object) -> int:
    """Bytes of an array, after checking that NumPy can hold its shape at all."""
    sizes = [n for n in shape[: MAX_NDIM + 1] if type(n) is int and n >= 0]
    if len(sizes) != len(shape) or len(sizes) > MAX_NDIM:
        raise FormatError(
            f"{what} has a shape of more than {MAX_NDIM} sizes, or of a size that is negative"
        )
    if math.prod([n or 1 for n in sizes]) * itemsize > 1 << 62:
        raise FormatError(f"{what} has more elements than a computer can address")
    return math.prod(sizes) * itemsize


def no_duplicates(names: Iterable[str], what: str) -> None:
    """Refuse two records of one name: which of them is meant is anybody's guess."""
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise FormatError(f"{what} {quote(name)} is there twice")
        seen.add(name)
