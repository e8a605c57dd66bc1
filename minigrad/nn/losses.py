"""Losses as layers, under PyTorch's names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from minigrad import ops
from minigrad.arguments import number, one_of
from minigrad.nn.module import Module
from minigrad.tensor import Operand, Tensor

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["CrossEntropyLoss", "MSELoss"]


class CrossEntropyLoss(Module):
    """The cross-entropy of a softmax and labels; see ``minigrad.cross_entropy``.

    Parameters
    ----------
    weight, ignore_index, reduction, label_smoothing
        As for ``minigrad.cross_entropy``, in PyTorch's order.

    Raises
    ------
    ArgumentError
        If ``label_smoothing`` or ``reduction`` lie outside.

    Examples
    --------
    >>> from minigrad import nn, zeros
    >>> round(nn.CrossEntropyLoss()(zeros(1, 10), [3]).item(), 4)
    2.3026
    """

    def __init__(
        self,
        weight: npt.ArrayLike | None = None,
        ignore_index: int | None = None,
        reduction: str = "mean",
        label_smoothing: float = 0.0,
    ) -> None:
        self.class_weights, self.ignore_index = weight, ignore_index
        self.reduction = _reduction("CrossEntropyLoss", reduction)
        self.label_smoothing = number(
            "CrossEntropyLoss", "label_smoothing", label_smoothing, least=0, most=1
        )

    def forward(self, x: Tensor, labels: npt.ArrayLike) -> Tensor:
        return ops.cross_entropy(
            x, labels, self.label_smoothing, self.class_weights, self.ignore_index, self.reduction
        )


class MSELoss(Module):
    """The squared error; see ``minigrad.mse_loss``.

    Parameters
    ----------
    reduction : {"mean", "sum", "none"}

    Raises
    ------
    ArgumentError
        For any other reduction.

    Examples
    --------
    >>> from minigrad import nn, ones, zeros
    >>> nn.MSELoss()(ones(2), zeros(2)).item()
    1.0
    """

    def __init__(self, reduction: str = "mean") -> None:
        self.reduction = _reduction("MSELoss", reduction)

    def forward(self, x: Tensor, target: Operand) -> Tensor:
        return ops.mse_loss(x, target, self.reduction)


def _reduction(layer: str, reduction: str) -> str:
    from minigrad.ops.loss import REDUCTIONS  # a network that is run needs no loss

    return one_of(layer, "reduction", reduction, REDUCTIONS)
