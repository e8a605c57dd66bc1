"""The records of a zip archive: found, held apart, unpacked and checked."""

from __future__ import annotations

import struct
import zlib

import numpy as np

from minigrad.errors import FormatError, quote
from minigrad.formats.limits import Budget
from minigrad.formats.source import Source
from minigrad.formats.zip_directory import STORED, Entry, read_entries

__all__ = ["Record", "read_records"]

LOCAL = struct.Struct("<4s5H3L2H")  # the header before each record
FEED, PIECE = 1 << 16, 1 << 20  # bytes that go into the unpacker, and that come out, at a time
MAX_GAP = 24  # between records: what a writer that cannot go back puts behind each (a CRC, sizes)
MAX_RATIO = 1032  # deflate says at most 258 bytes in 2 bits


class Record:
    """One file of the archive.

    Parameters
    ----------
    source : Source
        The archive.
    entry : Entry
        What its directory says.
    start : int
        Where the record's bytes begin.
    """

    def __init__(self, source: Source, entry: Entry, start: int) -> None:
        self.source = source
        self.entry = entry
        self.start = start

    @property
    def nbytes(self) -> int:
        """Bytes when unpacked, as the directory states them."""
        return self.entry.nbytes

    def read(self, check_crc: bool = True) -> memoryview:
        """The record's bytes, unpacked; who calls has paid for ``nbytes``."""
        content = self.source.read(self.start, self.entry.packed)
        if self.entry.method != STORED:
            content = self._inflate(content)
        if check_crc and zlib.crc32(content) != self.entry.crc:
            raise FormatError(
                f"the record {quote(self.entry.name)} is damaged: its CRC-32 is wrong"
            )
        return content

    def _inflate(self, packed: memoryview) -> memoryview:
        """Unpack into ``nbytes`` bytes, and not one more, whatever the stream says.

        The input goes in by pieces, because what the unpacker has not used it copies.
        """
        if self.nbytes > MAX_RATIO * len(packed) + FEED:
            raise self._wrong_size()
        content = memoryview(np.empty(self.nbytes, np.uint8))
        unpacker = zlib.decompressobj(-zlib.MAX_WBITS)
        done = 0
        for start in range(0, len(packed), FEED):
            feed: bytes | memoryview = packed[start : start + FEED]
            while True:
                step = min(self.nbytes - done + 1, PIECE)
                piece = self._decompress(unpacker, feed, step)
                if done + len(piece) > self.nbytes:
                    raise self._wrong_size()
                content[done : done + len(piece)] = piece
                done += len(piece)
                feed = unpacker.unconsumed_tail
                if unpacker.eof or len(piece) < step:  # all that the input holds is out
                    break
            if unpacker.eof:
                break
        if done != self.nbytes or not unpacker.eof:
            raise self._wrong_size()
        return content

    def _decompress(self, unpacker: zlib._Decompress, feed: bytes | memoryview, step: int) -> bytes:
        try:
            return unpacker.decompress(feed, step)
        except zlib.error as error:
            name = quote(self.entry.name)
            raise FormatError(f"the record {name} does not unpack: {error}") from None

    def _wrong_size(self) -> FormatError:
        return FormatError(
            f"the record {quote(self.entry.name)} does not unpack to the {self.nbytes:,} bytes "
            f"that the directory states"
        )


def read_records(source: Source, budget: Budget) -> dict[str, Record]:
    """The records of the archive by name, in the order of its directory.

    Raises
    ------
    FormatError
        If the directory is broken, or a record is outside the file or over another, or there
        is room between two that a record may have been lost from.
    """
    entries, directory = read_entries(source, budget)
    records = {}
    end = 0
    for entry in sorted(entries, key=lambda entry: entry.offset):
        start = _content_start(source, entry)
        if not end <= entry.offset <= end + MAX_GAP or start + entry.packed > directory:
            raise FormatError(f"the record {quote(entry.name)} overlaps another, or one is lost")
        end = start + entry.packed
        records[entry.name] = Record(source, entry, start)
    if directory > end + MAX_GAP:
        raise FormatError("the zip directory does not list all that is in the file")
    return {entry.name: records[entry.name] for entry in entries}


def _content_start(source: Source, entry: Entry) -> int:
    """Where a record's bytes begin: its local header must say what the directory says."""
    name = entry.name.encode()
    if entry.offset + LOCAL.size + len(name) > source.size:
        raise FormatError(f"the record {quote(entry.name)} begins outside the file")
    raw = source.read(entry.offset, LOCAL.size + len(name))
    magic, *_, name_length, extra_length = LOCAL.unpack_from(raw)
    if magic != b"PK\3\4" or name_length != len(name) or bytes(raw[LOCAL.size :]) != name:
        raise FormatError(f"the record {quote(entry.name)} is missing where the directory puts it")
    return entry.offset + LOCAL.size + len(name) + int(extra_length)
