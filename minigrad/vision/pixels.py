"""From the pixels that a file stores to red, green and blue in 8 bits.

* Grey of more than 8 bits is rounded: the white of its own number of bits becomes 255.
* A TIFF whose 0 is white is turned round.
* What is transparent is laid over white, as on a page.
* Colours under a profile (ICC) become sRGB, by Pillow's LittleCMS.

A picture is converted in bands, so that a large one is in memory twice and not five times.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from minigrad.errors import FormatError

if TYPE_CHECKING:
    from typing import TypeAlias

    from PIL import Image

    Convert: TypeAlias = Callable[[Image.Image], Image.Image]

__all__ = ["Levels", "to_rgb"]

BAND = 1 << 21  # pixels that are converted at once
LARGEST_PROFILE = 1 << 24


class Levels(NamedTuple):
    """What a pixel's number means where Pillow's mode does not say it.

    Attributes
    ----------
    white : int
        The largest value of a grey of more than 8 bits.
    inverted : bool
        Whether such a grey counts from white to black.
    clear : tuple of int, optional
        The value that is transparent, grey or three colours, as the decoded pixels have it.
    """

    white: int = 65535
    inverted: bool = False
    clear: tuple[int, ...] | None = None


def to_rgb(image: Image.Image, levels: Levels) -> Image.Image:
    """The pixels of ``image`` in sRGB with 8 bits a channel.

    Raises
    ------
    FormatError
        If the pixels have no agreed white (32-bit and floating-point ones).
    """
    from PIL import Image

    if image.mode == "F":
        raise FormatError("floating-point pixels have no agreed white, save it with 8 or 16 bits")
    profile = _profile(image)
    plain = image.mode == "RGB" and profile is None and levels.clear is None
    if plain and not image.has_transparency_data:
        return image
    width, height = image.size
    rows = max(1, BAND // max(1, width))
    if rows >= height:
        return _band(image, levels, profile)
    out = Image.new("RGB", image.size)
    for top in range(0, height, rows):
        band = image.crop((0, top, width, min(height, top + rows)))
        out.paste(_band(band, levels, profile), (0, top))
    return out


def _band(image: Image.Image, levels: Levels, profile: Convert | None) -> Image.Image:
    flat = _without_transparency(image, levels)
    if profile is not None:
        return profile(flat)
    try:
        return flat.convert("RGB")
    except ValueError:
        raise FormatError(f"pixels of the mode {image.mode} are not read: save it as RGB") from None


def _without_transparency(image: Image.Image, levels: Levels) -> Image.Image:
    """The same over white, with 8 bits."""
    if image.mode.startswith("I"):
        return _grey(image, levels)
    if levels.clear is not None:
        return _over_white(_keyed(image, levels.clear))
    return _over_white(image.convert("RGBA")) if image.has_transparency_data else image


def _grey(image: Image.Image, levels: Levels) -> Image.Image:
    """8 bits of 9 to 16; Pillow's own conversion would clip them at 255."""
    from PIL import Image

    v = np.asarray(image).astype(np.int64)
    if levels.white > 65535 or np.any((v < 0) | (v > levels.white)):
        raise FormatError("32-bit pixels have no agreed white, save it with 8 or 16 bits")
    grey = (v * 255 + levels.white // 2) // levels.white
    grey = 255 - grey if levels.inverted else grey
    if levels.clear is not None:
        grey[v == levels.clear[0]] = 255
    return Image.fromarray(grey.astype(np.uint8))


def _keyed(image: Image.Image, clear: tuple[int, ...]) -> Image.Image:
    """RGBA in which the pixels of one value are transparent."""
    from PIL import Image

    rgb = np.asarray(image.convert("RGB"))
    alpha = np.where((rgb == np.array(clear)).all(-1), 0, 255).astype(np.uint8)
    return Image.fromarray(np.dstack([rgb, alpha]))


def _over_white(image: Image.Image) -> Image.Image:
    from PIL import Image

    white = Image.new("RGBA", image.size, "white")
    return Image.alpha_composite(white, image).convert("RGB")


def _profile(image: Image.Image) -> Convert | None:
    """The step to sRGB that the picture's profile asks for, if it is another and is readable.

    A profile that is damaged, or of another kind of colour than the pixels, is left out, as
    browsers do: the pixels are there all the same.
    """
    data = image.info.get("icc_profile")
    if not isinstance(data, bytes) or not 128 <= len(data) <= LARGEST_PROFILE:
        return None
    try:
        from PIL import ImageCms
    except ImportError:  # a Pillow that was built without LittleCMS
        return None
    space = {b"GRAY": "L", b"RGB ": "RGB", b"CMYK": "CMYK"}.get(data[16:20])
    flat = "L" if image.mode in ("1", "LA", "La") or image.mode.startswith("I") else image.mode
    flat = "RGB" if flat in ("P", "PA", "RGBA", "RGBa", "RGBX", "YCbCr") else flat
    if space != flat:
        return None
    try:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(data))
        if ImageCms.getProfileDescription(profile).startswith("sRGB"):
            return None
        target = ImageCms.createProfile("sRGB")
        step = ImageCms.buildTransform(profile, target, space, "RGB")
    except (ImageCms.PyCMSError, OSError):
        return None
    return lambda band: step.apply(band.convert(space))
