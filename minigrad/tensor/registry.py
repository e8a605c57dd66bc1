"""A table whose entries come into it when the files that have them are imported."""

from __future__ import annotations

import importlib
from typing import TypeVar

__all__ = ["Registry"]

Entry = TypeVar("Entry")


class Registry(dict[str, Entry]):
    """Entries by name; a missing one is added by a function that is called with the name.

    The function is named, not given: the package that has it is imported at the first miss.

    Parameters
    ----------
    package, function : str
        Where it is.
    """

    def __init__(self, package: str, function: str) -> None:
        super().__init__()
        self._package, self._function = package, function

    def __missing__(self, name: str) -> Entry:
        getattr(importlib.import_module(self._package), self._function)(name)
        if name not in self:
            raise KeyError(name)
        return self[name]
