"""How good a classifier is on a dataset.

    loss = mean over pictures of -ln softmax(z)_label
    top-k = the share of pictures whose label is among the k largest logits
    confusion[i, j] = how many pictures of class i were taken for class j

Logits come from the network in evaluation mode; the loss is summed in float64.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from minigrad.data import Batch
from minigrad.nn.module import Module
from minigrad.tensor import Tensor, no_grad

__all__ = ["Evaluation", "cross_entropies", "evaluate", "evaluating"]

Array = npt.NDArray[np.floating]
Counts = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Evaluation:
    """What ``evaluate`` found.

    Attributes
    ----------
    images : int
    loss : float
    top1, top5 : float
        Shares from 0 to 1; of fewer than six classes, top5 is 1.
    confusion : ndarray of integers, (K, K)
        Rows are labels, columns are answers.
    """

    images: int
    loss: float
    top1: float
    top5: float
    confusion: Counts


def evaluate(
    network: Module | Callable[[Array], Array], batches: Iterable[Batch], classes: int
) -> Evaluation:
    """Loss, accuracy and confusion of a classifier.

    Parameters
    ----------
    network : Module, or a plan or other callable from images to logits
        A Module is called in evaluation mode and gets its mode back.
    batches : iterable of Batch
    classes : int
        K.

    Returns
    -------
    Evaluation
        NaN for loss and shares if there are no pictures.
    """
    confusion = np.zeros((classes, classes), np.int64)
    images, loss, hits = 0, 0.0, 0
    for batch in batches:
        z = _logits(network, batch.images)
        loss += float(cross_entropies(z, batch.labels).sum())
        ranks = (z > np.take_along_axis(z, batch.labels[:, None], 1)).sum(axis=1)
        hits += int((ranks < 5).sum())
        np.add.at(confusion, (batch.labels, z.argmax(axis=1)), 1)
        images += len(batch.labels)
    if not images:
        return Evaluation(0, np.nan, np.nan, np.nan, confusion)
    top1 = float(np.trace(confusion)) / images
    return Evaluation(images, loss / images, top1, hits / images, confusion)


def cross_entropies(z: Array, labels: Counts) -> npt.NDArray[np.float64]:
    """The cross-entropy of each row, -ln softmax(z)_label, in float64.

    Parameters
    ----------
    z : ndarray, (N, K)
    labels : ndarray of integers, (N,)

    Returns
    -------
    ndarray of float64, (N,)
    """
    z = z.astype(np.float64)
    top = z.max(axis=1, keepdims=True)
    with np.errstate(invalid="ignore"):  # an infinite logit: the loss is NaN, and shown
        total = np.log(np.exp(z - top).sum(axis=1)) + top[:, 0]
        losses: npt.NDArray[np.float64] = total - z[np.arange(len(z)), labels]
    return losses


@contextmanager
def evaluating(network: Module) -> Iterator[Module]:
    """A network in evaluation mode; afterwards every module has its own mode again.

    Parameters
    ----------
    network : Module
    """
    modes = [(module, module.training) for module in network.modules()]
    try:
        yield network.eval()
    finally:
        for module, training in modes:
            module.training = training


def _logits(network: Module | Callable[[Array], Array], images: Array) -> Array:
    if not isinstance(network, Module):
        return np.asarray(network(images))
    with evaluating(network), no_grad():
        z: Array = network(Tensor(images)).numpy()
    return z
