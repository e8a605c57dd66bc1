"""The records of a zip archive: the directory is checked whole, stored records are views.

The standard library's zipfile reads any archive; this reads the ones that weights come in
(stored or deflated, under 4 GiB), refuses records that overlap or repeat a name, and gives
the bytes of a stored record where they lie, so that nothing is copied.

The layout is section 4.3 of PKWARE's APPNOTE.TXT.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from typing import NamedTuple

from minigrad.errors import FormatError
from minigrad.formats.limits import Budget, no_duplicates, quote

__all__ = ["Record", "read_directory"]

END = struct.Struct("<4s4H2LH")  # end of central directory
ENTRY = struct.Struct("<4s6H3L5H2L")  # central directory
LOCAL = struct.Struct("<4s5H3L2H")  # local header
STORED, DEFLATED = 0, 8
ENCRYPTED = 1  # bit of the flags
ZIP64 = 0xFFFFFFFF


class Record(NamedTuple):
    """One file of the archive: ``packed`` bytes in it, ``nbytes`` when unpacked."""

    name: str
    method: int
    crc: int
    nbytes: int
    packed: memoryview

    def read(self, budget: Budget, check_crc: bool = True) -> memoryview:
        """The record's bytes: a view if stored, else unpacked into memory of their own."""
        if self.method == STORED:
            content = self.packed
        else:
            budget.spend(self.nbytes, f"the record {quote(self.name)}")
            content = memoryview(self._inflate())
        if check_crc and zlib.crc32(content) != self.crc:
            raise FormatError(f"the record {quote(self.name)} is damaged: its CRC-32 is wrong")
        return content

    def _inflate(self) -> bytearray:
        """Unpack into ``nbytes`` bytes, and not one more, whatever the stream says."""
        unpacker = zlib.decompressobj(-zlib.MAX_WBITS)
        content = bytearray()
        feed: bytes | memoryview = self.packed
        try:
            while feed and len(content) <= self.nbytes:
                step = min(self.nbytes + 1 - len(content), 1 << 20)
                content += unpacker.decompress(feed, step)
                feed = unpacker.unconsumed_tail
        except zlib.error as error:
            raise FormatError(f"the record {quote(self.name)} does not unpack: {error}") from None
        if len(content) != self.nbytes or not unpacker.eof:
            raise FormatError(
                f"the record {quote(self.name)} does not unpack to the {self.nbytes:,} bytes "
                f"that the directory states"
            )
        return content


def read_directory(data: memoryview) -> dict[str, Record]:
    """The records of the archive by name, none overlapping another.

    Raises
    ------
    FormatError
        If the directory is missing or broken, or a record is encrypted, packed in another
        way than deflate, outside the file, over another, or there twice.
    """
    entries = list(_entries(data))
    no_duplicates((name for name, *_ in entries), "the record")
    records = {}
    free_from = 0
    for name, method, crc, packed, nbytes, offset in sorted(entries, key=lambda entry: entry[-1]):
        start = _content_start(data, name, offset)
        if offset < free_from or start + packed > len(data):
            raise FormatError(f"the record {quote(name)} overlaps another or leaves the file")
        free_from = start + packed
        records[name] = Record(name, method, crc, nbytes, data[start:free_from])
    return records


def _entries(data: memoryview) -> Iterator[tuple[str, int, int, int, int, int]]:
    """(name, method, crc, packed size, size, offset) of each entry of the directory."""
    count, pos, end = _directory_span(data)
    for _ in range(count):
        if pos + ENTRY.size > end:
            raise FormatError("the zip directory is shorter than its number of entries")
        (magic, _, _, flags, method, _, _, crc, packed, nbytes,
         name_length, extra, comment, _, _, _, offset) = ENTRY.unpack_from(data, pos)  # fmt: skip
        name = _name(data[pos + ENTRY.size : pos + ENTRY.size + name_length])
        pos += ENTRY.size + name_length + extra + comment
        if magic != b"PK\1\2" or pos > end:
            raise FormatError("the zip directory is broken")
        if flags & ENCRYPTED or method not in (STORED, DEFLATED):
            raise FormatError(f"the record {quote(name)} is encrypted, or not packed by deflate")
        if ZIP64 in (packed, nbytes, offset):
            raise FormatError(f"the record {quote(name)} is of 4 GiB or more, which is not read")
        if method == STORED and packed != nbytes:
            raise FormatError(f"the record {quote(name)} is stored, yet has two different sizes")
        yield name, method, crc, packed, nbytes, offset


def _directory_span(data: memoryview) -> tuple[int, int, int]:
    """Number of entries, and where the central directory begins and ends."""
    tail_start = max(0, len(data) - END.size - 0xFFFF)  # behind it stands a comment at most
    found = bytes(data[tail_start:]).rfind(b"PK\5\6")
    if found < 0 or tail_start + found + END.size > len(data):
        raise FormatError("the zip directory at the end is missing: the file is truncated")
    _, disk, start_disk, _, count, size, start, _ = END.unpack_from(data, tail_start + found)
    if start + size > tail_start + found or disk or start_disk:
        raise FormatError("the zip directory does not lie within the file")
    return count, start, start + size


def _content_start(data: memoryview, name: str, offset: int) -> int:
    """Where a record's bytes begin: its local header must say what the directory says."""
    if offset + LOCAL.size > len(data):
        raise FormatError(f"the record {quote(name)} begins outside the file")
    header = LOCAL.unpack_from(data, offset)
    magic, name_length, extra = bytes(header[0]), int(header[-2]), int(header[-1])
    start = offset + LOCAL.size + name_length
    if magic != b"PK\3\4" or _name(data[offset + LOCAL.size : start]) != name:
        raise FormatError(f"the record {quote(name)} is missing where the directory puts it")
    return start + extra


def _name(raw: memoryview) -> str:
    try:
        return str(raw, "utf-8")
    except UnicodeDecodeError:
        raise FormatError("the zip archive has a name that is not UTF-8") from None
