"""The one door to the compiled core.

``core`` has what the extension module of the chosen instruction set has, and loads it when
it is first asked for something.  Where there is none, every such question is a BackendError
that says why.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from minigrad.errors import BackendError
from minigrad.kernels.cython._ext import LEVEL, REASON, level_module, levels

__all__ = ["LEVEL", "REASON", "BoundCall", "core", "current_level", "level", "levels"]


class BoundCall(Protocol):
    """A kernel together with the arrays that it reads and writes."""

    def run(self, threads: int) -> None:
        """Compute, with at most so many threads."""


class Core:
    """The names of one level's module."""

    def __init__(self, level: str | None) -> None:
        self._level = level

    def __getattr__(self, name: str) -> Any:
        if self._level is None:
            raise BackendError(str(REASON))
        found = getattr(level_module(self._level), name)
        self.__dict__[name] = found  # the next time it is found without asking here
        return found


core: Any = Core(LEVEL)


def current_level() -> str | None:
    """The instruction set whose kernels are used now; None without a compiled core."""
    name: str | None = core._level
    return name


@contextmanager
def level(name: str) -> Iterator[None]:
    """Use the kernels of another instruction set inside the ``with`` block, in all threads.

    For tests and benchmarks that hold one level against another.

    Parameters
    ----------
    name : str
        One of ``levels()``.
    """
    before = dict(core.__dict__)
    level_module(name)
    core.__dict__.clear()
    core.__dict__["_level"] = name
    try:
        yield
    finally:
        core.__dict__.clear()
        core.__dict__.update(before)
