"""Layers without weights: the identity, other shapes, dropout."""

from __future__ import annotations

from typing import TYPE_CHECKING

from minigrad import ops
from minigrad.arguments import integer, number
from minigrad.nn.module import Module
from minigrad.tensor import Tensor

if TYPE_CHECKING:
    from numpy.random import Generator

__all__ = ["Dropout", "Flatten", "GlobalAvgPool", "Identity", "StochasticDepth"]


class Identity(Module):
    """y = x.

    Examples
    --------
    >>> from minigrad import nn, ones
    >>> nn.Identity()(ones(2)).tolist()
    [1.0, 1.0]
    """

    def forward(self, x: Tensor) -> Tensor:
        return x


class GlobalAvgPool(Module):
    """The mean of each map: (N, C, H, W) to (N, C, 1, 1).

    Examples
    --------
    >>> from minigrad import nn, ones
    >>> nn.GlobalAvgPool()(ones(2, 3, 4, 4)).shape
    (2, 3, 1, 1)
    """

    def forward(self, x: Tensor) -> Tensor:
        return ops.global_avg_pool(x)


class Flatten(Module):
    """Several axes become one: by default (N, C, H, W) to (N, C H W).

    Parameters
    ----------
    start_dim, end_dim : int
        The first and the last of them.

    Raises
    ------
    ArgumentError
        If an axis is no integer.

    Examples
    --------
    >>> from minigrad import nn, ones
    >>> nn.Flatten()(ones(2, 3, 4, 4)).shape
    (2, 48)
    """

    def __init__(self, start_dim: int = 1, end_dim: int = -1) -> None:
        self.start_dim = integer("Flatten", "start_dim", start_dim)
        self.end_dim = integer("Flatten", "end_dim", end_dim)

    def forward(self, x: Tensor) -> Tensor:
        return ops.flatten(x, self.start_dim, self.end_dim)


class Dropout(Module):
    """In training, each value is 0 with probability p, and divided by 1 - p otherwise.

    Parameters
    ----------
    p : float
        At least 0 and below 1.
    rng : numpy.random.Generator or int, optional
        Where the randomness comes from, or its seed; None draws fresh entropy.

    Raises
    ------
    ArgumentError
        If p lies outside.

    Examples
    --------
    >>> from minigrad import nn, ones
    >>> nn.Dropout(0.5).eval()(ones(2)).tolist()
    [1.0, 1.0]
    """

    def __init__(self, p: float = 0.5, rng: Generator | None = None) -> None:
        self.p, self.rng = number("Dropout", "p", p, least=0, below=1), rng

    def forward(self, x: Tensor) -> Tensor:
        return ops.dropout(x, self.p, self.training, self.rng) if self.p else x

    def extra_repr(self) -> str:
        return f"p={self.p:g}"


class StochasticDepth(Module):
    """In training, each sample is 0 with probability p, and divided by 1 - p otherwise.

    Source: Huang et al., "Deep Networks with Stochastic Depth" (2016); divided by the
    survival in training, not multiplied in evaluation, as TensorFlow's EfficientNet does.

    Parameters
    ----------
    p : float
        At least 0 and below 1.
    rng : numpy.random.Generator or int, optional
        As for ``Dropout``.

    Raises
    ------
    ArgumentError
        As ``Dropout`` does.

    Examples
    --------
    >>> from minigrad import nn, ones
    >>> nn.StochasticDepth(0.5).eval()(ones(2, 1)).tolist()
    [[1.0], [1.0]]
    """

    def __init__(self, p: float, rng: Generator | None = None) -> None:
        self.p, self.rng = number("StochasticDepth", "p", p, least=0, below=1), rng

    def forward(self, x: Tensor) -> Tensor:
        return ops.stochastic_depth(x, self.p, self.training, self.rng) if self.p else x

    def extra_repr(self) -> str:
        return f"p={self.p:g}"
