"""Writes a state dict as PyTorch's .pth (the zip container), without PyTorch.

The pickle is put together from its opcodes: one dict, each value a call of
torch._utils._rebuild_tensor_v2 on a storage, which is a record of its own.
"""

from __future__ import annotations

import math
import struct
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from minigrad.formats.tensors import STORAGES

__all__ = ["write_pth"]

Array = npt.NDArray[Any]
STORAGE_NAMES = {dtype: name for name, dtype in STORAGES.items()}


def write_pth(path: Path, arrays: Mapping[str, Array]) -> None:
    """Write the arrays to ``path``; ``torch.load(path)`` gives them as tensors."""
    plain = {name: _little_endian(array) for name, array in arrays.items()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("archive/data.pkl", _pickle(plain))
        archive.writestr("archive/byteorder", "little")
        for index, array in enumerate(plain.values()):
            archive.writestr(f"archive/data/{index}", array.tobytes())
        archive.writestr("archive/version", "3\n")


def _little_endian(array: Array) -> Array:
    return np.asarray(array, array.dtype.newbyteorder("<"), order="C")


def _pickle(arrays: Mapping[str, Array]) -> bytes:
    items = (_string(n) + _tensor(i, a) for i, (n, a) in enumerate(arrays.items()))
    return b"\x80\x02}(" + b"".join(items) + b"u."  # PROTO 2, a dict of what follows, STOP


def _tensor(index: int, array: Array) -> bytes:
    """_rebuild_tensor_v2(storage, 0, shape, strides, False, OrderedDict())."""
    storage_type = STORAGE_NAMES[array.dtype.str.lstrip("<|").replace("b1", "?")]
    storage = _tuple(
        [_string("storage"), _global(storage_type), _string(str(index)), _string("cpu"),
         _integer(array.size)]
    ) + b"Q"  # fmt: skip
    no_hooks = _global("collections.OrderedDict") + b")R"
    strides = [math.prod(array.shape[axis + 1 :]) for axis in range(array.ndim)]
    arguments = [storage, _integer(0), _sizes(array.shape), _sizes(strides), b"\x89", no_hooks]
    return _global("torch._utils._rebuild_tensor_v2") + _tuple(arguments) + b"R"


def _global(name: str) -> bytes:
    module, _, last = name.rpartition(".")
    return f"c{module}\n{last}\n".encode()


def _string(text: str) -> bytes:
    raw = text.encode("utf-8", "surrogatepass")
    return b"X" + struct.pack("<I", len(raw)) + raw


def _integer(value: int) -> bytes:
    return b"\x8a\x08" + struct.pack("<q", value)


def _tuple(values: Iterable[bytes]) -> bytes:
    return b"(" + b"".join(values) + b"t"


def _sizes(values: Iterable[int]) -> bytes:
    return _tuple(_integer(value) for value in values)
