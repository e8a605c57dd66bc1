"""What a network found, drawn: masks as palettes and laid over a photograph, boxes with labels.

A class has the same colour everywhere: of twenty that are told apart at a glance, in turn.
The background is left as it is.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from PIL import Image, ImageDraw

    from minigrad.vision.naming import Labels

__all__ = ["COLOURS", "colour", "draw_box", "overlay", "palette_picture", "png", "write_label"]

Colour = tuple[int, int, int]
COLOURS: tuple[Colour, ...] = (
    (230, 25, 75), (60, 180, 75), (255, 225, 25), (0, 130, 200), (245, 130, 48), (145, 30, 180),
    (70, 240, 240), (240, 50, 230), (210, 245, 60), (250, 190, 212), (0, 128, 128),
    (220, 190, 255), (170, 110, 40), (255, 250, 200), (128, 0, 0), (170, 255, 195),
    (128, 128, 0), (255, 215, 180), (0, 0, 128), (128, 128, 128),
)  # fmt: skip
TINT = 0.55  # of a mask's colour over the photograph
SMALLEST_LABEL = 0.002  # of the photograph's pixels: a smaller mask is tinted and not named


def colour(index: int) -> Colour:
    """The colour of a class; black for the background."""
    return COLOURS[(index - 1) % len(COLOURS)] if index else (0, 0, 0)


def palette_picture(labels: Labels) -> Image.Image:
    """The label map as a picture whose pixels are the labels, with a palette of our colours."""
    from PIL import Image

    picture = Image.fromarray(labels.astype(np.uint8), "P")
    picture.putpalette([channel for k in range(256) for channel in colour(k)])
    return picture


def overlay(photo: Image.Image, labels: Labels, names: Sequence[str]) -> Image.Image:
    """The photograph with its masks tinted, outlined and named."""
    from PIL import Image, ImageDraw

    pixels = np.asarray(photo, np.float32)
    table = np.array([colour(k) for k in range(int(np.max(labels)) + 1)], np.float32)
    share = np.where(labels > 0, np.float32(TINT), np.float32(0))[..., None]
    mixed = pixels + share * (table[labels] - pixels)
    mixed[_outline(labels, max(1, min(labels.shape) // 300))] = 255
    picture = Image.fromarray(mixed.round().astype(np.uint8))
    draw = ImageDraw.Draw(picture)
    for k in np.unique(labels[labels > 0]).tolist():
        mask = labels == k
        if mask.mean() >= SMALLEST_LABEL:
            write_label(draw, picture.size, _middle(mask), names[k], colour(k), centred=True)
    return picture


def _outline(labels: Labels, width: int) -> npt.NDArray[np.bool_]:
    """The pixels of a mask that lie within ``width`` of another one."""
    edge = np.zeros(labels.shape, bool)
    for step in range(1, width + 1):
        across, down = labels[:, step:] != labels[:, :-step], labels[step:] != labels[:-step]
        for part in (edge[:, step:], edge[:, :-step]):
            part |= across
        for part in (edge[step:], edge[:-step]):
            part |= down
    return edge & (labels > 0)


def _middle(mask: npt.NDArray[np.bool_]) -> tuple[int, int]:
    """x and y of the pixel of a mask that is nearest to the mean of all of them."""
    rows, columns = np.nonzero(mask)
    distance = (rows - rows.mean()) ** 2 + (columns - columns.mean()) ** 2
    nearest = int(distance.argmin())
    return int(columns[nearest]), int(rows[nearest])


def draw_box(
    draw: ImageDraw.ImageDraw,
    size: tuple[int, int],
    box: tuple[float, float, float, float],
    text: str,
    of: Colour,
) -> None:
    """A frame of a colour that stands out on light and on dark, and its label.

    Parameters
    ----------
    draw : ImageDraw
    size : (int, int)
        Of the picture.
    box : (left, top, right, bottom)
    text : str
    of : Colour
    """
    width = max(2, min(size) // 160)
    corners = [round(v) for v in box]
    draw.rectangle(_grown(corners, 1), outline=_contrast(of), width=width + 2)
    draw.rectangle(corners, outline=of, width=width)
    write_label(draw, size, (corners[0], corners[1]), text, of)


def _grown(box: Sequence[int], by: int) -> list[int]:
    left, top, right, bottom = box
    return [left - by, top - by, right + by, bottom + by]


def write_label(
    draw: ImageDraw.ImageDraw,
    size: tuple[int, int],
    at: tuple[int, int],
    text: str,
    of: Colour,
    centred: bool = False,
) -> None:
    """Text on a plate of a colour, within the picture: above ``at``, or around it."""
    from PIL import ImageFont

    font = ImageFont.load_default(max(11.0, min(size) / 28))
    text = "".join(c if c.isprintable() else "?" for c in text[:40])
    left, top, right, bottom = draw.textbbox((0, 0), text, font=font)
    margin = round(max(2, (bottom - top) / 4))
    width, height = round(right - left) + 2 * margin, round(bottom - top) + 2 * margin
    x, y = (at[0] - width // 2, at[1] - height // 2) if centred else (at[0], at[1] - height)
    x, y = (max(0, min(v, most)) for v, most in ((x, size[0] - width), (y, size[1] - height)))
    draw.rectangle((x, y, x + width, y + height), fill=of)
    draw.text((x + margin - left, y + margin - top), text, font=font, fill=_contrast(of))


def _contrast(of: Colour) -> Colour:
    """Black on light colours, white on dark ones."""
    red, green, blue = of
    light = 0.299 * red + 0.587 * green + 0.114 * blue > 140
    return (0, 0, 0) if light else (255, 255, 255)


def png(picture: Image.Image) -> bytes:
    """A picture as the bytes of a PNG file."""
    content = io.BytesIO()
    picture.save(content, "PNG")
    return content.getvalue()
