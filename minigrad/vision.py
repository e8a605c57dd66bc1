"""From a photograph to the batch of numbers that a network was trained on.

Of an h x w photograph the network sees a square of S x S pixels.  With a margin m, the
centre square of side

    c = floor(S / (S + m) min(h, w)),  top = floor((h - c + 1) / 2),  left likewise in w,

is cut out and scaled to S (the rule of TensorFlow's EfficientNets), or the short side is
scaled to S + m first and the centre S x S cut out (torchvision's rule).  Then

    x[n, c, i, j] = (pixel[n, i, j, c] - mean_c) / std_c,        pixel in 0..255,

as float32 of shape (N, 3, S, S).

A network keeps the accuracy of its paper only with the preprocessing it was trained with,
and falls quietly without; the presets at the end are that data.  Files are read by Pillow.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable
from types import ModuleType
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from minigrad.errors import FormatError, MissingExtra

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["PRESETS", "Preset", "preprocess", "preset_for", "read_photo"]

Triple = tuple[float, float, float]


class Preset(NamedTuple):
    """How the photographs were prepared that a network was trained on.

    Attributes
    ----------
    size : int
        S, the side of the square the network sees.
    margin : int
        m: S / (S + m) of the short side is kept.
    crop_first : bool
        Cut out and then scale (TensorFlow), or scale and then cut out (torchvision).
    resample : {"bilinear", "bicubic"}
        Pillow's filter of that name, which widens with the scale, so nothing aliases.
    mean, std : (float, float, float)
        Of red, green, blue, on the scale 0..255.
    """

    size: int = 224
    margin: int = 32
    crop_first: bool = False
    resample: str = "bilinear"
    mean: Triple = (123.675, 116.28, 103.53)
    std: Triple = (58.395, 57.12, 57.375)


def preprocess(
    photos: Iterable[str | os.PathLike[str] | Image.Image], preset: Preset
) -> npt.NDArray[np.float32]:
    """The batch (N, 3, S, S), float32, of photographs given as paths or Pillow images.

    Raises
    ------
    FormatError
        If a file is not an image, is broken, or is too large to be unpacked safely.
    OSError
        If a file cannot be opened.
    MissingExtra
        If Pillow is not installed.
    """
    squares = [np.asarray(_square(read_photo(photo), preset)) for photo in photos]
    if not squares:
        return np.empty((0, 3, preset.size, preset.size), np.float32)
    pixels = np.stack(squares).astype(np.float32)
    x = (pixels - np.array(preset.mean, np.float32)) / np.array(preset.std, np.float32)
    return np.ascontiguousarray(x.transpose(0, 3, 1, 2))


def read_photo(photo: str | os.PathLike[str] | Image.Image) -> Image.Image:
    """The first frame of a photograph as the eye sees it: upright, RGB, 8 bits.

    * The camera's EXIF orientation is undone.
    * Grey becomes three equal channels.
    * What is transparent is laid over white, as on a page.
    * 16-bit grey is rounded to 8 bits: 65535 is white.

    See `preprocess` for the errors.
    """
    if not isinstance(photo, str | os.PathLike):
        return _as_rgb(photo)
    Image = _pillow()
    name = os.fspath(photo)
    with open(photo, "rb") as file, warnings.catch_warnings():
        # Pillow warns from 89 million pixels and raises from twice that; a camera of 108
        # million is no attack.  Its warnings about odd metadata help nobody here either.
        warnings.simplefilter("ignore")
        try:
            with Image.open(file) as image:
                return _as_rgb(image)
        except FormatError as error:
            raise FormatError(f"{name}: {error}") from None
        except Image.UnidentifiedImageError:
            raise FormatError(f"{name}: this is not an image that Pillow can read") from None
        except Image.DecompressionBombError as error:
            raise FormatError(f"{name}: too large to be unpacked safely ({error})") from None
        except Exception as error:  # a broken file can make a decoder stumble over anything
            raise FormatError(f"{name}: the image is broken ({error!r})") from error


def _pillow() -> ModuleType:
    try:
        from PIL import Image
    except ImportError:
        raise MissingExtra("pillow", "images", "reading a photograph") from None
    return Image


def _as_rgb(image: Image.Image) -> Image.Image:
    from PIL import ImageOps

    image = ImageOps.exif_transpose(image)
    if image.mode == "F":
        raise FormatError("floating-point pixels have no agreed white, save it with 8 or 16 bits")
    if image.mode.startswith("I"):
        return _from_16_bits(image)
    if image.has_transparency_data:
        return _over_white(image.convert("RGBA"))
    return image.convert("RGB")


def _from_16_bits(image: Image.Image) -> Image.Image:
    # Pillow's own conversion clips 16 bits at 255, which makes nearly everything white.
    v = np.asarray(image).astype(np.int64)
    if np.any((v < 0) | (v > 65535)):
        raise FormatError("32-bit pixels have no agreed white, save it with 8 or 16 bits")
    grey: Image.Image = _pillow().fromarray(((v + 128) // 257).astype(np.uint8))
    return grey.convert("RGB")


def _over_white(image: Image.Image) -> Image.Image:
    from PIL import Image

    white = Image.new("RGBA", image.size, "white")
    return Image.alpha_composite(white, image).convert("RGB")


def _square(image: Image.Image, preset: Preset) -> Image.Image:
    return _crop_then_scale(image, preset) if preset.crop_first else _scale_then_crop(image, preset)


def _crop_then_scale(image: Image.Image, preset: Preset) -> Image.Image:
    size, (w, h) = preset.size, image.size
    c = max(1, int(size / (size + preset.margin) * min(h, w)))
    top, left = (h - c + 1) // 2, (w - c + 1) // 2
    centre = image.crop((left, top, left + c, top + c))
    return centre.resize((size, size), _filter(preset))


def _scale_then_crop(image: Image.Image, preset: Preset) -> Image.Image:
    size, (w, h) = preset.size, image.size
    short, wanted = min(w, h), preset.size + preset.margin
    if max(w, h) > 100 * short:  # scaled whole, such a strip would fill the memory
        raise FormatError(f"a photograph of {w} x {h} is too long and thin to be scaled")
    w, h = wanted * w // short, wanted * h // short
    top, left = round((h - size) / 2), round((w - size) / 2)
    return image.resize((w, h), _filter(preset)).crop((left, top, left + size, top + size))


def _filter(preset: Preset) -> Image.Resampling:
    from PIL import Image

    return Image.Resampling[preset.resample.upper()]


_LITE = Preset(crop_first=True, resample="bicubic", mean=(127.0,) * 3, std=(128.0,) * 3)

PRESETS: dict[str, Preset] = {
    # What most networks published by torchvision and timm were trained with.
    "imagenet": Preset(),
    "mobilenet_v2": Preset(),
    # TensorFlow's TPU repository, models/official/efficientnet/lite.
    "efficientnet_lite0": _LITE,
    "efficientnet_lite1": _LITE._replace(size=240),
    "efficientnet_lite2": _LITE._replace(size=260),
    "efficientnet_lite3": _LITE._replace(size=280),
    "efficientnet_lite4": _LITE._replace(size=300),
}


def preset_for(name: str) -> Preset:
    """The preset of that name, often a network's own.

    There is no default: with another's preset a network still answers, only worse.

    >>> preset_for("efficientnet_lite1").size
    240

    Raises
    ------
    ValueError
        If there is none of that name.
    """
    if name not in PRESETS:
        raise ValueError(f"there is no preset {name!r}; there are {', '.join(PRESETS)}")
    return PRESETS[name]
