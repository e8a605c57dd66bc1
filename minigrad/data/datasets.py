"""Where pictures and labels come from.

A dataset is a sequence: picture i is uint8 of shape (H, W, C), label i an integer in
0..K-1, and ``classes`` names the K classes.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from minigrad.errors import DtypeError, FormatError, ShapeError
from minigrad.vision import read_photo
from minigrad.vision.photos import SUFFIXES

__all__ = ["ArrayDataset", "Dataset", "ImageFolder", "Picture", "Subset"]

Picture = npt.NDArray[np.uint8]


class Dataset(Protocol):
    """What a loader asks of a dataset."""

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes, label by label."""

    @property
    def labels(self) -> npt.NDArray[np.int64]:
        """The label of each picture, (N,)."""

    def __len__(self) -> int:
        """How many pictures there are."""

    def __getitem__(self, index: int) -> Picture:
        """Picture ``index``, uint8, (H, W, C)."""


class ArrayDataset:
    """Pictures that are in memory.

    Parameters
    ----------
    images : array of uint8, (N, H, W, C), or (N, H, W) for grey
    labels : array of integers, (N,)
    classes : sequence of str, optional
        Names of the classes (default: the numbers 0 to the largest label).

    Raises
    ------
    ShapeError, DtypeError
        If the arrays do not fit each other, or a label has no class.

    Examples
    --------
    >>> import numpy as np
    >>> digits = ArrayDataset(np.zeros((3, 8, 8), np.uint8), [0, 2, 1])
    >>> len(digits), digits[0].shape, digits.classes
    (3, (8, 8, 1), ('0', '1', '2'))
    """

    def __init__(
        self,
        images: npt.ArrayLike,
        labels: npt.ArrayLike,
        classes: Sequence[str] | None = None,
    ) -> None:
        x, y = np.asarray(images), np.asarray(labels)
        if x.dtype != np.uint8:
            raise DtypeError(f"images must be uint8 (0 to 255), not {x.dtype}")
        if y.dtype.kind not in "iu":
            raise DtypeError(f"labels must be integers, not {y.dtype}")
        x = x[..., None] if x.ndim == 3 else x
        if x.ndim != 4 or y.shape != x.shape[:1]:
            raise ShapeError(
                f"images must be (N, H, W, C) and labels (N,), got {x.shape} and {y.shape}"
            )
        y = y.astype(np.int64)
        names = [str(k) for k in range(int(y.max(initial=-1)) + 1)] if classes is None else classes
        if y.size and (y.min() < 0 or y.max() >= len(names)):
            raise ShapeError(f"labels must lie in 0..{len(names) - 1}, got {y.min()}..{y.max()}")
        self.images: Picture = x
        self.labels: npt.NDArray[np.int64] = y
        self.classes = tuple(names)

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> Picture:
        picture: Picture = self.images[index]
        return picture


class ImageFolder:
    """Photographs in folders, a class a folder: ``root/cat/1.jpg``, ``root/dog/2.png``.

    Parameters
    ----------
    root : str or path
    classes : sequence of str, optional
        The folders and their order (default: all, sorted), so that a validation set gets
        the labels of its training set.
    keep : bool
        Keep the decoded pictures in memory: an epoch after the first decodes nothing.

    Raises
    ------
    FormatError
        If there is no folder with a photograph in it, or a named class has none.

    Notes
    -----
    A picture is read when it is asked for, by ``minigrad.vision.read_photo``: upright,
    RGB, 8 bits.
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        classes: Sequence[str] | None = None,
        keep: bool = False,
    ) -> None:
        self.root = Path(root)
        found = _classes(self.root)
        self.classes = tuple(found if classes is None else classes)
        if not self.classes:
            raise FormatError(f"{self.root}: no folder with photographs is in this folder")
        missing = [name for name in self.classes if name not in found]
        if missing:
            raise FormatError(f"{self.root}: there are no photographs of {', '.join(missing)}")
        pairs = [(p, k) for k, name in enumerate(self.classes) for p in found[name]]
        self.paths = [path for path, _ in pairs]
        self.labels: npt.NDArray[np.int64] = np.array([k for _, k in pairs], np.int64)
        self._kept: dict[int, Picture] | None = {} if keep else None

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Picture:
        if self._kept is not None and index in self._kept:
            return self._kept[index]
        picture = np.asarray(read_photo(self.paths[index]))
        if self._kept is not None:
            self._kept[index] = picture
        return picture


def _classes(root: Path) -> dict[str, list[Path]]:
    """{folder: its photographs}, both sorted by name; folders without any are left out."""
    folders = sorted(folder for folder in root.iterdir() if folder.is_dir())
    found = {folder.name: _photos(folder) for folder in folders}
    return {name: photos for name, photos in found.items() if photos}


def _photos(folder: Path) -> list[Path]:
    return sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file())


class Subset:
    """Some pictures of a dataset.

    Parameters
    ----------
    dataset : Dataset
    indices : sequence or array of int
        Which pictures, in which order.
    """

    def __init__(self, dataset: Dataset, indices: npt.ArrayLike) -> None:
        self.dataset, self.indices = dataset, np.asarray(indices, np.int64)
        self.classes = dataset.classes
        self.labels: npt.NDArray[np.int64] = dataset.labels[self.indices]

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> Picture:
        return self.dataset[int(self.indices[index])]
