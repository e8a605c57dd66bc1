"""Boxes that lie over better ones are dropped: non-maximum suppression.

Of each class, in descending order of score, a box is kept unless it covers a kept one by more
than a share of what the two cover together,

    IoU(a, b) = |a and b| / (|a| + |b| - |a and b|).

The boxes are looked at in blocks, best first: a block is held against the boxes that are kept, in
one piece, and what is left of it against itself.  Memory grows with the number of boxes and not
with its square.

The result is places, which have no derivative, and how many there are depends on the values: it
is an array, and never part of a plan.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from minigrad.arguments import flag, integer, number
from minigrad.errors import ShapeError
from minigrad.tensor import Array, Tensor, expect_tensor

__all__ = ["Corners", "non_max_suppression", "suppressed"]

Places = npt.NDArray[np.intp]
BLOCK = 64  # boxes that are held against each other: a row of their overlaps is a word of 64 bits
# A box without end, or of no size, overlaps none.
ENDLESS = np.errstate(divide="ignore", invalid="ignore", over="ignore")
KEPT = 512  # boxes that a block is held against at a time


class Corners(NamedTuple):
    """Boxes by their lower and upper corners, (B,) each, and what they cover."""

    low: tuple[Array, Array]
    high: tuple[Array, Array]
    sizes: Array

    @classmethod
    @ENDLESS
    def of(cls, boxes: Array, centres: bool = False) -> Corners:
        """The corners of boxes (B, 4): two opposite ones, or centre and size."""
        one, other = boxes.astype(np.float64).T.reshape(2, 2, -1)
        if centres:
            low, high = one - other / 2, one + other / 2
        else:
            low, high = np.minimum(one, other), np.maximum(one, other)
        sides = high - low
        return cls((low[0], low[1]), (high[0], high[1]), sides[0] * sides[1])

    def overlap(self, a: Places, b: Places, iou: float) -> npt.NDArray[np.bool_]:
        """(len(a), len(b)): whether box a covers box b by an IoU of more."""
        shared: Array | None = None
        for low, high in zip(self.low, self.high, strict=True):
            common = np.minimum(high[a, None], high[b])
            common -= np.maximum(low[a, None], low[b])
            np.maximum(common, 0, out=common)
            shared = common if shared is None else np.multiply(shared, common, out=shared)
        assert shared is not None
        both = self.sizes[a, None] + self.sizes[b]
        both -= shared
        return np.asarray((both > 0) & (np.divide(shared, both, out=shared) > iou))


class Overlapping(Protocol):
    """Boxes by their places, some of which cover others."""

    def overlap(self, a: Places, b: Places, iou: float) -> npt.NDArray[np.bool_]:
        """(len(a), len(b)): whether box a and box b are one too many."""


@ENDLESS
def suppressed(boxes: Overlapping, order: Iterable[Places], most: int, iou: float) -> Places:
    """The places of the boxes that stay, at most ``most``, best first.

    Parameters
    ----------
    boxes : Corners or other with ``overlap``
    order : iterable of arrays of int
        The places of the boxes, best first, in as many pieces as they come.
    most : int
    iou : float
        Boxes that overlap a kept one by more are dropped.
    """
    kept = np.zeros(0, np.intp)
    for block in _pieces(order):
        if len(kept) >= most:
            break
        for start in range(0, len(kept), KEPT):
            covered = boxes.overlap(kept[start : start + KEPT], block, iou)
            block = block[~covered.any(axis=0)]
        kept = np.concatenate([kept, block[_apart(boxes.overlap(block, block, iou))]])
    return kept[:most]


def _pieces(order: Iterable[Places]) -> Iterator[Places]:
    for places in order:
        for start in range(0, len(places), BLOCK):
            yield places[start : start + BLOCK]


def _apart(drops: npt.NDArray[np.bool_]) -> list[int]:
    """Which boxes of a block stay: those that no earlier one that stays drops."""
    rows = np.zeros((len(drops), BLOCK), bool)
    rows[:, : len(drops)] = drops
    words = np.packbits(rows, axis=1, bitorder="little").view("<u8").ravel().tolist()
    stay, dropped = [], 0
    for i, word in enumerate(words):
        if not dropped >> i & 1:
            stay.append(i)
            dropped |= word
    return stay


def _kept(boxes: Corners, scores: Array, most: int, iou: float, least: float) -> Places:
    """The places of the boxes that stay, best first."""
    order = np.argsort(-scores, kind="stable")
    return suppressed(boxes, [order[scores[order] > least]], most, iou)


def non_max_suppression(
    boxes: Tensor,
    scores: Tensor,
    most: int,
    iou_threshold: float = 0.5,
    score_threshold: float | None = None,
    centres: bool = False,
) -> Array:
    """The boxes that are kept, class by class, best first, as ONNX's NonMaxSuppression.

    Parameters
    ----------
    boxes : Tensor, (N, B, 4)
        Two opposite corners (y, x, y, x), or centre and size (x, y, w, h).
    scores : Tensor, (N, C, B)
    most : int
        Boxes that are kept for each image and class.
    iou_threshold : float
        From 0 to 1: boxes that overlap a kept one by more are dropped.
    score_threshold : float, optional
        Boxes must score more.
    centres : bool
        Whether boxes are centres and sizes.

    Returns
    -------
    ndarray of int, (K, 3)
        Image, class and box of each.

    Raises
    ------
    ShapeError
        If the shapes do not fit.
    DtypeError, ArgumentError
        If an argument has a wrong type.

    Examples
    --------
    >>> import minigrad as mg
    >>> boxes = mg.Tensor([[[0.0, 0.0, 2.0, 2.0], [0.0, 0.0, 2.0, 1.9], [4.0, 4.0, 5.0, 5.0]]])
    >>> mg.non_max_suppression(boxes, mg.Tensor([[[0.8, 0.9, 0.5]]]), 10)
    array([[0, 0, 1],
           [0, 0, 2]])
    """
    _check_boxes(boxes, scores)
    count = integer("non_max_suppression", "most", most, 0)
    iou = number("non_max_suppression", "iou_threshold", iou_threshold, 0.0, 1.0)
    least = -np.inf if score_threshold is None else score_threshold
    least = number("non_max_suppression", "score_threshold", least)
    middle = flag("non_max_suppression", "centres", centres)
    found = [np.zeros((0, 3), np.int64)]
    for n, (image, marks) in enumerate(zip(boxes.numpy(), scores.numpy(), strict=True)):
        corners = Corners.of(image, middle)
        for c, row in enumerate(marks):
            kept = _kept(corners, row, count, iou, least).astype(np.int64, copy=False)
            found.append(np.stack([np.full_like(kept, n), np.full_like(kept, c), kept], axis=1))
    return np.concatenate(found)


def _check_boxes(boxes: Tensor, scores: Tensor) -> None:
    expect_tensor("non_max_suppression", "boxes", boxes)
    expect_tensor("non_max_suppression", "scores", scores)
    fits = boxes.ndim == scores.ndim == 3 and boxes.shape[2] == 4
    if not fits or (boxes.shape[0], boxes.shape[1]) != (scores.shape[0], scores.shape[2]):
        raise ShapeError(
            "non_max_suppression: boxes (N, B, 4) and scores (N, C, B) do not fit: "
            f"{boxes.shape} and {scores.shape}"
        )
