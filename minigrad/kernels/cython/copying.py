"""Numbers moved as they are, for plans: ext/copies.pyx.tp."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from minigrad.arrays import Array
from minigrad.kernels.cython.core import core

__all__ = ["bind_copies"]

AXES = 4  # of a piece


def bind_copies(pairs: Sequence[tuple[Array, Array]]) -> Any:
    """The call that writes y[...] = x[...] for each (x, y); x may repeat numbers, y may not."""
    return core.CopyCall([piece for x, y in pairs for piece in _pieces(*_merged(x, y))])


def _merged(x: Array, y: Array) -> tuple[Array, Array]:
    """The same numbers with as few axes as they have, in the order of y's memory."""
    order = sorted((k for k in range(y.ndim) if y.shape[k] > 1), key=lambda k: -abs(y.strides[k]))
    axes: list[list[int]] = []  # length, step in x, step in y
    for k in order:
        length, xs, ys = y.shape[k], x.strides[k], y.strides[k]
        if axes and axes[-1][1] == length * xs and axes[-1][2] == length * ys:
            axes[-1] = [axes[-1][0] * length, xs, ys]
        else:
            axes.append([length, xs, ys])
    axes = [[1, 0, 0]] * (AXES - len(axes)) + axes
    shape, sx, sy = (tuple(axis[k] for axis in axes) for k in range(3))
    strided = np.lib.stride_tricks.as_strided
    return strided(x, shape, sx, writeable=False), strided(y, shape, sy)


def _pieces(x: Array, y: Array) -> Iterator[tuple[Array, Array]]:
    """Pieces of four axes."""
    if x.ndim <= AXES:
        yield x, y
        return
    for u, v in zip(x, y, strict=True):
        yield from _pieces(u, v)
