"""The square of a photograph that a network sees: two rules that give two pictures.

TensorFlow cuts out the centre and scales it; torchvision scales the whole and cuts out the
centre.  The first only converts the pixels that it needs.  Either may squash: then the centre
has the shape of the photograph, and only what is left of it is square.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from minigrad.errors import FormatError
from minigrad.models.preparation import Preparation

if TYPE_CHECKING:
    from PIL import Image

    from minigrad.vision.photos import Photo

__all__ = ["square"]

THINNEST = 100  # sides to one; scaled whole, a longer strip would fill the memory


def square(photo: Photo, preparation: Preparation) -> Image.Image:
    """S x S pixels in RGB.

    Raises
    ------
    FormatError
        If the photograph is too long and thin to be scaled.
    """
    rule = _crop_then_scale if preparation.crop_first else _scale_then_crop
    return rule(photo, preparation)


def _crop_then_scale(photo: Photo, preparation: Preparation) -> Image.Image:
    size, (w, h) = preparation.size, photo.size
    share = size / (size + preparation.margin)
    if preparation.squash:
        cut = [side - 2 * int((side - share * side) / 2) for side in (w, h)]
    else:
        cut = [max(1, int(share * min(h, w)))] * 2
    left, top = (w - cut[0] + 1) // 2, (h - cut[1] + 1) // 2
    centre = photo.rgb((left, top, left + cut[0], top + cut[1]))
    return centre.resize((size, size), _filter(preparation))


def _scale_then_crop(photo: Photo, preparation: Preparation) -> Image.Image:
    size, (w, h) = preparation.size, photo.size
    short, target = min(w, h), preparation.size + preparation.margin
    if preparation.squash:
        w, h = target, target
    elif max(w, h) > THINNEST * short:
        raise FormatError(f"a photograph of {w} x {h} is too long and thin to be scaled")
    else:
        w, h = target * w // short, target * h // short
    top, left = round((h - size) / 2), round((w - size) / 2)
    whole = photo.rgb().resize((w, h), _filter(preparation))
    return whole.crop((left, top, left + size, top + size))


def _filter(preparation: Preparation) -> Image.Resampling:
    from PIL import Image

    return Image.Resampling[preparation.resample.upper()]
