"""How many threads a compiled kernel may use.

The default is the number of CPUs that this process may use: its affinity mask and the CPU
quota of its container, not the number in the machine.  Results never depend on the number of
threads: no sum is ever cut by it.

A number of threads comes from an argument (``plan(x, threads=2)``, ``compile``, ``--threads``),
from ``with threads(2):``, or from the environment variable MINIGRAD_NUM_THREADS.
``thread_count`` checks it in each case.

``with threads(n):`` holds in the thread and context that it is written in.  A new thread begins
with the default: a ``ThreadPoolExecutor`` does not inherit it.  Give the number where the work
is done instead, as in ``pool.submit(plan, x, threads=1)`` or with ``compile(..., threads=1)``,
or set it in each worker: ``ThreadPoolExecutor(4, initializer=...)``, see ``set_threads``.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import SupportsIndex

from minigrad.arguments import index
from minigrad.errors import ArgumentError
from minigrad.resources import available_cpus

__all__ = [
    "MOST_THREADS",
    "available_cpus",
    "num_threads",
    "set_threads",
    "thread_count",
    "threads",
]

MOST_THREADS = 256  # what the pool of the compiled core can have (ext/pool.h, POOL_MAX)
VARIABLE = "MINIGRAD_NUM_THREADS"

_threads: ContextVar[int | None] = ContextVar("minigrad_threads", default=None)


def thread_count(value: SupportsIndex | str, name: str = "threads") -> int:
    """A number of threads, checked.

    Parameters
    ----------
    value : int or str
        An integer, or its decimal digits.
    name : str
        What the error calls it.

    Returns
    -------
    int
        From 1 to ``MOST_THREADS``; a larger number becomes that.

    Raises
    ------
    ArgumentError
        If it is no integer, or below 1.

    Examples
    --------
    >>> thread_count(" 2 "), thread_count(100_000)
    (2, 256)
    """
    number = _integer(value)
    if number is None or number < 1:
        shown = repr(value)
        shown = shown if len(shown) <= 40 else shown[:40] + "..."
        raise ArgumentError(f"{name} must be an integer of at least 1, not {shown}")
    return min(number, MOST_THREADS)


def _integer(value: SupportsIndex | str) -> int | None:
    """The integer that a value is, or that a text spells; otherwise None."""
    if isinstance(value, str):
        text = re.fullmatch(r"\s*([+-]?)0*([0-9]+)\s*", value, re.ASCII)
        return int(text[1] + text[2][:9]) if text else None  # nine digits are too many already
    try:
        return index(value)
    except TypeError:
        return None


def num_threads() -> int:
    """The number of threads that the next kernel called from here may use.

    Returns
    -------
    int
        What ``with threads(n):`` or ``set_threads`` says, otherwise MINIGRAD_NUM_THREADS if
        it is set and not empty, otherwise the number of CPUs that this process may use.

    Raises
    ------
    ArgumentError
        If MINIGRAD_NUM_THREADS is no integer, or below 1.

    Examples
    --------
    >>> with threads(2):
    ...     num_threads()
    2
    """
    here = _threads.get()
    if here is not None:
        return here
    text = os.environ.get(VARIABLE, "")
    if text.strip():
        return thread_count(text, f"the environment variable {VARIABLE}")
    return min(available_cpus(), MOST_THREADS)


@contextmanager
def threads(n: SupportsIndex) -> Iterator[None]:
    """Use ``n`` threads inside the ``with`` block, in this thread and context only.

    Parameters
    ----------
    n : int
        At least 1; more than the pool can have means as many as it can have.

    Returns
    -------
    context manager

    Raises
    ------
    ArgumentError
        If n is no integer, or below 1.

    Examples
    --------
    >>> with threads(1):
    ...     num_threads()
    1
    """
    token = _threads.set(thread_count(n))
    try:
        yield
    finally:
        _threads.reset(token)


def set_threads(n: SupportsIndex | None) -> None:
    """Use ``n`` threads from here on, in this thread and context; None means the default again.

    Made for the workers of a pool, which inherit no ``with threads(n):``.

    Parameters
    ----------
    n : int or None

    Raises
    ------
    ArgumentError
        If n is no integer, or below 1.

    Examples
    --------
    >>> from concurrent.futures import ThreadPoolExecutor
    >>> with ThreadPoolExecutor(2, initializer=set_threads, initargs=(1,)) as pool:
    ...     pool.submit(num_threads).result()
    1
    """
    _threads.set(None if n is None else thread_count(n))
