"""Data to train on: pictures and labels, changed at random, in batches, prepared ahead.

    datasets     arrays, and folders of images (a class a folder)
    idx          IDX files, the format of MNIST
    transforms   crop, flip, colour jitter, normalise; mixup of a batch
    loader       batches in an order that the seed and the epoch fix

A dataset gives picture i as uint8 of shape (H, W, C) with its label; a transform turns it
into float32 of shape (C, H, W) with a generator of random numbers that belongs to (seed,
epoch, i) alone.  So a batch has the same bits whatever number of workers made it.

What may be changed: how pictures are read and mixed, as long as a seed gives the same
batches (tests/data).
"""

from minigrad.data.datasets import ArrayDataset, Dataset, ImageFolder, Subset
from minigrad.data.idx import IdxDataset, read_idx
from minigrad.data.loader import Batch, Loader
from minigrad.data.transforms import (
    CenterCrop,
    ColorJitter,
    Compose,
    HorizontalFlip,
    Normalize,
    RandomCrop,
    RandomResizedCrop,
    Resize,
    ToRGB,
    Transform,
    mixup,
)

__all__ = [
    "ArrayDataset",
    "Batch",
    "CenterCrop",
    "ColorJitter",
    "Compose",
    "Dataset",
    "HorizontalFlip",
    "IdxDataset",
    "ImageFolder",
    "Loader",
    "Normalize",
    "RandomCrop",
    "RandomResizedCrop",
    "Resize",
    "Subset",
    "ToRGB",
    "Transform",
    "mixup",
    "read_idx",
]


def __getattr__(name: str) -> object:
    from minigrad.tensor import hints

    raise hints.missing("minigrad.data", name, hints.DATA, __all__)
