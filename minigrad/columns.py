"""Tables of text that fit their page: what matters least is left out, and no line is wrapped."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from typing import NamedTuple

__all__ = ["Column", "fit", "width"]

GAP = "  "
NARROWEST = 20


class Column(NamedTuple):
    """A column of text.

    Attributes
    ----------
    header : str
    cells : sequence of str
    rank : int
        The column of the largest rank is the first to be left out; 0 never is.
    right : bool
        Whether its cells stand to the right, as numbers do.
    """

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
    return max(NARROWEST, shutil.get_terminal_size((80, 24)).columns)


def fit(columns: Sequence[Column], limit: int) -> list[str]:
    """The lines of a table: its header, a rule, and a line for each cell of a column.

    Parameters
    ----------
    columns : sequence of Column
    limit : int
        The most characters of a line.  Columns are left out until the table fits; where none
        may be left out any more, the widest column of words is cut.

    Returns
    -------
    list of str
        Without the header and the rule if every header is empty.

    Examples
    --------
    >>> words, numbers = Column("layer", ["stem"], right=False), Column("MACs", ["9"])
    >>> fit([words, numbers, Column("x", ["1"], rank=1)], 12)
    ['layer  MACs', '-----  ----', 'stem      9']
    """
    kept = list(columns)
    while _size(kept) > limit and max(column.rank for column in kept) > 0:
        kept.remove(max(kept, key=lambda column: column.rank))
    kept = _cut(kept, _size(kept) - limit)
    rows = list(zip(*((c.header, "-" * c.size, *c.cells) for c in kept), strict=True))
    return [_line(row, kept) for row in (rows if any(rows[0]) else rows[2:])]


def _cut(columns: list[Column], excess: int) -> list[Column]:
    """The same with the widest column of words ``excess`` characters narrower."""
    words = [c for c in columns if not c.right]
    if excess <= 0 or not words:
        return columns
    widest = max(words, key=lambda column: column.size)
    most = max(NARROWEST, widest.size - excess)
    cells = [c if len(c) <= most else f"{c[: most - 3]}..." for c in widest.cells]
    return [c._replace(cells=cells) if c is widest else c for c in columns]


def _size(columns: Sequence[Column]) -> int:
    return sum(c.size for c in columns) + len(GAP) * (len(columns) - 1)


def _line(cells: Sequence[str], columns: Sequence[Column]) -> str:
    put = (
        cell.rjust(c.size) if c.right else cell.ljust(c.size)
        for cell, c in zip(cells, columns, strict=True)
    )
    return GAP.join(put).rstrip()
