"""The bytes of a file: a snapshot of the parts that are asked for, or a mapping of the whole.

A snapshot is read into memory of its own, so nothing that happens to the file afterwards
changes an array.  A mapping costs no reading, and has a price: see `Mapping`.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Collection, Iterator
from io import FileIO
from typing import Protocol

import numpy as np

from minigrad.errors import FormatError, quote, shown
from minigrad.formats.limits import Budget, default_limit

__all__ = ["Mapping", "Snapshot", "Source", "open_regular", "source", "within_budget"]

ALIGNMENT = 64  # bytes
SMALL, AHEAD = 1 << 14, 1 << 16  # reads of few bytes come from one of more, read ahead


class Source(Protocol):
    """A file of ``size`` bytes, any of which can be had."""

    size: int

    def read(self, start: int, nbytes: int) -> memoryview:
        """The bytes from ``start`` on, which can be written to without changing the file."""

    def reserve(self, sizes: Collection[int]) -> None:
        """Be ready for reads of these sizes, which are in the file."""


class Snapshot:
    """Reads what is asked for, and nothing else."""

    def __init__(self, file: FileIO, size: int) -> None:
        self.file = file
        self.size = size
        self.room = memoryview(bytearray())
        self.ahead, self.ahead_start = memoryview(bytearray()), 0  # what small reads come from

    def reserve(self, sizes: Collection[int]) -> None:
        """One piece of memory for many reads: the system gives it faster than many small ones."""
        room = np.empty(sum(sizes) + ALIGNMENT * (len(sizes) + 1), np.uint8)
        self.room = memoryview(room[-room.ctypes.data % ALIGNMENT :])

    def read(self, start: int, nbytes: int) -> memoryview:
        """The bytes from ``start`` on, in memory of their own."""
        check_within(start, nbytes, self.size)
        content = self._memory(nbytes)
        if nbytes > SMALL:
            self._fill(content, start)
            return content
        if not self.ahead_start <= start <= start + nbytes <= self.ahead_start + len(self.ahead):
            self.ahead = memoryview(bytearray(min(AHEAD, self.size - start)))
            self.ahead_start = start
            self._fill(self.ahead, start)
        at = start - self.ahead_start
        content[:] = self.ahead[at : at + nbytes]
        return content

    def _fill(self, content: memoryview, start: int) -> None:
        self.file.seek(start)
        done = 0
        while done < len(content):
            count = self.file.readinto(content[done:])
            if not count:
                raise FormatError("the file became shorter while it was read")
            done += count

    def _memory(self, nbytes: int) -> memoryview:
        """Memory for so many bytes; what was reserved begins with a cache line."""
        if nbytes > len(self.room):
            return memoryview(np.empty(nbytes, np.uint8))
        content, self.room = self.room[:nbytes], self.room[nbytes + -nbytes % ALIGNMENT :]
        return content


class Mapping:
    """The whole file, mapped: no byte is read before it is used.

    Writing to the memory never changes the file.  But a change of the file changes the
    memory, and where the file has become shorter, using it ends the process (SIGBUS).
    """

    def __init__(self, file: FileIO, size: int) -> None:
        import mmap  # here and below: most files are read, and are there

        self.content = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY))
        self.size = size

    def read(self, start: int, nbytes: int) -> memoryview:
        """The bytes from ``start`` on, where they lie."""
        check_within(start, nbytes, self.size)
        return self.content[start : start + nbytes]

    def reserve(self, sizes: Collection[int]) -> None:
        """The file is its own memory."""


def check_within(start: int, nbytes: int, size: int) -> None:
    """Every reader checks its own sizes first, with better words; this is the last guard."""
    if start < 0 or nbytes < 0 or start + nbytes > size:
        raise FormatError(f"the file has {size:,} bytes, and ends before one that it points to")


@contextlib.contextmanager
def source(path: str, *, mapped: bool = False) -> Iterator[Source]:
    """The bytes of the file at ``path``; a snapshot refuses a file that is changing."""
    with open_regular(path) as file:
        before = os.fstat(file.fileno())
        if before.st_size == 0:
            raise FormatError("the file is empty")
        if mapped:
            yield Mapping(file, before.st_size)
            return
        yield Snapshot(file, before.st_size)
        after = os.fstat(file.fileno())
        if (after.st_mtime_ns, after.st_size) != (before.st_mtime_ns, before.st_size):
            raise FormatError("the file was changed while it was read: load it again")


@contextlib.contextmanager
def within_budget(
    path: str | os.PathLike[str], budget: int | None, *, mapped: bool = False
) -> Iterator[tuple[Source, Budget]]:
    """The bytes of a file, and what reading it may take; what is wrong with it names the file."""
    path = os.fspath(path)
    try:
        with source(path, mapped=mapped) as file:
            yield file, Budget(default_limit(file.size) if budget is None else budget)
    except FormatError as error:
        raise FormatError(f"{shown(path, 5000)}: {error}") from None


def open_regular(path: str) -> FileIO:
    """Open a regular file for reading; a pipe or device is refused, and never waited for.

    Raises
    ------
    FormatError
        If it is a folder, pipe, socket or device, or if no file can have this name.
    OSError
        If it cannot be opened.
    """
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    try:
        descriptor = os.open(path, flags)
    except ValueError:  # a NUL, or a character that file names cannot have
        raise FormatError(f"no file can have the name {quote(path)}") from None
    except OSError as error:
        import errno

        if error.errno in (errno.ENXIO, errno.EISDIR) or os.path.isdir(path):
            raise FormatError("this is not a file") from None
        raise
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise FormatError("this is not a file")
    return FileIO(descriptor)
