"""The loss of a classifier and its gradient, in memory that is made once.

    L = -sum_{n,k} t[n,k] ln softmax(z)[n,k],     dL/dz = -t - e^{ln p} sum_k (-t)

with the operations of ``cross_entropy`` and of its rules, in their order, and so their bits.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from minigrad.arguments import number
from minigrad.kernels.cython import training as kernels
from minigrad.ops.loss import checked_labels, cross_entropy
from minigrad.tensor import Array, Shape, Tensor, from_numpy

__all__ = ["CrossEntropy", "bound_loss"]


class CrossEntropy:
    """``cross_entropy`` of the mean for logits of one shape, on the compiled core.

    Parameters
    ----------
    shape : (N, K)
    dtype : float32 or float64
    smoothing : float
        Of the labels.

    Attributes
    ----------
    gradient : ndarray, (N, K)
        dL/dz of the last call.
    """

    def __init__(self, shape: Shape, dtype: npt.DTypeLike, smoothing: float) -> None:
        several = (np.empty(shape, dtype) for _ in range(4))
        self.logs, self.terms, self.weights, self.gradient = several
        self.kept, self.rows = np.empty(shape, bool), np.arange(shape[0])
        self.total = np.empty(1, dtype)
        other = smoothing / shape[1]
        self.shares = (1 - smoothing) + other, other  # of the labelled class, of each other

    def __call__(self, z: Array, labels: npt.ArrayLike, threads: int) -> float:
        """The loss of logits z; the gradient is kept."""
        self._share(checked_labels(from_numpy(z), labels, None))
        kernels.log_softmax_into(z, self.logs, threads)
        self.terms[...] = 0  # as ``mask`` has it: ln 0 is no term of a class that has no share
        with np.errstate(all="ignore"):
            np.multiply(self.logs, self.weights, out=self.terms, where=self.kept)
        kernels.row_sum_into(self.terms.reshape(1, -1), self.total, threads)
        np.negative(self.weights, out=self.terms, where=self.kept)
        kernels.log_softmax_gradient_into(self.terms, self.logs, self.gradient, threads)
        return -float(self.total[0])

    def _share(self, labels: Array) -> None:
        """t[n,k], and where it is a term."""
        labelled, other = self.shares
        places = self.rows, labels
        self.weights[...], self.kept[...] = other / len(labels), other != 0
        self.weights[places], self.kept[places] = labelled / len(labels), labelled != 0


def bound_loss(
    loss: Callable[..., Tensor], shape: Shape, dtype: npt.DTypeLike
) -> CrossEntropy | None:
    """The compiled loss for ``cross_entropy``, alone or with its smoothing bound; else None."""
    smoothing = _smoothing(loss)
    if smoothing is None or len(shape) != 2 or 0 in shape:
        return None
    return CrossEntropy(shape, dtype, smoothing)


def _smoothing(loss: Callable[..., Tensor]) -> float | None:
    if loss is cross_entropy:
        return 0.0
    if not isinstance(loss, functools.partial) or loss.func is not cross_entropy or loss.args:
        return None
    if set(loss.keywords) != {"label_smoothing"}:
        return None
    given = loss.keywords["label_smoothing"]
    return number("cross_entropy", "label_smoothing", given, least=0, most=1)
