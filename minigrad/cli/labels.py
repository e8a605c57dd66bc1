"""The names of a network's classes: from a file, from the weights, or ImageNet's."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from minigrad.cli.packages import imagenet_labels
from minigrad.errors import MinigradError

__all__ = ["labels_for", "read_labels"]

LARGEST = 1 << 24
IMAGENET = 1000


def labels_for(classes: int, file: Path | None, carried: Sequence[str] = ()) -> list[str]:
    """A name for each class.

    Parameters
    ----------
    classes : int
        How many the network has.
    file : Path, optional
        What the user gave; it must have as many names.
    carried : sequence of str
        What the weights' own file says.

    Returns
    -------
    list of str
        ImageNet's names for 1000 classes of which nothing else is known; ``class 0``,
        ``class 1``, ... for any other number.

    Raises
    ------
    MinigradError
        If the file cannot be read or has another number of names.
    """
    if file is not None:
        names = read_labels(file)
        if len(names) != classes:
            raise MinigradError(
                f"{file} has {len(names)} names, but the network has {classes} classes"
            )
        return names
    if len(carried) == classes:
        return list(carried)
    return imagenet_labels() if classes == IMAGENET else [f"class {i}" for i in range(classes)]


def read_labels(file: Path) -> list[str]:
    """The names in a file: a line for each class, or JSON (a list, or an object by number).

    Raises
    ------
    MinigradError
        If it is neither.
    """
    if not file.is_file():
        raise MinigradError(f"{file}: there is no such file of labels")
    if file.stat().st_size > LARGEST:
        raise MinigradError(f"{file} is too large for a file of labels")
    try:
        text = file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise MinigradError(f"{file} is no text in UTF-8, so it has no labels") from None
    if file.suffix == ".json":
        return _from_json(text, file)
    return [line.strip() for line in text.splitlines() if line.strip()]


def _from_json(text: str, file: Path) -> list[str]:
    """["cat", ...], {"0": "cat", ...} or {"cat": 0, ...}, as trainers write them."""
    wrong = MinigradError(f"{file}: the JSON must be a list of names, or one name for each number")
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        raise MinigradError(f"{file} is no JSON") from None
    if isinstance(value, dict):
        pairs = [(k, v) if str(k).isdecimal() else (v, k) for k, v in value.items()]
        try:
            numbered = {int(k): v for k, v in pairs}
        except (TypeError, ValueError):
            raise wrong from None
        if sorted(numbered) != list(range(len(value))):
            raise wrong
        value = [numbered[i] for i in range(len(numbered))]
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise wrong
    return value
