"""Integers of a quantised network, as floats of the same value, and how they are rounded.

    rescale      y = round(x m 2^(s - 31)), the product with a factor of 31 bits
    lookup       y = table[x - first], any function of one small integer
    round_away   y = round(x + offset) - offset, halves away from zero

Each result is held between two bounds.  A sum of products of 8-bit integers needs 32 bits, which
float64 holds exactly, so convolutions and sums of such integers are the ordinary ones, in float64.
A step function has no slope between its steps: no gradient is sought in x.
"""

from __future__ import annotations

import numpy as np

from minigrad.tensor import Array, Tensor, primitive

__all__ = ["lookup", "rescale", "round_away"]

HALF = 1 << 30  # of the 31 bits behind the point


@primitive(images=("x",), flat=("x",))
def _rescale(
    x: Array, *, multiplier: Array, shift: Array, low: float, high: float, once: bool
) -> Array:
    """y = x m 2^(s - 31), rounded once, or at 2^-31 and then again; between low and high."""
    along = (-1,) + (1,) * max(x.ndim - 2, 0) if multiplier.size > 1 else ()
    m, left, right = (
        v.astype(np.int64).reshape(along)
        for v in (multiplier, np.maximum(shift, 0), np.maximum(-shift, 0))
    )
    y = (x.astype(np.int64) << left) * m
    if once:
        y = (y + (HALF << right)) >> (right + 31)
    else:
        y = (y + HALF) >> 31
        y += ((1 << right) >> 1) + ((y >> 63) & -(right > 0).astype(np.int64))
        y >>= right
    return np.asarray(np.clip(y, low, high), x.dtype)


def rescale(
    x: Tensor, multiplier: Array, shift: Array, low: float, high: float, once: bool = False
) -> Tensor:
    """x times a factor, rounded to an integer as fixed-point arithmetic does.

        y = round(round(x 2^max(s, 0) m / 2^31) / 2^max(-s, 0)),  low <= y <= high

    The inner rounding takes halves up, the outer one away from zero.

    Parameters
    ----------
    x : Tensor
        Integers of at most 32 bits, as floats of the same value.
    multiplier, shift : ndarray of int64, of one element or one for each index of axis 1
        m from 2^30 to 2^31 - 1, or 0, and s from -31 to 30: the factor is m 2^(s - 31).
    low, high : float
    once : bool
        Round once, halves up.

    Returns
    -------
    Tensor
    """
    return _rescale(x, multiplier=multiplier, shift=shift, low=low, high=high, once=once)


@primitive(images=("x",), flat=("x",))
def _lookup(x: Array, *, table: Array, first: int) -> Array:
    """y = table[x - first]; the ends of the table stand for what lies outside."""
    at = np.clip(x.astype(np.int64) - first, 0, len(table) - 1)
    return table[at].astype(x.dtype)


def lookup(x: Tensor, table: Array, first: int) -> Tensor:
    """A function of an integer by its table: y = table[x - first].

    Parameters
    ----------
    x : Tensor
        Integers, as floats of the same value; the ends of the table stand for those outside.
    table : ndarray, (n,)
    first : int
        The integer that the table begins with.

    Returns
    -------
    Tensor
    """
    return _lookup(x, table=table, first=first)


@primitive(images=("x",), flat=("x",))
def _round_away(x: Array, *, offset: float, low: float, high: float) -> Array:
    """y = round(x + offset) - offset, halves away from zero; NaN becomes low."""
    moved = np.clip(x + x.dtype.type(offset), low + offset, high + offset)
    y = np.trunc(moved)
    y += np.trunc(2 * (moved - y))  # -1, 0 or 1: a half or more is left
    return np.where(np.isnan(y), low, y - offset).astype(x.dtype)


def round_away(x: Tensor, low: float, high: float, offset: float = 0.0) -> Tensor:
    """x + offset rounded to an integer, halves away from zero, without the offset again.

    Parameters
    ----------
    x : Tensor
    low, high : float
        Bounds of the result; NaN becomes ``low``.
    offset : float
        What zero means.

    Returns
    -------
    Tensor
    """
    return _round_away(x, offset=offset, low=low, high=high)
