"""The photographs that a command was given, prepared while the network works on earlier ones.

Decoding takes longer than most of these networks do, and Pillow lets other threads run while
it decodes.  So as many threads as the command may use prepare photographs ahead, in order,
and the network reads them on one more.  Pillow keeps the memory of the last pictures for the
next ones: memory that is new for each picture is zeroed page by page by the system first.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from importlib import import_module, resources
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from minigrad.errors import MinigradError
from minigrad.models.preparation import Framing, Preparation
from minigrad.vision import preprocess
from minigrad.vision.frames import Frame, frame
from minigrad.vision.photos import SUFFIXES

__all__ = ["Framed", "Prepared", "bundled", "expand", "framed", "prepared"]

AHEAD = 16  # photographs for each thread: a large one at the head leaves the others work
KEPT = 8  # blocks of 16 MiB for each thread: two pictures of 12 megapixels

Batch = npt.NDArray[np.float32]
Prepared = tuple[Path, "Batch | Exception"]
Framed = tuple[Path, "Frame | Exception"]
T = TypeVar("T")


def bundled(name: str) -> Path:
    """A picture that comes with minigrad."""
    return Path(str(resources.files("minigrad") / "data" / name))


def expand(names: Sequence[Path], default: str = "coffee.png") -> list[Path]:
    """The files that are meant: a folder is the photographs in it and below it, in order.

    Links to folders are not followed, so a folder that contains itself has an end.  Without a
    name it is a picture that comes with minigrad.
    """
    if not names:
        return [bundled(default)]
    return [path for name in names for path in (_inside(name) if name.is_dir() else [name])]


def _inside(folder: Path) -> list[Path]:
    found = sorted(
        Path(root) / name
        for root, _, files in os.walk(folder)
        for name in files
        if os.path.splitext(name)[1].lower() in SUFFIXES
    )
    return found or [folder]


def prepared(photos: Sequence[Path], preparation: Preparation, workers: int) -> Iterator[Prepared]:
    """(photograph, its batch of one or why there is none), in order."""
    return _ahead(photos, lambda photo: preprocess(photo, preparation), workers)


def framed(photos: Sequence[Path], framing: Framing, workers: int) -> Iterator[Framed]:
    """(photograph, its frame or why there is none), in order."""
    return _ahead(photos, lambda photo: frame(photo, framing), workers)


def _ahead(
    photos: Sequence[Path], read: Callable[[Path], T], workers: int
) -> Iterator[tuple[Path, T | Exception]]:
    if len(photos) == 1:
        yield _read(photos[0], read)
        return
    with ThreadPoolExecutor(workers) as pool, _kept_memory(KEPT * workers):
        waiting: deque[Future[tuple[Path, T | Exception]]] = deque()
        try:
            for photo in photos:
                waiting.append(pool.submit(_read, photo, read))
                if len(waiting) > AHEAD * workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


@contextmanager
def _kept_memory(blocks: int) -> Iterator[None]:
    """Pillow keeps so many freed blocks of memory, and gives them back at the end."""
    try:
        pillow = import_module("PIL.Image").core
    except ImportError:  # each photograph will say so
        yield
        return
    before = pillow.get_blocks_max()
    pillow.set_blocks_max(max(before, blocks))
    try:
        yield
    finally:
        pillow.set_blocks_max(before)


def _read(photo: Path, read: Callable[[Path], T]) -> tuple[Path, T | Exception]:
    try:
        if photo.is_dir():
            raise MinigradError(f"{photo}: there is no photograph in this folder")
        return photo, read(photo)
    except (MinigradError, OSError, MemoryError) as error:
        return photo, error
