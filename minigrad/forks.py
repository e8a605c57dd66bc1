"""Forking while another thread imports.

Much of this package is imported when it is first used, which may be in any thread.  A child
that is forked meanwhile has the lock of the half imported module and not the thread that would
release it: its own import would wait forever.  Nor can it begin anew with a compiled module,
whose state stays half made for as long as the process lives.  So a fork waits until the other
threads have imported what they are importing (Numba's modules and NumPy's too).

One import can outlast any wait: the module that runs a program, or one whose thread waits for
the one that forks.  After ``PATIENCE`` seconds the fork goes on, later forks no longer wait for
that import, and the child forgets the module and imports it anew.

The compiled core's threads see to themselves (``ext/pool.h``), and so do Numba's
(``kernels/numba``).  Plans have no lock that a fork could leave held.
"""

from __future__ import annotations

import os
import sys
import time
from _thread import RLock, get_ident
from importlib import _bootstrap
from weakref import WeakSet

__all__ = ["Lock", "await_imports_at_fork"]

PATIENCE = 5.0  # seconds: Numba takes most of one to import, and a busy machine several times that
_outlasted: WeakSet[object] = WeakSet()  # locks of imports that a fork has waited for in vain


class Lock:
    """A lock that is free in a forked child, whoever held it: that thread is not there.

    The thread that holds it may take it again.
    """

    def __init__(self) -> None:
        self._renew()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._renew)

    def _renew(self) -> None:
        self._lock = RLock()

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()


def await_imports_at_fork() -> None:
    """From now on a fork waits for other threads' imports, and a child forgets the unfinished."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(before=_await, after_in_child=_forget)


def _imports() -> dict[str, object]:
    """The locks of the modules that other threads are importing, by the module's name."""
    locks = vars(_bootstrap)["_module_locks"]  # by name, weakly; ``owner`` is a thread, or None
    held = {name: reference() for name, reference in list(locks.items())}
    mine = (None, get_ident())
    return {n: lock for n, lock in held.items() if getattr(lock, "owner", None) not in mine}


def _await() -> None:
    end = time.monotonic() + PATIENCE
    while running := [lock for lock in _imports().values() if lock not in _outlasted]:
        if time.monotonic() > end:
            _outlasted.update(running)
        time.sleep(0.0005)


def _forget() -> None:
    locks = vars(_bootstrap)["_module_locks"]
    for name in _imports():
        del locks[name]
        for module in [m for m in sys.modules if f"{m}.".startswith(f"{name}.")]:
            del sys.modules[module]
