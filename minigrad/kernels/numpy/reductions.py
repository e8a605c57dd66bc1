"""Sums, and what is made of them along the last axis.

Every sum is kept in float64 and pairwise, and rounded once at its end: a float32 sum has
the accuracy of float64, and a float64 sum loses less than one number after another would.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from minigrad.kernels.contract import INNER, Array
from minigrad.kernels.softmax import Softmax

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = [
    "log_softmax", "log_softmax_input_grad", "softmax", "softmax_input_grad", "sum",
]  # fmt: skip


def total(x: Array, axes: Sequence[int], dtype: npt.DTypeLike = np.float64) -> Array:
    """The sum over ``axes`` in float64, rounded to ``dtype`` as ``rounded`` does.

    NumPy adds in pairs only along memory, so the summed axes are laid side by side first.
    """
    kept = [a for a in range(x.ndim) if a not in axes]
    terms = x.transpose(*kept, *axes)
    shape = terms.shape[: len(kept)]
    rows = np.ascontiguousarray(terms.reshape(*shape, math.prod(terms.shape[len(kept) :])))
    sums: Array = np.asarray(rows.sum(axis=-1, dtype=np.float64), dtype)
    y: Array = sums.reshape(shape)
    return y


def product(a: Array, b: Array) -> Array:
    """a b^T over the last axis of both, which BLAS is given in pieces of ``INNER`` terms.

    BLAS adds in the dtype of the arrays; the sums of the pieces are added in float64.
    """
    if a.shape[-1] <= INNER:
        whole: Array = a @ b.swapaxes(-1, -2)
        return whole
    pieces = (slice(k, k + INNER) for k in range(0, a.shape[-1], INNER))
    products = (a[..., piece] @ b[..., piece].swapaxes(-1, -2) for piece in pieces)
    y: Array = functools.reduce(np.add, (p.astype(np.float64) for p in products))
    return rounded(y, a.dtype)


def rounded(y: Array, dtype: np.dtype[np.generic]) -> Array:
    """float64 in ``dtype``; what is too large for it is infinite, as IEEE 754 has it."""
    result: Array = y.astype(dtype, copy=False)
    return result


def sum(x: Array, axes: tuple[int, ...], keepdims: bool) -> Array:
    """The sum over ``axes``."""
    y = total(x, axes, x.dtype)
    return np.expand_dims(y, axes) if keepdims else y


def _along(x: Array) -> Array:
    """The sum along the last axis, which is kept."""
    return sum(x, (x.ndim - 1,), keepdims=True)


def _product_along(g: Array, y: Array) -> Array:
    """The sum of g y along the last axis, which is kept."""
    return rounded(_along(g.astype(np.float64) * y), g.dtype)


_softmax = Softmax(np.exp, np.log, _along, _product_along)
softmax, softmax_input_grad = _softmax.softmax, _softmax.softmax_input_grad
log_softmax, log_softmax_input_grad = _softmax.log_softmax, _softmax.log_softmax_input_grad
