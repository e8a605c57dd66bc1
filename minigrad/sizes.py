"""Sizes of memory in words, in powers of 1024: the units of every table and message."""

from __future__ import annotations

__all__ = ["GiB", "KiB", "MiB", "kibibytes", "size_text"]

KiB, MiB, GiB = 1 << 10, 1 << 20, 1 << 30
MOST_KIB = 10 * MiB  # from there on MiB are easier to read


def kibibytes(size: float) -> str:
    """A cell of a table whose column is headed KiB.

    >>> kibibytes(2_508_800)
    '2,450'
    """
    return f"{size / KiB:,.0f}"


def size_text(size: float) -> str:
    """A number of bytes with the unit that makes it short.

    >>> size_text(2_508_800), size_text(20_000_000), size_text(3 << 30)
    ('2,450 KiB', '19.1 MiB', '3.0 GiB')
    """
    if size < MOST_KIB:
        return f"{kibibytes(size)} KiB"
    return f"{size / MiB:.1f} MiB" if size < GiB else f"{size / GiB:,.1f} GiB"
