"""Sums over axes, and the softmax along the last one, term after term in float64."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import numpy as np

from minigrad.kernels.contract import Array

__all__ = ["log_softmax", "log_softmax_input_grad", "softmax", "softmax_input_grad", "sum"]


def sum(x: Array, axes: tuple[int, ...], keepdims: bool) -> Array:
    """The sum over ``axes``."""
    y = np.zeros([1 if k in axes else n for k, n in enumerate(x.shape)])
    for at in np.ndindex(*x.shape):
        y[tuple(0 if k in axes else i for k, i in enumerate(at))] += x[at]
    total = y.astype(x.dtype)
    return total if keepdims else np.asarray(total.squeeze(axes))


def _total(values: Iterable[float]) -> float:
    total = 0.0
    for v in values:
        total += v
    return total


def rows(f: Callable[..., list[float]], *arrays: Array) -> Array:
    """f of each row along the last axis (of several arrays)."""
    y = np.empty(arrays[0].shape)
    for at in np.ndindex(*y.shape[:-1]):
        y[at] = f(*(a[at].tolist() for a in arrays))
    return y.astype(arrays[0].dtype)


def _exponentials(x: list[float]) -> list[float]:
    largest = max(x) if x else 0.0
    return [math.exp(v - largest) for v in x]


def softmax(x: Array) -> Array:
    """y_k = e^(x_k - m) / sum_j e^(x_j - m), m the maximum of the row."""

    def row(x: list[float]) -> list[float]:
        e = _exponentials(x)
        total = _total(e)
        return [v / total for v in e]

    return rows(row, x)


def log_softmax(x: Array) -> Array:
    """y_k = x_k - m - log sum_j e^(x_j - m), m the maximum of the row."""

    def row(x: list[float]) -> list[float]:
        if not x:
            return []
        largest, log = max(x), math.log(_total(_exponentials(x)))
        return [v - largest - log for v in x]

    return rows(row, x)


def softmax_input_grad(g: Array, y: Array) -> Array:
    """dx_k = y_k (g_k - sum_j g_j y_j)."""

    def row(g: list[float], y: list[float]) -> list[float]:
        along = _total(a * b for a, b in zip(g, y, strict=True))
        return [b * (a - along) for a, b in zip(g, y, strict=True)]

    return rows(row, g, y)


def log_softmax_input_grad(g: Array, y: Array) -> Array:
    """dx_k = g_k - e^(y_k) sum_j g_j."""

    def row(g: list[float], y: list[float]) -> list[float]:
        total = _total(g)
        return [a - math.exp(b) * total for a, b in zip(g, y, strict=True)]

    return rows(row, g, y)
