"""Tensors of a torch pickle: the allow-list of names, and what each of them builds.

While the pickle is read no bytes are touched: a tensor is a `TensorRecord`, a place in a
storage.  Element (i_1, ..., i_d) of a tensor lies at

    storage[offset + i_1 stride_1 + ... + i_d stride_d]

(the strided tensors of PyTorch's documentation), so it can be had as a view, whatever the
order its axes have in memory.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from minigrad.errors import FormatError
from minigrad.formats.limits import byte_count, quote
from minigrad.formats.pickle_reader import Builder, Global

__all__ = [
    "ALLOWED",
    "STORAGES",
    "Storage",
    "TensorRecord",
    "read_storage",
    "view",
    "widen_bfloat16",
]

Array = npt.NDArray[Any]
BFLOAT16 = "bfloat16"  # NumPy has none: read as float32, which holds each of its values

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


def _rebuild_tensor(arguments: tuple[Any, ...]) -> TensorRecord:
    """torch._utils._rebuild_tensor(_v2): (storage, offset, size, stride, ...)."""
    match arguments[:4]:
        case (Storage() as storage, int(offset), tuple(shape), tuple(strides)):
            itemsize = 4 if storage.dtype == BFLOAT16 else ITEMSIZES[storage.dtype]
            nbytes = byte_count(shape, itemsize, "a tensor")
            tensor = TensorRecord(storage, offset, shape, strides, nbytes)
            _check_places(tensor)
            return tensor
    raise FormatError("a tensor is not built from a storage, an offset, sizes and strides")


def _check_places(tensor: TensorRecord) -> None:
    """Every element lies in the storage: the first does, and the last does."""
    storage, offset, shape, strides, nbytes = tensor
    if len(shape) != len(strides) or any(type(s) is not int or s < 0 for s in strides):
        raise FormatError("a tensor has strides that are not one a size, none negative")
    if nbytes == 0:
        return
    last = offset + sum((n - 1) * s for n, s in zip(shape, strides, strict=True))
    if offset < 0 or last >= storage.numel:
        raise FormatError(
            f"a tensor reaches from element {offset} to {last} of storage {quote(storage.key)}, "
            f"which has {storage.numel}"
        )


def _first_tensor(arguments: tuple[Any, ...]) -> TensorRecord:
    """torch._utils._rebuild_parameter: (data, requires_grad, ...)."""
    match arguments[:1]:
        case (TensorRecord() as tensor,):
            return tensor
    raise FormatError("a parameter is not built from a tensor")


def _rebuild_from_type(arguments: tuple[Any, ...]) -> TensorRecord:
    """torch._tensor._rebuild_from_type_v2: (function, type, its arguments, state)."""
    match arguments[:3]:
        case (Global() as function, Global(), tuple(inner)):
            if function.name.startswith("torch._utils._rebuild_tensor"):
                return _rebuild_tensor(inner)
            if function.name.startswith("torch._utils._rebuild_parameter"):
                return _first_tensor(inner)
    raise FormatError("a tensor with attributes is not built from a function and its arguments")


def _dict(arguments: tuple[Any, ...]) -> dict[Any, Any]:
    """OrderedDict() or, from Python 2, OrderedDict([[key, value], ...]); Counter({...})."""
    match arguments:
        case ():
            return {}
        case (dict(items),):
            return items
        case (list(pairs),) if all(
            type(p) in (list, tuple) and len(p) == 2 and type(p[0]) is str for p in pairs
        ):
            items = dict(pairs)
            pairs.clear()  # so that no file makes a second dict of the same pairs
            return items
    raise FormatError("a dict is not built from nothing, a dict, or pairs with string keys")


def _default_dict(arguments: tuple[Any, ...]) -> dict[Any, Any]:
    return {}


def _sequence(arguments: tuple[Any, ...]) -> tuple[Any, ...] | list[Any]:
    """torch.Size((2, 3)), set([...])."""
    match arguments:
        case () | ((),):
            return ()
        case (tuple(values),) | (list(values),):
            return values
    raise FormatError("a size or set is not built from a tuple or list")


def _ignored(arguments: tuple[Any, ...]) -> None:
    """A value that stands beside the tensors and is never looked at."""


ALLOWED: dict[str, Builder | None] = {
    **dict.fromkeys(STORAGES),
    "torch._utils._rebuild_tensor": _rebuild_tensor,
    "torch._utils._rebuild_tensor_v2": _rebuild_tensor,
    "torch._utils._rebuild_parameter": _first_tensor,
    "torch._utils._rebuild_parameter_with_state": _first_tensor,
    "torch._tensor._rebuild_from_type_v2": _rebuild_from_type,
    "torch.nn.parameter.Parameter": _first_tensor,
    "torch.Tensor": None,
    "torch.Size": _sequence,
    "collections.OrderedDict": _dict,
    "collections.Counter": _dict,
    "collections.defaultdict": _default_dict,
    "builtins.set": _sequence,
    "__builtin__.set": _sequence,
    # Beside the tensors of a training checkpoint; read as None.
    "argparse.Namespace": _ignored,
    "copy_reg._reconstructor": _ignored,
    "builtins.object": None,
    "__builtin__.object": None,
    "builtins.dict": None,
    "builtins.list": None,
    "__builtin__.dict": None,
    "__builtin__.list": None,
    "_codecs.encode": _ignored,
    "numpy.dtype": _ignored,
    "numpy.ndarray": None,
    "numpy.core.multiarray.scalar": _ignored,
    "numpy._core.multiarray.scalar": _ignored,
    "numpy.core.multiarray._reconstruct": _ignored,
    "numpy._core.multiarray._reconstruct": _ignored,
    "pathlib.PosixPath": _ignored,
    "pathlib._local.PosixPath": _ignored,
    "torch.device": _ignored,
    **dict.fromkeys(f"torch.{name}" for name in (
        "float64", "float32", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8",
        "bool", "complex64", "complex128",
    )),
}  # fmt: skip


# --- from bytes to arrays ------------------------------------------------------------------


def read_storage(raw: memoryview, storage: Storage, byteorder: str, copy: bool) -> Array:
    """The storage as a flat array of the machine's byte order: a view of ``raw`` if it can be."""
    stored = "u2" if storage.dtype == BFLOAT16 else storage.dtype
    flat = np.frombuffer(raw, np.dtype(stored).newbyteorder(byteorder))  # type: ignore[arg-type]
    if stored == "?" and flat.view("u1").max(initial=0) > 1:
        raise FormatError(f"storage {quote(storage.key)} is of bool, and has other bytes than 0, 1")
    if storage.dtype == BFLOAT16:
        return widen_bfloat16(flat)
    native: Array = flat.astype(flat.dtype.newbyteorder("="), copy=False)
    if copy and native is flat:
        native = flat.copy()
    return native


def widen_bfloat16(halves: Array) -> Array:
    """The float32 of each bfloat16, given as uint16: a bfloat16 is its upper half."""
    wide = halves.astype("u4")
    wide <<= 16
    return wide.view("f4")


def view(flat: Array, tensor: TensorRecord) -> Array:
    """The tensor as a strided view of its storage."""
    if tensor.nbytes == 0:
        return np.empty(tensor.shape, flat.dtype)
    size = flat.itemsize
    strides = [s * size if n > 1 else 0 for n, s in zip(tensor.shape, tensor.strides, strict=True)]
    array: Array = np.ndarray(tensor.shape, flat.dtype, flat, tensor.offset * size, strides)
    return array
