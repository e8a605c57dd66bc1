"""Functions of two numbers, for plans: ext/pairs.pyx.tp."""

from __future__ import annotations

from typing import Any

import numpy as np

from minigrad.kernels.contract import Array
from minigrad.kernels.cython.core import core
from minigrad.kernels.cython.layout import is_channels_last, nchw

__all__ = ["PAIRS", "bind_pair"]

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
