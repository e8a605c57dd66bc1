"""Ctrl-C while the command line is still being imported ends it, without a traceback.

Python turns the signal into an exception wherever it happens to be, and during an import
nobody is there yet to catch it.  Where minigrad is the program, and only there, the signal
keeps its plain meaning until ``minigrad.cli.main`` takes over.
"""

from __future__ import annotations

import contextlib
import os
import sys

__all__ = ["is_program"]


def is_program() -> bool:
    """Whether this process is ``minigrad`` or ``python -m minigrad``."""
    name = os.path.basename(sys.argv[0]) if sys.argv else ""
    arguments = " ".join(sys.orig_argv[1:])
    return name in ("minigrad", "minigrad.exe") or (name == "-m" and "-m minigrad" in arguments)


if is_program():
    import signal

    with contextlib.suppress(ValueError):  # in a thread that may not
        signal.signal(signal.SIGINT, signal.SIG_DFL)
