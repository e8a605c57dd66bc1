"""Sums over axes, and what follows from them.

    y = sum_k x_k           x̄_k = ȳ                     (the transpose of a broadcast)
    y = max_k x_k           x̄_k = ȳ / #{j : x_j = y}    where x_k = y, else 0

The maximum shares its cotangent equally between ties (PyTorch's amax).
mean and var are compositions; var divides by n - correction (correction 1 by default,
as in PyTorch; BatchNorm normalises with correction 0).
"""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from minigrad.errors import ShapeError
from minigrad.kernels import run
from minigrad.ops.shaping import broadcast_to, reshape
from minigrad.tensor import Array, Shape, Tensor, from_numpy, primitive

__all__ = ["max", "mean", "sum", "var"]

Axes = int | Sequence[int] | None


def _axes(axis: Axes, x: Tensor) -> tuple[int, ...]:
    """``axis`` as a sorted tuple of axes >= 0; None means all."""
    several: Any = axis if hasattr(axis, "__len__") else (axis,)
    given = range(x.ndim) if axis is None else [operator.index(a) for a in several]
    if any(not -x.ndim <= a < x.ndim for a in given):
        raise ShapeError(f"axis {axis} is out of range for shape {x.shape}")
    axes = tuple(sorted(a % x.ndim for a in given))
    if len(set(axes)) != len(axes):
        raise ShapeError(f"axis {axis} names an axis of {x.shape} twice")
    return axes


def _kept(shape: Shape, axes: tuple[int, ...]) -> Shape:
    """The shape with the summed axes of length 1."""
    return tuple(1 if k in axes else n for k, n in enumerate(shape))


def _reduced(x: Shape, *, axes: tuple[int, ...], keepdims: bool) -> Shape:
    if keepdims:
        return _kept(x, axes)
    return tuple(n for k, n in enumerate(x) if k not in axes)


@primitive
def _sum(x: Array, *, axes: tuple[int, ...], keepdims: bool) -> Array:
    """y = the sum of x over ``axes``."""
    return run("sum", x, axes, keepdims)


_sum.shape(_reduced)


@_sum.vjp("x", "x̄ = ȳ, repeated over the summed axes")
def _sum_x(g: Tensor, x_shape: Shape, axes: tuple[int, ...]) -> Tensor:
    return broadcast_to(reshape(g, _kept(x_shape, axes)), x_shape)


def sum(x: Tensor, axis: Axes = None, keepdims: bool = False) -> Tensor:
    """The sum over ``axis`` (an axis, several, or None for all)."""
    return _sum(x, axes=_axes(axis, x), keepdims=keepdims)


def mean(x: Tensor, axis: Axes = None, keepdims: bool = False) -> Tensor:
    """The sum over ``axis`` divided by how many elements that are."""
    count = math.prod(x.shape[a] for a in _axes(axis, x))
    return sum(x, axis, keepdims) / count


def var(x: Tensor, axis: Axes = None, keepdims: bool = False, correction: int = 1) -> Tensor:
    """sum (x - mean)^2 / (n - correction) over ``axis``."""
    count = math.prod(x.shape[a] for a in _axes(axis, x)) - correction
    centred = x - mean(x, axis, keepdims=True)
    return sum(centred * centred, axis, keepdims) / count


@primitive
def _max(x: Array, *, axes: tuple[int, ...], keepdims: bool) -> Array:
    """y = the maximum of x over ``axes``; NaN if one is."""
    y = np.asarray(np.max(x, axis=axes, keepdims=True))
    return y if keepdims else y.squeeze(axes)


_max.shape(_reduced)


@_max.vjp("x", "x̄ = ȳ / ties where x is the maximum, else 0")
def _max_x(g: Tensor, x: Tensor, y: Tensor, axes: tuple[int, ...]) -> Tensor:
    kept = _kept(x.shape, axes)
    chosen = ((x.array == y.array.reshape(kept)) | np.isnan(x.array)).astype(x.dtype)
    share = from_numpy(chosen / chosen.sum(axis=axes, keepdims=True))
    return broadcast_to(reshape(g, kept), x.shape) * share


def max(x: Tensor, axis: Axes = None, keepdims: bool = False) -> Tensor:
    """The maximum over ``axis`` (an axis, several, or None for all).

    Raises
    ------
    ShapeError
        If there is nothing to take the maximum of.
    """
    axes = _axes(axis, x)
    if 0 in (x.shape[a] for a in axes):
        raise ShapeError(f"max over axes {axes} of shape {x.shape}: there are no elements")
    return _max(x, axes=axes, keepdims=keepdims)
