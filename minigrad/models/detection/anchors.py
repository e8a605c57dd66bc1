"""The boxes that a network starts from: for each cell of each map, a few shapes.

A box is (cx, cy, w, h), as shares of the frame.  Cell (i, j) of a map of f_h x f_w cells has its
centre at ((j + 1/2) / f_w, (i + 1/2) / f_h).  With the scales s_1 ... s_n, evenly spaced, and
s_(n+1) = 1 (Liu et al., "SSD" (2016), section 2.2), a map k has the shapes

    torchvision   (s, s), (s', s'), and for the ratios r = 2, 3:  (s q, s / q), (s / q, s q)
    TensorFlow    (s q, s / q) for r = 1, 2, 1/2, 3, 0.3333, and (s', s'); the finest map
                  (0.1, 0.1), and (s q, s / q) for r = 2, 1/2

where q = sqrt(r) and s' = sqrt(s_k s_(k+1)).  EfficientDet measures a box in cells of its map:

    EfficientDet  s 2^(o/3) (a, b),  o = 0, 1, 2, (a, b) = (1, 1), (1.4, 0.7), (0.7, 1.4)

with the same s on every map.  The boxes of a cell follow each other, the cells
row by row, and the maps finest first.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt

import numpy as np
import numpy.typing as npt

__all__ = ["grid", "halved", "octave_shapes", "tensorflow_shapes", "torchvision_shapes"]

Boxes = npt.NDArray[np.float64]
Shape = tuple[float, float]  # width and height

SCALES = (0.2, 0.35, 0.5, 0.65, 0.8, 0.95)
ASPECTS = ((1.0, 1.0), (1.4, 0.7), (0.7, 1.4))
RATIOS = (1.0, 2.0, 0.5, 3.0, 0.3333)  # 0.3333 is what the configuration says


def torchvision_shapes(scales: Sequence[float] = SCALES) -> list[list[Shape]]:
    """The shapes of each map; none is larger than the frame."""
    made = []
    for s, following in zip(scales, [*scales[1:], 1.0], strict=True):
        between = sqrt(s * following)
        shapes = [(s, s), (between, between)]
        for ratio in (2, 3):
            w, h = s * sqrt(ratio), s / sqrt(ratio)
            shapes += [(w, h), (h, w)]
        made.append([(min(w, 1.0), min(h, 1.0)) for w, h in shapes])
    return made


def tensorflow_shapes(scales: Sequence[float] = SCALES) -> list[list[Shape]]:
    """The shapes of each map, three for the finest."""
    made = []
    for k, (s, following) in enumerate(zip(scales, [*scales[1:], 1.0], strict=True)):
        shapes = [(s * sqrt(ratio), s / sqrt(ratio)) for ratio in RATIOS]
        between = sqrt(s * following)
        made.append([*shapes, (between, between)] if k else [(0.1, 0.1), *shapes[1:3]])
    return made


def octave_shapes(size: tuple[int, int], scale: float) -> list[Shape]:
    """The nine shapes of a map of this height and width.

    >>> octave_shapes((4, 8), 4.0)[0]
    (0.5, 1.0)
    """
    sides = [scale * 2 ** (octave / 3) for octave in range(3)]
    return [(side * a / size[1], side * b / size[0]) for side in sides for a, b in ASPECTS]


def halved(size: tuple[int, int], maps: int, stride: int = 16) -> list[tuple[int, int]]:
    """Height and width of maps, the first at a stride of the frame, each half of the one before.

    >>> halved((300, 300), 6)
    [(19, 19), (10, 10), (5, 5), (3, 3), (2, 2), (1, 1)]
    """
    h, w = (-(-n // stride) for n in size)
    made = [(h, w)]
    for _ in range(maps - 1):
        h, w = -(-h // 2), -(-w // 2)
        made.append((h, w))
    return made


def grid(maps: Sequence[tuple[int, int]], shapes: Sequence[Sequence[Shape]]) -> Boxes:
    """All boxes, (A, 4) of (cx, cy, w, h), in the order of a network's outputs.

    Parameters
    ----------
    maps : sequence of (height, width)
    shapes : sequence of sequence of (width, height)
        For each map.
    """
    parts = []
    for (fh, fw), sizes in zip(maps, shapes, strict=True):
        made = np.empty((fh, fw, len(sizes), 4))
        made[..., 0] = ((np.arange(fw) + 0.5) / fw)[None, :, None]
        made[..., 1] = ((np.arange(fh) + 0.5) / fh)[:, None, None]
        made[..., 2:] = sizes
        parts.append(made.reshape(-1, 4))
    return np.concatenate(parts)
