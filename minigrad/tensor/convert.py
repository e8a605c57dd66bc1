"""What becomes an array of a tensor, and what does not.

Numbers, and numbers nested in lists, take a dtype: that of the tensor beside them, or the
default one.  An array keeps its own, which must be float32 or float64, for minigrad never
casts in silence.  What is neither (None, text, truth values, complex numbers) is refused.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from minigrad.arguments import is_number, quoted
from minigrad.arrays import FLOATS, Array, Shape
from minigrad.errors import ArgumentError, DtypeError
from minigrad.resources import check_memory

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = [
    "FLOATS",
    "Array",
    "Dtype",
    "Shape",
    "as_array",
    "checked",
    "float_dtype",
    "foreign",
    "get_default_dtype",
    "numbers",
    "require_room",
    "set_default_dtype",
]

Dtype: TypeAlias = "np.dtype[Any]"

_default = FLOATS[0]


def get_default_dtype() -> Dtype:
    """The dtype of new tensors of numbers, and of the parameters of new modules.

    Returns
    -------
    dtype
        float32, as long as ``set_default_dtype`` was not called.

    Examples
    --------
    >>> import minigrad as mg
    >>> mg.get_default_dtype()
    dtype('float32')
    """
    return _default


def set_default_dtype(dtype: npt.DTypeLike) -> None:
    """Choose the dtype of new tensors of numbers, and of the parameters of new modules.

    Arrays keep their own dtype, whatever the default is.

    Parameters
    ----------
    dtype : float32 or float64

    Raises
    ------
    DtypeError
        For any other dtype.

    Examples
    --------
    >>> import minigrad as mg
    >>> mg.set_default_dtype("float64")
    >>> mg.Tensor([1.0, 2.0]).dtype
    dtype('float64')
    >>> mg.set_default_dtype("float32")
    """
    global _default
    _default = float_dtype("set_default_dtype", dtype)


def float_dtype(function: str, dtype: object) -> Dtype:
    """``dtype`` as np.dtype, which must be float32 or float64."""
    try:
        if dtype is None:  # NumPy reads it as float64
            raise TypeError
        found: Dtype = np.dtype(dtype)  # type: ignore[call-overload]
    except (TypeError, ValueError):
        raise DtypeError(
            f"{function}: dtype must be float32 or float64, not {quoted(dtype)}"
        ) from None
    if found not in FLOATS:
        raise DtypeError(f"{function}: a Tensor holds float32 or float64, not {found}")
    return found


def checked(array: Array) -> Array:
    """The array itself, if a Tensor can hold it."""
    if array.dtype not in FLOATS:
        raise DtypeError(
            f"a Tensor holds float32 or float64, not {array.dtype}; "
            "convert it yourself, or pass indices and labels as NumPy arrays"
        )
    return array


def numbers(function: str, value: object, dtype: npt.DTypeLike) -> Array:
    """A number, or numbers nested in lists, as a new array of ``dtype``."""
    try:
        if is_number(value):
            return np.array(float(value), dtype)  # type: ignore[arg-type]
        array = np.array(value)
        if array.dtype.kind == "O" and array.size and all(map(is_number, array.ravel())):
            array = array.astype(np.float64)  # integers longer than 64 bits
    except (TypeError, ValueError, OverflowError) as error:
        reason = " ".join(str(error).split())
        raise ArgumentError(
            f"{function}: {quoted(value)} is no array of numbers: {quoted(reason, 120)}"
        ) from None
    if array.dtype.kind not in "iuf":
        raise ArgumentError(
            f"{function} takes a Tensor, a number, an array of float32 or float64, or lists of "
            f"numbers, not {quoted(value)}"
        )
    with np.errstate(over="ignore"):  # what is too large is infinite, as IEEE 754 has it
        return array.astype(dtype)


def foreign(value: object) -> Array | None:
    """The array of another library's tensor, which has a dtype; None for what is none.

    The memory is shared where the library allows it.
    """
    if isinstance(value, (np.ndarray, np.generic)):
        return np.asarray(value)
    if not hasattr(value, "dtype"):
        return None
    try:
        if hasattr(value, "__dlpack__"):
            return np.from_dlpack(value)
        return np.asarray(value)
    except (TypeError, ValueError, RuntimeError, BufferError) as error:
        reason = quoted(str(error), 200)
        raise ArgumentError(
            f"a {type(value).__name__} does not hand out its memory ({reason}); "
            "detach it, move it to the CPU, or convert it to float32"
        ) from None


def require_room(function: str, shape: Shape, dtype: Dtype) -> None:
    """Refuse a new array that cannot fit, before any work is done for it."""
    check_memory(math.prod(shape) * dtype.itemsize, f"{function}: a tensor of shape {shape}")


def as_array(value: object, dtype: npt.DTypeLike | None, function: str) -> Array:
    """A new array of the value; what has no dtype, and 0-d arrays, take ``dtype``.

    A dtype of None is the default one.
    """
    to = _default if dtype is None else dtype
    if type(value) is float:  # by far the most frequent
        return np.array(value, to)
    source = foreign(value)
    if source is None:
        return numbers(function, value, to)
    if source.ndim == 0 and source.dtype.kind in "iuf":
        return source.astype(to)
    return checked(np.array(source))
