"""Which anchor learns which object.

An anchor learns the object that it overlaps most, if by an IoU of at least 0.5; and each object
is learnt by the anchor that overlaps it most in any case (Liu et al., "SSD" (2016), section 2.2).
Of equal overlaps the first counts.  Of objects with the same best anchor that anchor learns the
last one in torchvision, and the first one in TensorFlow's matcher, which effdet has too.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from minigrad.models.detection.boxes import Coder, corners, overlaps

__all__ = ["Targets", "match"]

Boxes = npt.NDArray[np.float64]
ENOUGH = 0.5


class Targets(NamedTuple):
    """What each anchor of an image has to learn.

    Attributes
    ----------
    labels : ndarray of int, (A,)
        Of the object; 0 for none.
    boxes : ndarray, (A, 4)
        Its corners as shares of the frame; an anchor without an object has its own.
    anchors : ndarray, (A, 4)
        (cx, cy, w, h).
    """

    labels: npt.NDArray[np.integer]
    boxes: Boxes
    anchors: Boxes

    def coded(self, coder: Coder) -> Boxes:
        """The numbers that move each anchor to its box; 0 for one without an object."""
        made = np.zeros(self.anchors.shape)
        found = self.labels > 0
        made[found] = coder.encode(self.boxes[found], self.anchors[found])
        return made


def match(
    boxes: npt.ArrayLike,
    labels: npt.ArrayLike,
    anchors: Boxes,
    enough: float = ENOUGH,
    earlier: bool = False,
) -> Targets:
    """The targets of an image with these objects.

    Parameters
    ----------
    boxes : array_like, (M, 4)
        Corners as shares of the frame.
    labels : array_like of int, (M,)
        From 1 on.
    anchors : ndarray, (A, 4)
        (cx, cy, w, h).
    enough : float
        The least IoU.
    earlier : bool
        Whether the first of several objects keeps the best anchor that they share, or the last.
    """
    objects = np.asarray(boxes, np.float64).reshape(-1, 4)
    own = corners(anchors)
    if not len(objects):
        return Targets(np.zeros(len(anchors), np.int64), own, anchors)
    shared = overlaps(objects, own)
    best = shared.argmax(axis=0)
    learns = shared.max(axis=0) >= enough
    forced = shared.argmax(axis=1)
    turn = slice(None, None, -1 if earlier else 1)  # who comes last keeps the anchor
    best[forced[turn]], learns[forced] = np.arange(len(objects))[turn], True
    numbers = np.asarray(labels, np.int64)
    return Targets(
        np.where(learns, numbers[best], 0), np.where(learns[:, None], objects[best], own), anchors
    )
