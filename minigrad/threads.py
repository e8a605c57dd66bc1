"""How many threads a compiled kernel may use.

The default is the number of CPUs that the operating system lets this process run on
(its affinity mask, not the number in the machine).  The results never depend on it:
no sum is ever cut by the number of threads.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

__all__ = ["available_cpus", "num_threads", "threads"]

_threads: ContextVar[int | None] = ContextVar("minigrad_threads", default=None)


def available_cpus() -> int:
    """The CPUs that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def num_threads() -> int:
    """The threads that the next kernel called from here may use."""
    return _threads.get() or int(os.environ.get("MINIGRAD_NUM_THREADS", 0)) or available_cpus()


@contextmanager
def threads(n: int) -> Iterator[None]:
    """Use ``n`` threads inside the ``with`` block, in this thread and context only.

    >>> with threads(1):
    ...     num_threads()
    1
    """
    if n < 1:
        raise ValueError(f"threads must be at least 1, not {n}")
    token = _threads.set(n)
    try:
        yield
    finally:
        _threads.reset(token)
