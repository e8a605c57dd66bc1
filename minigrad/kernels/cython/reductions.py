"""Sums in an order that the shape alone decides, and what is made of them.

The rule is in ``kernels/contract.py``, the kernels in ext/reduce.pyx.tp.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from minigrad.arrays import Array
from minigrad.kernels.cython.core import core
from minigrad.kernels.cython.layout import dense, nchw, pixels, regular
from minigrad.threads import num_threads

__all__ = [
    "log_softmax",
    "log_softmax_input_grad",
    "softmax",
    "softmax_input_grad",
    "sum",
]


def softmax(x: Array) -> Array:
    """e^(x - m) / sum e^(x - m) along the last axis, m its maximum."""
    return _softmax(x, logarithm=False)


def log_softmax(x: Array) -> Array:
    """(x - m) - ln sum e^(x - m) along the last axis, m its maximum."""
    return _softmax(x, logarithm=True)


def _softmax(x: Array, logarithm: bool) -> Array:
    x = dense(x)
    y = np.empty_like(x)
    if x.size:
        rows = (-1, x.shape[-1])
        core.softmax(x.reshape(rows), y.reshape(rows), logarithm, num_threads())
    return y


def softmax_input_grad(g: Array, y: Array) -> Array:
    """y (g - sum g y), the products summed as a row."""
    return _softmax_input_grad(g, y, logarithm=False)


def log_softmax_input_grad(g: Array, y: Array) -> Array:
    """g - e^y sum g, summed as a row."""
    return _softmax_input_grad(g, y, logarithm=True)


def _softmax_input_grad(g: Array, y: Array, logarithm: bool) -> Array:
    g, y = dense(g), dense(y)
    dx = np.empty_like(y)
    if y.size:
        rows = (-1, y.shape[-1])
        core.softmax_gradient(
            g.reshape(rows), y.reshape(rows), dx.reshape(rows), logarithm, num_threads()
        )
    return dx


def sum(x: Array, axes: Sequence[int], keepdims: bool) -> Array:
    """The sum over ``axes``, in the order that the contract fixes."""
    axes = tuple(sorted(a % x.ndim for a in axes))
    if not axes:
        copy: Array = x.copy()
        return copy
    kept = tuple(k for k in range(x.ndim) if k not in axes)
    in_columns = x.ndim - 1 in kept or (x.ndim == 4 and 1 in kept)
    y = (_column_sums if in_columns else _row_sums)(x, axes, kept)
    return np.expand_dims(y, axes) if keepdims else y


def _column_sums(x: Array, axes: tuple[int, ...], kept: tuple[int, ...]) -> Array:
    """Lanes run across the kept axis whose numbers are neighbours."""
    inner = kept[0]
    if len(kept) > 1:
        inner = min(kept, key=lambda k: (x.shape[k] == 1, abs(x.strides[k])))
    if not regular(x) or (x.strides[inner] != x.itemsize and x.shape[inner] > 1):
        inner = kept[-1] if kept[-1] == x.ndim - 1 else 1
        x = nchw(pixels(x)) if inner == 1 and x.ndim == 4 else dense(x)
    outer = tuple(k for k in kept if k != inner)
    shape = [x.shape[k] for k in (*outer, inner)]
    y = np.empty(shape, x.dtype)
    if y.size:
        batch, length = math.prod(shape[:-1]), math.prod(x.shape[k] for k in axes)
        columns = x.transpose(*outer, *axes, inner).reshape(batch, length, shape[-1])
        core.column_sums(columns, y.reshape(batch, shape[-1]), None, num_threads())
    back: Array = y.transpose([(*outer, inner).index(k) for k in kept])
    return back


def _row_sums(x: Array, axes: tuple[int, ...], kept: tuple[int, ...]) -> Array:
    """16 chains an output, block by block."""
    shape = [x.shape[k] for k in kept]
    length = math.prod(x.shape[k] for k in axes)
    rows = dense(x.transpose(*kept, *axes)).reshape(math.prod(shape), length)
    y = np.empty(rows.shape[0], x.dtype)
    if y.size:
        core.row_sums(rows, y, num_threads())
    return y.reshape(shape)
