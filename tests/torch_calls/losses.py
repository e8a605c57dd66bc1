"""PyTorch's losses: cross-entropy, and compositions of other operations."""

from __future__ import annotations

import numpy as np

import minigrad as mg


def reduced(loss, reduction):
    """The mean, the sum, or each term; ``batchmean`` divides by the first axis."""
    if reduction == "batchmean":
        return loss.sum() / (loss.shape[0] if loss.ndim else 1)
    return {"mean": loss.mean, "sum": loss.sum, "none": lambda: loss}[reduction]()


def rows_of(x):
    """(N, K, ...) as rows of K classes."""
    return (
        x.reshape(1, -1)
        if x.ndim == 1
        else x.permute(0, *range(2, x.ndim), 1).reshape(-1, x.shape[1])
    )


def value(x):
    return x if x is None or isinstance(x, mg.Tensor) else mg.Tensor(x)


def cross_entropy(x, target, weight=None, ignore_index=-100, reduction="mean", label_smoothing=0.0):
    if isinstance(target, mg.Tensor) or target.dtype.kind == "f":
        return probable(x, value(target), weight, reduction, label_smoothing)
    how = (label_smoothing, weight, ignore_index, reduction)
    y = mg.cross_entropy(rows_of(x), target.reshape(-1), *how)
    return y.reshape(*target.shape) if reduction == "none" else y


def probable(x, target, weight, reduction, smoothing):
    """Labels that are probabilities: -sum_k v_k q_k log softmax(x)_k, the mean over the rows."""
    axis = 0 if x.ndim == 1 else 1
    classes = x.shape[axis]
    q = target * (1 - smoothing) + smoothing / classes
    logs = mg.log_softmax(x, axis) * q
    if weight is not None:
        logs = logs * value(weight).reshape(*(-1 if k == axis else 1 for k in range(x.ndim)))
    return reduced(-logs.sum(axis=axis), reduction)


def nll_loss(x, target, weight=None, ignore_index=-100, reduction="mean"):
    """-v_k x_k at the labelled class k; the mean divides by the weights of the labels."""
    rows, labels = rows_of(x), target.reshape(-1)
    v = np.ones(rows.shape[1]) if weight is None else np.asarray(weight)
    chosen = (labels[:, None] == np.arange(len(v))) & (labels != ignore_index)[:, None]
    terms = -(mg.mask(rows, chosen) * v.astype(x.dtype)).sum(axis=1)
    if reduction == "mean":
        return terms.sum() / float((chosen * v).sum())
    return terms.reshape(*target.shape) if reduction == "none" else terms.sum()


def l1_loss(x, y, reduction="mean"):
    return reduced(mg.absolute(x - y), reduction)


def smooth(x, y, knee):
    """d^2 / 2 below the knee and a line beyond it, d = |x - y|: c (d - c / 2), c = min(d, knee)."""
    d = mg.absolute(x - y)
    c = mg.clamp(d, max=knee)
    return c * (d - c * 0.5)


def smooth_l1_loss(x, y, reduction="mean", beta=1.0):
    return l1_loss(x, y, reduction) if beta == 0 else reduced(smooth(x, y, beta) / beta, reduction)


def huber_loss(x, y, reduction="mean", delta=1.0, weight=None):
    loss = smooth(x, y, delta)
    if weight is None:
        return reduced(loss, reduction)
    return reduced(loss * weight, reduction)


def kl_div(x, target, reduction="mean", log_target=False):
    """target (log target - x), 0 where the target is."""
    target = value(target)
    if log_target:
        return reduced(mg.exp(target) * (target - x), reduction)
    positive = target.numpy() > 0
    logs = mg.log(mg.where(positive, target, 1.0))
    return reduced(mg.mask(target * logs, positive) - target * x, reduction)


def binary_cross_entropy(x, y, weight=None, reduction="mean"):
    loss = -(y * mg.clamp(mg.log(x), min=-100) + (1 - y) * mg.clamp(mg.log(1 - x), min=-100))
    return reduced(loss if weight is None else loss * weight, reduction)


def binary_cross_entropy_with_logits(x, y, weight=None, reduction="mean", pos_weight=None):
    """(1 - y) x + (1 + (v - 1) y) log(1 + e^-x), the logarithm without overflow."""
    below = mg.log(1 + mg.exp(-mg.absolute(x))) + mg.relu(-x)
    y = value(y)
    positive = 1 if pos_weight is None else 1 + (value(pos_weight) - 1) * y
    loss = (1 - y) * x + positive * below
    return reduced(loss if weight is None else loss * weight, reduction)


LOSSES = {
    f"nn.functional.{f.__name__}": f
    for f in (
        cross_entropy, nll_loss, l1_loss, smooth_l1_loss, huber_loss, kl_div,
        binary_cross_entropy, binary_cross_entropy_with_logits,
    )
} | {"nn.functional.mse_loss": mg.mse_loss}  # fmt: skip
