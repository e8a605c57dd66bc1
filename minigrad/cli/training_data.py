"""What ``minigrad train`` learns from: folders of photographs, or IDX files.

DIR/CLASS/*.jpg                        a part of it is kept apart for validation
DIR/train/CLASS/*.jpg and DIR/validation/CLASS/*.jpg        (or val, valid, test)
DIR/train-images-idx3-ubyte[.gz] and its relatives          MNIST and the like, EMNIST too
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

import numpy as np

from minigrad.cli.terminal import printable
from minigrad.data import (
    CenterCrop,
    ColorJitter,
    Compose,
    Dataset,
    HorizontalFlip,
    IdxDataset,
    ImageFolder,
    Normalize,
    RandomCrop,
    RandomResizedCrop,
    Resize,
    Subset,
    ToRGB,
    Transform,
)
from minigrad.errors import MinigradError
from minigrad.models import Preparation

__all__ = [
    "LARGEST_SHIFT",
    "SHIFT",
    "SMALL",
    "Parts",
    "evaluated",
    "read_parts",
    "shift_at",
    "varied",
]

SMALL = 64  # pixels a side, up to which a picture is moved and mirrored but not cut
SHIFT, LARGEST_SHIFT = 2, 16  # pixels by which it is moved, unless told, and at most

VALIDATION = ("validation", "val", "valid", "test")
IDX = {  # MNIST, Fashion-MNIST, EMNIST and KMNIST; some copies write a dot for the dash
    "train": re.compile(r"(.*-)?train-images[-.]idx3-ubyte(\.gz)?"),
    "validation": re.compile(r"(.*-)?(t10k|test)-images[-.]idx3-ubyte(\.gz)?"),
}
APART = 10  # without a validation set, every tenth picture of each class


class Parts(NamedTuple):
    """What is trained on, and what is looked at after each epoch."""

    training: Dataset
    validation: Dataset


def read_parts(folder: Path) -> Parts:
    """The training and the validation set of a folder.

    Raises
    ------
    MinigradError
        If it has none of the forms above.
    """
    if not folder.is_dir():
        raise MinigradError(f"{folder}: --data must be a folder")
    images = _idx(folder, "train")
    if images:
        tested = _idx(folder, "validation")
        training = _idx_dataset(images)
        return Parts(training, _idx_dataset(tested)) if tested else _apart(training)
    if (folder / "train").is_dir():
        training = ImageFolder(folder / "train", keep=True)
        for name in VALIDATION:
            if (folder / name).is_dir():
                return Parts(training, ImageFolder(folder / name, training.classes, keep=True))
        return _apart(training)
    return _apart(ImageFolder(folder, keep=True))


def _idx(folder: Path, part: str) -> Path | None:
    """The file with the pictures of a part, plain rather than compressed."""
    found = sorted(path for path in folder.iterdir() if IDX[part].fullmatch(path.name))
    if len({path.name.removesuffix(".gz") for path in found}) > 1:
        names = ", ".join(printable(path.name) for path in found[:3])
        raise MinigradError(f"{folder}: {names} are of several data sets; keep one in the folder")
    return found[0] if found else None


def _idx_dataset(images: Path) -> Dataset:
    name = images.name.replace("-images", "-labels").replace("idx3", "idx1")
    return IdxDataset(images, images.with_name(name))


def _apart(dataset: Dataset) -> Parts:
    """Every tenth picture of each class, at least one, is for validation."""
    chosen = [np.flatnonzero(dataset.labels == k)[::APART] for k in range(len(dataset.classes))]
    validation = np.sort(np.concatenate(chosen))
    training = np.setdiff1d(np.arange(len(dataset)), validation)
    if not training.size:
        raise MinigradError("there is one picture a class: too few to train on and to validate")
    return Parts(Subset(dataset, training), Subset(dataset, validation))


def shift_at(size: int, given: int | None = None) -> int | None:
    """By how many pixels pictures of this size are moved; None if they are cut instead."""
    if size <= SMALL:
        return SHIFT if given is None else given
    if given is not None:
        raise MinigradError(
            f"--shift moves pictures of at most {SMALL} pixels a side; these have {size}, and are "
            "cut at random"
        )
    return None


def varied(preparation: Preparation, shift: int | None, flip: bool = True) -> Transform:
    """What a training picture goes through: another part, mirrored or not, in other light.

    Small pictures have a ``shift`` and keep their size: they are moved by up to so many pixels
    and mirrored.
    """
    size = preparation.size
    mirrored = [HorizontalFlip()] if flip else []
    if shift is not None:
        return Compose([Resize(size), RandomCrop(size, shift), *mirrored, ToRGB(),
                        _normalized(preparation)])  # fmt: skip
    return Compose([ToRGB(), RandomResizedCrop(size, (0.35, 1.0)), *mirrored,
                    ColorJitter(0.2, 0.2, 0.2), _normalized(preparation)])  # fmt: skip


def evaluated(preparation: Preparation) -> Transform:
    """What a validation picture goes through: the preparation itself."""
    return Compose([ToRGB(), Resize(preparation.size + preparation.margin),
                    CenterCrop(preparation.size), _normalized(preparation)])  # fmt: skip


def _normalized(preparation: Preparation) -> Normalize:
    return Normalize(preparation.mean, preparation.std)
