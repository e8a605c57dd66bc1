"""What this process may use of its machine: CPUs and memory.

A container sees every CPU and all the memory of its host.  What it may use stands elsewhere:
in the affinity mask, in resource limits (``ulimit``), and in control groups (cgroups, version
1 or 2), where the limits of all groups around a process hold together.
"""

from __future__ import annotations

import functools
import math
import os
import sys
from collections.abc import Iterator
from contextvars import ContextVar
from time import monotonic
from typing import TypeAlias

from minigrad.errors import NotEnoughMemory
from minigrad.sizes import MiB, size_text

__all__ = ["available_cpus", "available_memory", "check_memory", "cpu_quota"]

UNLIMITED = sys.maxsize
SMALL = 64 * MiB  # bytes that are asked for without a look at the limits, which takes 0.2 ms
ROOT = "/"
HOLDS = 0.02  # seconds for which a look at the affinity mask holds, which takes 0.3 us

Folder: TypeAlias = "str | os.PathLike[str]"  # pathlib takes a sixth of minigrad's import


def available_cpus() -> int:
    """The number of CPUs that this process may use.

    Returns
    -------
    int
        The smaller of the affinity mask's size and the CPU quota of its control groups,
        rounded up.  The quota is read once in a process, the mask every 20 ms at most.

    Examples
    --------
    >>> available_cpus() >= 1
    True
    """
    count, until = _cpus.get()
    if monotonic() >= until:
        count = _count_cpus()
        _cpus.set((count, monotonic() + HOLDS))
    return count


# Of this thread, whose affinity mask may be its own, and until when it holds.
_cpus: ContextVar[tuple[int, float]] = ContextVar("minigrad_cpus", default=(1, -math.inf))


def _count_cpus() -> int:
    if hasattr(os, "sched_getaffinity"):
        count = len(os.sched_getaffinity(0))
    else:
        count = os.cpu_count() or 1
    return max(1, math.ceil(min(count, _quota_at_start())))


@functools.cache
def _quota_at_start() -> float:
    return cpu_quota()


def cpu_quota(root: Folder = ROOT) -> float:
    """CPU seconds a second that the control groups grant, infinity without a limit.

    Parameters
    ----------
    root : path
        Where ``proc`` and ``sys`` are; another folder only for a test.
    """
    return min((_quota(folder) for folder in _groups("cpu", root)), default=math.inf)


def _quota(folder: Folder) -> float:
    """The quota of one group: ``cpu.max`` of version 2, or version 1's two files."""
    words = _words(folder, "cpu.max") or [
        *_words(folder, "cpu.cfs_quota_us"),
        *_words(folder, "cpu.cfs_period_us"),
    ]
    if len(words) != 2 or not all(word.isdecimal() for word in words) or "0" in words:
        return math.inf  # "max", or -1
    return int(words[0]) / int(words[1])


def available_memory(root: Folder = ROOT) -> int:
    """Bytes that this process may still take, as far as the system tells.

    Returns
    -------
    int
        The least of: free memory and swap, what the control groups leave, and what
        ``ulimit -v`` and ``ulimit -d`` leave.  ``sys.maxsize`` where nothing is known.
    """
    rooms = [_free(root), *(_room(folder) for folder in _groups("memory", root)), *_limits(root)]
    return max(0, min(rooms))


def check_memory(size: int, purpose: str, *shape: tuple[int, ...]) -> None:
    """Refuse what cannot fit, before any work is done for it.

    Parameters
    ----------
    size : int
        Bytes.  Under 64 MiB nothing is asked.
    purpose : str
        The subject of the error's sentence.
    *shape : tuple of int
        What ends the subject, put into words only where there is an error.

    Raises
    ------
    NotEnoughMemory
        If the process may not have so many more bytes.
    """
    if size > SMALL and size > (room := available_memory()):
        subject = " ".join((purpose, *map(str, shape)))
        raise NotEnoughMemory(
            f"{subject} needs {size_text(size)} of memory, and this process may have "
            f"{size_text(room)} more; use a smaller batch or size"
        )


def _free(root: Folder) -> int:
    """Memory and swap that the system could give."""
    free = {
        words[0]: int(words[1]) * 1024
        for line in _lines(root, "proc/meminfo")
        if len(words := line.split()) >= 2 and words[1].isdecimal()
    }
    if "MemAvailable:" in free:
        return free["MemAvailable:"] + free.get("SwapFree:", 0)
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return UNLIMITED


def _room(folder: Folder) -> int:
    """What a group's limit leaves; files in the page cache make way and do not count."""
    for limit, usage, prefix in (
        ("memory.max", "memory.current", ""),
        ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_"),
    ):
        words = [*_words(folder, limit), *_words(folder, usage)]
        if len(words) == 2 and all(word.isdecimal() for word in words):
            cached = (f"{prefix}inactive_file", f"{prefix}active_file")
            lines = (line.split() for line in _lines(folder, "memory.stat"))
            return int(words[0]) - int(words[1]) + sum(int(v) for k, v in lines if k in cached)
    return UNLIMITED


def _limits(root: Folder) -> Iterator[int]:
    """What is left of the limits on the address space and on data."""
    try:
        import resource
    except ImportError:  # Windows
        return
    pages = _words(root, "proc/self/statm")
    for limit, place in ((resource.RLIMIT_AS, 0), (resource.RLIMIT_DATA, 5)):
        soft, _ = resource.getrlimit(limit)
        if soft != resource.RLIM_INFINITY:
            used = int(pages[place]) * resource.getpagesize() if len(pages) > place else 0
            yield soft - used


def _groups(controller: str, root: Folder) -> Iterator[str]:
    """The folders of the control groups around this process that limit ``controller``."""
    member = {}
    for line in _lines(root, "proc/self/cgroup"):
        _, names, path = (*line.split(":", 2), "", "")[:3]
        member.update(dict.fromkeys(names.split(","), path))
    for line in _lines(root, "proc/self/mountinfo"):
        place, _, kind = line.partition(" - ")
        words, kinds = place.split(), kind.split()
        if len(words) < 5 or len(kinds) < 3:
            continue
        version_1 = kinds[0] == "cgroup" and controller in kinds[2].split(",")
        if version_1 or kinds[0] == "cgroup2":
            path = member.get(controller if version_1 else "", "/")
            yield from _around(os.path.join(root, words[4].lstrip("/")), path, words[3])


def _around(mount: str, path: str, mounted: str) -> Iterator[str]:
    """The folder of a group below its mount point, and of every group around it.

    ``mounted`` is the group that the mount point shows.  A process that a namespace hides
    from its own path is in that group.
    """
    base = mounted.rstrip("/")
    inside = path[len(base) :] if f"{path}/".startswith(f"{base}/") else ""
    parts = [part for part in inside.split("/") if part not in ("", ".", "..")]
    for depth in range(len(parts), -1, -1):
        yield os.path.join(mount, *parts[:depth])


def _words(folder: Folder, name: str) -> list[str]:
    return [word for line in _lines(folder, name) for word in line.split()]


def _lines(folder: Folder, name: str) -> list[str]:
    """The lines of a file, none if it cannot be read."""
    try:
        with open(os.path.join(folder, name), "rb", buffering=0) as file:
            return file.readall().decode(errors="replace").splitlines()
    except OSError:
        return []
