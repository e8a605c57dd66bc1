"""The objects of a photograph found.

A network gives logits and a moved box for every anchor.  Of each class, the boxes that score
more than a threshold are looked at, the best ones first, and one that overlaps a better one too
much is dropped (``minigrad.non_max_suppression``); the best of all classes are told, of equal
ones the class with the lower number first.  A box cannot drop a better one, so a threshold
changes which boxes are told and no other one.

Where each class has a probability of its own, it grows with its logit alone, so only anchors
with a logit that can be told are decoded.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from minigrad.arguments import number, quoted
from minigrad.errors import ArgumentError, ShapeError
from minigrad.models.detection.detector import Detector, Selection
from minigrad.models.preparation import Framing
from minigrad.ops.suppression import non_max_suppression
from minigrad.tensor import Array, Tensor
from minigrad.vision.frames import Frame, frame
from minigrad.vision.naming import outputs
from minigrad.vision.photos import MAX_PIXELS

if TYPE_CHECKING:
    from minigrad.vision.photos import Source

__all__ = ["Detection", "detect", "found", "select"]

Numbers: TypeAlias = "npt.NDArray[np.float64]"
MARGIN = 1e-6  # of a logit: more than its rounding to float32


class Detection(NamedTuple):
    """An object of a photograph.

    Attributes
    ----------
    label : str
    score : float
        From 0 to 1.
    left, top, right, bottom : float
        The box, in pixels of the photograph, (0, 0) being its top left corner.
    category : int
        The number of the class; 0 is the background.
    """

    label: str
    score: float
    left: float
    top: float
    right: float
    bottom: float
    category: int


def detect(
    model: Detector,
    photo: Source,
    *,
    threshold: float = 0.5,
    framing: Framing | None = None,
    run: Callable[[npt.NDArray[np.float32]], Array] | None = None,
    max_pixels: int = MAX_PIXELS,
) -> list[Detection]:
    """The objects that a network finds in a photograph, best first.

    Parameters
    ----------
    model : Detector
        A network of ``minigrad.models.detection``, in evaluation mode.
    photo : path, bytes, file object, Pillow image or array
        See `minigrad.vision.preprocess`.
    threshold : float
        From 0 to 1: objects must score more.
    framing : Framing, optional
        How the photograph becomes the batch; by default as the network has it.
    run : callable, optional
        What computes the network's output instead of the network: a plan of it.
    max_pixels : int
        A photograph of more is refused before it is decoded.

    Returns
    -------
    list of Detection
        Their boxes are in pixels of the photograph.

    Raises
    ------
    ArgumentError
        If the model is no Detector or in training mode, or the threshold lies outside.
    FormatError, ShapeError, OSError, MissingExtra
        See `minigrad.vision.preprocess`.

    Examples
    --------
    >>> import minigrad as mg
    >>> model = mg.models.detection.create("ssdlite320_mobilenet_v3_large", rng=0).eval()
    >>> mg.vision.detect(model, np.zeros((40, 60, 3), np.uint8), threshold=0.9)
    []
    """
    if not isinstance(model, Detector):
        raise ArgumentError(
            f"detect: model must be one of minigrad.models.detection, not {quoted(model)}"
        )
    threshold = number("detect", "threshold", threshold, least=0, most=1)
    seen = frame(photo, framing or model.framing, max_pixels=max_pixels)
    return found(model, outputs(run or model, seen.x)[0], seen, threshold)


def found(model: Detector, output: Array, seen: Frame, threshold: float) -> list[Detection]:
    """The objects that a network's output (1, A, K + 4) for a frame tells.

    Raises
    ------
    ShapeError
        If the output has another shape.
    """
    height, width = seen.x.shape[2:]
    anchors = model.anchors(height, width)
    if output.shape != (1, len(anchors), model.logits + 4):
        raise ShapeError(f"detect: expected (1, {len(anchors)}, {model.logits + 4}) numbers "
                         f"for a frame of {width} x {height}, got {output.shape}")  # fmt: skip
    first, how = int(model.background), model.selection
    some = promising(output[0, :, first:-4], how, threshold)
    boxes = np.clip(model.coder.decode(output[0, some, -4:], anchors[some]), 0.0, 1.0)
    scores = probabilities(output[0, some, :-4], how.sigmoid)[:, first:]
    places, classes = select(scores, boxes, how, threshold)
    frame_size, photo = np.array([width, height]), np.array(seen.photo, np.float64)
    scale = np.tile(frame_size / seen.filled * photo, 2)
    pixels = np.minimum(boxes[places] * scale, np.tile(photo, 2))
    return [
        Detection(model.labels[k + 1], score, box[0], box[1], box[2], box[3], k + 1)
        for k, score, box in zip(
            classes.tolist(), scores[places, classes].tolist(), pixels.tolist(), strict=True
        )
    ]


def promising(logits: Array, how: Selection, threshold: float) -> npt.NDArray[np.intp] | slice:
    """The anchors that ``select`` may tell, or more: all where a score is of all logits.

    Parameters
    ----------
    logits : ndarray, (A, K)
        Of the classes without the background.
    how : Selection
    threshold : float
    """
    if not how.sigmoid:
        return slice(None)
    least = max(threshold, how.least)
    over = logits >= (_logit(least) if 0 < least < 1 else -np.inf)
    if how.together is not None and np.count_nonzero(over) > how.together:
        over = logits >= np.partition(logits, -how.together, axis=None)[-how.together]
    return np.flatnonzero(over.any(axis=1))


def _logit(p: float) -> float:
    """Whose sigmoid is p, or a little less."""
    z = float(np.log(p) - np.log1p(-p))
    return z - MARGIN * (1 + abs(z))


def probabilities(logits: Array, sigmoid: bool) -> Numbers:
    """The sigmoid of each logit (A, K), or the softmax of each anchor's, in float64."""
    z = logits.astype(np.float64)
    if sigmoid:
        e = np.exp(-np.abs(z))
        return np.asarray(np.where(z >= 0, 1, e) / (1 + e))
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return np.asarray(e / e.sum(axis=1, keepdims=True))


def select(
    scores: Numbers, boxes: Numbers, how: Selection, threshold: float
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """The anchors and classes of the boxes that are told, best first.

    Parameters
    ----------
    scores : ndarray, (A, K)
        Of the classes without the background.
    boxes : ndarray, (A, 4)
        Corners.
    how : Selection
    threshold : float
    """
    least = max(threshold, how.least)
    marks = np.where(scores > least, scores, -np.inf)
    if how.together is not None:
        marks = _best(marks.reshape(1, -1), how.together).reshape(scores.shape)
    anchors, some = (np.flatnonzero((marks > -np.inf).any(axis=axis)) for axis in (1, 0))
    if not anchors.size:
        return np.zeros(0, np.intp), np.zeros(0, np.intp)
    marks = _best(marks[np.ix_(anchors, some)].T, how.candidates)
    kept = non_max_suppression(
        Tensor(boxes[None, anchors]), Tensor(marks[None]), how.most, how.iou, least
    )  # fmt: skip
    places, classes = anchors[kept[:, 2]], some[kept[:, 1]]
    best = np.argsort(-scores[places, classes], kind="stable")[: how.most]
    return places[best], classes[best]


def _best(marks: Numbers, count: int) -> Numbers:
    """The best of each row, of equal ones the first; -inf in the place of the others."""
    if count >= marks.shape[1]:
        return marks
    kept = np.array(marks)
    worst = np.argsort(-kept, axis=1, kind="stable")[:, count:]
    np.put_along_axis(kept, worst, -np.inf, axis=1)
    return kept
