"""What a person sees: tables, and a progress bar while they wait.

rich draws both.  Without it a table is plain text and there is no bar: what was computed
matters more than its frame, and ``doctor`` must run where nothing else is installed.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from importlib.util import find_spec
from typing import Any, TypeVar

__all__ = ["print_json", "print_table", "progress", "sentence"]

T = TypeVar("T")


def print_json(value: Any) -> None:
    """``value`` on stdout, readable by people and programs; NaN is refused, JSON has none."""
    print(json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False))


def print_table(title: str, header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """A table on stdout; a column whose header ends in a space stands to the right.

    A header of empty strings is not shown.
    """
    print(title)  # whole, on one line: it may hold a path that someone wants to copy
    draw = _rich_table if find_spec("rich") else _plain_table
    draw(header, list(rows))


def _rich_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_header=any(header))
    for name in header:
        table.add_column(Text(name.strip()), justify="right" if name.endswith(" ") else "left")
    for row in rows:
        table.add_row(*map(Text, row))
    Console().print(table)


def _plain_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    lines = [[name.strip() for name in header], *rows] if any(header) else rows
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        cells = (
            cell.rjust(width) if name.endswith(" ") else cell.ljust(width)
            for cell, width, name in zip(line, widths, header, strict=True)
        )
        print("  ".join(cells).rstrip())
    print()


def progress(items: Sequence[T], doing: str) -> Iterator[T]:
    """The items one by one, with a bar on stderr if that is a terminal and rich is there."""
    if len(items) < 2 or not sys.stderr.isatty() or not find_spec("rich"):
        yield from items
        return
    from rich.console import Console
    from rich.progress import track

    yield from track(items, description=doing, console=Console(stderr=True), transient=True)


def sentence(error: Exception) -> str:
    """The error as one line: what Python writes as ``[Errno 2] No such ...: 'a'``, in words."""
    if isinstance(error, OSError) and error.filename and error.strerror:
        return f"{error.filename}: {error.strerror.lower()}"
    return " ".join(str(error).split()) or type(error).__name__
