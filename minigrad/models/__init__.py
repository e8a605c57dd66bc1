"""Every network built from the two blocks: tables, builders, and other libraries' weights."""

from minigrad.models.network import Network
from minigrad.models.registry import create, entry, names
from minigrad.models.summary import memory, summary

__all__ = ["Network", "create", "entry", "memory", "names", "summary"]
