"""The directory of a zip archive, read strictly: where each record is, and nothing left over.

The standard library's zipfile reads any archive, and repairs what it can.  A file of weights
that needs repair has lost something, so here counts, sizes and places must agree, and no
record may overlap another or repeat its name.

The layout, with the extension for 4 GiB and more (zip64), is section 4.3 of PKWARE's
APPNOTE.TXT:  records, directory, [zip64 end, its locator], end, comment.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

from minigrad.errors import FormatError, quote
from minigrad.formats.limits import Budget, no_duplicates
from minigrad.formats.source import Source

__all__ = ["DEFLATED", "STORED", "Entry", "read_entries"]

END = struct.Struct("<4s4H2LH")  # end of the directory
END64 = struct.Struct("<4sQ2H2L4Q")
LOCATOR = struct.Struct("<4sLQL")
ENTRY = struct.Struct("<4s6H3L5H2L")
MAX_COMMENT = 0xFFFF
STORED, DEFLATED = 0, 8
ENCRYPTED = 1  # bit of the flags
HUGE = 0xFFFFFFFF  # in a field of 4 bytes: the value is in the zip64 field
ZIP64_FIELD = 1
STEPS = 10  # of work for an entry


class Entry(NamedTuple):
    """What the directory says of one record: ``packed`` bytes, ``nbytes`` when unpacked."""

    name: str
    method: int
    crc: int
    packed: int
    nbytes: int
    offset: int


class Span(NamedTuple):
    """Number of entries, and the part of the file that the directory takes."""

    entries: int
    start: int
    size: int


def read_entries(source: Source, budget: Budget) -> tuple[list[Entry], int]:
    """The entries of the archive, and where its directory begins.

    Raises
    ------
    FormatError
        If the directory is missing or broken, or a record is encrypted, packed in another way
        than deflate, or there twice.
    """
    span = _find_directory(source)
    budget.work(STEPS * span.entries)
    budget.spend_values(span.size, "the zip directory")
    entries = list(_entries(source.read(span.start, span.size), span.entries))
    no_duplicates((entry.name for entry in entries), "the record")
    return entries, span.start


def _find_directory(source: Source) -> Span:
    """Where the directory is: it must end where the end record begins."""
    start = max(0, source.size - END.size - MAX_COMMENT)
    tail = bytes(source.read(start, source.size - start))
    at = _find_end(tail)
    _, disk, first_disk, here, count, size, offset, _ = END.unpack_from(tail, at)
    span, end = Span(count, offset, size), start + at
    if (locator := end - LOCATOR.size) >= 0:
        magic, _, end64, _ = LOCATOR.unpack(source.read(locator, LOCATOR.size))
        if magic == b"PK\6\7":
            span, end, here = _read_end64(source, end64, locator, span), end64, count
    if disk or first_disk or here != count or span.start + span.size != end:
        raise FormatError(
            "the zip directory does not end where it says: the file was cut, damaged or "
            "put together from several"
        )
    return span


def _find_end(tail: bytes) -> int:
    """The end record, whose comment reaches exactly to the end of the file."""
    at = tail.rfind(b"PK\5\6")
    while at >= 0:
        if at + END.size <= len(tail):
            comment = END.unpack_from(tail, at)[-1]
            if at + END.size + comment == len(tail):
                return at
        at = tail.rfind(b"PK\5\6", 0, at)
    raise FormatError("the zip directory at the end is missing: the file is truncated")


def _read_end64(source: Source, at: int, locator: int, short: Span) -> Span:
    """The span by the zip64 end record, which must not contradict the short one."""
    if at + END64.size <= locator:
        magic, length, _, _, disk, first, here, count, size, start = END64.unpack(
            source.read(at, END64.size)
        )
        long = Span(count, start, size)
        agree = all(a in (b, 0xFFFF, HUGE) for a, b in zip(short, long, strict=True))
        whole = at + 12 + length == locator and (disk, first, here) == (0, 0, count)
        if magic == b"PK\6\6" and whole and agree:
            return long
    raise FormatError("the zip64 record at the end contradicts the rest of the file")


def _entries(directory: memoryview, count: int) -> Iterator[Entry]:
    pos, end = 0, len(directory)
    for _ in range(count):
        if pos + ENTRY.size > end:
            raise FormatError("the zip directory is shorter than its number of entries")
        (magic, _, _, flags, method, _, _, crc, packed, nbytes, name_length, extra_length,
         comment_length, disk, _, _, offset) = ENTRY.unpack_from(directory, pos)  # fmt: skip
        name_end = pos + ENTRY.size + name_length
        extra_end = name_end + extra_length
        name = read_name(directory[pos + ENTRY.size : name_end])
        pos = extra_end + comment_length
        if magic != b"PK\1\2" or pos > end or disk:
            raise FormatError("the zip directory is broken")
        if flags & ENCRYPTED or method not in (STORED, DEFLATED):
            raise FormatError(f"the record {quote(name)} is encrypted, or not packed by deflate")
        sizes = _long_sizes(directory[name_end:extra_end], nbytes, packed, offset)
        entry = Entry(name, method, crc, sizes[1], sizes[0], sizes[2])
        if method == STORED and entry.packed != entry.nbytes:
            raise FormatError(f"the record {quote(name)} is stored, yet has two different sizes")
        yield entry
    if pos != end:
        raise FormatError("the zip directory is longer than its number of entries")


def _long_sizes(extra: memoryview, *short: int) -> list[int]:
    """Sizes and offset, of which those of 4 GiB or more are in the zip64 field, in this order."""
    long = _zip64_field(extra) if HUGE in short else []
    try:
        return [long.pop(0) if value == HUGE else value for value in short]
    except IndexError:
        raise FormatError("a record of 4 GiB or more does not say its size") from None


def _zip64_field(extra: memoryview) -> list[int]:
    pos = 0
    while pos + 4 <= len(extra):
        kind, length = struct.unpack_from("<2H", extra, pos)
        if kind == ZIP64_FIELD:
            numbers = extra[pos + 4 : pos + 4 + length]
            count = min(len(numbers) // 8, 3)
            return list(struct.unpack_from(f"<{count}Q", numbers))
        pos += 4 + length
    return []


def read_name(raw: memoryview) -> str:
    """The name of a record."""
    try:
        return str(raw, "utf-8")
    except UnicodeDecodeError:
        raise FormatError("the zip archive has a name that is not UTF-8") from None
