"""The compiled core: the level that this CPU runs best, and how it was chosen.

``core`` is the extension module of one instruction set, or None; ``REASON`` then says why,
in one sentence.  ``cpu`` is compiled for every CPU of the architecture and only asks; no
other level is imported, so none of its instructions is ever executed.

The environment variable MINIGRAD_ISA names a level to use instead of the best.
"""

from __future__ import annotations

import importlib
import os
from types import ModuleType

__all__ = ["LEVEL", "REASON", "core", "level_module", "levels"]


def levels() -> tuple[str, ...]:
    """The levels that were built and that this CPU can run, best first."""
    try:
        cpu = importlib.import_module("minigrad.kernels._ext.cpu")
    except ImportError:
        return ()
    found: tuple[str, ...] = cpu.levels()
    return found


def level_module(level: str) -> ModuleType:
    """The extension of ``level``, which this CPU must be able to run."""
    if level not in levels():
        raise ImportError(f"this machine cannot run the level {level!r}, only {levels()}")
    return importlib.import_module(f"minigrad.kernels._ext.{level}")


def _choose() -> tuple[str | None, str | None]:
    """(level, None) or (None, the reason why there is none)."""
    here, asked = levels(), os.environ.get("MINIGRAD_ISA")
    if not here:
        return None, (
            "the compiled core is not built: install a wheel that has it, or build it with gcc "
            "or clang (python setup.py build_ext --inplace)"
        )
    if asked and asked not in here:
        return None, f"MINIGRAD_ISA={asked} is not among the levels of this CPU: {', '.join(here)}"
    return asked or here[0], None


LEVEL, REASON = _choose()
core: ModuleType | None = level_module(LEVEL) if LEVEL else None
