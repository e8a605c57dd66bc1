"""From a photograph to the batch of numbers that a network was trained on.

    x[n, c, i, j] = (pixel[n, i, j, c] - mean[c]) / std[c],        pixel in 0..255,

as float32 of shape (N, 3, S, S), where the S x S pixels are cut out and scaled as a
`Preparation` says.  Every network of `minigrad.models` knows its own.  Files are read by
Pillow, by the decoders of a few formats alone (`minigrad.vision.photos`).

    containers   what the bytes of a file say, read before any decoder sees them
    photos       which files are opened, how large they may be, which way is up
    pixels       red, green and blue in 8 bits
    squares      the square that a network sees
    normalising  pixels as the numbers of a batch
    frames       the whole photograph, for networks that say something of all its places
    naming       every pixel of a photograph named: ``segment``
    selecting    which boxes are told, of all that a network gives
    finding      the objects of a photograph found: ``detect``
    precision    how well found objects agree with those that are there: COCO's AP
    annotated    photographs with the objects that are in them: COCO's JSON
    voc          the same in PASCAL VOC's XML
    agreement    how well named pixels agree with those of a mask
    pictures     what a network found, drawn

What may be changed: how a photograph is read, within its limits. What a preparation
computes stays what its library computes (tests/vision).
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, cast

import numpy as np
import numpy.typing as npt

from minigrad.models import entry
from minigrad.models.preparation import IMAGENET, SIGNED, Preparation
from minigrad.models.registry import resolve
from minigrad.vision.normalising import normalise
from minigrad.vision.photos import MAX_PIXELS, open_photo, read_photo
from minigrad.vision.squares import square

if TYPE_CHECKING:
    from minigrad.vision.finding import detect
    from minigrad.vision.naming import segment
    from minigrad.vision.photos import Source

__all__ = [
    "MAX_PIXELS", "Preparation", "detect", "preparation_for", "preprocess", "read_photo", "segment",
]  # fmt: skip

LATE = {"detect": "finding", "segment": "naming"}  # imported when they are first asked for


def __getattr__(name: str) -> object:
    if name not in LATE:
        from minigrad.tensor import hints

        raise hints.missing("minigrad.vision", name, {}, __all__)
    globals()[name] = getattr(import_module(f"{__name__}.{LATE[name]}"), name)
    return globals()[name]


def preprocess(
    photos: Source | Iterable[Source],
    preparation: Preparation | str,
    *,
    max_pixels: int = MAX_PIXELS,
) -> npt.NDArray[np.float32]:
    """The batch of one photograph, or of several.

    Parameters
    ----------
    photos : path, bytes, file object, Pillow image or array, or an iterable of them
        ``bytes`` are the contents of a file.  An array is one photograph: (H, W, 3) or (H, W)
        of uint8, or (H, W) of uint16 with 65535 for white.
    preparation : Preparation or str
        Or the name of a network, as `preparation_for` takes it.
    max_pixels : int
        A photograph of more pixels is refused before it is decoded.  Default: 128 million.

    Returns
    -------
    ndarray
        (N, 3, S, S), float32; N is 1 for one photograph.

    Raises
    ------
    FormatError
        If a file is of no format that is read (JPEG, PNG, GIF, WebP, TIFF, BMP, Netpbm), is
        broken, is too large, or is no regular file.
    ShapeError
        If an array is no photograph.
    OSError
        If a file cannot be opened.
    MissingExtra
        If Pillow is not installed.
    ValueError
        If no network has the name.

    Examples
    --------
    >>> grey = np.full((300, 400), 127, np.uint8)
    >>> preprocess(grey, "efficientnet_lite0").shape
    (1, 3, 224, 224)
    """
    if isinstance(preparation, str):
        preparation = preparation_for(preparation)
    size, several = preparation.size, _several(photos)
    x = np.empty((len(several), 3, size, size), np.float32)
    for out, photo in zip(x, several, strict=True):
        with open_photo(photo, max_pixels) as opened:
            pixels = np.asarray(square(opened, preparation))
        normalise(pixels, preparation, out)
    return x


def _several(photos: Source | Iterable[Source]) -> Sequence[Source]:
    if isinstance(photos, (str, bytes, os.PathLike)) or not isinstance(photos, Iterable):
        return [cast("Source", photos)]
    if hasattr(photos, "read") or (isinstance(photos, np.ndarray) and photos.ndim < 4):
        return [cast("Source", photos)]
    return list(photos)


def preparation_for(name: str, preset: str | None = None) -> Preparation:
    """How photographs were prepared for a network.

    Parameters
    ----------
    name : str
        Of a network, or its name in timm or torchvision; ``"imagenet"`` is what most weights
        of torchvision want, ``"signed"`` what those of TensorFlow slim want.
    preset : str, optional
        Whose weights: the authors' by default, or a library's.

    Returns
    -------
    Preparation

    Raises
    ------
    ValueError
        If there is no such network or preset; the nearest names are given.

    Examples
    --------
    >>> preparation_for("efficientnet_lite1").size
    240
    >>> preparation_for("mobilenet_v2", "torchvision").crop_first
    False
    """
    if name in GENERAL:
        return GENERAL[name]
    implied = resolve(name)[1]
    return entry(name).preparation(preset or implied)


GENERAL = {"imagenet": IMAGENET, "signed": SIGNED}
