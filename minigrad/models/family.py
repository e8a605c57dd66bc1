"""What the registry knows of a network: one row of a family's table, and its family."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from minigrad.errors import UnknownNameError
from minigrad.models.naming import Names, Presets, minigrad
from minigrad.models.network import Network
from minigrad.models.preparation import Preparation

__all__ = ["Entry", "Family", "entries"]


class Family(NamedTuple):
    """A builder, and everything that others have their own way of.

    Attributes
    ----------
    build : callable
        From switches to a `Network`.
    presets : mapping
        Name to switches: how the authors (the first) and each library pad, normalise
        and initialise.  A library with a preset is one whose weights can be read.
    photographs : callable
        From an entry to the `Preparation` of each preset.
    others : mapping
        What each library calls the layers.
    aliases : mapping
        A library's name of a network to (our name, the preset of its weights).
    """

    build: Callable[..., Network]
    presets: Presets
    photographs: Callable[[Entry], Mapping[str, Preparation]]
    others: Mapping[str, Names]
    aliases: Mapping[str, tuple[str, str]] = {}


class Entry(NamedTuple):
    """A network that ``create`` can build.

    Attributes
    ----------
    family : Family
    switches : mapping
        The arguments of the family's builder.
    input_size : int
        The side of the images it is evaluated on.
    top1 : float or None
        Published ImageNet accuracy in percent, by ``source``.
    source : str
    """

    family: Family
    switches: Mapping[str, object]
    input_size: int
    top1: float | None
    source: str

    @property
    def presets(self) -> Presets:
        """How the authors (the first) and each library pad, normalise and initialise."""
        return self.family.presets

    @property
    def libraries(self) -> Mapping[str, Names]:
        """What each library calls the layers; minigrad is the first."""
        return {"minigrad": minigrad, **self.family.others}

    def preparation(self, preset: str | None = None) -> Preparation:
        """How photographs were prepared for the weights of ``preset`` (default: the authors').

        Raises
        ------
        UnknownNameError
            If the network has no such preset.
        """
        preset = next(iter(self.presets)) if preset is None else preset
        if preset not in self.presets:
            raise UnknownNameError(f"the presets are {', '.join(self.presets)}, not {preset!r}")
        return self.family.photographs(self)[preset]


def entries(
    family: Family, source: str, *rows: tuple[str, Mapping[str, object], int, float | None]
) -> dict[str, Entry]:
    """The entries of a family from (name, switches, input size, top-1) rows."""
    return {
        name: Entry(family, switches, size, top1, source) for name, switches, size, top1 in rows
    }
