"""Functions of two numbers, for plans: ext/pairs.pyx.tp."""

from __future__ import annotations

from typing import Any

import numpy as np

from minigrad.arrays import Array
from minigrad.kernels.cython.core import core
from minigrad.kernels.cython.layout import is_channels_last, nchw, regular

__all__ = ["PAIRS", "bind_pair", "bind_views"]

PAIRS = ("add", "sub", "mul", "div", "maximum", "minimum", "prelu")


def bind_pair(name: str, a: Array, b: Array, y: Array) -> Any:
    """The call that writes y = f(a, b); a and b have y's shape, and may repeat numbers.

    A map is channels-last in memory, another array in C order.
    """
    places = y.shape if y.ndim == 4 else (1, y.size, 1, 1)
    y = y.reshape(places)
    a, b = (x if x.ndim == 4 else _as_column(x, places) for x in (a, b))
    kinds = [_placed(x) for x in (a, b)]
    whole = all(k in ("whole", "one") for _, k in kinds)
    arrays = [_pixels(x, whole) for x in (*(x for x, _ in kinds), y)]
    return core.PairCall(name, *arrays)


def _as_column(x: Array, places: tuple[int, ...]) -> Array:
    """x, of any axes, as a map of one pixel."""
    one = not any(x.strides)
    return (
        np.broadcast_to(x.reshape(-1)[:1].reshape(1, 1, 1, 1), places) if one else x.reshape(places)
    )


def _placed(x: Array) -> tuple[Array, str]:
    """A map in an order that the kernel reads, and what it repeats."""
    steps = [0 if n == 1 else step for n, step in zip(x.shape, x.strides, strict=True)]
    if not any(steps):
        return x, "one"
    if not steps[2] and not steps[3]:
        rows = np.ascontiguousarray(x[:, :, 0, 0]) if steps[1] else x[:, :, 0, 0]
        return np.broadcast_to(rows[:, :, None, None], x.shape), "channels"
    flat = nchw(np.ascontiguousarray(x.transpose(0, 2, 3, 1)))
    return (x if is_channels_last(x) and flat.strides == x.strides else flat), "whole"


def _pixels(x: Array, whole: bool) -> Array:
    """(N, P, C): C are the numbers of a row where no operand is one of channels."""
    n, c, h, w = x.shape
    sn, sc, sh, sw = x.strides
    shape, steps = ((n, h, w * c), (sn, sh, sc)) if whole else ((n, h * w, c), (sn, sw, sc))
    return np.lib.stride_tricks.as_strided(x, shape, steps)


def bind_views(name: str, a: Array, b: Array, y: Array) -> Any:
    """The call that writes y = f(a, b), and in every run reads a and b where they lie.

    None where the kernel cannot walk them: along the channels of maps, or in C order.
    """
    several = a, b, y
    if not y.size or not all(
        x.dtype == y.dtype and x.shape == y.shape and regular(x) for x in several
    ):
        return None
    for walk in (_rows_of_maps, _pixels_of_maps, _one_row):
        walked = [walk(x) for x in several]
        if all(x is not None for x in walked):
            return core.PairCall(name, *walked)
    return None


def _steps(x: Array) -> tuple[int, ...]:
    """The strides of a map, or of a matrix as one; 0 along what has one number."""
    strides = [s if n > 1 else 0 for n, s in zip(x.shape, x.strides, strict=True)]
    return (*strides, 0, 0)[:4]


def _rows_of_maps(x: Array) -> Array | None:
    """(N, H, W C) where the pixels of a row lie side by side."""
    if x.ndim not in (2, 4):
        return None
    n, c, h, w = (*x.shape, 1, 1)[:4]
    sn, sc, sh, sw = _steps(x)
    if sc not in (0, x.itemsize) or (c > 1 and not sc) or (w > 1 and sw != c * x.itemsize):
        return None
    return np.lib.stride_tricks.as_strided(x, (n, h, w * c), (sn, sh, x.itemsize))


def _pixels_of_maps(x: Array) -> Array | None:
    """(N, H W, C) where the pixels of an image lie at one step; C may repeat one number."""
    if x.ndim not in (2, 4):
        return None
    n, c, h, w = (*x.shape, 1, 1)[:4]
    sn, sc, sh, sw = _steps(x)
    if sc not in (0, x.itemsize) or (h > 1 and w > 1 and sh != w * sw):
        return None
    return np.lib.stride_tricks.as_strided(x, (n, h * w, c), (sn, sw if w > 1 else sh, sc))


def _one_row(x: Array) -> Array | None:
    """All numbers of an array in C order."""
    return x.reshape(1, 1, -1) if x.flags.c_contiguous else None
