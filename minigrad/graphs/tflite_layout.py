"""Where the axes of a value are: a file has channels last, minigrad channels second.

A value with four axes is carried as (N, C, H, W), any other as the file has it.  In memory maps
are channels-last anyway, so that nothing moves: an operator's axis is renamed, weights are turned
once when the file is read, and only what gives a map another number of axes sees the file's order.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

from minigrad import ops
from minigrad.errors import ShapeError
from minigrad.formats.numbers import Array
from minigrad.tensor import Tensor

__all__ = [
    "TO_CARRIED", "TO_FILE", "axes_of", "axis_of", "carried", "carried_sizes", "in_file_order",
    "permuted", "ranked", "turned",
]  # fmt: skip

TO_FILE = (0, 2, 3, 1)  # the file's axis k is the carried axis TO_FILE[k]
TO_CARRIED = (0, 3, 1, 2)
Size = TypeVar("Size")


def axis_of(axis: int, ndim: int, operator: str) -> int:
    """Where the file's axis is."""
    if not -ndim <= axis < ndim:
        raise ShapeError(f"{operator}: axis {axis} is out of range for {ndim} axes")
    return TO_FILE[axis] if ndim == 4 else axis % ndim


def axes_of(axes: Sequence[int], ndim: int, operator: str) -> tuple[int, ...]:
    """The same of several axes, each once."""
    return tuple(dict.fromkeys(axis_of(axis, ndim, operator) for axis in axes))


def carried_sizes(sizes: Sequence[Size]) -> tuple[Size, ...]:
    """The sizes of a value in the order in which it is carried."""
    return tuple(sizes[i] for i in TO_CARRIED) if len(sizes) == 4 else tuple(sizes)


def in_file_order(x: Tensor) -> Tensor:
    """A carried value with the file's axes."""
    return permuted(x, TO_FILE) if x.ndim == 4 else x


def carried(x: Tensor) -> Tensor:
    """A value with the file's axes as it is carried."""
    return permuted(x, TO_CARRIED) if x.ndim == 4 else x


def permuted(x: Tensor, order: Sequence[int]) -> Tensor:
    """x with its axes in this order; a reshape if only axes of length 1 move."""
    moved = [i for i in order if x.shape[i] != 1]
    if list(order) == list(range(x.ndim)):
        return x
    if moved == sorted(moved):
        return ops.reshape(x, tuple(x.shape[i] for i in order))
    return ops.permute(x, tuple(order))


def ranked(xs: Sequence[Tensor]) -> list[Tensor]:
    """Values of several numbers of axes so that they broadcast as the file says."""
    most = max(x.ndim for x in xs)
    if most < 4 or all(x.ndim in (0, most) for x in xs):
        return list(xs)
    wide = []
    for x in map(in_file_order, xs):
        whole = ops.reshape(x, (*(1,) * (most - x.ndim), *x.shape))
        wide.append(carried(whole))
    return wide


def turned(array: Array, order: Sequence[int] | None) -> Array:
    """A constant as it is carried, or with its axes in another order."""
    axes = TO_CARRIED if order is None and array.ndim == 4 else order
    return array if axes is None else np.transpose(array, axes)
