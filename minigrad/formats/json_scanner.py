"""JSON, read by the scanner that ``json`` itself uses where it can.

Importing ``json`` takes longer than reading what a plan file says: most of it makes patterns for
writing, and for a scanner in Python that is used only where there is none in C.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

make_scanner: Any
try:
    from _json import make_scanner
except ImportError:  # a Python that has no such scanner
    make_scanner = None

__all__ = ["parse"]

BLANK = " \t\n\r"


class Hooks:
    """What the scanner makes of each kind of value, by the names that ``json`` gives them."""

    strict = True

    def __init__(self, **hooks: object) -> None:
        self.__dict__.update(hooks)

    def __getattr__(self, name: str) -> None:
        """All others are off, those of later Pythons too."""


def parse(
    text: str, *, parse_constant: Callable[[str], Any], parse_int: Callable[[str], Any] = int,
    parse_float: Callable[[str], Any] = float,
    object_pairs_hook: Callable[[list[tuple[str, Any]]], Any] | None = None,
) -> Any:  # fmt: skip
    """What ``json.loads`` makes of a text.

    Raises
    ------
    ValueError
        If the text is not JSON.
    RecursionError
        If it is nested too deep.
    """
    hooks: dict[str, Any] = {
        "parse_constant": parse_constant, "parse_int": parse_int, "parse_float": parse_float,
        "object_pairs_hook": object_pairs_hook,
    }  # fmt: skip
    if make_scanner is None:
        import json

        return json.loads(text, **hooks)
    try:
        value, end = make_scanner(Hooks(**hooks))(text, len(text) - len(text.lstrip(BLANK)))
    except StopIteration:
        raise ValueError("a value is missing") from None
    if text[end:].strip(BLANK):
        raise ValueError("text follows the value")
    return value
