"""Cross-entropy of a softmax, with label smoothing (Szegedy et al., arXiv 1512.00567).

    q = (1 - eps) onehot(label) + eps / K
    L = mean_n ( - sum_k q[n,k] ln p[n,k] ),     p = softmax(z)

and so dL/dz = (p - q) / N, which is what the rules of ``log_softmax`` and the product
give.  With class weights v the sum is divided by sum_n v[label_n], and the smoothed part
weighs each class (PyTorch's definition).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from minigrad.errors import DtypeError, ShapeError
from minigrad.ops.activation import log_softmax
from minigrad.ops.elementwise import mask
from minigrad.tensor import Array, Tensor, from_numpy

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["cross_entropy"]


def _labels(logits: Tensor, labels: npt.ArrayLike, ignore_index: int | None) -> Array:
    """The labels as an integer array, checked; ignored ones become -1."""
    y = np.asarray(labels)
    if y.dtype.kind not in "iu":
        raise DtypeError(f"cross_entropy: labels must be integers, not {y.dtype}")
    if logits.ndim != 2 or y.shape != logits.shape[:1]:
        raise ShapeError(
            f"cross_entropy: logits must be (N, K) and labels (N,), got {logits.shape}, {y.shape}"
        )
    y = y.astype(np.int64)
    ignored = y == ignore_index
    if np.any(~ignored & ((y < 0) | (y >= logits.shape[1]))):
        raise ShapeError(f"cross_entropy: labels must lie in 0..{logits.shape[1] - 1}")
    return np.where(ignored, -1, y)


def cross_entropy(
    logits: Tensor,
    labels: npt.ArrayLike,
    label_smoothing: float = 0.0,
    weight: Array | None = None,
    ignore_index: int | None = None,
) -> Tensor:
    """The mean over the batch of -sum_k q_k ln softmax(logits)_k.

    Parameters
    ----------
    logits : Tensor, (N, K)
    labels : integers, (N,), in 0..K-1
    label_smoothing : float
        eps above.
    weight : ndarray, (K,), optional
        A weight for each class.
    ignore_index : int, optional
        Rows with this label count neither in the sum nor in the mean.

    Raises
    ------
    ShapeError, DtypeError
        If the labels are no integers of shape (N,) in range.
    """
    y = _labels(logits, labels, ignore_index)
    classes = logits.shape[1]
    v = np.ones(classes) if weight is None else np.asarray(weight, np.float64)
    if v.shape != (classes,):
        raise ShapeError(f"cross_entropy: weight must be ({classes},), got {v.shape}")
    onehot = y[:, None] == np.arange(classes)
    counted = (y >= 0)[:, None]
    q = (1 - label_smoothing) * onehot + label_smoothing / classes * counted
    with np.errstate(invalid="ignore"):  # nothing counted: the mean of nothing is NaN
        target = q * v / (onehot * v).sum()
    # The mask, because a class of probability 0 has ln p = -inf, and 0 times that is NaN.
    told = mask(log_softmax(logits), q != 0)
    return -(told * from_numpy(target.astype(logits.dtype))).sum()
