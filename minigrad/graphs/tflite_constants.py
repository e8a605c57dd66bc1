"""Constants of a TFLite graph as its steps read them: float16 and integers as other numbers."""

from __future__ import annotations

import numpy as np

from minigrad.errors import quote
from minigrad.formats.limits import Budget, byte_count
from minigrad.formats.numbers import Array
from minigrad.graphs.attributes import UnreadNode
from minigrad.graphs.data import Constant, TfliteTensor, Unread
from minigrad.graphs.tflite_integers import is_quantised
from minigrad.graphs.tflite_layout import turned
from minigrad.tensor import Tensor, from_numpy

__all__ = ["array_of", "centred", "unpacked"]


def array_of(constant: Constant | None) -> Array:
    """The numbers of a constant."""
    if isinstance(constant, Unread):
        raise UnreadNode(f"its constant is {constant.what}")
    assert constant is not None
    return constant


def unpacked(tensor: TfliteTensor, budget: Budget) -> Array:
    """A constant of float16 or of integers in float32."""
    array, what = array_of(tensor.constant), f"tensor {quote(tensor.name)}"
    budget.spend_memory(byte_count(array.shape, 4, what), what)
    if array.dtype == np.float16:
        return array.astype(np.float32)
    scale, zero = _along(tensor, array)
    return (scale * (array.astype(np.float64) - zero)).astype(np.float32)


def centred(
    tensor: TfliteTensor, array: Array, order: tuple[int, ...] | None, budget: Budget
) -> Tensor:
    """Integers as q - zero_point in float64, with their axes in another order."""
    what = f"tensor {quote(tensor.name)}"
    budget.spend_memory(byte_count(array.shape, 8, what), what)
    wide = array.astype(np.float64)
    if is_quantised(tensor):
        wide -= _along(tensor, array)[1]
    elif tensor.dtype not in ("int32", "int64"):
        raise UnreadNode(f"its constant is of {tensor.dtype}, which is not read")
    return from_numpy(np.asarray(turned(wide, order)))


def _along(tensor: TfliteTensor, array: Array) -> tuple[Array, Array]:
    """Scales and zero points beside the array whose integers they are of."""
    kind = tensor.quantization
    if kind is None:
        raise UnreadNode(f"a constant of {tensor.dtype} has no scale")
    if kind.scale.size == 1:
        return kind.scale.astype(np.float64)[0], kind.zero_point[0]
    shape = [1] * array.ndim
    if not 0 <= kind.axis < array.ndim or kind.scale.size != array.shape[kind.axis]:
        raise UnreadNode(f"its constant has {kind.scale.size} scales on axis {kind.axis}")
    shape[kind.axis] = -1
    return kind.scale.astype(np.float64).reshape(shape), kind.zero_point.reshape(shape)
