"""Losses: cross-entropy of a softmax, with label smoothing, and the squared error.

Label smoothing (Szegedy et al., arXiv 1512.00567):

    q = (1 - eps) onehot(label) + eps / K
    L = mean_n ( - sum_k q[n,k] ln p[n,k] ),     p = softmax(z)

and so dL/dz = (p - q) / N, which is what the rules of ``log_softmax`` and the product
give.  With class weights v the sum is divided by sum_n v[label_n], and the smoothed part
weighs each class (PyTorch's definition).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from minigrad.arguments import integer, number, one_of, quoted
from minigrad.errors import ArgumentError, DtypeError, ShapeError
from minigrad.ops.axes import permute
from minigrad.ops.probability import log_softmax
from minigrad.ops.selection import mask
from minigrad.ops.shaping import reshape
from minigrad.tensor import Array, Operand, Tensor, as_tensor, expect_tensor, wrap

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["checked_labels", "cross_entropy", "mse_loss"]

REDUCTIONS = ("mean", "sum", "none")


def checked_labels(logits: Tensor, labels: object, ignore_index: int | None) -> Array:
    """The labels as an integer array, checked; ignored ones become -1."""
    try:
        y = np.asarray(labels)
    except (TypeError, ValueError):
        y = np.asarray(None)
    if isinstance(labels, Tensor) or (y.dtype.kind not in "iu" and y.shape != (0,)):
        given = f"a Tensor of {labels.dtype}" if isinstance(labels, Tensor) else quoted(labels)
        raise DtypeError(
            f"cross_entropy: labels must be an array of integers (np.array([0, 1])), not {given}"
        )
    if logits.ndim < 2 or y.shape != (logits.shape[0], *logits.shape[2:]):
        raise ShapeError(
            "cross_entropy: logits must be (N, K) and labels (N,), or (N, K, H, W) and (N, H, W), "
            f"got {logits.shape}, {y.shape}"
        )
    if y.size and y.max() > 2**62:
        raise ShapeError(f"cross_entropy: labels must lie in 0..{logits.shape[1] - 1}")
    y = y.astype(np.int64)
    ignored = np.zeros(y.shape, bool) if ignore_index is None else y == ignore_index
    if np.any(~ignored & ((y < 0) | (y >= logits.shape[1]))):
        raise ShapeError(f"cross_entropy: labels must lie in 0..{logits.shape[1] - 1}")
    return np.where(ignored, -1, y)


def _class_weights(weight: object, logits: Tensor) -> Array:
    classes = logits.shape[1]
    if not classes:
        raise ShapeError(f"cross_entropy: there are no classes in logits of shape {logits.shape}")
    if weight is None:
        return np.ones(classes)
    try:
        v = np.array(weight, np.float64)
    except (TypeError, ValueError, OverflowError):
        raise ArgumentError(
            f"cross_entropy: weight must be an array of {classes} numbers, not {quoted(weight)}"
        ) from None
    if v.shape != (classes,):
        raise ShapeError(f"cross_entropy: weight must be ({classes},), got {v.shape}")
    return v


def cross_entropy(
    logits: Tensor,
    labels: npt.ArrayLike,
    label_smoothing: float = 0.0,
    weight: npt.ArrayLike | None = None,
    ignore_index: int | None = None,
    reduction: str = "mean",
) -> Tensor:
    """The mean over a batch of -sum_k q[n,k] ln softmax(logits)[n,k].

    q[n,k] is 1 - eps + eps / K for the labelled class and eps / K for the others, eps being
    ``label_smoothing``; K counts the classes.  With logits for every pixel of a map, each pixel
    counts as a row n.

    Parameters
    ----------
    logits : Tensor, (N, K) or (N, K, H, W)
    labels : integers, (N,) or (N, H, W), from 0 to K - 1
    label_smoothing : float
        eps above, from 0 to 1.
    weight : array_like, (K,), optional
        A weight for each class.
    ignore_index : int, optional
        Rows with this label count neither in the sum nor in the mean.
    reduction : {"mean", "sum", "none"}
        The mean divides by the weights of the labelled classes; "none" gives a loss for
        each row, 0 for one that does not count.

    Returns
    -------
    Tensor, (), or of the shape of the labels
        The mean is NaN if no row counts.

    Raises
    ------
    ShapeError, DtypeError
        If the labels are no integers in range, of the shape that the logits have without their
        classes, or logits no Tensor.
    ArgumentError
        If ``label_smoothing`` lies outside, or another argument has a wrong type.

    Examples
    --------
    >>> import minigrad as mg
    >>> round(mg.cross_entropy(mg.zeros(1, 10), [3]).item(), 4)
    2.3026
    """
    expect_tensor("cross_entropy", "logits", logits)
    smoothing = number("cross_entropy", "label_smoothing", label_smoothing, least=0, most=1)
    one_of("cross_entropy", "reduction", reduction, REDUCTIONS)
    if ignore_index is not None:
        ignore_index = integer("cross_entropy", "ignore_index", ignore_index)
    y = checked_labels(logits, labels, ignore_index)
    v = _class_weights(weight, logits)
    if reduction == "mean" and not y.size:
        return logits.sum() * math.nan  # the mean of nothing
    q, target = _target(y.ravel(), v, smoothing, reduction == "mean")
    # The mask, because a class of probability 0 has ln p = -inf, and 0 times that is NaN.
    terms = mask(log_softmax(_rows(logits)), q != 0) * wrap(target.astype(logits.dtype))
    return -(reshape(terms.sum(axis=1), y.shape) if reduction == "none" else terms.sum())


def _rows(logits: Tensor) -> Tensor:
    """(N, K, H, W) as (N H W, K)."""
    if logits.ndim == 2:
        return logits
    last = permute(logits, 0, *range(2, logits.ndim), 1)
    return reshape(last, last.size // logits.shape[1], logits.shape[1])


def _target(y: Array, v: Array, smoothing: float, mean: bool) -> tuple[Array, Array]:
    """q[n,k], and what ln p[n,k] is multiplied by."""
    onehot = y[:, None] == np.arange(len(v))
    counted = (y >= 0)[:, None]
    q = (1 - smoothing) * onehot + smoothing / len(v) * counted
    if not mean:
        return q, q * v
    with np.errstate(invalid="ignore"):  # nothing counted: the mean of nothing is NaN
        return q, q * v / (onehot * v).sum()


def mse_loss(x: Tensor, target: Operand, reduction: str = "mean") -> Tensor:
    """The squared error (x - target)^2: its mean, its sum, or one for each element.

    Parameters
    ----------
    x : Tensor
    target : Tensor, number or array
        Of x's shape, or a number.  An array is copied.
    reduction : {"mean", "sum", "none"}

    Returns
    -------
    Tensor

    Raises
    ------
    ShapeError, DtypeError
        If the target has another shape or dtype than x.
    ArgumentError
        If the reduction is none of these, or the target holds no numbers.

    Examples
    --------
    >>> import minigrad as mg
    >>> mg.mse_loss(mg.Tensor([1.0, 3.0]), mg.Tensor([1.0, 1.0])).item()
    2.0
    """
    expect_tensor("mse_loss", "x", x)
    one_of("mse_loss", "reduction", reduction, REDUCTIONS)
    goal = as_tensor(target, x.dtype, "mse_loss")
    if goal.ndim and goal.shape != x.shape:
        raise ShapeError(f"mse_loss: target must have x's shape {x.shape}, got {goal.shape}")
    difference = x - goal
    squares = difference * difference
    if reduction == "none":
        return squares
    return squares.sum() if reduction == "sum" else squares.mean()
