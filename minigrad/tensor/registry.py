"""A table whose entries come into it when the files that have them are imported."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

__all__ = ["Registry"]

Entry = TypeVar("Entry")


class Registry(dict[str, Entry]):
    """Entries by name; ``find(name)`` is called for one that is not there yet, and adds it."""

    find: Callable[[str], None] | None = None

    def __missing__(self, name: str) -> Entry:
        if self.find is not None:
            self.find(name)
        if name not in self:
            raise KeyError(name)
        return self[name]
