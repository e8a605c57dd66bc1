"""Photographs with the objects that are in them, as COCO's JSON and PASCAL VOC's XML have them.

Both are files of strangers: they are read within limits, and nothing in them names a file outside
of the photographs' folder.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import NamedTuple

import numpy as np

from minigrad.errors import FormatError, quote
from minigrad.formats.limits import no_duplicates
from minigrad.formats.source import within_budget
from minigrad.resources import check_memory
from minigrad.sizes import MiB
from minigrad.vision.precision import Truth

__all__ = ["FARTHEST", "Annotated", "Thing", "inside", "read_coco", "read_whole"]

LARGEST = 512 * MiB  # COCO's training set, the largest that there is, has 450
GROWTH = 24  # bytes of memory for a byte of JSON, at most: an empty object is three characters
FARTHEST = 1e6  # pixels


class Thing(NamedTuple):
    """An object: its class, its box (left, top, width, height) and its area in pixels, and whether
    it is ignored, as a crowd is or as VOC's difficult ones are."""

    name: str
    box: tuple[float, float, float, float]
    area: float
    crowd: bool


class Annotated(NamedTuple):
    """A photograph and its objects."""

    photo: Path
    things: tuple[Thing, ...]

    def truth(self, numbers: Mapping[str, int]) -> Truth:
        """The objects whose classes have numbers."""
        known = [thing for thing in self.things if thing.name in numbers]
        return Truth(
            np.array([thing.box for thing in known], np.float64).reshape(-1, 4),
            np.array([numbers[thing.name] for thing in known], np.int64),
            np.array([thing.crowd for thing in known], bool),
            np.array([thing.area for thing in known], np.float64),
        )


def read_whole(file: Path, largest: int) -> bytes:
    """All bytes of a regular file.

    Raises
    ------
    FormatError
        If it is none, is empty, or has more bytes than ``largest``.
    OSError
        If it cannot be opened.
    """
    with within_budget(file, None) as (source, _):
        if source.size > largest:
            raise FormatError(f"the file has {source.size:,} bytes, more than {largest:,}")
        return bytes(source.read(0, source.size))


def inside(folder: Path, name: str) -> Path:
    """The file of a folder that an annotation names.

    Raises
    ------
    FormatError
        If the name leads out of the folder.
    """
    parts = PurePosixPath(name).parts
    if not parts or "\0" in name or ".." in parts or PureWindowsPath(name).anchor or name[0] == "/":
        raise FormatError(f"the file name {quote(name)} is not one of the photographs' folder")
    return folder / name


def read_coco(file: Path, photos: Path) -> list[Annotated]:
    """The photographs of COCO's JSON (``instances_val2017.json``), by their numbers.

    Parameters
    ----------
    file : Path
        With lists ``images`` (``id``, ``file_name``), ``categories`` (``id``, ``name``) and
        ``annotations`` (``image_id``, ``category_id``, ``bbox``, and ``area`` and ``iscrowd`` if
        they are there); everything else is passed over.
    photos : Path
        The folder of the photographs.

    Returns
    -------
    list of Annotated

    Raises
    ------
    FormatError, NotEnoughMemory, OSError
        If it is no such file.
    """
    data = read_whole(file, LARGEST)
    check_memory(GROWTH * len(data), f"reading {file}")
    try:
        return _images(_parsed(data), photos)
    except FormatError as error:
        raise FormatError(f"{file}: {error}") from None


def _parsed(data: bytes) -> Mapping[str, object]:
    try:
        made = json.loads(data)
    except (ValueError, RecursionError):
        raise FormatError("the file is no JSON") from None
    if not isinstance(made, dict):
        raise FormatError("the JSON must be an object with images, annotations and categories")
    return made


def _images(made: Mapping[str, object], photos: Path) -> list[Annotated]:
    names = {_whole(row, "id"): _text(row, "name") for row in _rows(made, "categories")}
    files = {_whole(row, "id"): _text(row, "file_name") for row in _rows(made, "images")}
    for kind, found in (("categories", names), ("images", files)):
        if len(found) != len(_rows(made, kind)):
            raise FormatError(f"two of the {kind} have the same id")
    no_duplicates(names.values(), "the category")
    things: dict[int, list[Thing]] = {number: [] for number in files}
    for row in _rows(made, "annotations"):
        image, category = _whole(row, "image_id"), _whole(row, "category_id")
        if image not in files or category not in names:
            kind, number = ("category", category) if image in files else ("image", image)
            raise FormatError(f"an annotation is of {kind} {number}, which the file has not")
        things[image].append(_thing(row, names[category]))
    return [Annotated(inside(photos, files[k]), tuple(things[k])) for k in sorted(files)]


def _thing(row: Mapping[str, object], name: str) -> Thing:
    box = row.get("bbox")
    if not isinstance(box, list) or len(box) != 4:
        raise FormatError("an annotation's bbox must be four numbers")
    left, top, width, height = (_number(value, "bbox", -FARTHEST) for value in box)
    if width < 0 or height < 0:
        raise FormatError("an annotation's bbox has a negative size")
    area = _number(row.get("area", width * height), "area", 0.0)
    return Thing(name, (left, top, width, height), area, bool(_whole(row, "iscrowd", 0)))


def _rows(made: Mapping[str, object], name: str) -> Sequence[Mapping[str, object]]:
    rows = made.get(name)
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise FormatError(f"the JSON has no list of objects called {name}")
    return rows


def _whole(row: Mapping[str, object], name: str, default: int | None = None) -> int:
    value = row.get(name, default)
    if not isinstance(value, int) or abs(value) > 2**63:
        raise FormatError(f"{name} must be a whole number")
    return value


def _text(row: Mapping[str, object], name: str) -> str:
    value = row.get(name)
    if not isinstance(value, str) or not value:
        raise FormatError(f"{name} must be a text")
    return value


def _number(value: object, name: str, least: float) -> float:
    if not isinstance(value, (int, float)) or not least <= value <= FARTHEST**2:
        raise FormatError(f"an annotation's {name} must be numbers of pixels")
    return float(value)
