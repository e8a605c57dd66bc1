"""Parameters and buffers: tensors whose values may come late.

A tensor of a layer knows its shape at once, but draws its values only when somebody asks
for them; loaded weights are adopted in their place, as they lie in memory.  Building a
network for given weights thus allocates nothing and draws nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from minigrad.errors import GraphError
from minigrad.forks import Lock
from minigrad.shaped import Shaped
from minigrad.tensor import Array, Shape, Tensor, float_dtype, get_default_dtype

__all__ = ["Buffer", "Draw", "Parameter", "Stored", "shapes_only"]

KEPT = ("grad", "requires_grad", "version")
Draw = Callable[[Shape, "int | None"], Array]
Kind = TypeVar("Kind", bound="Stored")

_shapes_only: ContextVar[bool] = ContextVar("minigrad_shapes_only", default=False)
_drawing = Lock()  # two threads that need the same weights first must see the same ones


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
    """A tensor of a module, which belongs to its state.

    Parameters
    ----------
    data : array_like
        The values, copied.
    dtype : float32 or float64, optional
        Convert to this dtype.
    """

    __slots__ = ("_array", "_borrowed", "_draw", "_seed")
    _wants_grad = False

    def __init__(self, data: npt.ArrayLike | Tensor, dtype: npt.DTypeLike | None = None) -> None:
        values = Tensor(data, dtype=dtype).array
        super().__init__(values.shape, values.dtype)
        self.requires_grad = self._wants_grad
        self._draw: Draw | None = None
        self._seed: int | None = None
        self._array: Array | None = values
        self._borrowed = False

    @classmethod
    def drawn(cls: type[Kind], shape: Shape, draw: Draw, seed: int | None = None) -> Kind:
        """A tensor of the default dtype whose first values are drawn when they are needed.

        ``draw(shape, seed)`` makes them in float64; they are then rounded, so that a float32
        network is the rounding of its float64 twin.  Without a seed the entropy is fresh.
        """
        stored = cls.__new__(cls)
        Shaped.__init__(stored, shape, get_default_dtype())
        stored.requires_grad = cls._wants_grad
        stored.redraw(draw, seed)
        return stored

    def redraw(self, draw: Draw, seed: int | None = None) -> None:
        """Forget the values; the next ones come from ``draw``."""
        self._draw, self._seed = draw, seed
        self._array = None
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
            with _drawing:
                if self._array is None:
                    assert self._draw is not None
                    drawn = self._draw(self._shape, self._seed)
                    self._array = drawn.astype(self._dtype, copy=False)
        return self._array

    def adopt(self, values: Array) -> None:
        """Take ``values`` themselves, without a copy; the first change copies them."""
        self._array = values.view()
        self._array.flags.writeable = False  # a view of the parameter must not write to them
        self._borrowed = True
        self.version.count += 1

    def convert(self, dtype: npt.DTypeLike) -> None:
        """Change the dtype; values that are not drawn yet stay so."""
        self._dtype = float_dtype(type(self).__name__, dtype)
        if self._array is not None and self._array.dtype != self._dtype:
            self._array, self._borrowed = self._array.astype(self._dtype), False
            self.version.count += 1

    def detach(self) -> Tensor:
        if self._borrowed:
            self._writable()
        return super().detach()

    detach.__doc__ = Tensor.detach.__doc__

    def _writable(self) -> Array:
        if self._borrowed:
            self._array, self._borrowed = self.array.copy(order="K"), False
        return super()._writable()

    def __getstate__(self) -> dict[str, object]:
        """For deepcopy and pickle: a copy must have, or draw, the same values."""
        if self.grad is not None and self.grad.node is not None:
            raise GraphError(
                "a parameter whose gradient has a graph cannot be copied or pickled: "
                "set its grad to None first"
            )
        if self._seed is None:
            _ = self.array
        return {name: getattr(self, name) for name in (*Stored.__slots__, *Shaped.__slots__, *KEPT)}


class Parameter(Stored):
    """A tensor of a module that training changes.

    Parameters
    ----------
    data : array_like
        The values, copied.  Numbers take the default dtype.
    dtype : float32 or float64, optional
        Convert to this dtype.

    Raises
    ------
    DtypeError, ArgumentError
        As ``Tensor`` does.

    Examples
    --------
    >>> from minigrad import nn, ones
    >>> class Scale(nn.Module):
    ...     def __init__(self):
    ...         self.factor = nn.Parameter([2.0])
    ...     def forward(self, x):
    ...         return x * self.factor
    >>> Scale()(ones(3)).tolist()
    [2.0, 2.0, 2.0]
    """

    __slots__ = ()
    _wants_grad = True


class Buffer(Stored):
    """A tensor of a module that a forward pass keeps: no gradient, but part of the state.

    Parameters
    ----------
    data, dtype
        As for ``Parameter``.

    Raises
    ------
    DtypeError, ArgumentError
        As ``Tensor`` does.

    Examples
    --------
    >>> from minigrad import nn
    >>> nn.Buffer([0.0, 0.0]).requires_grad
    False
    """

    __slots__ = ()
