"""Which boxes are told, of all that a network gives: by their scores and how they overlap.

A *candidate* is an anchor and a class with a score over the threshold.  All candidates are looked
at together, best first, of equal ones the class with the lower number and then the anchor that
comes first; one that overlaps a better one of its class too much is dropped, and the first
``most`` that stay are told.  So are those that class by class would be kept, the best of all
classes being told: a box drops boxes of its class alone, and none that is better.  No more are
sorted and held against each other than the told ones need.

A sigmoid grows with its logit, so candidates are ordered by their logits, and only the told ones
have their scores computed.  A softmax needs all logits of its anchor, in float64; it is computed
where one in float32, or its bound exp(z_k - max z), is not below the threshold for certain.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from minigrad.models.detection.detector import Selection
from minigrad.ops.suppression import Corners, suppressed
from minigrad.tensor import Array

__all__ = ["Candidates", "candidates", "probabilities", "select", "told_scores"]

Numbers: TypeAlias = "npt.NDArray[np.float64]"
Places: TypeAlias = "npt.NDArray[np.intp]"
MARGIN = 1e-2  # of a logit: more than float32 errs in the logarithm of a sum of 10,000 exponents
FIRST = 1024  # candidates that are sorted before others are


class Candidates(NamedTuple):
    """Anchors, the number of a class without the background's, and what orders them; (M,) each.

    ``marks`` are logits where each class has a probability of its own, and else scores.
    """

    anchors: Places
    classes: Places
    marks: Array

    def at(self, places: Places) -> Candidates:
        """Some of them."""
        return Candidates(*(v[places] for v in self))


class Boxes(NamedTuple):
    """The boxes of candidates, which drop boxes of their own class alone."""

    corners: Corners
    some: Candidates

    def overlap(self, a: Places, b: Places, iou: float) -> npt.NDArray[np.bool_]:
        """(len(a), len(b)): whether candidates a and b have one class and overlap by more."""
        anchors, classes = self.some.anchors, self.some.classes
        same = np.equal(classes[a, None], classes[b])
        return np.logical_and(self.corners.overlap(anchors[a], anchors[b], iou), same)


def candidates(logits: Array, background: bool, how: Selection, threshold: float) -> Candidates:
    """What may score more than the threshold, anchor by anchor.

    Parameters
    ----------
    logits : ndarray, (A, K)
    background : bool
        Whether the first class is the background.
    how : Selection
    threshold : float
    """
    least, first = max(threshold, how.least), int(background)
    made = (_by_sigmoid if how.sigmoid else _by_softmax)(logits, first, least, how.together)
    return made if how.together is None else made.at(_first_best(made.marks, how.together))


def _by_sigmoid(z: Array, first: int, least: float, together: int | None) -> Candidates:
    z, enough = z[:, first:], _logit(least)
    best = z.max(axis=1)
    if together is not None:  # so many anchors have a logit that is as large
        enough = max(enough, _best_of(best, together))
    anchors = np.flatnonzero(best >= enough)
    logits = z[anchors]
    rows, classes = np.nonzero(logits >= enough)
    return Candidates(anchors[rows], classes, logits[rows, classes])


def _by_softmax(z: Array, first: int, least: float, together: int | None) -> Candidates:
    anchors = np.arange(len(z))
    if least > 0:
        over = z[:, first:].max(axis=1) - z.max(axis=1)
        anchors = np.flatnonzero(over >= np.log(least) - MARGIN)
        rest = z[anchors] - z[anchors].max(axis=1, keepdims=True)
        sums = np.log(np.exp(rest).sum(axis=1))
        anchors = anchors[rest[:, first:].max(axis=1) - sums >= np.log(least) - MARGIN]
    scores = probabilities(z[anchors], False)[:, first:]
    rows, classes = np.nonzero(scores > least)
    return Candidates(anchors[rows], classes, scores[rows, classes])


def told_scores(told: Candidates, how: Selection) -> Numbers:
    """The scores of candidates."""
    return probabilities(told.marks, True) if how.sigmoid else told.marks


def _logit(p: float) -> float:
    """Whose sigmoid is p, or a little less."""
    return float(np.log(p) - np.log1p(-p)) - MARGIN if 0 < p < 1 else -np.inf


def _best_of(values: Array, count: int) -> float:
    """The last of the so many best; below all if there are not so many."""
    if count >= len(values):
        return -np.inf
    return float(np.partition(values, -count)[-count])


def _first_best(values: Array, count: int) -> Places:
    """The places of the so many best, of equal ones the first, in their order."""
    if count >= len(values):
        return np.arange(len(values))
    last = _best_of(values, count)
    over = values > last
    over[np.flatnonzero(values == last)[: count - np.count_nonzero(over)]] = True
    return np.flatnonzero(over)


def probabilities(logits: Array, sigmoid: bool) -> Numbers:
    """The sigmoid of each logit, or the softmax of each anchor's (A, K), in float64."""
    z = logits.astype(np.float64)
    if sigmoid:
        e = np.exp(-np.abs(z))
        return np.asarray(np.where(z >= 0, 1, e) / (1 + e))
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return np.asarray(e / e.sum(axis=1, keepdims=True))


def select(some: Candidates, boxes: Numbers, how: Selection, threshold: float) -> Candidates:
    """The candidates that are told, best first.

    Parameters
    ----------
    some : Candidates
    boxes : ndarray, (A, 4)
        Corners of each anchor's box.
    how : Selection
    threshold : float
    """
    order = _looked_at(some, how.candidates)
    told = some.at(suppressed(Boxes(Corners.of(boxes), some), order, how.most, how.iou))
    return told.at(np.flatnonzero(told_scores(told, how) > max(threshold, how.least)))


def _looked_at(some: Candidates, most: int) -> Iterator[Places]:
    """The places of the candidates, best first, at most so many of a class, in pieces."""
    left, count = np.arange(len(some.marks)), FIRST
    seen = np.zeros_like(np.bincount(some.classes))
    while left.size:
        now = some.marks[left] >= _best_of(some.marks[left], count)
        these, left, count = left[now], left[~now], 4 * count
        anchors, classes, marks = some.at(these)
        order = np.lexsort((anchors, classes, -marks))
        these, classes = these[order], classes[order]
        yield these[_ranks(classes) + seen[classes] < most]
        seen += np.bincount(classes, minlength=len(seen))


def _ranks(classes: Places) -> Places:
    """How many of the same class come before each."""
    order = np.argsort(classes, kind="stable")
    starts = np.searchsorted(classes[order], classes[order])
    ranks = np.empty(len(classes), np.intp)
    ranks[order] = np.arange(len(classes)) - starts
    return ranks
