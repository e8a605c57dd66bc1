"""Writes a state dict as PyTorch's .pth (the zip container), without PyTorch.

The pickle is put together from its opcodes: one OrderedDict, each value a call of
torch._utils._rebuild_tensor_v2 on a storage, which is a record of its own.
"""

from __future__ import annotations

import math
import struct
import zipfile
from collections.abc import Iterable, Mapping
from typing import BinaryIO

import numpy as np

from minigrad.formats.metadata import ATTRIBUTE
from minigrad.formats.numbers import Array
from minigrad.formats.tensors import STORAGES

__all__ = ["write_pth"]

STORAGE_NAMES = {dtype: name for name, dtype in STORAGES.items()}
PROTO, STOP, REDUCE, BUILD, PERSISTENT, FALSE = b"\x80\x02", b".", b"R", b"b", b"Q", b"\x89"


def write_pth(file: BinaryIO, arrays: Mapping[str, Array], metadata: Mapping[str, str]) -> None:
    """Write the arrays; ``torch.load(path)`` gives them as tensors."""
    plain = {name: _little_endian(array) for name, array in arrays.items()}
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("archive/data.pkl", _pickle(plain, metadata))
        archive.writestr("archive/byteorder", "little")
        for index, array in enumerate(plain.values()):
            with archive.open(f"archive/data/{index}", "w", force_zip64=True) as record:
                record.write(array.reshape(-1).view(np.uint8).data)
        archive.writestr("archive/version", "3\n")


def _little_endian(array: Array) -> Array:
    return np.asarray(array, array.dtype.newbyteorder("<"), order="C")


def _pickle(arrays: Mapping[str, Array], metadata: Mapping[str, str]) -> bytes:
    items = (_string(n) + _tensor(i, a) for i, (n, a) in enumerate(arrays.items()))
    state = _empty_ordered() + _set_items(items)
    texts = (_string(name) + _string(text) for name, text in metadata.items())
    attributes = b"}" + _set_items([_string(ATTRIBUTE) + b"}" + _set_items(texts)]) + BUILD
    return PROTO + state + (attributes if metadata else b"") + STOP


def _empty_ordered() -> bytes:
    return _global("collections.OrderedDict") + b")" + REDUCE


def _set_items(items: Iterable[bytes]) -> bytes:
    """Set keys and values in the dict on the stack."""
    return b"(" + b"".join(items) + b"u"


def _tensor(index: int, array: Array) -> bytes:
    """_rebuild_tensor_v2(storage, 0, shape, strides, False, OrderedDict())."""
    storage_type = STORAGE_NAMES[array.dtype.str.lstrip("<|").replace("b1", "?")]
    storage = _tuple(
        [_string("storage"), _global(storage_type), _string(str(index)), _string("cpu"),
         _integer(array.size)]
    ) + PERSISTENT  # fmt: skip
    strides = [math.prod(array.shape[axis + 1 :]) for axis in range(array.ndim)]
    arguments = [storage, _integer(0), _sizes(array.shape), _sizes(strides), FALSE]
    no_hooks = _empty_ordered()
    return _global("torch._utils._rebuild_tensor_v2") + _tuple([*arguments, no_hooks]) + REDUCE


def _global(name: str) -> bytes:
    module, _, last = name.rpartition(".")
    return f"c{module}\n{last}\n".encode()


def _string(text: str) -> bytes:
    raw = text.encode()
    return b"X" + struct.pack("<I", len(raw)) + raw


def _integer(value: int) -> bytes:
    return b"\x8a\x08" + struct.pack("<q", value)


def _tuple(values: Iterable[bytes]) -> bytes:
    return b"(" + b"".join(values) + b"t"


def _sizes(values: Iterable[int]) -> bytes:
    return _tuple(_integer(value) for value in values)
