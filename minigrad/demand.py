"""Packages whose names are imported when they are first asked for.

Much of minigrad's start is the import of files that a process never uses.  A package that is a
``Package`` says in which file each of its names lies, and asks that file when it must.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping, Sequence
from types import ModuleType
from typing import Any

__all__ = ["Package", "on_demand"]


class Package(ModuleType):
    """A package with names that are imported on demand.

    A file may have the name of a function in it (``minigrad.explain``): importing the file
    leaves the name to the function.
    """

    _files: Mapping[str, str] = {}
    _packages: Sequence[str] = ()
    _refuse: Callable[[str], AttributeError] | None = None

    def __getattr__(self, name: str) -> Any:
        if name in self._files:
            found = getattr(importlib.import_module(self._files[name]), name)
            self.__dict__[name] = found  # the next time it is found without asking here
            return found
        if name in self._packages:
            return importlib.import_module(f"{self.__name__}.{name}")
        if self._refuse is not None:
            raise self._refuse(name)
        raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")

    def __setattr__(self, name: str, value: object) -> None:
        if not (isinstance(value, ModuleType) and name in self._files):
            super().__setattr__(name, value)

    def __dir__(self) -> list[str]:
        return sorted({*self.__dict__, *self._files, *self._packages})


def on_demand(
    package: str,
    names: Mapping[str, str],
    packages: Sequence[str] = (),
    refuse: Callable[[str], AttributeError] | None = None,
) -> None:
    """Have a package's names imported on demand.

    Parameters
    ----------
    package : str
        Its ``__name__``.
    names : mapping of str to str
        For each file the names that lie in it, with spaces between them.
    packages : sequence of str
        Names that are packages in it.
    refuse : callable, optional
        What makes the error for a name that is not there.
    """
    module = sys.modules[package]
    files = {name: file for file, given in names.items() for name in given.split()}
    module.__class__ = Package
    module.__dict__.update(_files=files, _packages=packages, _refuse=refuse)
