"""A tensor whose shape and dtype are known before its values, or without them.

Two kinds of tensor are so: a Symbol, of which a recorded model only needs the shape, and a
module's Stored tensor, whose values are drawn or adopted when somebody asks for them.  Each
says in its ``array`` what it means to be asked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from minigrad.tensor import Dtype, Shape, Tensor, Version

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["Shaped"]


class Shaped(Tensor):
    """Shape and dtype kept apart from the values."""

    __slots__ = ("_dtype", "_shape")

    def __init__(self, shape: Shape, dtype: npt.DTypeLike) -> None:
        self._shape, self._dtype = tuple(shape), np.dtype(dtype)
        self.grad, self.node, self.version = None, None, Version()
        self.requires_grad = False

    @property
    def shape(self) -> Shape:
        """The length of every axis."""
        return self._shape

    @property
    def dtype(self) -> Dtype:
        """float32 or float64."""
        return self._dtype
