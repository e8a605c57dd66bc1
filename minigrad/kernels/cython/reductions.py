"""Sums in an order that the shape alone decides (``kernels/sums``), and what is made of them.

The rule is in ``kernels/contract.py``, the kernels in ext/reduce.pyx.tp.
"""

from __future__ import annotations

import numpy as np

from minigrad.arrays import Array
from minigrad.kernels.cython.core import core
from minigrad.kernels.cython.layout import dense, pixels
from minigrad.kernels.sums import Sums
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


def _columns(x: Array) -> Array:
    y = np.empty((x.shape[0], x.shape[2]), x.dtype)
    if y.size:
        core.column_sums(x, y, None, num_threads())
    return y


def _rows(x: Array) -> Array:
    y = np.empty(x.shape[0], x.dtype)
    if y.size:
        core.row_sums(x, y, num_threads())
    return y


sum = Sums(_columns, _rows, pixels).sum
