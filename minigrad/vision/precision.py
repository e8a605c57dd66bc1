"""How well found objects agree with those that are there: COCO's average precision.

In an image, and for each class, found boxes are taken best first; each is paired with the free
object of its class that it overlaps most, if by an IoU of at least t.  A paired one is right, any
other one wrong.  Over all images, best first, precision and recall after n boxes are

    p_n = right_n / n,    r_n = right_n / objects,    AP = 1/101 sum_k max {p_n : r_n >= k / 100}

and AP is the mean over t = 0.50, 0.55 ... 0.95 and the classes that have objects.  Ignored, and so
neither right nor wrong, are crowds with all boxes that lie in them by a share of t, and for the
areas small, medium and large (32^2 and 96^2 pixels between them) objects of another area and
unpaired boxes of another area.  At most 100 boxes of a class and an image count.

Lin et al., "Microsoft COCO" (2014); the rules are those of pycocotools' cocoeval.py, to which
tests/vision/test_precision.py holds the numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from minigrad.errors import ShapeError

__all__ = ["Found", "Precision", "Truth", "average_precision", "class_precisions", "overall"]

Numbers = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

THRESHOLDS = np.linspace(0.5, 0.95, 10)
RECALLS = np.linspace(0.0, 1.0, 101)
AREAS = {"all": (0.0, 1e10), "small": (0.0, 32.0**2), "medium": (32.0**2, 96.0**2),
         "large": (96.0**2, 1e10)}  # fmt: skip
MOST = 100


class Truth(NamedTuple):
    """The objects of an image.

    Attributes
    ----------
    boxes : ndarray, (M, 4)
        (left, top, width, height) in pixels, as COCO has them.
    labels : ndarray of int, (M,)
    crowd : ndarray of bool, (M,)
        Whether a box holds many objects that were not told apart.
    areas : ndarray, (M,)
        In pixels: of the object, which may be less than its box's.
    """

    boxes: Numbers
    labels: npt.NDArray[np.integer]
    crowd: Flags
    areas: Numbers


class Found(NamedTuple):
    """What a network found in it: boxes (D, 4) in the same form, labels (D,) and scores (D,)."""

    boxes: Numbers
    labels: npt.NDArray[np.integer]
    scores: Numbers


class Precision(NamedTuple):
    """COCO's numbers, from 0 to 1; NaN where there are no objects.

    Attributes
    ----------
    ap, ap50, ap75 : float
        Over all thresholds, and at two of them.
    small, medium, large : float
        AP of objects of that area.
    recall : float
        The largest recall, over all thresholds.
    """

    ap: float
    ap50: float
    ap75: float
    small: float
    medium: float
    large: float
    recall: float


class _Pairs(NamedTuple):
    """Of an image and a class: scores (D,), right and ignored (T, D), and how many objects."""

    scores: Numbers
    right: Flags
    ignored: Flags
    objects: int


def average_precision(truths: Sequence[Truth], founds: Sequence[Found]) -> Precision:
    """COCO's average precision of what was found in some images.

    Parameters
    ----------
    truths : sequence of Truth
        For each image.
    founds : sequence of Found
        For each image.

    Returns
    -------
    Precision

    Raises
    ------
    ShapeError
        If there are not as many of both.

    Examples
    --------
    >>> box, label = np.array([[0.0, 0.0, 50.0, 50.0]]), np.array([1])
    >>> truth = Truth(box, label, np.array([False]), np.array([2500.0]))
    >>> average_precision([truth], [Found(box + 5, label, np.array([0.9]))]).ap50
    1.0
    """
    return overall(list(class_precisions(truths, founds).values()))


def class_precisions(truths: Sequence[Truth], founds: Sequence[Found]) -> dict[int, Precision]:
    """The same of each class that has objects, by its number.

    Parameters
    ----------
    truths, founds
        As for `average_precision`.

    Returns
    -------
    dict of int to Precision

    Raises
    ------
    ShapeError
        If there are not as many of both.
    """
    if len(truths) != len(founds):
        raise ShapeError(f"there are {len(truths)} images and {len(founds)} answers")
    classes = sorted({int(k) for t in truths for k in t.labels.tolist()})
    return {
        k: _precision([_of_class(t, f, k) for t, f in zip(truths, founds, strict=True)])
        for k in classes
    }


def overall(several: Sequence[Precision]) -> Precision:
    """The mean over classes, of each number over the classes that have it.

    Parameters
    ----------
    several : sequence of Precision

    Returns
    -------
    Precision
    """
    known = [[v for v in values if v == v] for values in zip(*several, strict=True)]
    return Precision(*(float(np.mean(v)) if v else float("nan") for v in known or [[]] * 7))


def _precision(images: Sequence[tuple[Truth, Found, Numbers]]) -> Precision:
    """Of one class."""
    curves = {name: _curve(images, *area) for name, area in AREAS.items()}

    def mean(name: str, rows: slice = slice(None)) -> float:
        found = curves[name]
        return float("nan") if found is None else float(found[0][rows].mean())

    every = curves["all"]
    return Precision(
        mean("all"), mean("all", slice(0, 1)), mean("all", slice(5, 6)),
        mean("small"), mean("medium"), mean("large"),
        float("nan") if every is None else float(every[1].mean()),
    )  # fmt: skip


def _of_class(truth: Truth, found: Found, label: int) -> tuple[Truth, Found, Numbers]:
    """The objects and the best boxes of one class, and the share that each covers of each."""
    own = truth.labels == label
    objects = Truth(*(v[own] for v in truth))
    mine = np.flatnonzero(found.labels == label)
    best = mine[np.argsort(-found.scores[mine], kind="stable")[:MOST]]
    boxes = Found(found.boxes[best], found.labels[best], found.scores[best])
    return objects, boxes, _shares(boxes.boxes, objects)


def _shares(boxes: Numbers, objects: Truth) -> Numbers:
    """IoU (D, M); of a crowd the share of the box that lies in it."""
    one, other = ((b[:, :2], b[:, :2] + b[:, 2:]) for b in (boxes, objects.boxes))
    common = np.minimum(one[1][:, None], other[1]) - np.maximum(one[0][:, None], other[0])
    shared = np.prod(np.maximum(common, 0), axis=2)
    sizes, others = (np.prod(b[:, 2:], axis=1) for b in (boxes, objects.boxes))
    union = np.where(objects.crowd, sizes[:, None], sizes[:, None] + others - shared)
    return np.asarray(np.where(union > 0, shared / np.where(union > 0, union, 1), 0))


def _curve(
    images: Sequence[tuple[Truth, Found, Numbers]], least: float, most: float
) -> tuple[Numbers, Numbers] | None:
    """The precisions (T, 101) and the largest recalls (T,) of a class; None without objects."""
    pairs = [_paired(*image, least, most) for image in images]
    objects = sum(p.objects for p in pairs)
    if not objects:
        return None
    scores = np.concatenate([p.scores for p in pairs])
    order = np.argsort(-scores, kind="stable")
    right, ignored = (
        np.concatenate(parts, axis=1)[:, order]
        for parts in ([p.right for p in pairs], [p.ignored for p in pairs])
    )
    hits = np.cumsum(right & ~ignored, axis=1, dtype=np.float64)
    misses = np.cumsum(~right & ~ignored, axis=1, dtype=np.float64)
    recall = hits / objects
    precision = hits / np.maximum(hits + misses, 1)
    envelope = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    made = np.zeros((len(THRESHOLDS), len(RECALLS)))
    for row, r, p in zip(made, recall, envelope, strict=True):
        places = np.searchsorted(r, RECALLS, side="left")
        inside = places < len(r)
        row[inside] = p[places[inside]]
    last = recall[:, -1] if recall.shape[1] else np.zeros(len(THRESHOLDS))
    return made, last


def _paired(objects: Truth, found: Found, shares: Numbers, least: float, most: float) -> _Pairs:
    """Which boxes of an image are right, and which are ignored, at each threshold."""
    outside = (objects.areas < least) | (objects.areas > most)
    ignored = objects.crowd | outside
    order = np.argsort(ignored, kind="stable")
    sizes = np.prod(found.boxes[:, 2:], axis=1)
    elsewhere = (sizes < least) | (sizes > most)
    right = np.zeros((len(THRESHOLDS), len(found.scores)), bool)
    left_out = np.zeros_like(right)
    if not len(ignored):  # most images have no object of a class
        left_out[:] = elsewhere
        return _Pairs(found.scores, right, left_out, 0)
    for t, threshold in enumerate(THRESHOLDS):
        taken = np.zeros(len(ignored), bool)
        for d in range(len(found.scores)):
            m = _partner(shares[d], order, taken, objects.crowd, ignored, threshold)
            if m < 0:
                left_out[t, d] = elsewhere[d]
            else:
                taken[m] = right[t, d] = True
                left_out[t, d] = ignored[m]
    return _Pairs(found.scores, right, left_out, int((~ignored).sum()))


def _partner(
    shares: Numbers, order: npt.NDArray[np.intp], taken: Flags, crowd: Flags, ignored: Flags,
    threshold: float,
) -> int:  # fmt: skip
    """The object that a box is paired with, -1 if there is none.

    The one that it overlaps most, of equal ones the last; an ignored one only if there is no other.
    """
    best, share = -1, min(threshold, 1 - 1e-10)
    for m in order.tolist():
        if taken[m] and not crowd[m]:
            continue
        if best >= 0 and not ignored[best] and ignored[m]:
            break
        if shares[m] >= share:
            best, share = m, float(shares[m])
    return best
