"""What the bytes of a photograph's file say, read before any decoder sees them.

Pillow's decoders are only asked for the formats below, and only once this file has made sure
that no table of tags makes them read the same bytes thousands of times:

* the tags of a JPEG's EXIF block are never handed on; only the orientation is read from it;
* a TIFF is handed on with the tags that decoding needs, and no others;
* a WebP's canvas is measured before its decoder reserves memory for it.

Everything here takes bytes and gives numbers or bytes; what is damaged is a `FormatError`.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from typing import NamedTuple

from minigrad.errors import FormatError

__all__ = ["FORMATS", "Container", "examine", "sniff"]

# name: its first bytes, as patterns
MAGIC = {
    "JPEG": rb"\xff\xd8\xff",
    "PNG": rb"\x89PNG\r\n\x1a\n",
    "GIF": rb"GIF8[79]a",
    "WebP": rb"RIFF....WEBPVP8",
    "TIFF": rb"II\*\0|MM\0\*",
    "BMP": rb"BM",
    "Netpbm": rb"P[1-6][\s#]",
}
FORMATS = tuple(MAGIC)
ORIENTATION = 274
SIZES = (0, 1, 1, 2, 4, 8, 1, 1, 2, 4, 8, 4, 8)  # bytes of a value, by TIFF's type
# TIFF's tags that say how pixels are stored, and the colour profile: 34675.
DECODING = frozenset(
    (254, 256, 257, 258, 259, 262, 266, 273, 277, 278, 279, 284, 292, 293, 317, 320, 322, 323,
     324, 325, 338, 339, 347, 512, 513, 514, 515, 517, 518, 519, 520, 521, 529, 530, 531, 532,
     34675)
)  # fmt: skip
MOST_SCANS = 100  # of a progressive JPEG, each of which goes over the whole picture


class Container(NamedTuple):
    """A file's bytes as they are handed to the decoder, and what was read from them.

    Attributes
    ----------
    format : str
        One of `FORMATS`.
    data : bytes
    orientation : int
        EXIF's 1 to 8: how the camera was held.
    size : (int, int) or None
        Width and height, where they are read before the decoder is made.
    bits : int
        Of a grey value, 0 where the format does not say.
    inverted : bool
        Whether 0 is white (TIFF's WhiteIsZero).
    """

    format: str
    data: bytes
    orientation: int = 1
    size: tuple[int, int] | None = None
    bits: int = 0
    inverted: bool = False


class Tag(NamedTuple):
    """An entry of a TIFF's directory: its number, its twelve bytes, and the values' bytes."""

    number: int
    entry: bytes
    value: bytes

    def numbers(self, order: str) -> list[int]:
        """The values of an integer type, else []."""
        kind = struct.unpack_from(f"{order}H", self.entry, 2)[0]
        code = {1: "B", 3: "H", 4: "L"}.get(kind)
        if code is None:
            return []
        count = len(self.value) // SIZES[kind]
        return list(struct.unpack_from(f"{order}{count}{code}", self.value))


def sniff(data: bytes) -> str:
    """The format that the first bytes show.

    Raises
    ------
    FormatError
        If it is none of `FORMATS`, whatever the file is called.
    """
    for name, pattern in MAGIC.items():
        if re.match(pattern, data, re.DOTALL):
            return name
    known = f"{', '.join(FORMATS[:-1])} or {FORMATS[-1]}"
    raise FormatError(f"the file is no photograph that is read here ({known})")


def examine(data: bytes) -> Container:
    """What a file's bytes say, and the bytes for its decoder.

    Raises
    ------
    FormatError
        If the format is not read here, or the bytes contradict themselves.
    """
    name = sniff(data)
    special = {"JPEG": _jpeg, "TIFF": _tiff, "WebP": _webp, "PNG": _png}.get(name)
    try:
        return special(data) if special else Container(name, data)
    except (struct.error, IndexError):
        raise FormatError(f"the {name} file is broken: its header is cut off") from None


def _png(data: bytes) -> Container:
    width, height, bits = struct.unpack_from(">IIB", data, 16)
    return Container("PNG", data, size=(width, height), bits=bits)


def _jpeg(data: bytes) -> Container:
    """Its segments, without those that only describe it."""
    kept, orientation, start = [data[:2]], 0, 2
    for end, marker, segment in _segments(data):
        start = end
        if marker == 0xE1:
            orientation = orientation or exif_orientation(segment[4:])
        if marker in (0xE0, 0xE2, 0xEE) or not 0xE0 <= marker <= 0xFE:
            kept.append(segment)
    if data.count(b"\xff\xda", start) > MOST_SCANS:
        raise FormatError(f"the JPEG file has more than {MOST_SCANS} scans")
    return Container("JPEG", b"".join([*kept, data[start:]]), orientation or 1)


def _segments(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    """(where it ends, marker, bytes) of each segment before the first scan."""
    at = 2
    while at + 4 <= len(data):
        if data[at] != 0xFF:
            raise FormatError("the JPEG file is broken: a segment does not begin with a marker")
        marker = data[at + 1]
        if marker == 0xFF:  # fill bytes
            at += 1
            continue
        if marker in (0xDA, 0xD9):
            return
        size = 0 if 0xD0 <= marker <= 0xD8 or marker == 1 else _u16(data, at + 2)
        yield at + 2 + size, marker, data[at : at + 2 + size]
        at += 2 + size


def _u16(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 2], "big")


def exif_orientation(block: bytes) -> int:
    """The orientation of an EXIF or XMP block, 0 if it says none."""
    block = block.removeprefix(b"Exif\0\0")
    if block[:4] not in (b"II*\0", b"MM\0*"):
        return xmp_orientation(block)
    try:
        order, tags = _directory(block, {ORIENTATION})
    except (FormatError, struct.error):
        return 0
    return _orientation(order, tags)


def xmp_orientation(text: bytes) -> int:
    """The orientation that a block of XMP says, 0 if it says none."""
    found = re.search(rb"tiff:Orientation(?:=[\"']|>)([1-8])", text)
    return int(found[1]) if found else 0


def _orientation(order: str, tags: dict[int, Tag]) -> int:
    values = tags[ORIENTATION].numbers(order) if ORIENTATION in tags else []
    return values[0] if values and 1 <= values[0] <= 8 else 0


def _directory(data: bytes, numbers: set[int] | frozenset[int]) -> tuple[str, dict[int, Tag]]:
    """The byte order, and the tags of those numbers in the first directory of a TIFF."""
    order = "<" if data[:2] == b"II" else ">"
    (start,) = struct.unpack_from(f"{order}L", data, 4)
    (count,) = struct.unpack_from(f"{order}H", data, start)
    tags: dict[int, Tag] = {}
    for at in range(start + 2, start + 2 + 12 * count, 12):
        number, kind, length = struct.unpack_from(f"{order}HHL", data, at)
        if number not in numbers or number in tags:
            continue
        size = length * (SIZES[kind] if kind < len(SIZES) else 0)
        (where,) = struct.unpack_from(f"{order}L", data, at + 8) if size > 4 else (at + 8,)
        if where + size > len(data):
            raise FormatError(f"the TIFF file is broken: tag {number} reaches beyond its end")
        tags[number] = Tag(number, data[at : at + 12], data[where : where + size])
    return order, tags


def _tiff(data: bytes) -> Container:
    """The same pixels under a new directory, at the end, with nothing but what they need."""
    order, tags = _directory(data, DECODING | {ORIENTATION})
    if sum(len(tag.value) for tag in tags.values()) > len(data) + 65536:
        raise FormatError("the TIFF file is broken: its tags overlap")
    orientation = _orientation(order, tags) or 1
    tags.pop(ORIENTATION, None)
    values = {number: tag.numbers(order) for number, tag in tags.items()}
    size = _first(values, 256, 0), _first(values, 257, 0)
    _check_tiles(size, values)
    entries = b"".join(tags[number].entry for number in sorted(tags))
    at = len(data) + len(data) % 2
    head = data[:4] + struct.pack(f"{order}L", at) + data[8:] + b"\0" * (len(data) % 2)
    directory = struct.pack(f"{order}H", len(tags)) + entries + bytes(4)
    return Container(
        "TIFF", head + directory, orientation, size,
        bits=max(values.get(258) or [1]), inverted=_first(values, 262, 1) == 0,
    )  # fmt: skip


def _first(values: dict[int, list[int]], number: int, default: int) -> int:
    return (values.get(number) or [default])[0]


def _check_tiles(size: tuple[int, int], values: dict[int, list[int]]) -> None:
    """A tile that is far larger than the picture is memory that no pixel needs."""
    width, height = _first(values, 322, 0), _first(values, 323, 0)
    if width * height > max(4 * size[0] * size[1], 1 << 20):
        raise FormatError(f"the TIFF file is broken: tiles of {width} x {height} in it are larger "
                          f"than its picture of {size[0]} x {size[1]}")  # fmt: skip


def _webp(data: bytes) -> Container:
    kind = data[12:16]
    if kind == b"VP8X":
        width, height = (int.from_bytes(data[at : at + 3], "little") + 1 for at in (24, 27))
    elif kind == b"VP8L":
        bits = struct.unpack_from("<L", data, 21)[0]
        width, height = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    else:
        width, height = (n & 0x3FFF for n in struct.unpack_from("<HH", data, 26))
    return Container("WebP", data, size=(width, height))
