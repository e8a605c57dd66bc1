"""FlatBuffers: tables found by offsets, each of which is checked before it is followed.

A table begins with the distance back to its vtable, a list of where each field lies (0: it has
its default value).  A field holds a number, or the distance to a table, text or vector:

    table    int32 back to the vtable, then the fields
    vtable   uint16 its size, uint16 the table's, then uint16 for each field: its place in the table
    vector   uint32 count, then the elements;  text: the same, of bytes

The format is described on flatbuffers.dev under "Internals".
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

import numpy as np

from minigrad.errors import FormatError
from minigrad.formats.limits import Budget
from minigrad.formats.numbers import Array

__all__ = ["Table", "root"]

STEPS = 3  # of work for a table or text


class Table:
    """A table at a place in the file.

    The getters take a field's index, counted from 0 as in the schema; a union has two, its kind
    and its value.

    Parameters
    ----------
    data : memoryview
        The whole file.
    pos : int
        Where the table begins.
    budget : Budget
        Of the whole file.
    """

    __slots__ = ("budget", "data", "pos", "size", "vtable", "vtable_size")

    def __init__(self, data: memoryview, pos: int, budget: Budget) -> None:
        self.data, self.pos, self.budget = data, pos, budget
        budget.work(STEPS)
        self.vtable = pos - self._number("<i", pos)
        self.vtable_size = self._number("<H", self.vtable)
        self.size = self._number("<H", self.vtable + 2)
        if self.vtable_size < 4 or self.vtable + self.vtable_size > len(data):
            raise FormatError("the file has a table whose list of fields leaves the file")
        if self.size < 4 or pos + self.size > len(data):
            raise FormatError("the file has a table that leaves the file")

    def _number(self, form: str, pos: int) -> int:
        if pos < 0 or pos + struct.calcsize(form) > len(self.data):
            raise FormatError("the file has an offset that points outside of it")
        return int(struct.unpack_from(form, self.data, pos)[0])

    def _place(self, index: int, size: int) -> int | None:
        """Where a field of ``size`` bytes lies, None if it is not there."""
        entry = 4 + 2 * index
        if entry + 2 > self.vtable_size:
            return None
        offset = self._number("<H", self.vtable + entry)
        if offset == 0:
            return None
        if offset < 4 or offset + size > self.size:
            raise FormatError("the file has a field that leaves its table")
        return self.pos + offset

    def has(self, index: int) -> bool:
        """Whether the field is there."""
        return self._place(index, 1) is not None

    def integer(self, index: int, form: str = "<i", default: int = 0) -> int:
        """An integer, written as ``struct`` calls it: ``"<b"``, ``"<B"``, ``"<i"``, ``"<Q"``."""
        place = self._place(index, struct.calcsize(form))
        return default if place is None else self._number(form, place)

    def boolean(self, index: int, default: bool = False) -> bool:
        """A byte that is 0 or not."""
        return bool(self.integer(index, "<B", int(default)))

    def float32(self, index: int, default: float = 0.0) -> float:
        """A float of 4 bytes."""
        place = self._place(index, 4)
        return default if place is None else float(struct.unpack_from("<f", self.data, place)[0])

    def _target(self, index: int) -> int | None:
        """Where what the field points to begins."""
        place = self._place(index, 4)
        return None if place is None else place + self._number("<I", place)

    def table(self, index: int) -> Table | None:
        """The table that the field points to."""
        target = self._target(index)
        return None if target is None else Table(self.data, target, self.budget)

    def _vector(self, index: int, size: int) -> tuple[int, int]:
        """Where the elements of a vector begin, and how many there are."""
        target = self._target(index)
        if target is None:
            return 0, 0
        count = self._number("<I", target)
        if target + 4 + count * size > len(self.data):
            raise FormatError(f"the file has a vector of {count:,} elements, and ends before that")
        return target + 4, count

    def numbers(self, index: int, dtype: str) -> Array:
        """The numbers of a vector, where they lie."""
        start, count = self._vector(index, np.dtype(dtype).itemsize)
        return np.frombuffer(self.data[start : start + count * np.dtype(dtype).itemsize], dtype)

    def integers(self, index: int, dtype: str = "<i4") -> tuple[int, ...]:
        """The numbers of a short vector."""
        numbers = self.numbers(index, dtype)
        self.budget.work(numbers.size)
        return tuple(numbers.tolist())

    def bytes(self, index: int) -> memoryview:
        """The bytes of a vector, where they lie."""
        start, count = self._vector(index, 1)
        return self.data[start : start + count]

    def text(self, index: int) -> str:
        """Text in UTF-8; empty if it is not there."""
        content = bytes(self.bytes(index))
        self.budget.work(STEPS)
        self.budget.spend_values(64 + len(content) * (1 if content.isascii() else 4), "a text")
        try:
            return str(content, "utf-8")
        except UnicodeDecodeError:
            raise FormatError("the file has a text that is not UTF-8") from None

    def tables(self, index: int) -> Iterator[Table]:
        """The tables of a vector, one at a time."""
        start, count = self._vector(index, 4)
        for place in range(start, start + 4 * count, 4):
            yield Table(self.data, place + self._number("<I", place), self.budget)


def root(data: memoryview, identifier: bytes, budget: Budget) -> Table:
    """The outermost table of a file with this identifier."""
    if len(data) < 8 or bytes(data[4:8]) != identifier:
        raise FormatError(f"the file is not of the kind {identifier.decode()}")
    return Table(data, int.from_bytes(data[:4], "little"), budget)
