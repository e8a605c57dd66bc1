"""Tables that fit the terminal: what matters least is left out, and no line is wrapped."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from typing import NamedTuple

__all__ = ["Column", "fit", "width"]

GAP = "  "


class Column(NamedTuple):
    """A column of text; the largest ``rank`` is the first to be left out, 0 never is."""

    header: str
    cells: Sequence[str]
    rank: int = 0
    right: bool = True

    @property
    def size(self) -> int:
        """The characters of its longest cell."""
        return max(map(len, (self.header, *self.cells)))


def width() -> int:
    """The columns of the terminal: $COLUMNS, or what it says of itself, or 80."""
    return shutil.get_terminal_size((80, 24)).columns


def fit(columns: Sequence[Column], limit: int) -> list[str]:
    """The lines of a table of at most ``limit`` characters, its header and a rule first.

    Examples
    --------
    >>> words, numbers = Column("layer", ["stem"], right=False), Column("MACs", ["9"])
    >>> fit([words, numbers, Column("x", ["1"], rank=1)], 12)
    ['layer  MACs', '-----  ----', 'stem      9']
    """
    kept = list(columns)
    while _size(kept) > limit and max(column.rank for column in kept) > 0:
        kept.remove(max(kept, key=lambda column: column.rank))
    rows = zip(*((c.header, "-" * c.size, *c.cells) for c in kept), strict=True)
    return [_line(row, kept) for row in rows]


def _size(columns: Sequence[Column]) -> int:
    return sum(c.size for c in columns) + len(GAP) * (len(columns) - 1)


def _line(cells: Sequence[str], columns: Sequence[Column]) -> str:
    put = (
        cell.rjust(c.size) if c.right else cell.ljust(c.size)
        for cell, c in zip(cells, columns, strict=True)
    )
    return GAP.join(put).rstrip()
