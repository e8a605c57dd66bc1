"""Parameters and buffers: tensors whose values come late.

A tensor of a module knows its shape at once, but draws its values only when somebody asks
for them; loaded weights are adopted in their place, as they lie in memory.  Building a
network for given weights thus allocates nothing and draws nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import numpy as np
import numpy.typing as npt

from minigrad.errors import DtypeError
from minigrad.shaped import Shaped
from minigrad.tensor import FLOATS, Array, Shape, Tensor

__all__ = ["Buffer", "Draw", "Parameter", "Stored", "shapes_only"]

KEPT = ("grad", "requires_grad", "version")
Draw = Callable[[Shape, "int | None"], Array]

_shapes_only: ContextVar[bool] = ContextVar("minigrad_shapes_only", default=False)


@contextmanager
def shapes_only() -> Iterator[None]:
    """Inside, a tensor that has no values yet stands in as zeros that take no memory.

    For code that wants to know what a network would do to shapes, not to numbers.
    """
    token = _shapes_only.set(True)
    try:
        yield
    finally:
        _shapes_only.reset(token)


class Stored(Shaped):
    """A tensor of a module: its shape is known at once, its values when they are needed.

    Parameters
    ----------
    shape : tuple of int
    draw : callable
        ``draw(shape, seed)`` makes the first values, in float64; they are then rounded to
        the tensor's dtype, so that a float32 network is the rounding of its float64 twin.
    seed : int, optional
        What ``draw`` seeds its generator with; None draws fresh entropy.
    """

    __slots__ = ("_array", "_borrowed", "_draw", "_seed")

    def __init__(self, shape: Shape, draw: Draw, seed: int | None = None) -> None:
        super().__init__(shape, np.float32)
        self.redraw(draw, seed)

    def redraw(self, draw: Draw, seed: int | None = None) -> None:
        """Forget the values; the next ones come from ``draw``."""
        self._draw, self._seed = draw, seed
        self._array: Array | None = None
        self._borrowed = False
        self.version.count += 1

    @property
    def has_values(self) -> bool:
        """Whether the values were drawn or adopted already."""
        return self._array is not None

    @property
    def array(self) -> Array:  # type: ignore[override]
        """The values, drawn now if they were not needed before."""
        if self._array is None:
            if _shapes_only.get():
                return np.broadcast_to(np.zeros((), self._dtype), self._shape)
            self._array = self._draw(self._shape, self._seed).astype(self._dtype, copy=False)
        return self._array

    def adopt(self, values: Array) -> None:
        """Take ``values`` themselves, without a copy; the first change copies them."""
        self._array, self._borrowed = values, True
        self.version.count += 1

    def convert(self, dtype: npt.DTypeLike) -> None:
        """Change the dtype; values that are not drawn yet stay so."""
        self._dtype = _float(dtype)
        if self._array is not None and self._array.dtype != self._dtype:
            self._array, self._borrowed = self._array.astype(self._dtype), False
            self.version.count += 1

    def copy_(self, values: npt.ArrayLike | Tensor) -> Tensor:
        if self._borrowed:
            self._array, self._borrowed = self.array.copy(order="K"), False
        return super().copy_(values)

    copy_.__doc__ = Tensor.copy_.__doc__

    def __getstate__(self) -> dict[str, Any]:
        """For deepcopy and pickle: a copy must have, or draw, the same values."""
        if self._seed is None:
            _ = self.array
        return {name: getattr(self, name) for name in (*Stored.__slots__, *Shaped.__slots__, *KEPT)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        for name, value in state.items():
            setattr(self, name, value)
        self.node = None


class Parameter(Stored):
    """A Stored tensor that gradients are wanted for."""

    __slots__ = ()

    def __init__(self, shape: Shape, draw: Draw, seed: int | None = None) -> None:
        super().__init__(shape, draw, seed)
        self.requires_grad = True


class Buffer(Stored):
    """A Stored tensor that a forward pass keeps: no gradient, but part of the state."""

    __slots__ = ()


def _float(dtype: npt.DTypeLike) -> np.dtype[Any]:
    found = np.dtype(dtype)
    if found not in FLOATS:
        raise DtypeError(f"a module computes in float32 or float64, not {found}")
    return found
