"""Forking while another thread imports.

Much of this package is imported when it is first used, which may be in any thread.  A child
that is forked meanwhile has the lock of the half imported module and not the thread that would
release it: its own import would wait forever.  So the child forgets such modules, whoever's
they are (Numba's, NumPy's), and imports them anew.

The compiled core's threads see to themselves (``ext/pool.h``), and so do Numba's
(``kernels/numba``).  Plans have no lock that a fork could leave held.
"""

from __future__ import annotations

import os
import sys
from _thread import RLock, get_ident
from importlib import _bootstrap

__all__ = ["Lock", "forget_imports_after_fork"]


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


def forget_imports_after_fork() -> None:
    """From now on a child forgets what threads that it does not have were importing."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=_forget)


def _forget() -> None:
    locks = vars(_bootstrap)["_module_locks"]  # by name, weakly; ``owner`` is a thread, or None
    for name, reference in list(locks.items()):
        if getattr(reference(), "owner", None) not in (None, get_ident()):
            del locks[name]
            for module in [m for m in sys.modules if f"{m}.".startswith(f"{name}.")]:
                del sys.modules[module]
