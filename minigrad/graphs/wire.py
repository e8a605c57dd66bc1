"""The wire format of protocol buffers: fields of numbers and bytes, read with every bound checked.

A message is a run of fields.  A field is a tag (its number, and how it is written), then

    varint          7 bits a byte, the lowest first, until a byte below 128
    fixed           4 or 8 bytes, little-endian
    bytes           a length as a varint, then so many bytes: text, a message, or packed numbers

The format is described on protobuf.dev under "Encoding".
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

import numpy as np

from minigrad.errors import FormatError
from minigrad.formats.limits import Budget
from minigrad.formats.numbers import Array

__all__ = ["Message"]

VARINT, FIXED8, BYTES, FIXED4 = 0, 1, 2, 5
STEPS = {VARINT: 2, FIXED8: 2, FIXED4: 2, BYTES: 3}  # as long as so many opcodes of a pickle
MAX_VARINT = 10  # bytes, of which 64 bits count
PIECE = 1 << 18  # bytes of packed varints at a time
MASK, SIGN = (1 << 64) - 1, 1 << 63


class Message:
    """A message whose fields have been told apart, but not yet understood.

    The getters take a field's number.  As in protobuf, a field that is there several times
    means its last value, except where all are asked for.

    Parameters
    ----------
    data : memoryview
        The message, all of it.
    budget : Budget
        Of the whole file.
    """

    __slots__ = ("budget", "data", "fields")

    def __init__(self, data: memoryview, budget: Budget) -> None:
        self.data = data
        self.budget = budget
        self.fields: dict[int, list[int | memoryview]] = {}
        for number, value in self._read():
            self.fields.setdefault(number, []).append(value)

    def _read(self) -> Iterator[tuple[int, int | memoryview]]:
        data, pos = self.data, 0
        while pos < len(data):
            tag, pos = read_varint(data, pos)
            number, kind = tag >> 3, tag & 7
            if number == 0 or kind not in STEPS:
                raise FormatError("the file has a field that protobuf does not know")
            self.budget.work(STEPS[kind])
            if kind == VARINT:
                value, pos = read_varint(data, pos)
                yield number, value
                continue
            size = {FIXED4: 4, FIXED8: 8}.get(kind)
            if size is None:
                size, pos = read_varint(data, pos)
            if pos + size > len(data):
                raise FormatError("the file ends within a field, or a field within its message")
            raw = data[pos : pos + size]
            yield number, raw if kind == BYTES else int.from_bytes(raw, "little")
            pos += size

    def _last(self, number: int) -> int | memoryview | None:
        values = self.fields.get(number)
        return values[-1] if values else None

    def has(self, number: int) -> bool:
        """Whether the field is there."""
        return number in self.fields

    def size(self, number: int) -> int:
        """How much the field holds, at most: a byte of packed numbers counts as one."""
        values = self.fields.get(number, ())
        return sum(1 if isinstance(value, int) else len(value) for value in values)

    def integer(self, number: int, default: int = 0) -> int:
        """An integer with a sign."""
        value = self._last(number)
        if value is None:
            return default
        return signed(expect_number(value))

    def float32(self, number: int, default: float = 0.0) -> float:
        """A float of 4 bytes."""
        value = self._last(number)
        if value is None:
            return default
        raw = (expect_number(value) & 0xFFFFFFFF).to_bytes(4, "little")
        return float(struct.unpack("<f", raw)[0])

    def bytes(self, number: int) -> memoryview:
        """Bytes where they lie; none if the field is missing."""
        value = self._last(number)
        return memoryview(b"") if value is None else expect_bytes(value)

    def text(self, number: int) -> str:
        """Text in UTF-8."""
        return self._decode(self.bytes(number))

    def texts(self, number: int) -> tuple[str, ...]:
        """All texts of the field."""
        return tuple(self._decode(raw) for raw in self.all_bytes(number))

    def _decode(self, raw: memoryview) -> str:
        content = bytes(raw)
        self.budget.spend_values(64 + len(content) * (1 if content.isascii() else 4), "a text")
        try:
            return str(content, "utf-8")
        except UnicodeDecodeError:
            raise FormatError("the file has a text that is not UTF-8") from None

    def all_bytes(self, number: int) -> list[memoryview]:
        """All byte strings of the field."""
        return [expect_bytes(value) for value in self.fields.get(number, ())]

    def message(self, number: int) -> Message | None:
        """The message in the field; protobuf's rule of merging several is not followed."""
        value = self._last(number)
        return None if value is None else Message(expect_bytes(value), self.budget)

    def messages(self, number: int) -> Iterator[Message]:
        """All messages of the field, one at a time."""
        for raw in self.all_bytes(number):
            yield Message(raw, self.budget)

    def integers(self, number: int) -> Array:
        """All integers of the field, packed or one by one, as int64."""
        runs = [
            np.array([signed(v)], np.int64) if isinstance(v, int) else varints(v, self.budget)
            for v in self.fields.get(number, ())
        ]
        return np.concatenate(runs) if runs else np.zeros(0, np.int64)

    def numbers(self, number: int, dtype: str) -> Array:
        """All floats of the field, packed or one by one, of the dtype (``"<f4"``, ``"<f8"``)."""
        size = np.dtype(dtype).itemsize
        runs = []
        for value in self.fields.get(number, ()):
            raw = (value & MASK).to_bytes(8, "little")[:size] if isinstance(value, int) else value
            if len(raw) % size:
                raise FormatError(f"the file has packed numbers of {size} bytes in {len(raw):,}")
            runs.append(np.frombuffer(raw, dtype))
        return np.concatenate(runs) if runs else np.zeros(0, dtype)


def read_varint(data: memoryview, pos: int) -> tuple[int, int]:
    """The unsigned integer at ``pos``, and where it ends."""
    value = 0
    for index in range(min(MAX_VARINT, len(data) - pos)):
        byte = data[pos + index]
        value |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            return value & MASK, pos + index + 1
    raise FormatError("the file has a number without an end")


def varints(packed: memoryview, budget: Budget) -> Array:
    """Packed varints as int64, many at once."""
    raw = np.frombuffer(packed, np.uint8)
    count = int(np.count_nonzero(raw < 0x80))
    budget.spend_memory(8 * count, "a list of numbers")
    values = np.empty(count, np.uint64)
    start = done = 0
    while start < raw.size:
        piece = raw[start : start + PIECE]
        ends = np.flatnonzero(piece < 0x80)
        if ends.size == 0:
            raise FormatError("the file has packed numbers without an end")
        unpack(piece, ends, values[done : done + ends.size])
        done += ends.size
        start += int(ends[-1]) + 1
    return values.view(np.int64)


def unpack(raw: Array, ends: Array, values: Array) -> None:
    """Write the varints that end at ``ends``: byte k of a number adds its 7 bits 7 k places up."""
    starts = np.concatenate(([0], ends[:-1] + 1))
    lengths = ends - starts + 1
    longest = int(np.max(lengths))
    if longest > MAX_VARINT:
        raise FormatError("the file has packed numbers of more than ten bytes")
    values[:] = 0
    for k in range(longest):
        longer = lengths > k
        bits = raw[starts[longer] + k].astype(np.uint64) & np.uint64(0x7F)
        values[longer] |= bits << np.uint64(7 * k)


def signed(value: int) -> int:
    """The integer of 64 bits in two's complement."""
    return value - (1 << 64) if value & SIGN else value


def expect_number(value: int | memoryview) -> int:
    """A number, where one belongs."""
    if isinstance(value, int):
        return value
    raise FormatError("the file has bytes where a number belongs")


def expect_bytes(value: int | memoryview) -> memoryview:
    """Bytes, where they belong."""
    if isinstance(value, int):
        raise FormatError("the file has a number where bytes belong")
    return value
