"""Tensors of a torch pickle: the names that mean something, and what each of them builds.

While the pickle is read no bytes are touched: a tensor is a `TensorRecord`, a place in a
storage.  Element (i_1, ..., i_d) of a tensor lies at

    storage[offset + i_1 stride_1 + ... + i_d stride_d]

(the strided tensors of PyTorch's documentation), so it can be had as a view, whatever the
order its axes have in memory.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from minigrad.errors import FormatError, quote
from minigrad.formats.limits import Budget, byte_count
from minigrad.formats.numbers import Array, numbers_from, widen_bfloat16
from minigrad.formats.pickle_machine import Builder, Global, Opaque, Ordered

__all__ = ["BUILDERS", "STORAGES", "Storage", "TensorRecord", "read_storage", "storage", "view"]

BFLOAT16 = "bfloat16"  # NumPy has none: read as float32, which holds each of its values
STEPS, STEPS_PER_AXIS = 20, 3  # of work for a tensor, in the pickle and again as an array

STORAGES = {
    "torch.DoubleStorage": "f8", "torch.FloatStorage": "f4", "torch.HalfStorage": "f2",
    "torch.BFloat16Storage": BFLOAT16, "torch.LongStorage": "i8", "torch.IntStorage": "i4",
    "torch.ShortStorage": "i2", "torch.CharStorage": "i1", "torch.ByteStorage": "u1",
    "torch.BoolStorage": "?", "torch.ComplexFloatStorage": "c8",
    "torch.ComplexDoubleStorage": "c16",
}  # fmt: skip
ITEMSIZES = {d: 2 if d == BFLOAT16 else np.dtype(d).itemsize for d in STORAGES.values()}


class Storage(NamedTuple):
    """A flat run of ``numel`` numbers: the record of the file that is named ``key``."""

    key: str
    dtype: str
    numel: int

    @property
    def nbytes(self) -> int:
        """Bytes in the file."""
        return self.numel * ITEMSIZES[self.dtype]

    @property
    def array_nbytes(self) -> int:
        """Bytes of the array; bfloat16 is read as float32."""
        return self.nbytes * (2 if self.dtype == BFLOAT16 else 1)


class TensorRecord(NamedTuple):
    """A tensor before its bytes are read; offset and strides count numbers, not bytes.

    ``nbytes`` is the size of its array, if that were contiguous.
    """

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    nbytes: int


# --- what the names on the list build ------------------------------------------------------


def storage(pid: tuple[object, ...], budget: Budget) -> Storage | Opaque:
    """A persistent id: ("storage", type, key, location, numel[, None])."""
    match pid:
        case ("storage", Global(name=name), str(key), _, int(numel)) | (
            "storage", Global(name=name), str(key), _, int(numel), None,
        ) if numel >= 0:  # fmt: skip
            return Storage(key, STORAGES[name], numel) if name in STORAGES else Opaque(name)
    raise FormatError("a storage is not named by its type, key, place and number of elements")


def _rebuild_tensor(arguments: tuple[object, ...], budget: Budget) -> TensorRecord | Opaque:
    """torch._utils._rebuild_tensor(_v2): (storage, offset, size, stride, ...)."""
    match arguments[:4]:
        case (Opaque(name=name), _, _, _):
            return Opaque(name)
        case (Storage() as flat, int(offset), tuple(shape), tuple(strides)):
            budget.work(STEPS + STEPS_PER_AXIS * min(len(shape), 100))
            itemsize = 4 if flat.dtype == BFLOAT16 else ITEMSIZES[flat.dtype]
            nbytes = byte_count(shape, itemsize, "a tensor")
            tensor = TensorRecord(flat, offset, shape, strides, nbytes)
            _check_places(tensor)
            return tensor
    raise FormatError("a tensor is not built from a storage, an offset, sizes and strides")


def _check_places(tensor: TensorRecord) -> None:
    """Every element lies in the storage: the first does, and the last does."""
    flat, offset, shape, strides, nbytes = tensor
    if len(shape) != len(strides) or any(type(s) is not int or s < 0 for s in strides):
        raise FormatError("a tensor has strides that are not one a size, none negative")
    if nbytes == 0:
        return
    last = offset + sum((n - 1) * s for n, s in zip(shape, strides, strict=True))
    if offset < 0 or last >= flat.numel:
        raise FormatError(
            f"a tensor reaches to element {_short(last)} from {_short(offset)} of storage "
            f"{quote(flat.key)}, which has {_short(flat.numel)}"
        )


def _short(number: int) -> str:
    """A number from the file, in not too many digits."""
    return str(number) if abs(number) < 1 << 64 else "a number over 2^64"


def _first_tensor(arguments: tuple[object, ...], budget: Budget) -> TensorRecord | Opaque:
    """torch._utils._rebuild_parameter: (data, requires_grad, ...)."""
    match arguments[:1]:
        case (TensorRecord() | Opaque() as tensor,):
            return tensor
    raise FormatError("a parameter is not built from a tensor")


def _rebuild_from_type(arguments: tuple[object, ...], budget: Budget) -> TensorRecord | Opaque:
    """torch._tensor._rebuild_from_type_v2: (function, type, its arguments, state)."""
    match arguments[:3]:
        case (Global() as function, _, tuple(inner)):
            if function.name.startswith("torch._utils._rebuild_tensor"):
                return _rebuild_tensor(inner, budget)
            if function.name.startswith("torch._utils._rebuild_parameter"):
                return _first_tensor(inner, budget)
            return Opaque(function.name)
    raise FormatError("a tensor with attributes is not built from a function and its arguments")


def _dict(arguments: tuple[object, ...], budget: Budget) -> dict[object, object]:
    """OrderedDict() or, from Python 2, OrderedDict([[key, value], ...])."""
    match arguments:
        case ():
            return Ordered()
        case (dict(items),):
            return items
        case (list(pairs),):
            return _dict_of_pairs(pairs, budget)
    raise FormatError("a dict is not built from nothing, a dict, or pairs with string keys")


def _dict_of_pairs(pairs: list[object], budget: Budget) -> dict[object, object]:
    budget.work(len(pairs))
    items = Ordered()
    for pair in pairs:
        if not isinstance(pair, (list, tuple)) or len(pair) != 2 or type(pair[0]) is not str:
            raise FormatError("a dict is not built from nothing, a dict, or pairs with string keys")
        if pair[0] in items:
            raise FormatError(f"the pickle has a dict with the key {quote(pair[0])} twice")
        items[pair[0]] = pair[1]
    return items


def _size(arguments: tuple[object, ...], budget: Budget) -> tuple[object, ...]:
    """torch.Size((2, 3))."""
    match arguments:
        case () | ((),):
            return ()
        case (tuple(sizes),):
            return sizes
    raise FormatError("a torch.Size is not built from a tuple")


def _default_dict(arguments: tuple[object, ...], budget: Budget) -> dict[object, object]:
    return {}


BUILDERS: dict[str, Builder] = {
    "torch._utils._rebuild_tensor": _rebuild_tensor,
    "torch._utils._rebuild_tensor_v2": _rebuild_tensor,
    "torch._utils._rebuild_parameter": _first_tensor,
    "torch._utils._rebuild_parameter_with_state": _first_tensor,
    "torch._tensor._rebuild_from_type_v2": _rebuild_from_type,
    "torch.nn.parameter.Parameter": _first_tensor,
    "torch.Size": _size,
    "collections.OrderedDict": _dict,
    "collections.defaultdict": _default_dict,
}


# --- from bytes to arrays ------------------------------------------------------------------


def read_storage(raw: memoryview, flat: Storage, byteorder: str) -> Array:
    """The storage as a flat array of the machine's byte order, over ``raw`` if it can be."""
    what = f"storage {quote(flat.key)}"
    if flat.dtype == BFLOAT16:
        return widen_bfloat16(numbers_from(raw, np.dtype(f"{byteorder}u2"), what))
    return numbers_from(raw, np.dtype(f"{byteorder}{flat.dtype}"), what)


def view(flat: Array, tensor: TensorRecord) -> Array:
    """The tensor as a strided view of its storage."""
    if tensor.nbytes == 0:
        return np.empty(tensor.shape, flat.dtype)
    size = flat.itemsize
    strides = [s * size if n > 1 else 0 for n, s in zip(tensor.shape, tensor.strides, strict=True)]
    array: Array = np.ndarray(tensor.shape, flat.dtype, flat, tensor.offset * size, strides)
    return array
