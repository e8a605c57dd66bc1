"""Boxes that lie over better ones are dropped: non-maximum suppression.

Of each class, in descending order of score, a box is kept unless it covers a kept one by more
than a share of what the two cover together,

    IoU(a, b) = |a and b| / (|a| + |b| - |a and b|).

The result is places, which have no derivative, and how many there are depends on the values: it
is an array, and never part of a plan.
"""

from __future__ import annotations

import numpy as np

from minigrad.arguments import flag, integer, number
from minigrad.errors import ShapeError
from minigrad.tensor import Array, Tensor, expect_tensor

__all__ = ["non_max_suppression"]


def _corners(boxes: Array, centres: bool) -> tuple[Array, Array]:
    """(B, 2) of the lower and of the upper corners."""
    if centres:
        middle, half = boxes[:, :2], boxes[:, 2:] / 2
        return middle - half, middle + half
    return np.minimum(boxes[:, :2], boxes[:, 2:]), np.maximum(boxes[:, :2], boxes[:, 2:])


def _overlap(low: Array, high: Array, k: int, others: Array) -> Array:
    """IoU of box k with each of the others."""
    common = np.minimum(high[k], high[others]) - np.maximum(low[k], low[others])
    shared = np.prod(np.maximum(common, 0), axis=1)
    size, sizes = np.prod(high[k] - low[k]), np.prod(high[others] - low[others], axis=1)
    both = size + sizes - shared
    return np.asarray(np.where(both > 0, shared / np.where(both > 0, both, 1), 0.0))


def _kept(boxes: Array, scores: Array, most: int, iou: float, least: float, centres: bool) -> Array:
    """The places of the boxes that stay, best first."""
    low, high = _corners(boxes.astype(np.float64), centres)
    order = np.argsort(-scores, kind="stable")
    order = order[scores[order] > least]
    kept: list[int] = []
    while order.size and len(kept) < most:
        best, order = int(order[0]), order[1:]
        kept.append(best)
        order = order[_overlap(low, high, best, order) <= iou]
    return np.array(kept, np.int64)


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
    corners, marks = boxes.numpy(), scores.numpy()
    for n, c in np.ndindex(*scores.shape[:2]):
        kept = _kept(corners[n], marks[n, c], count, iou, least, middle)
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
