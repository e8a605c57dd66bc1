"""Files that a command may write: of the right ending, and none of somebody else's."""

from __future__ import annotations

from pathlib import Path

from minigrad.errors import MinigradError

__all__ = ["check_output"]


def check_output(path: Path, suffixes: tuple[str, ...], force: bool) -> None:
    """Refuse, before the work is done, what could not be written after it.

    Raises
    ------
    MinigradError
        If the name has another suffix, or is a file that is there (without ``--force``).
    """
    if path.suffix not in suffixes:
        known = f"{', '.join(suffixes[:-1])} or {suffixes[-1]}".removeprefix(" or ")
        raise MinigradError(f"{path}: the file's name must end in {known}")
    if path.is_dir():
        raise MinigradError(f"{path}: this is a folder")
    if path.exists() and not force:
        raise MinigradError(f"{path}: the file is there already; --force replaces it")
