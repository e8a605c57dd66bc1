"""The values of a tensor: an array, and how it is read, compared and shown.

Whatever here looks at the numbers gives numbers and NumPy arrays, which are not recorded:
``x > 0`` is an array of truth values, ``float(x)`` a Python float.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from minigrad.arguments import integer, is_number
from minigrad.errors import ArgumentError, GraphError, ShapeError
from minigrad.tensor.convert import Array, Dtype, Shape

if TYPE_CHECKING:
    import numpy.typing as npt
    from typing_extensions import Self

__all__ = ["Count", "Origin", "Values", "Version"]


class Version:
    """Counts in-place changes of one piece of memory; views share their base's.

    ``shared`` is set once a recorded view of the memory exists.
    """

    __slots__ = ("count", "shared")

    def __init__(self) -> None:
        self.count = 0
        self.shared = False


class Origin(Protocol):
    """The recorded step that computed a tensor; ``Node`` is the only one."""

    birth: int

    @property
    def name(self) -> str:
        """The primitive's name."""


class Count(int):
    """A number of elements; called, as PyTorch's ``size`` is, it gives the shape instead."""

    shape: Shape

    def __call__(self, axis: int | None = None) -> Shape | int:
        """The shape, or the length of one axis."""
        if axis is None:
            return self.shape
        axis = integer("size", "axis", axis)
        if not -len(self.shape) <= axis < len(self.shape):
            raise ShapeError(f"size: there is no axis {axis} in shape {self.shape}")
        return self.shape[axis]


class Values:
    """An array, what was computed from it, and where it came from: the base of ``Tensor``."""

    __slots__ = ("__weakref__", "array", "node", "requires_grad", "version")
    __array_ufunc__ = None  # np.float64(2) * t asks t, not NumPy
    __hash__ = object.__hash__  # a tensor is itself, whatever == compares

    array: Array
    node: Origin | None
    requires_grad: bool
    version: Version

    @property
    def shape(self) -> Shape:
        """The length of every axis."""
        return self.array.shape

    @property
    def dtype(self) -> Dtype:
        """float32 or float64."""
        return self.array.dtype

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return len(self.shape)

    @property
    def size(self) -> Count:
        """The number of elements; ``x.size()`` is the shape and ``x.size(0)`` a length."""
        count = Count(math.prod(self.shape))
        count.shape = self.shape
        return count

    @property
    def is_leaf(self) -> bool:
        """Whether the tensor was given, not computed by a recorded operation."""
        return self.node is None

    @property
    def grad_fn(self) -> Origin | None:
        """The recorded step that computed the tensor; None for a leaf."""
        return self.node

    def numel(self) -> int:
        """The number of elements, ``size``."""
        return self.size

    def dim(self) -> int:
        """The number of axes, ``ndim``."""
        return self.ndim

    def __len__(self) -> int:
        if not self.ndim:
            raise ArgumentError("a 0-d tensor has no length")
        return self.shape[0]

    def __repr__(self) -> str:
        values = np.array2string(self.array, separator=", ", prefix="Tensor(", threshold=50)
        origin = f", grad_fn={self.node.name}" if self.node else ""
        wants = ", requires_grad=True" if self.requires_grad and not self.node else ""
        return f"Tensor({values}, dtype={self.dtype}{origin}{wants})"

    def cpu(self) -> Self:
        """The tensor itself: minigrad computes on the CPU."""
        return self

    def contiguous(self) -> Self:
        """The tensor itself: every order of memory will do, for ``view`` too."""
        return self

    # To NumPy and other libraries.

    def numpy(self) -> Array:
        """A read-only view of the values."""
        view: Array = self.array.view()
        view.flags.writeable = False
        return view

    def __array__(self, dtype: npt.DTypeLike | None = None, copy: bool | None = None) -> Array:
        if dtype is not None and np.dtype(dtype) != self.dtype:
            if copy is False:
                raise ValueError(f"a tensor of {self.dtype} cannot become {dtype} without a copy")
            return self.array.astype(dtype)
        return self.array.copy() if copy else self.numpy()

    def __dlpack__(self, **options: Any) -> Any:
        return self.array.__dlpack__(**options)

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.array.__dlpack_device__()

    def tolist(self) -> Any:
        """The values as nested lists of Python floats; a float for a 0-d tensor."""
        return self.array.tolist()

    # To Python numbers.

    def item(self) -> float:
        """The value of a tensor of one element, as a Python float."""
        if self.size != 1:
            raise ArgumentError(
                f"a tensor of shape {self.shape} is not one number: reduce or index it first"
            )
        return float(self.array.item())

    def __float__(self) -> float:
        return self.item()

    def __int__(self) -> int:
        return int(self.item())

    def __bool__(self) -> bool:
        if self.size != 1:
            raise ArgumentError(
                f"the truth of a tensor of shape {self.shape} is ambiguous: "
                "say (x != 0).any() or (x != 0).all()"
            )
        return bool(self.array.item())

    def __format__(self, spec: str) -> str:
        return format(self.item(), spec) if spec else str(self)

    # Comparisons, element by element.

    def _compare(self, relation: Callable[[Any, Any], object], other: object) -> Array:
        values = other.array if isinstance(other, Values) else other
        if isinstance(other, (list, tuple)):
            values = np.asarray(other)
        if not isinstance(values, (np.ndarray, np.generic, bool)) and not is_number(values):
            return NotImplemented  # type: ignore[no-any-return]
        try:
            result: Array = np.asarray(relation(self.array, values))
        except ValueError:
            shape = np.shape(values)
            raise ShapeError(f"shapes {self.shape} and {shape} do not broadcast") from None
        return result

    def __eq__(self, other: object) -> Array:  # type: ignore[override]
        return self._compare(operator.eq, other)

    def __ne__(self, other: object) -> Array:  # type: ignore[override]
        return self._compare(operator.ne, other)

    def __lt__(self, other: object) -> Array:
        return self._compare(operator.lt, other)

    def __le__(self, other: object) -> Array:
        return self._compare(operator.le, other)

    def __gt__(self, other: object) -> Array:
        return self._compare(operator.gt, other)

    def __ge__(self, other: object) -> Array:
        return self._compare(operator.ge, other)

    def __contains__(self, value: object) -> bool:
        return bool(np.any(self == value))

    # Copies and pickles: of leaves.

    def _state_names(self) -> list[str]:
        slots = (name for kind in type(self).__mro__ for name in getattr(kind, "__slots__", ()))
        return [name for name in slots if name not in ("__weakref__", "node")]

    def __getstate__(self) -> dict[str, object]:
        if self.node is not None:
            raise GraphError(
                f"a tensor computed by {self.node.name} cannot be copied or pickled, "
                "for its graph would come along: use detach()"
            )
        return {name: getattr(self, name) for name in self._state_names()}

    def __setstate__(self, state: dict[str, object]) -> None:
        for name, value in state.items():
            setattr(self, name, value)
        self.node = None
