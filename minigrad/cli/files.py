"""Files that a command writes: whole or not at all, and none of somebody else's."""

from __future__ import annotations

import os
from pathlib import Path

from minigrad.errors import MinigradError

__all__ = ["check_output", "write_bytes"]


def check_output(path: Path, suffixes: tuple[str, ...], force: bool) -> None:
    """Refuse, before the work is done, what could not be written after it.

    Raises
    ------
    MinigradError
        If the name has another suffix, or is a file that is there (without ``--force``).
    """
    if path.suffix not in suffixes:
        raise MinigradError(f"{path}: OUT must end in one of {', '.join(suffixes)}")
    if path.is_dir():
        raise MinigradError(f"{path}: this is a folder")
    if path.exists() and not force:
        raise MinigradError(f"{path}: the file is there already; --force replaces it")


def write_bytes(path: Path, data: bytes) -> None:
    """Write through a file beside it that takes its place when it is complete."""
    partial = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        partial.write_bytes(data)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
