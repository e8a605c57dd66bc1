"""What changes a network and no shape, as text that travels with its weights.

A state dict has the shapes of a network, but not its preset (padding, eps), its switches
(output stride), how its photographs were prepared, or what its classes are called.
`describe` writes them as metadata, `Description.of` reads them; a file may hold anything, so
each is checked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from minigrad.errors import StateDictError, quote
from minigrad.models.preparation import Preparation

__all__ = ["Description", "describe"]

PREFIX = "minigrad."
LARGEST_SIDE = 4096


class Description(NamedTuple):
    """What a file of weights says of its network; empty where it says nothing.

    Attributes
    ----------
    network, preset : str
    switches : mapping
        Those that were given to ``create``.
    labels : tuple of str
        The names of the classes.
    preparation : Preparation or None
        How photographs are prepared.
    """

    network: str = ""
    preset: str = ""
    switches: Mapping[str, object] = {}
    labels: tuple[str, ...] = ()
    preparation: Preparation | None = None

    @classmethod
    def of(cls, metadata: Mapping[str, str]) -> Description:
        """Read the metadata of a state dict.

        Raises
        ------
        StateDictError
            If they are there and are not what `describe` writes.
        """
        given = {k.removeprefix(PREFIX): v for k, v in metadata.items() if k.startswith(PREFIX)}
        preparation = given.get("preparation")
        return cls(
            given.get("network", ""),
            given.get("preset", ""),
            _switches(given["switches"]) if "switches" in given else {},
            _labels(given["labels"]) if "labels" in given else (),
            None if preparation is None else _preparation(preparation),
        )


def describe(
    network: str,
    preset: str,
    switches: Mapping[str, object],
    labels: Sequence[str],
    preparation: Preparation | None,
) -> dict[str, str]:
    """The metadata that say so."""
    import json  # when it is needed: networks are mostly made without it

    texts = {"network": network, "preset": preset}
    if switches:
        texts["switches"] = json.dumps(dict(switches))
    if labels:
        texts["labels"] = json.dumps(list(labels))
    if preparation is not None:
        texts["preparation"] = json.dumps(preparation._asdict())
    return {PREFIX + name: text for name, text in texts.items() if text}


def _read(text: str, what: str) -> object:
    import json

    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise StateDictError(
            f"the {what} that the file states are no JSON: {quote(text)}"
        ) from None


def _switches(text: str) -> dict[str, object]:
    value = _read(text, "switches")
    plain = (bool, int, float, str, list, type(None))
    if not isinstance(value, dict) or not all(isinstance(v, plain) for v in value.values()):
        raise StateDictError(f"the switches that the file states are none: {quote(text)}")
    # JSON has lists where Python had tuples.
    return {k: tuple(v) if isinstance(v, list) else v for k, v in value.items()}


def _labels(text: str) -> tuple[str, ...]:
    value = _read(text, "labels")
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise StateDictError(f"the labels that the file states are no list: {quote(text)}")
    return tuple(value)


def _preparation(text: str) -> Preparation:
    value = _read(text, "preparation")
    wrong = StateDictError(f"the preparation that the file states is none: {quote(text)}")
    if isinstance(value, dict):
        value = {"squash": False, **value}  # files from before there was a choice
    if not isinstance(value, dict) or set(value) != set(Preparation._fields):
        raise wrong
    numbers = [value["mean"], value["std"]]
    if not all(isinstance(v, list) and len(v) == 3 for v in numbers):
        raise wrong
    if not all(isinstance(n, (int, float)) and abs(n) < 1e6 for v in numbers for n in v):
        raise wrong
    made = Preparation(**value)._replace(mean=tuple(value["mean"]), std=tuple(value["std"]))
    whole = isinstance(made.size, int) and isinstance(made.margin, int)
    if not whole or not (1 <= made.size <= LARGEST_SIDE and 0 <= made.margin <= LARGEST_SIDE):
        raise wrong
    named = made.resample in ("bilinear", "bicubic") and made.order in ("RGB", "BGR")
    if not named or min(made.std) <= 0:
        raise wrong
    if not isinstance(made.crop_first, bool) or not isinstance(made.squash, bool):
        raise wrong
    return made
