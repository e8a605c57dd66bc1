"""Every network built from the two blocks: tables, builders, and other libraries' weights."""

from typing import TYPE_CHECKING, Any

from minigrad.models.network import Network
from minigrad.models.registry import create, entry, names

if TYPE_CHECKING:
    from minigrad.models.block_memory import memory
    from minigrad.models.costs import summary
    from minigrad.models.drawing import svg

__all__ = ["Network", "create", "entry", "memory", "names", "summary", "svg"]

LATE = {"memory": "block_memory", "summary": "costs", "svg": "drawing"}  # they need the engine


def __getattr__(name: str) -> Any:
    if name not in LATE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    globals()[name] = getattr(import_module(f"{__name__}.{LATE[name]}"), name)
    return globals()[name]
