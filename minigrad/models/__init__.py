"""Every network built from the two blocks: tables, builders, and other libraries' weights."""

from minigrad.models.network import Network
from minigrad.models.registry import create, entry, names

__all__ = ["Network", "create", "entry", "names"]
