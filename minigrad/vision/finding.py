"""The objects of a photograph found.

A network gives logits and a moved box for every anchor.  Of each class, the boxes that score
more than a threshold are looked at, the best ones first, and one that overlaps a better one too
much is dropped; the best of all classes are told, of equal ones the class with the lower number
first (``selecting``).  A box cannot drop a better one, so a threshold changes which boxes are
told and no other one.  Only the boxes of anchors that can be told are decoded.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from minigrad.arguments import number, quoted
from minigrad.errors import ArgumentError, ShapeError
from minigrad.models.detection.detector import Detector
from minigrad.models.preparation import Framing
from minigrad.tensor import Array
from minigrad.vision.frames import Frame, frame
from minigrad.vision.naming import outputs
from minigrad.vision.photos import MAX_PIXELS
from minigrad.vision.selecting import candidates, select, told_scores

if TYPE_CHECKING:
    from minigrad.vision.photos import Source

__all__ = ["Detection", "detect", "found"]


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
    some = candidates(output[0, :, :-4], model.background, model.selection, threshold)
    moved = np.bincount(some.anchors, minlength=len(anchors)) > 0
    boxes = np.clip(model.coder.decode(output[0, moved, -4:], anchors[moved]), 0.0, 1.0)
    some = some._replace(anchors=(np.cumsum(moved) - 1)[some.anchors])
    told = select(some, boxes, model.selection, threshold)
    scores = told_scores(told, model.selection)
    frame_size, photo = np.array([width, height]), np.array(seen.photo, np.float64)
    scale = np.tile(frame_size / seen.filled * photo, 2)
    pixels = np.minimum(boxes[told.anchors] * scale, np.tile(photo, 2))
    return [
        Detection(model.labels[k + 1], score, box[0], box[1], box[2], box[3], k + 1)
        for k, score, box in zip(
            told.classes.tolist(), scores.tolist(), pixels.tolist(), strict=True
        )
    ]
