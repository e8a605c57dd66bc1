"""What is minimised when a network learns to find objects.

With N anchors that learn an object (all of a batch), t their boxes coded and z the logits:

    SSD     L = 1/N (sum of smooth_l1(t' - t) over them
                     + sum of -ln softmax(z)[label] over them and the hardest negatives)

smooth_l1(d) = d^2 / 2 for |d| < 1 and |d| - 1/2 else (beta = 1).  The hardest negatives of an
image are the three times as many anchors without an object whose -ln p is largest (Liu et al.,
"SSD" (2016), section 2.2).

    focal   L = -1/N sum_ak alpha_ak (1 - p_ak)^gamma ln p_ak,     p = sigmoid(z) or 1 - it

with alpha for a class that is there and 1 - alpha for one that is not (Lin et al., "Focal Loss
for Dense Object Detection" (2017), equation 5).

    EfficientDet    L = 1/(N + 1) (sum of focal over all anchors and classes
                                   + 50/4 sum of huber(t' - t) over the N)

with alpha = 0.25, gamma = 1.5 and huber(d) = d^2 / 2 for |d| < 1/10 and (|d| - 1/20) / 10 else,
which is smooth_l1 of beta = 1/10, times beta.  A number t that is 0 counts nowhere (google/automl
and effdet mark so what no anchor learns).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from minigrad import ops
from minigrad.arguments import number, one_of
from minigrad.errors import ShapeError
from minigrad.models.detection.boxes import Coder
from minigrad.models.detection.matching import Targets
from minigrad.ops.loss import REDUCTIONS
from minigrad.tensor import Operand, Tensor, as_tensor, wrap

__all__ = ["efficientdet_loss", "focal_loss", "smooth_l1_loss", "ssd_loss"]

NEGATIVES = 3  # for each anchor with an object
ALPHA, GAMMA = 0.25, 1.5  # of EfficientDet's focal loss
DELTA, BOX_WEIGHT = 0.1, 50.0  # where its loss of a box becomes a line, and what it counts


def _reduced(terms: Tensor, reduction: str) -> Tensor:
    if reduction == "none":
        return terms
    return terms.sum() if reduction == "sum" else terms.mean()


def smooth_l1_loss(
    x: Tensor, target: Operand, reduction: str = "mean", beta: float = 1.0
) -> Tensor:
    """d^2 / (2 beta) for |d| < beta and |d| - beta / 2 else, d = x - target.

    Parameters
    ----------
    x : Tensor
    target : Tensor, number or array
        Of x's shape, or a number.
    reduction : {"mean", "sum", "none"}
    beta : float
        Above 0.

    Returns
    -------
    Tensor

    Raises
    ------
    ShapeError, ArgumentError
        If the target has another shape, or another argument lies outside.

    Examples
    --------
    >>> import minigrad as mg
    >>> smooth_l1_loss(mg.Tensor([0.5, 3.0]), 0.0, "none").tolist()
    [0.125, 2.5]
    """
    one_of("smooth_l1_loss", "reduction", reduction, REDUCTIONS)
    beta = number("smooth_l1_loss", "beta", beta, above=0)
    goal = as_tensor(target, x.dtype, "smooth_l1_loss")
    if goal.ndim and goal.shape != x.shape:
        raise ShapeError(f"smooth_l1_loss: target must have x's shape {x.shape}, got {goal.shape}")
    d = ops.absolute(x - goal)
    near = d.array < beta
    terms = ops.where(near, d * d * (0.5 / beta), d - 0.5 * beta)
    return _reduced(terms, reduction)


def focal_loss(
    logits: Tensor,
    targets: npt.ArrayLike,
    alpha: float = 0.25,
    gamma: float = 2.0,
    reduction: str = "mean",
) -> Tensor:
    """-alpha (1 - p)^gamma ln p of the probability p that each logit gives what is so.

    Parameters
    ----------
    logits : Tensor
    targets : array_like of 0 and 1, of its shape
        Whether each is so.
    alpha : float
        The weight of what is so; what is not has 1 - alpha.
    gamma : float
        At least 0.
    reduction : {"mean", "sum", "none"}

    Returns
    -------
    Tensor

    Raises
    ------
    ShapeError, ArgumentError
        If the targets have another shape, or another argument lies outside.

    Examples
    --------
    >>> import minigrad as mg
    >>> round(focal_loss(mg.Tensor([0.0]), [1], gamma=0.0).item(), 4)
    0.1733
    """
    one_of("focal_loss", "reduction", reduction, REDUCTIONS)
    alpha = number("focal_loss", "alpha", alpha, least=0, most=1)
    gamma = number("focal_loss", "gamma", gamma, least=0)
    so = np.asarray(targets) == 1
    if so.shape != logits.shape:
        raise ShapeError(f"focal_loss: targets must be {logits.shape}, got {so.shape}")
    sign = wrap(np.where(so, 1, -1).astype(logits.dtype))
    z = logits * sign  # p = sigmoid(z) is the probability of what is so
    # ln(1 + e^-z) without overflow.
    surprise = ops.log(1 + ops.exp(-ops.absolute(z))) + ops.maximum(-z, 0.0)
    weight = wrap(np.where(so, alpha, 1 - alpha).astype(logits.dtype))
    return _reduced(weight * ops.sigmoid(-z) ** gamma * surprise, reduction)


def _labels(function: str, output: Tensor, targets: Sequence[Targets]) -> npt.NDArray[np.integer]:
    """(N, A): the class that every anchor learns, 0 for none."""
    if len(targets) != output.shape[0]:
        raise ShapeError(f"{function}: {len(targets)} targets for {output.shape[0]} images")
    return np.stack([t.labels for t in targets])


def _goals(output: Tensor, targets: Sequence[Targets], coder: Coder) -> npt.NDArray[np.floating]:
    """(N, A, 4): the coded boxes that the anchors learn, in the output's dtype."""
    return np.stack([t.coded(coder) for t in targets]).astype(output.dtype)


def ssd_loss(output: Tensor, targets: Sequence[Targets], coder: Coder) -> Tensor:
    """SSD's loss of a batch; see the module.

    Parameters
    ----------
    output : Tensor, (N, A, K + 4)
        Logits and coded boxes of every anchor.
    targets : sequence of Targets
        For each image, from ``matching.match``.
    coder : Coder

    Returns
    -------
    Tensor, ()

    Raises
    ------
    ShapeError
        If there are not as many targets as images.

    Examples
    --------
    >>> import minigrad as mg
    >>> nothing = Targets(np.zeros(2, int), np.zeros((2, 4)), np.ones((2, 4)))
    >>> ssd_loss(mg.zeros(1, 2, 7), [nothing], Coder()).item()
    0.0
    """
    labels = _labels("ssd_loss", output, targets)
    classes = output.shape[2] - 4
    logits = ops.reshape(output[:, :, :classes], -1, classes)
    each = ops.cross_entropy(logits, labels.ravel(), reduction="none")
    counted = (labels > 0) | _hardest(each.array.reshape(labels.shape), labels)
    matched = labels > 0
    goals = _goals(output, targets, coder)
    learnt = np.repeat(matched[..., None], 4, axis=2)
    moved = ops.mask(output[:, :, classes:] - wrap(goals), learnt)
    boxes = smooth_l1_loss(moved, 0.0, "sum")
    names = ops.mask(each, counted.ravel()).sum()
    return (boxes + names) / max(1, int(matched.sum()))


def _hardest(
    losses: npt.NDArray[np.floating], labels: npt.NDArray[np.integer]
) -> npt.NDArray[np.bool_]:
    """Of each image, the anchors without an object whose loss is largest, three an object."""
    chosen = np.zeros(labels.shape, bool)
    for row, loss, found in zip(chosen, losses, labels > 0, strict=True):
        order = np.argsort(np.where(found, np.inf, -loss), kind="stable")
        row[order[: min(NEGATIVES * int(found.sum()), int((~found).sum()))]] = True
    return chosen


def efficientdet_loss(output: Tensor, targets: Sequence[Targets], coder: Coder) -> Tensor:
    """EfficientDet's loss of a batch; see the module.

    Parameters
    ----------
    output : Tensor, (N, A, K + 4)
        Logits, none for the background, and coded boxes of every anchor.
    targets : sequence of Targets
        For each image, from ``matching.match``.
    coder : Coder

    Returns
    -------
    Tensor, ()

    Raises
    ------
    ShapeError
        If there are not as many targets as images.

    Examples
    --------
    >>> import minigrad as mg
    >>> nothing = Targets(np.zeros(2, int), np.zeros((2, 4)), np.ones((2, 4)))
    >>> round(efficientdet_loss(mg.zeros(1, 2, 5), [nothing], Coder()).item(), 4)
    0.3676
    """
    labels = _labels("efficientdet_loss", output, targets)
    classes = output.shape[2] - 4
    so = labels[..., None] == np.arange(1, classes + 1)
    names = focal_loss(output[:, :, :classes], so, ALPHA, GAMMA, "sum")
    goals = _goals(output, targets, coder)
    moved = ops.mask(output[:, :, classes:] - wrap(goals), goals != 0)
    boxes = DELTA * smooth_l1_loss(moved, 0.0, "sum", DELTA)
    return (names + boxes * (BOX_WEIGHT / 4)) / (int((labels > 0).sum()) + 1)
