"""Writes .pth files as torch.save does, with the standard library's pickle and no torch.

Classes and functions of the same names as torch's stand in for torch while the pickle is
written, so the pickler itself chooses the opcodes, at every protocol.
"""

from __future__ import annotations

import io
import pickle
import struct
import sys
import types
import zipfile
from collections import OrderedDict
from dataclasses import dataclass
from unittest import mock

import numpy as np

TYPES = {
    "float64": "DoubleStorage", "float32": "FloatStorage", "float16": "HalfStorage",
    "int64": "LongStorage", "int32": "IntStorage", "int16": "ShortStorage",
    "int8": "CharStorage", "uint8": "ByteStorage", "bool": "BoolStorage",
    "complex64": "ComplexFloatStorage", "complex128": "ComplexDoubleStorage",
    "bfloat16": "BFloat16Storage",
}  # fmt: skip


def _stand_in(module, name, base=object):
    return type(name, (base,), {"__module__": module, "__qualname__": name})


def _stand_in_function(module, name):
    def function(*args):
        raise AssertionError("only its name is ever written")

    function.__module__, function.__qualname__, function.__name__ = module, name, name
    return function


STORAGE_TYPES = {name: _stand_in("torch", name) for name in TYPES.values()}
REBUILD = _stand_in_function("torch._utils", "_rebuild_tensor_v2")
REBUILD_PARAMETER = _stand_in_function("torch._utils", "_rebuild_parameter")
DEVICE, SIZE = _stand_in("torch", "device"), _stand_in("torch", "Size", tuple)
MODULES = {
    "torch": {**STORAGE_TYPES, "device": DEVICE, "Size": SIZE},
    "torch._utils": {"_rebuild_tensor_v2": REBUILD, "_rebuild_parameter": REBUILD_PARAMETER},
}


def _torch_modules():
    modules = {}
    for name, contents in MODULES.items():
        modules[name] = types.ModuleType(name)
        vars(modules[name]).update(contents)
    return modules


@dataclass(eq=False)
class Storage:
    """A flat array; ``dtype`` and ``numel`` can be made to lie."""

    flat: np.ndarray
    dtype: str = ""
    numel: int | None = None
    key: str = ""

    def pid(self, key):
        kind = STORAGE_TYPES[TYPES[self.dtype or str(self.flat.dtype)]]
        numel = self.flat.size if self.numel is None else self.numel
        return ("storage", kind, self.key or key, "cpu", numel)


@dataclass
class Tensor:
    storage: Storage
    offset: int
    shape: tuple
    strides: tuple

    def __reduce__(self):
        arguments = (self.storage, self.offset, self.shape, self.strides, False, OrderedDict())
        return REBUILD, arguments


@dataclass
class Parameter:
    data: Tensor

    def __reduce__(self):
        return REBUILD_PARAMETER, (self.data, True, OrderedDict())


@dataclass
class Device:
    """torch.device("cpu")"""

    def __reduce__(self):
        return DEVICE, ("cpu",)


def tensor(array):
    """The whole of an array, contiguous."""
    array = np.asarray(array, order="C")
    strides = tuple(s // array.itemsize for s in array.strides)
    return Tensor(Storage(array.reshape(-1)), 0, array.shape, strides)


def pickled(value, protocol=2):
    """The pickle, and the storages that it names by key."""
    storages: dict[str, Storage] = {}

    class Pickler(pickle.Pickler):
        def persistent_id(self, item):
            if not isinstance(item, Storage):
                return None
            known = [key for key, storage in storages.items() if storage is item]
            key = known[0] if known else str(len(storages))
            storages[key] = item
            return item.pid(key)

    file = io.BytesIO()
    with mock.patch.dict(sys.modules, _torch_modules()):
        Pickler(file, protocol).dump(value)
    return file.getvalue(), storages


def legacy(value, protocol=2, little_endian=True):
    """A file of torch.save before 1.6."""
    body, storages = pickled(value, protocol)
    return legacy_file(body, storages, protocol, little_endian)


def legacy_file(body, storages, protocol=2, little_endian=True, keys=None):
    """The same around any pickle; ``keys`` in place of the true list of storages."""
    order = "<" if little_endian else ">"
    system = {"protocol_version": 1001, "little_endian": little_endian, "type_sizes": {"int": 4}}
    head = [pickle.dumps(v, protocol) for v in (0x1950A86A20F9469CFC6C, 1001, system)]
    names = [storage.key or key for key, storage in storages.items()]
    tail = [pickle.dumps(names if keys is None else keys, protocol)]
    for storage in storages.values():
        raw = storage.flat.astype(storage.flat.dtype.newbyteorder(order)).tobytes()
        tail.append(struct.pack(order + "q", storage.flat.size) + raw)
    return b"".join([*head, body, *tail])


def zipped(value, protocol=2, byteorder="little", compression=zipfile.ZIP_STORED):
    """A file of torch.save since 1.6."""
    body, storages = pickled(value, protocol)
    order = "<" if byteorder == "little" else ">"
    records = {"data.pkl": body, "byteorder": byteorder.encode()}
    for key, storage in storages.items():
        flat = storage.flat.astype(storage.flat.dtype.newbyteorder(order))
        records[f"data/{storage.key or key}"] = flat.tobytes()
    records["version"] = b"3\n"
    return archive({f"weights/{name}": raw for name, raw in records.items()}, compression)


def archive(records, compression=zipfile.ZIP_STORED):
    """A zip archive of named bytes, or of (name, bytes) pairs that may repeat."""
    pairs = records.items() if isinstance(records, dict) else records
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as target:
        for name, raw in pairs:
            target.writestr(name, raw)
    return file.getvalue()


def npy(array):
    file = io.BytesIO()
    np.lib.format.write_array(file, array, allow_pickle=True)
    return file.getvalue()


CONTAINERS = {"legacy": legacy, "zip": zipped}
