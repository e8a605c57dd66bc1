"""The compiled modules, one for each instruction set, and which of them is used.

``cpu`` is compiled for every CPU of the architecture and only asks what this one can run;
no level but the chosen one is imported, so none of its instructions is ever executed.
``REASON`` says in one sentence why none was chosen.

The environment variable MINIGRAD_ISA names a level to use instead of the best.

What may be changed: how a level is chosen, as long as no instruction of a level runs on a
CPU without it (tests/kernels/test_cython_pool.py).
"""

from __future__ import annotations

import importlib
import os
from types import ModuleType

__all__ = ["LEVEL", "REASON", "level_module", "levels"]


def levels() -> tuple[str, ...]:
    """The levels that were built and that this CPU can run, best first."""
    try:
        cpu = importlib.import_module(f"{__name__}.cpu")
    except ImportError:
        return ()
    found: tuple[str, ...] = cpu.levels()
    return found


def level_module(level: str) -> ModuleType:
    """The extension of ``level``, which this CPU must be able to run."""
    if level not in levels():
        raise ImportError(f"this machine cannot run the level {level!r}, only {levels()}")
    return importlib.import_module(f"{__name__}.{level}")


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
