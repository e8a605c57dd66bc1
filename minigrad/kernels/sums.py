"""The sum over any axes, of what a backend has for columns and for rows.

A sum that keeps the last axis of x, or the channels of a map, is one of columns, any other one
of rows (the rule: ``contract``).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from minigrad.arrays import Array
from minigrad.kernels.layout import dense, nchw, regular

__all__ = ["Sums"]


class Sums(NamedTuple):
    """The function ``sum`` of the contract, as a method.

    Attributes
    ----------
    columns : callable
        sum_m x[b, m, k] of x (B, M, K), whose K are adjacent and which may be strided.
    rows : callable
        sum_m x[b, m] of x (B, M) in C order.
    pixels : callable
        (N, C, H, W) in any memory order as (N, H, W, C) in C order.
    """

    columns: Callable[[Array], Array]
    rows: Callable[[Array], Array]
    pixels: Callable[[Array], Array]

    def sum(self, x: Array, axes: Sequence[int], keepdims: bool) -> Array:
        """The sum over ``axes``, in the order that the contract fixes."""
        axes = tuple(sorted(a % x.ndim for a in axes))
        if not axes:
            copy: Array = x.copy()
            return copy
        kept = tuple(k for k in range(x.ndim) if k not in axes)
        in_columns = x.ndim - 1 in kept or (x.ndim == 4 and 1 in kept)
        y = (self._column_sums if in_columns else self._row_sums)(x, axes, kept)
        return np.expand_dims(y, axes) if keepdims else y

    def _column_sums(self, x: Array, axes: tuple[int, ...], kept: tuple[int, ...]) -> Array:
        """Lanes run across the kept axis whose numbers are neighbours."""
        inner = kept[0]
        if len(kept) > 1:
            inner = min(kept, key=lambda k: (x.shape[k] == 1, abs(x.strides[k])))
        if not regular(x) or (x.strides[inner] != x.itemsize and x.shape[inner] > 1):
            inner = kept[-1] if kept[-1] == x.ndim - 1 else 1
            x = nchw(self.pixels(x)) if inner == 1 and x.ndim == 4 else dense(x)
        outer = tuple(k for k in kept if k != inner)
        shape = [x.shape[k] for k in (*outer, inner)]
        batch, length = math.prod(shape[:-1]), math.prod(x.shape[k] for k in axes)
        columns = x.transpose(*outer, *axes, inner).reshape(batch, length, shape[-1])
        back = [(*outer, inner).index(k) for k in kept]
        y: Array = self.columns(columns).reshape(shape).transpose(back)
        return y

    def _row_sums(self, x: Array, axes: tuple[int, ...], kept: tuple[int, ...]) -> Array:
        """16 chains an output, block by block."""
        shape = [x.shape[k] for k in kept]
        length = math.prod(x.shape[k] for k in axes)
        rows = dense(x.transpose(*kept, *axes)).reshape(math.prod(shape), length)
        return self.rows(rows).reshape(shape)
