"""Files that are there whole or not at all: the one way in which minigrad writes a file.

The bytes go to a part file of a random name in the target's folder.  When it is complete and
on the disk it takes the target's place in one step, so a reader sees the old file or the new
one, two writers never mix, and a failure leaves the old file as it was.

A process that is killed leaves its part file behind.  Each writer holds a lock on its own, so
the next writer in that folder knows the part files that nobody is writing, and removes them.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from typing import BinaryIO

from minigrad.errors import FormatError, quote

try:
    import fcntl
except ImportError:  # Windows, where an open file cannot be removed, so no lock is needed
    fcntl = None  # type: ignore[assignment]

__all__ = ["replacing", "write_bytes", "write_text"]

Path = str | os.PathLike[str]
PREFIX, SUFFIX = ".minigrad-", ".part"  # and 16 random digits between: short in any folder
NEW = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file of these bytes; see `replacing`."""
    with replacing(path) as file:
        file.write(data)


def write_text(path: Path, text: str) -> None:
    """Write a file of this text, in UTF-8; see `replacing`."""
    write_bytes(path, text.encode())


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A new file to write to, which takes the place of ``path`` if the block ends well.

    A symbolic link stays, and the file it points to is replaced.  An existing file keeps its
    permissions, and its owner where that is allowed; a new one gets those of the umask.

    Raises
    ------
    FormatError
        If ``path`` is a folder, pipe or device, or a name that no file can have.
    OSError
        If the folder or the disk does not let the file be written.
    """
    target, status = _target(os.fspath(path))
    folder = os.path.dirname(target)
    _remove_abandoned(folder)
    try:
        part, descriptor = _new_part(folder, 0o666 if status is None else 0o600)
    except OSError as error:
        raise _about(error, path) from None
    try:
        with _closing(descriptor) as file:
            yield file
            file.flush()
            _copy_permissions(descriptor, status)
            os.fsync(descriptor)
            if fcntl is not None:  # the lock is held until the name is taken
                os.replace(part, target)
        if fcntl is None:
            os.replace(part, target)
        _flush_folder(folder)
    except BaseException as error:
        with contextlib.suppress(OSError):
            os.unlink(part)
        if isinstance(error, OSError) and error.filename in (None, part):
            raise _about(error, path) from None
        raise


def _about(error: OSError, path: Path) -> OSError:
    """The error, told about the file that the caller knows."""
    return OSError(error.errno, error.strerror, os.fspath(path))


def _target(path: str) -> tuple[str, os.stat_result | None]:
    """The file that is to be replaced, links followed, and its status if it is there."""
    try:
        target = os.path.realpath(path)
        status = os.stat(target)
    except FileNotFoundError:
        if not os.path.basename(path):
            raise FormatError(f"{quote(path)} is not the name of a file") from None
        return target, None
    except ValueError:  # a NUL, or a character that file names cannot have
        raise FormatError(f"no file can have the name {quote(path)}") from None
    if not stat.S_ISREG(status.st_mode):
        raise FormatError(f"{quote(path)} is not a file, so no file can take its place")
    if not os.access(target, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)
    return target, status


def _new_part(folder: str, mode: int) -> tuple[str, int]:
    """A part file that nobody else has opened, with a lock on it."""
    while True:
        part = os.path.join(folder, f"{PREFIX}{os.urandom(8).hex()}{SUFFIX}")
        try:
            descriptor = os.open(part, NEW, mode)
        except FileExistsError:
            continue
        if _lock(descriptor) and _is_at(part, descriptor):
            return part, descriptor
        os.close(descriptor)  # another writer took it for abandoned before it was locked


def _lock(descriptor: int) -> bool:
    """Whether this process now holds the file; where there are no locks, it does."""
    if fcntl is None:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks
        return True
    return True


def _is_at(path: str, descriptor: int) -> bool:
    try:
        return os.path.samestat(os.stat(path), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _remove_abandoned(folder: str) -> None:
    """Remove the part files of writers that were killed."""
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith(PREFIX) and entry.name.endswith(SUFFIX):
                _remove_if_abandoned(entry)


def _remove_if_abandoned(entry: os.DirEntry[str]) -> None:
    """Remove a regular file of ours that nobody holds a lock on."""
    with contextlib.suppress(OSError):
        if not entry.is_file(follow_symlinks=False):
            return
        if fcntl is None:
            os.unlink(entry.path)
            return
        descriptor = os.open(entry.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(descriptor).st_uid == os.geteuid():
                os.unlink(entry.path)
        finally:
            os.close(descriptor)


@contextlib.contextmanager
def _closing(descriptor: int) -> Iterator[BinaryIO]:
    """The descriptor as a file; closing it after a failure (a full disk) adds no second one."""
    file = os.fdopen(descriptor, "w+b")
    try:
        yield file
    except BaseException:
        with contextlib.suppress(OSError):
            file.close()
        raise
    file.close()


def _copy_permissions(descriptor: int, status: os.stat_result | None) -> None:
    if status is None or not hasattr(os, "fchmod"):
        return
    mine = os.fstat(descriptor)
    if (mine.st_uid, mine.st_gid) != (status.st_uid, status.st_gid):
        with contextlib.suppress(PermissionError):
            os.fchown(descriptor, status.st_uid, status.st_gid)
    os.fchmod(descriptor, stat.S_IMODE(status.st_mode))


def _flush_folder(folder: str) -> None:
    """The new name is on the disk too, where folders can be flushed."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
