"""Tensors of numbers and arrays: copies, and tensors that share another's memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from minigrad.arguments import quoted
from minigrad.errors import ArgumentError, DtypeError
from minigrad.tensor.convert import Array, as_array, checked, foreign
from minigrad.tensor.tensor import Tensor, wrap

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["as_tensor", "expect_tensor", "from_dlpack", "from_numpy", "tensor"]


def tensor(
    data: npt.ArrayLike | Tensor,
    requires_grad: bool = False,
    dtype: npt.DTypeLike | None = None,
) -> Tensor:
    """A new Tensor with a copy of the data.

    Parameters
    ----------
    data : array_like
        Numbers and lists of them take the default dtype; an array keeps its own.
    requires_grad : bool
        Record what is done with the tensor.
    dtype : float32 or float64, optional
        Convert to this dtype.

    Returns
    -------
    Tensor

    Raises
    ------
    DtypeError, ArgumentError
        As ``Tensor`` does.

    Examples
    --------
    >>> import minigrad as mg
    >>> mg.tensor([1.0, 2.0])
    Tensor([1., 2.], dtype=float32)
    """
    return Tensor(data, requires_grad, dtype)


def from_numpy(array: Array) -> Tensor:
    """A Tensor that shares the array's memory (``Tensor(array)`` copies).

    Changes that are made to ``array`` afterwards are not counted, so a gradient may see them.

    Parameters
    ----------
    array : ndarray of float32 or float64

    Returns
    -------
    Tensor

    Raises
    ------
    DtypeError
        For any other dtype.
    ArgumentError
        If ``array`` is no array.

    Examples
    --------
    >>> import minigrad as mg
    >>> array = np.zeros(2)
    >>> x = mg.from_numpy(array)
    >>> array[0] = 5
    >>> x
    Tensor([5., 0.], dtype=float64)
    """
    if not isinstance(array, (np.ndarray, np.generic)):
        raise ArgumentError(
            f"from_numpy shares the memory of a NumPy array, not {quoted(array)}: use mg.tensor"
        )
    return wrap(checked(np.asarray(array)))


def from_dlpack(source: object) -> Tensor:
    """A Tensor that shares the memory of another library's tensor, where that allows it.

    Parameters
    ----------
    source : object with ``__dlpack__``
        On the CPU, of float32 or float64: of PyTorch, JAX, CuPy's CPU side, NumPy, ...

    Returns
    -------
    Tensor
        On the same memory.

    Raises
    ------
    DtypeError
        For any other dtype.
    ArgumentError
        If the source is none that can be shared.

    Examples
    --------
    >>> import minigrad as mg
    >>> mg.from_dlpack(np.ones(2))
    Tensor([1., 1.], dtype=float64)
    """
    array = foreign(source) if hasattr(source, "__dlpack__") else None
    if array is None:
        raise ArgumentError(f"from_dlpack takes an object with __dlpack__, not {quoted(source)}")
    return wrap(checked(array))


def expect_tensor(function: str, name: str, x: object) -> Tensor:
    """x, which must be a Tensor."""
    if isinstance(x, Tensor):
        return x
    raise DtypeError(
        f"{function} takes Tensors, not {type(x).__name__}, as {name}: use mg.Tensor(...)"
    )


def as_tensor(value: object, dtype: npt.DTypeLike | None, function: str) -> Tensor:
    """``value`` itself if it is a Tensor; what has no dtype, and 0-d arrays, take ``dtype``.

    Arrays are copied: a graph must not change when their owner writes to them.
    """
    return value if isinstance(value, Tensor) else wrap(as_array(value, dtype, function))
