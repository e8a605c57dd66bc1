"""PASCAL VOC's XML: one file a photograph, with the corners of its objects.

    <annotation><filename>a.jpg</filename>
      <object><name>dog</name><difficult>0</difficult>
        <bndbox><xmin>1</xmin><ymin>1</ymin><xmax>20</xmax><ymax>30</ymax></bndbox></object>
    </annotation>

The first pixel has the number 1 and the last one belongs to the object, so its box is
(xmin - 1, ymin - 1) and xmax - xmin + 1 pixels wide.  A document type, and with it every entity, is
refused before it is read.  Elements are told apart by their whole path: VOC's ``part`` has a name
and corners of its own.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from xml.parsers import expat

from minigrad.errors import FormatError, quote
from minigrad.sizes import MiB
from minigrad.vision.annotated import FARTHEST, Annotated, Thing, inside, read_whole

__all__ = ["read_voc"]

LARGEST = MiB  # VOC's own have some thousand bytes
DEEPEST = 8
LONGEST = 4096  # characters of one element
OBJECT = ("annotation", "object")
CORNERS = ("xmin", "ymin", "xmax", "ymax")


def read_voc(annotations: Path, photos: Path) -> list[Annotated]:
    """The photographs that the XML files of a folder describe, by the files' names.

    Parameters
    ----------
    annotations, photos : Path
        VOC's folders ``Annotations`` and ``JPEGImages``.

    Returns
    -------
    list of Annotated

    Raises
    ------
    FormatError, OSError
        If there is no such file, or one is broken; it is named.
    """
    files = sorted(annotations.glob("*.xml"))
    if not files:
        raise FormatError(f"{annotations}: there are no .xml files in this folder")
    return [_photograph(file, photos) for file in files]


def _photograph(file: Path, photos: Path) -> Annotated:
    data = read_whole(file, LARGEST)
    try:
        read = _Reader(data)
        name = read.values.get("filename", "").strip() or f"{file.stem}.jpg"
        return Annotated(inside(photos, name), tuple(map(_thing, read.objects)))
    except FormatError as error:
        raise FormatError(f"{file}: {error}") from None


def _thing(read: Mapping[str, str]) -> Thing:
    name = read.get("name", "").strip()
    if not name:
        raise FormatError("an object has no name")
    xmin, ymin, xmax, ymax = (_number(read, corner) for corner in CORNERS)
    if xmax < xmin or ymax < ymin:
        raise FormatError(f"the box of {quote(name)} ends before it begins")
    width, height = xmax - xmin + 1, ymax - ymin + 1
    difficult = read.get("difficult", "0").strip() not in ("", "0")
    return Thing(name, (xmin - 1, ymin - 1, width, height), width * height, difficult)


def _number(read: Mapping[str, str], corner: str) -> float:
    text = read.get(corner, "").strip()
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not abs(value) <= FARTHEST:
        raise FormatError(f"{corner} must be a number of pixels, not {quote(text)}")
    return value


class _Reader:
    """The texts of an annotation and of its objects, by the names of their elements."""

    def __init__(self, data: bytes) -> None:
        self.path: tuple[str, ...] = ()
        self.values: dict[str, str] = {}
        self.objects: list[dict[str, str]] = []
        parser = expat.ParserCreate()
        parser.buffer_text = True
        parser.StartDoctypeDeclHandler = _refuse
        parser.StartElementHandler, parser.EndElementHandler = self._start, self._end
        parser.CharacterDataHandler = self._text
        try:
            parser.Parse(data, True)
        except (expat.ExpatError, ValueError, LookupError) as error:  # LookupError: its encoding
            if isinstance(error, FormatError):
                raise
            raise FormatError("the file is no XML") from None
        if "annotation" not in self.values:
            raise FormatError("the XML is no annotation of PASCAL VOC")

    def _start(self, name: str, attributes: object) -> None:
        self.path = (*self.path, name)
        if len(self.path) > DEEPEST:
            raise FormatError(f"elements lie in one another, more than {DEEPEST} deep")
        if self.path == OBJECT:
            self.objects.append({})
        if self.path == ("annotation",):
            self.values["annotation"] = ""

    def _end(self, name: str) -> None:
        self.path = self.path[:-1]

    def _text(self, text: str) -> None:
        parent, leaf = self.path[:-1], self.path[-1]
        if parent == ("annotation",):
            own = self.values
        elif parent in (OBJECT, (*OBJECT, "bndbox")):
            own = self.objects[-1]
        else:
            return
        own[leaf] = own.get(leaf, "") + text
        if len(own[leaf]) > LONGEST:
            raise FormatError(f"{quote(leaf)} has over {LONGEST:,} characters")


def _refuse(*declared: object) -> None:
    raise FormatError("the XML declares a document type, which an annotation does not need")
