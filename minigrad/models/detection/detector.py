"""What every network that finds objects has: anchors, a way of coding boxes, what is told."""

from __future__ import annotations

from typing import NamedTuple

import numpy.typing as npt

from minigrad.models.dense.network import Dense
from minigrad.models.detection.boxes import Boxes, Coder
from minigrad.models.detection.matching import Targets, match
from minigrad.tensor import Tensor

__all__ = ["Detector", "Selection"]


class Selection(NamedTuple):
    """Which of all boxes are told.

    Attributes
    ----------
    sigmoid : bool
        Whether each class has a probability of its own; otherwise the softmax of all.
    least : float
        Boxes must score more, in each class.
    iou : float
        Of two boxes of a class that overlap by more, the better stays.
    candidates : int
        So many of the best of a class are looked at.
    most : int
        So many of the best of all classes are told.
    together : int, optional
        So many of the best of all classes are looked at; by default there is no such limit.
    """

    sigmoid: bool = False
    least: float = 0.001
    iou: float = 0.55
    candidates: int = 300
    most: int = 300
    together: int | None = None


class Detector(Dense[Tensor]):
    """A network that gives every anchor logits and a moved box.

    Calling it gives (N, A, K + 4) for x (N, C, H, W): for each anchor the logits of K classes
    and the four numbers that ``coder`` decodes.

    Attributes
    ----------
    coder : Coder
    selection : Selection
    background : bool
        Whether the first of the K classes is the background; otherwise it has no logit.
    earlier : bool
        Which of several objects with one best anchor it learns: the first, or the last.
    """

    coder: Coder
    selection: Selection
    background: bool = True
    earlier: bool = False

    @property
    def logits(self) -> int:
        """K: how many logits an anchor has."""
        return self.num_classes if self.background else self.num_classes - 1

    def anchors(self, height: int, width: int) -> Boxes:
        """(A, 4) of (cx, cy, w, h) as shares of a frame of this size."""
        raise NotImplementedError

    def targets(
        self, boxes: npt.ArrayLike, labels: npt.ArrayLike, height: int, width: int
    ) -> Targets:
        """What each anchor of a frame of this size learns of objects.

        Parameters
        ----------
        boxes : array_like, (M, 4)
            Corners (left, top, right, bottom) as shares of the frame.
        labels : array_like of int, (M,)
            From 1 on.
        height, width : int
        """
        return match(boxes, labels, self.anchors(height, width), earlier=self.earlier)

    def extra_repr(self) -> str:
        return self.name
