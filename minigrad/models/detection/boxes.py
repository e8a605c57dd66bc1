"""How a network's numbers move an anchor, and how boxes overlap.

With an anchor (cx, cy, w, h) and the weights a, the box (cx', cy', w', h') is coded as

    t = (a_x (cx' - cx) / w,  a_y (cy' - cy) / h,  a_w ln(w' / w),  a_h ln(h' / h))

(Girshick et al., "R-CNN" (2014), appendix C; the weights of SSD are 10, 10, 5, 5, and those of
EfficientDet 1).  TensorFlow and effdet have the numbers in the order y, x, h, w.  Corners are
(left, top, right, bottom).
"""

from __future__ import annotations

from math import inf, log
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

__all__ = ["Coder", "centres", "corners", "overlaps"]

Boxes = npt.NDArray[np.float64]
PIECE = 1 << 20  # overlaps at a time


class Coder(NamedTuple):
    """A way of coding boxes.

    Attributes
    ----------
    weights : (float, float, float, float)
        Of x, y, w and h.
    rows_first : bool
        Whether the numbers come in the order y, x, h, w.
    largest : float
        What t_w / a_w and t_h / a_h are cut to before they are exponents.
    """

    weights: tuple[float, float, float, float] = (10.0, 10.0, 5.0, 5.0)
    rows_first: bool = False
    largest: float = inf

    def decode(self, t: npt.NDArray[np.floating], anchors: Boxes) -> Boxes:
        """Corners (A, 4) of the boxes that t (A, 4) makes of the anchors (A, 4)."""
        moved = self._ordered(t.astype(np.float64)) / self.weights
        centre = moved[:, :2] * anchors[:, 2:] + anchors[:, :2]
        with np.errstate(over="ignore"):  # a box without end is cut to its frame
            size = np.exp(np.minimum(moved[:, 2:], self.largest)) * anchors[:, 2:]
        return np.concatenate([centre - size / 2, centre + size / 2], axis=1)

    def encode(self, boxes: Boxes, anchors: Boxes) -> Boxes:
        """t (A, 4) of the boxes with these corners (A, 4), each from its anchor."""
        own = centres(boxes)
        moved = np.concatenate(
            [(own[:, :2] - anchors[:, :2]) / anchors[:, 2:], np.log(own[:, 2:] / anchors[:, 2:])],
            axis=1,
        )
        return self._ordered(moved * self.weights)

    def _ordered(self, t: Boxes) -> Boxes:
        return t[:, [1, 0, 3, 2]] if self.rows_first else t


SSD = Coder()
PLAIN = Coder((1.0,) * 4, rows_first=True)
TORCHVISION = Coder(largest=log(1000 / 16))


def corners(boxes: Boxes) -> Boxes:
    """(left, top, right, bottom) of (cx, cy, w, h)."""
    half = boxes[:, 2:] / 2
    return np.concatenate([boxes[:, :2] - half, boxes[:, :2] + half], axis=1)


def centres(boxes: Boxes) -> Boxes:
    """(cx, cy, w, h) of (left, top, right, bottom)."""
    low, high = boxes[:, :2], boxes[:, 2:]
    return np.concatenate([(low + high) / 2, high - low], axis=1)


def overlaps(a: Boxes, b: Boxes) -> Boxes:
    """IoU (len(a), len(b)) of boxes by their corners; 0 where both are empty."""
    made = np.empty((len(a), len(b)))
    areas = [np.prod(np.maximum(x[:, 2:] - x[:, :2], 0), axis=1) for x in (a, b)]
    step = max(1, PIECE // max(1, len(b)))
    for start in range(0, len(a), step):
        part = a[start : start + step, None]
        common = np.minimum(part[..., 2:], b[:, 2:]) - np.maximum(part[..., :2], b[:, :2])
        shared = np.prod(np.maximum(common, 0), axis=2)
        both = areas[0][start : start + step, None] + areas[1] - shared
        made[start : start + step] = np.where(both > 0, shared / np.where(both > 0, both, 1), 0)
    return made
