"""How well named pixels agree with those of a mask.

n[a, b] counts the pixels of class a that were named b; what a mask ignores is not counted.

    accuracy = sum_a n[a, a] / sum_ab n[a, b]
    IoU_a    = n[a, a] / (sum_b n[a, b] + sum_b n[b, a] - n[a, a])
    mIoU     = the mean of IoU_a over the classes that are in a mask or were named

Everingham et al., "The PASCAL VOC Challenge" (2010), section 4.3.  Counts are of all
photographs together, as the benchmarks have it.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from minigrad.errors import ShapeError

__all__ = ["Agreement", "Confusion"]

Counts = npt.NDArray[np.int64]


class Agreement(NamedTuple):
    """Shares from 0 to 1; NaN where nothing was counted.

    Attributes
    ----------
    pixel_accuracy, mean_iou : float
    iou : ndarray, (K,)
        Of each class.
    """

    pixel_accuracy: float
    mean_iou: float
    iou: npt.NDArray[np.float64]


class Confusion:
    """The counts n[a, b], photograph by photograph.

    Parameters
    ----------
    num_classes : int
    ignored : int, optional
        The number in a mask whose pixels do not count.

    Examples
    --------
    >>> confusion = Confusion(2)
    >>> confusion.add(np.array([[0, 1], [1, 1]]), np.array([[0, 1], [0, 255]]))
    >>> confusion.agreement().iou.tolist()
    [0.5, 0.5]
    """

    def __init__(self, num_classes: int, ignored: int | None = 255) -> None:
        self.num_classes, self.ignored = num_classes, ignored
        self.counts: Counts = np.zeros((num_classes, num_classes), np.int64)

    def add(self, named: npt.NDArray[np.integer], mask: npt.NDArray[np.integer]) -> None:
        """Count the pixels of one photograph.

        Raises
        ------
        ShapeError
            If the mask has another size, or holds a number that is no class.
        """
        if named.shape != mask.shape:
            raise ShapeError(f"the mask is {mask.shape}, the photograph {named.shape}")
        counted = np.ones(mask.shape, bool) if self.ignored is None else mask != self.ignored
        true, said = mask[counted].astype(np.int64), named[counted].astype(np.int64)
        k = self.num_classes
        if true.size and not 0 <= true.min() <= true.max() < k:
            raise ShapeError(f"the mask holds {true.max()}, but there are {k} classes")
        self.counts += np.bincount(k * true + said, minlength=k * k).reshape(k, k)

    def agreement(self) -> Agreement:
        """The shares, of all photographs together."""
        hits = np.diag(self.counts).astype(np.float64)
        union = self.counts.sum(0) + self.counts.sum(1) - hits
        total = float(self.counts.sum())
        with np.errstate(invalid="ignore"):
            iou = hits / union
        seen = union > 0
        return Agreement(
            float(hits.sum() / total) if total else float("nan"),
            float(iou[seen].mean()) if seen.any() else float("nan"),
            iou,
        )
