"""Softmax, its logarithm and their gradients, of what a backend has for exp, log and sums.

    f            dx
    softmax      y (g - sum g y)
    log_softmax  g - e^y sum g

Everything is along the last axis.  What is not a sum is rounded operation by operation, so two
backends with the same exp, log and sums have the same bits.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from minigrad.arrays import Array

__all__ = ["Softmax"]


class Softmax(NamedTuple):
    """The four functions of the contract, as methods.

    Attributes
    ----------
    exp, log : callable
        The functions of one number.
    total, product : callable
        The sum of x, or of the products g y, along the last axis, which is kept.
    """

    exp: Callable[[Array], Array]
    log: Callable[[Array], Array]
    total: Callable[[Array], Array]
    product: Callable[[Array, Array], Array]

    def softmax(self, x: Array) -> Array:
        """e^(x - m) / sum e^(x - m) along the last axis, m its maximum."""
        e = self.exp(_below_maximum(x))
        return np.asarray(e / self.total(e)) if x.size else e

    def log_softmax(self, x: Array) -> Array:
        """(x - m) - ln sum e^(x - m) along the last axis, m its maximum."""
        z = _below_maximum(x)
        return np.asarray(z - self.log(self.total(self.exp(z)))) if x.size else z

    def softmax_input_grad(self, g: Array, y: Array) -> Array:
        """y (g - sum g y), the sum along the last axis."""
        return np.asarray(y * (g - self.product(g, y)))

    def log_softmax_input_grad(self, g: Array, y: Array) -> Array:
        """g - e^y sum g, the sum along the last axis."""
        return np.asarray(g - self.exp(y) * self.total(g))


def _below_maximum(x: Array) -> Array:
    """x - m, m the maximum along the last axis."""
    return np.asarray(x - x.max(axis=-1, keepdims=True)) if x.size else x.copy()
