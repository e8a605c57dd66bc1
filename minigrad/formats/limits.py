"""What a file may ask for: bytes, shapes and names are checked here before they are used.

A file is untrusted input.  Nothing is allocated because a header says so: a size is first
held against the file (do the bytes exist?) and against a budget (may they be had?).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from minigrad.errors import FormatError

__all__ = ["Budget", "byte_count", "default_budget", "no_duplicates", "quote"]

MAX_NDIM = 32  # NumPy 1.26 has no arrays of more axes
MiB, GiB = 1 << 20, 1 << 30


def default_budget(file_size: int) -> int:
    """Bytes that the arrays of a file may take if the caller does not say.

    Weights hardly compress, so eight times the file is generous; the 64 MiB keep small
    files of zeros readable, and 4 GiB is more than any network here needs.
    """
    return min(64 * MiB + 8 * file_size, 4 * GiB)


class Budget:
    """A number of bytes that is spent, with an error instead of an overdraft."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.left = limit

    def spend(self, nbytes: int, what: str) -> None:
        """Take ``nbytes`` away, or say that ``what`` is too large."""
        self.left -= nbytes
        if self.left < 0:
            raise FormatError(
                f"{what} needs {nbytes:,} bytes, more than the budget of {self.limit:,} bytes "
                f"leaves for this file; if the file is sound, pass a larger budget="
            )


def byte_count(shape: Sequence[object], itemsize: int, what: str) -> int:
    """Bytes of an array, after checking that NumPy can hold its shape at all."""
    sizes = [n for n in shape[: MAX_NDIM + 1] if type(n) is int and n >= 0]
    if len(sizes) != len(shape) or len(sizes) > MAX_NDIM:
        raise FormatError(f"{what} has a shape of over {MAX_NDIM} sizes, or one is negative")
    if math.prod([n or 1 for n in sizes]) * itemsize > 1 << 62:
        raise FormatError(f"{what} has more elements than a computer can address")
    return math.prod(sizes) * itemsize


def no_duplicates(names: Iterable[str], what: str) -> None:
    """Two records of one name: which one is meant is anybody's guess, so neither is read."""
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise FormatError(f"{what} {quote(name)} is there twice")
        seen.add(name)


def quote(name: object, length: int = 60) -> str:
    """A name out of the file, safe and short enough for one line of an error message."""
    if not isinstance(name, str):
        return f"a {type(name).__name__}"
    return repr(name) if len(name) <= length else repr(name[:length])[:-1] + "...'"
