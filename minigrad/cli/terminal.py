"""What a person sees: text that is safe to print, JSON, and a progress bar while they wait.

Tables are drawn by ``minigrad.columns``.  rich draws the bar; without it there is none.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from importlib.util import find_spec
from typing import TypeVar

__all__ = ["print_json", "print_lines", "printable", "progress", "sentence"]

T = TypeVar("T")
LONGEST_NAME, LONGEST_SENTENCE = 300, 600


def print_json(value: object) -> None:
    """``value`` on stdout, readable by people and programs; NaN is refused, JSON has none."""
    print(json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False))


def print_lines(lines: Iterator[str] | Sequence[str]) -> None:
    """Lines on stdout."""
    print("\n".join(lines))


def printable(text: str, most: int = LONGEST_NAME) -> str:
    r"""``text`` without what a terminal would obey, and cut.

    >>> printable("a\x1b[2Jb"), printable("x" * 400)[-11:]
    ('a\\x1b[2Jb', 'xxxxxxxx...')
    """
    pieces = (c if c.isprintable() else c.encode("unicode_escape").decode() for c in text[:most])
    safe = "".join(pieces)
    return safe if len(text) <= most else f"{safe}..."


def progress(items: Iterable[T], doing: str, count: int) -> Iterator[T]:
    """The items one by one, with a bar on stderr if that is a terminal and rich is there."""
    if count < 2 or not sys.stderr.isatty() or not find_spec("rich"):
        yield from items
        return
    from rich.console import Console
    from rich.progress import track

    console = Console(stderr=True)
    yield from track(items, description=doing, total=count, console=console, transient=True)


def sentence(error: BaseException) -> str:
    """The error as one line: what Python writes as ``[Errno 2] No such ...: 'a'``, in words."""
    if isinstance(error, OSError) and error.strerror:
        name = f"{printable(str(error.filename))}: " if error.filename not in (None, "") else ""
        return f"{name}{error.strerror.lower()}"
    if isinstance(error, MemoryError):
        return "there is not enough memory for this"
    return printable(" ".join(str(error).split()), LONGEST_SENTENCE) or type(error).__name__
