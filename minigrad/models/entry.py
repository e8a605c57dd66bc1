"""What the registry knows of a network: one row of a family's table."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from minigrad.models.network import Network

__all__ = ["Entry", "entries"]

Presets = Mapping[str, Mapping[str, Any]]


class Entry(NamedTuple):
    """A network that ``create`` can build.

    Attributes
    ----------
    build : callable
        The family's builder.
    switches : mapping
        Its arguments.
    input_size : int
        The side of the images it is evaluated on.
    top1 : float or None
        Published ImageNet accuracy in percent, by ``source``.
    source : str
    presets : mapping
        Name to arguments: how the authors (the first) and each library pad, normalise
        and initialise.  A library with a preset is one whose weights can be read.
    """

    build: Callable[..., Network]
    switches: Mapping[str, Any]
    input_size: int
    top1: float | None
    source: str
    presets: Presets


def entries(
    build: Callable[..., Network],
    presets: Presets,
    source: str,
    *rows: tuple[str, Mapping[str, Any], int, float | None],
) -> dict[str, Entry]:
    """The entries of a family from (name, switches, input size, top-1) rows."""
    return {
        name: Entry(build, switches, size, top1, source, presets)
        for name, switches, size, top1 in rows
    }
