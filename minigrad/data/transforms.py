"""Changes at random: a training picture is shown a little differently each time.

A transform is called with a picture, uint8 of shape (H, W, C), and a generator of random
numbers.  All but the last give such a picture again; ``Normalize`` ends the chain,

    x[c, i, j] = (pixel[i, j, c] - mean_c) / std_c,            float32, (C, H, W).

Every number is drawn from the generator that is passed, in a fixed order, so the same
generator gives the same bits.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
import numpy.typing as npt

from minigrad.errors import MissingExtra, ShapeError

__all__ = [
    "CenterCrop",
    "ColorJitter",
    "Compose",
    "HorizontalFlip",
    "Normalize",
    "RandomCrop",
    "RandomResizedCrop",
    "Resize",
    "ToRGB",
    "Transform",
    "mixup",
]

Pixels = npt.NDArray[np.generic]
Generator = np.random.Generator
LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601


class Transform(Protocol):
    """A function of a picture and of a generator of random numbers."""

    def __call__(self, picture: Pixels, rng: Generator) -> Pixels:
        """The changed picture; ``picture`` itself stays as it is."""


@dataclass(frozen=True)
class Compose:
    """Transforms, one after another.

    Parameters
    ----------
    parts : sequence of Transform
    """

    parts: Sequence[Transform]

    def __call__(self, picture: Pixels, rng: Generator) -> Pixels:
        for part in self.parts:
            picture = part(picture, rng)
        return picture


@dataclass(frozen=True)
class ToRGB:
    """A grey picture, (H, W, 1), as three equal channels; any other stays as it is."""

    def __call__(self, picture: Pixels, rng: Generator) -> Pixels:
        return np.repeat(picture, 3, axis=2) if picture.shape[2] == 1 else picture


@dataclass(frozen=True)
class HorizontalFlip:
    """Left and right change places with probability ``p``."""

    p: float = 0.5

    def __call__(self, picture: Pixels, rng: Generator) -> Pixels:
        return picture[:, ::-1] if rng.random() < self.p else picture


@dataclass(frozen=True)
class RandomCrop:
    """A window of ``size`` x ``size`` at a random place of the picture with a border.

    Parameters
    ----------
    size : int
    padding : int
        Pixels of border that are added on each side first.
    fill : int
        The value of the border, 0 to 255.
    """

    size: int
    padding: int = 0
    fill: int = 0

    def __call__(self, picture: Pixels, rng: Generator) -> Pixels:
        size, p = self.size, self.padding
        h, w = picture.shape[:2]
        _fits(size, h + 2 * p, w + 2 * p)
        top, left = int(rng.integers(h + 2 * p - size + 1)), int(rng.integers(w + 2 * p - size + 1))
        top, left = top - p, left - p  # of the window in the picture without its border
        if min(top, left) >= 0 and top + size <= h and left + size <= w:
            return picture[top : top + size, left : left + size]
        window = np.full((size, size, picture.shape[2]), self.fill, picture.dtype)
        inside = picture[max(top, 0) : max(top + size, 0), max(left, 0) : max(left + size, 0)]
        y, x = max(-top, 0), max(-left, 0)
        window[y : y + inside.shape[0], x : x + inside.shape[1]] = inside
        return window


@dataclass(frozen=True)
class CenterCrop:
    """The window of ``size`` x ``size`` in the middle of the picture."""

    size: int

    def __call__(self, picture: Pixels, rng: Generator) -> Pixels:
        _fits(self.size, *picture.shape[:2])
        top, left = ((n - self.size) // 2 for n in picture.shape[:2])
        return picture[top : top + self.size, left : left + self.size]


@dataclass(frozen=True)
class Resize:
    """The short side scaled to ``size`` by Pillow's bilinear filter; the aspect stays."""

    size: int

    def __call__(self, picture: Pixels, rng: Generator) -> Pixels:
        h, w = picture.shape[:2]
        short = min(h, w)
        if short == self.size:  # the filter would give the same pixels
            return picture
        return _resized(picture, (0, 0, w, h), (self.size * w // short, self.size * h // short))


@dataclass(frozen=True)
class RandomResizedCrop:
    """A random part of the picture, scaled to ``size`` x ``size`` (Szegedy et al. 2015).

    Parameters
    ----------
    size : int
    scale : (float, float)
        The part's area as a share of the picture's, drawn evenly.
    ratio : (float, float)
        Its width over its height, drawn evenly on a logarithmic scale.

    Notes
    -----
    Ten parts are drawn; if none fits, the largest one in the middle is taken.
    """

    size: int
    scale: tuple[float, float] = (0.08, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)

    def __call__(self, picture: Pixels, rng: Generator) -> Pixels:
        return _resized(picture, self._box(picture.shape, rng), (self.size, self.size))

    def _box(self, shape: Sequence[int], rng: Generator) -> tuple[int, int, int, int]:
        h, w = shape[:2]
        for _ in range(10):
            area = h * w * rng.uniform(*self.scale)
            aspect = math.exp(rng.uniform(math.log(self.ratio[0]), math.log(self.ratio[1])))
            cw, ch = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
            if 0 < cw <= w and 0 < ch <= h:
                left, top = int(rng.integers(w - cw + 1)), int(rng.integers(h - ch + 1))
                return left, top, left + cw, top + ch
        aspect = min(max(w / h, self.ratio[0]), self.ratio[1])
        cw, ch = max(1, min(w, round(h * aspect))), max(1, min(h, round(w / aspect)))
        left, top = (w - cw) // 2, (h - ch) // 2
        return left, top, left + cw, top + ch


@dataclass(frozen=True)
class ColorJitter:
    """Brightness, contrast and saturation times a factor from [1 - s, 1 + s] each.

        brightness  x f,     contrast  m + f (x - m),     saturation  l + f (x - l)

    with m the mean luma of the picture and l the luma of the pixel; in this order, clipped
    to 0..255 after each and rounded at the end.

    Parameters
    ----------
    brightness, contrast, saturation : float
        s of each, 0 to 1.
    """

    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0

    def __call__(self, picture: Pixels, rng: Generator) -> Pixels:
        b, c, s = (
            np.float32(rng.uniform(1 - strength, 1 + strength))
            for strength in (self.brightness, self.contrast, self.saturation)
        )
        x = np.clip(picture.astype(np.float32) * b, 0, 255)
        _spread(x, np.float32(_luma(x).mean(dtype=np.float64)), c)
        _spread(x, _luma(x), s)
        rounded: Pixels = np.rint(x, out=x).astype(np.uint8)
        return rounded


@dataclass(frozen=True)
class Normalize:
    """The end of a chain: float32 of shape (C, H, W), (pixel - mean) / std.

    Parameters
    ----------
    mean, std : sequence of float
        Of each channel, on the scale 0..255.
    """

    mean: tuple[float, ...] = (123.675, 116.28, 103.53)
    std: tuple[float, ...] = (58.395, 57.12, 57.375)

    def __call__(self, picture: Pixels, rng: Generator) -> Pixels:
        channels = len(self.mean)
        if picture.shape[2:] != (channels,) or channels != len(self.std):
            raise ShapeError(
                f"Normalize: a picture of {picture.shape} (H, W, C) needs one mean and one std a "
                f"channel, got {channels} and {len(self.std)}"
            )
        planes = picture.transpose(2, 0, 1)
        if picture.dtype != np.uint8:
            return self._numbers(planes)
        x = np.empty(planes.shape, np.float32)
        for k in range(channels):
            self._levels[k].take(planes[k], out=x[k], mode="clip")  # "raise" would make a copy
        return x

    @cached_property
    def _levels(self) -> npt.NDArray[np.float32]:
        """The number that each byte becomes, (C, 256): a picture asks for each many times."""
        return self._numbers(np.tile(np.arange(256), (len(self.mean), 1))[:, :, None])[:, :, 0]

    def _numbers(self, planes: Pixels) -> npt.NDArray[np.float32]:
        mean, std = (np.array(v, np.float32)[:, None, None] for v in (self.mean, self.std))
        x: npt.NDArray[np.float32] = (planes.astype(np.float32) - mean) / std
        return x


def mixup(
    images: npt.NDArray[np.float32], labels: npt.NDArray[np.int64], alpha: float, rng: Generator
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64], float]:
    """A batch mixed with itself in another order (Zhang et al., arXiv 1710.09412).

        x~_n = l x_n + (1 - l) x_s(n),      l ~ Beta(alpha, alpha), s a permutation;

    the loss is then l L(z, labels) + (1 - l) L(z, other labels).

    Parameters
    ----------
    images : ndarray of float32, (N, ...)
    labels : ndarray of integers, (N,)
    alpha : float
        Above 0; the larger, the more evenly mixed.
    rng : numpy.random.Generator

    Returns
    -------
    images : ndarray of float32, (N, ...)
    other : ndarray of integers, (N,)
        The label of the picture that was mixed in.
    share : float
        l.
    """
    if alpha <= 0:
        raise ValueError(f"mixup: alpha must be above 0, not {alpha}")
    share = float(rng.beta(alpha, alpha))
    order = rng.permutation(len(images))
    mixed = np.float32(share) * images + np.float32(1 - share) * images[order]
    return mixed, labels[order], share


def _spread(
    x: npt.NDArray[np.float32], middle: npt.NDArray[np.float32] | np.float32, f: np.float32
) -> None:
    """x becomes middle + f (x - middle), clipped."""
    x -= middle
    x *= f
    x += middle
    np.clip(x, 0, 255, out=x)


def _luma(x: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """(H, W, 1)"""
    grey: npt.NDArray[np.float32] = x @ LUMA if x.shape[2] == 3 else x.mean(axis=2)
    return np.expand_dims(grey, 2)


def _fits(size: int, h: int, w: int) -> None:
    if min(h, w) < size:
        raise ShapeError(f"a crop of {size} x {size} is larger than the picture of {h} x {w}")


def _resized(picture: Pixels, box: tuple[int, int, int, int], size: tuple[int, int]) -> Pixels:
    try:
        from PIL import Image
    except ImportError:
        raise MissingExtra("pillow", "images", "scaling a picture") from None
    grey = picture.shape[2] == 1
    image = Image.fromarray(picture[:, :, 0] if grey else np.ascontiguousarray(picture))
    scaled: Pixels = np.asarray(image.resize(size, Image.Resampling.BILINEAR, box=box))
    return np.expand_dims(scaled, 2) if grey else scaled
