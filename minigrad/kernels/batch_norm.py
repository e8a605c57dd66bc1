"""Batch normalisation and its gradient, of what a backend has for sums and for each number.

    y  = (x - mean) scale + beta,                 scale = gamma / sqrt(var + eps)
    dx = gamma r ((g - mean(g)) - xhat mean(g xhat)),
                                                  r = 1 / sqrt(var + eps),  xhat = (x - mean) r

Channels lie along axis 1.  Sums and means are float64 until they are rounded, once; the rest is
rounded operation by operation, so two backends with the same sums have the same bits.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from minigrad.arrays import Array

__all__ = ["BatchNorm", "scale_of"]


def scale_of(gamma: Array, var: Array, eps: float) -> Array:
    """gamma / sqrt(var + eps), in the dtype of gamma."""
    scale: Array = gamma / np.sqrt(var + gamma.dtype.type(eps))
    return scale


class BatchNorm(NamedTuple):
    """The four functions of the contract, as methods.

    Attributes
    ----------
    rows : callable
        x as the three sums read it.
    total : callable
        sum x of each channel, in float64.
    squares : callable
        sum (x - mean)^2, given x and the float64 mean.
    products : callable
        sum g and sum g (x - mean), given g, x and the float64 mean.
    scaled : callable
        (x - mean) scale + shift, given x and the three.
    slope : callable
        scale ((g - a) - ((x - mean) r) b), given g, x and the five vectors mean, r, scale, a, b.
    """

    rows: Callable[[Array], Array]
    total: Callable[[Array], Array]
    squares: Callable[[Array, Array], Array]
    products: Callable[[Array, Array, Array], tuple[Array, Array]]
    scaled: Callable[[Array, Array, Array, Array], Array]
    slope: Callable[..., Array]

    def batch_norm(
        self, x: Array, mean: Array, var: Array, gamma: Array, beta: Array, eps: float
    ) -> Array:
        """y = (x - mean) scale + beta, scale = gamma / sqrt(var + eps): every operation rounded."""
        return self.scaled(x, mean, scale_of(gamma, var, eps), beta)

    def batch_norm_statistics(self, x: Array) -> tuple[Array, Array]:
        """The mean and the biased variance of each channel of a batch x (N, C, ...).

        mean = sum x / m, then var = sum (x - mean)^2 / m with that mean before it is rounded,
        and m = N H W.
        """
        rows, count = self.rows(x), _count(x)
        mean = self.total(rows) / count
        var = self.squares(rows, mean) / count
        return mean.astype(x.dtype), var.astype(x.dtype)

    def batch_norm_sums(
        self, g: Array, x: Array, mean: Array, var: Array, eps: float
    ) -> tuple[Array, Array]:
        """sum g and sum g xhat of each channel, xhat = (x - mean) / sqrt(var + eps)."""
        along, across = self._sums(g, x, mean, var, eps)
        return along.astype(x.dtype), across.astype(x.dtype)

    def batch_norm_input_grad(
        self, g: Array, x: Array, mean: Array, var: Array, gamma: Array, eps: float
    ) -> Array:
        """dx = gamma r ((g - mean(g)) - xhat mean(g xhat)), xhat = (x - mean) r.

        ``mean`` and ``var`` are the batch's own; see ``batch_norm_statistics``.
        """
        sums, count = self._sums(g, x, mean, var, eps), _count(x)
        a, b = ((s / count).astype(x.dtype) for s in sums)
        r = 1 / np.sqrt(var + x.dtype.type(eps))
        return self.slope(g, x, mean, r, gamma * r, a, b)

    def _sums(self, g: Array, x: Array, mean: Array, var: Array, eps: float) -> tuple[Array, Array]:
        """sum g and sum g xhat in float64."""
        wide = mean.astype(np.float64, order="C")
        along, across = self.products(self.rows(g), self.rows(x), wide)
        return along, across * (1 / np.sqrt(var.astype(np.float64) + eps))


def _count(x: Array) -> np.float64:
    """How many numbers a channel has."""
    count: np.float64 = np.float64(x.shape[0] * math.prod(x.shape[2:]))
    return count
