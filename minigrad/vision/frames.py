"""The whole photograph, for networks that say something of all of its places.

Point (u, v) of the frame that the network sees, in pixels from its top left corner, is point
(u w / w', v h / h') of the photograph, which has w x h pixels and fills w' x h' of the frame.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from minigrad.errors import FormatError
from minigrad.models.preparation import Framing
from minigrad.ops.resampling import resize
from minigrad.tensor import Tensor
from minigrad.vision.normalising import normalise
from minigrad.vision.photos import MAX_PIXELS, Photo, open_photo
from minigrad.vision.squares import THINNEST

if TYPE_CHECKING:
    from minigrad.vision.photos import Source

__all__ = ["Frame", "frame"]

Batch = npt.NDArray[np.float32]


class Frame(NamedTuple):
    """A photograph as a network sees it.

    Attributes
    ----------
    x : ndarray, (1, 3, H, W), float32
    photo : (int, int)
        Width and height of the photograph.
    filled : (int, int)
        w' and h': the part of the frame, from its top left corner, that the photograph fills.
    """

    x: Batch
    photo: tuple[int, int]
    filled: tuple[int, int]


def frame(photo: Source, framing: Framing, *, max_pixels: int = MAX_PIXELS) -> Frame:
    """Read a photograph and scale it as a network's framing says.

    Parameters
    ----------
    photo : path, bytes, file object, Pillow image or array
        See `minigrad.vision.preprocess`.
    framing : Framing
    max_pixels : int

    Returns
    -------
    Frame

    Raises
    ------
    FormatError, ShapeError, OSError, MissingExtra
        See `minigrad.vision.preprocess`.

    Examples
    --------
    >>> made = frame(np.zeros((100, 200, 3), np.uint8), Framing(64, "letterbox"))
    >>> made.x.shape, made.photo, made.filled
    ((1, 3, 64, 64), (200, 100), (64, 32))
    """
    with open_photo(photo, max_pixels) as opened:
        filled = _filled(opened.size, framing)
        pixels = _scaled(opened, filled, framing.antialias)
        size = opened.size
    w, h = (framing.size,) * 2 if framing.fit == "letterbox" else filled
    x = np.zeros((1, 3, h, w), np.float32)
    normalise(pixels, framing, x[0, :, : filled[1], : filled[0]])
    return Frame(x, size, filled)


def _filled(size: tuple[int, int], framing: Framing) -> tuple[int, int]:
    """w' and h'."""
    w, h = size
    if framing.fit == "squash":
        return framing.size, framing.size
    if max(w, h) > THINNEST * min(w, h):
        raise FormatError(f"a photograph of {w} x {h} is too long and thin to be scaled")
    side = min(w, h) if framing.fit == "short" else max(w, h)
    return max(1, framing.size * w // side), max(1, framing.size * h // side)


def _scaled(photo: Photo, size: tuple[int, int], antialias: bool) -> npt.NDArray[np.generic]:
    """(h', w', 3) pixels, on the scale 0..255."""
    whole = photo.rgb()
    if antialias:
        from PIL import Image

        return np.asarray(whole.resize(size, Image.Resampling.BILINEAR))
    maps = Tensor(np.asarray(whole, np.float32).transpose(2, 0, 1)[None])
    scaled = resize(maps, size[::-1], mode="linear").numpy()
    return np.moveaxis(scaled[0], 0, -1)
