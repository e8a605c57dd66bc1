"""PyTorch's .pth, read without PyTorch: both containers that torch.save has written.

zip (since 1.6): records ``<top>/data.pkl``, ``<top>/byteorder`` and one ``<top>/data/<key>``
a storage.  legacy, one stream: the pickles of a magic number, a protocol version, the
writer's byte order and the object; then the pickled list of storage keys, and for each key
the number of elements in 8 bytes and the elements.

The object in the pickle is a state dict, or a checkpoint around one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy.typing as npt

from minigrad.errors import FormatError
from minigrad.formats.limits import Budget, no_duplicates, quote
from minigrad.formats.pickle_reader import MAX_BYTES, Global, read_pickle
from minigrad.formats.tensors import (
    ALLOWED,
    STORAGES,
    Storage,
    TensorRecord,
    read_storage,
    view,
)
from minigrad.formats.zip_reader import Record

__all__ = ["WRAPPERS", "find_state_dict", "read_legacy", "read_zip"]

Array = npt.NDArray[Any]
MAGIC_NUMBER = 0x1950A86A20F9469CFC6C
PROTOCOL_VERSION = 1001
MAX_TENSORS = 100_000
LITTLE, BIG = "<", ">"
WRAPPERS = ("state_dict", "model_state_dict", "model", "net", "network", "params", "weights")


def read_zip(records: Mapping[str, Record], limit: int, copy: bool) -> dict[str, Array]:
    """The tensors of a zip file with these records."""
    top = _top_folder(records)
    unpacked = Budget(limit)

    def read(name: str, budget: Budget = unpacked) -> memoryview:
        if top + name not in records:
            raise FormatError(f"the record {quote(top + name)} is missing")
        # torch.save can be told to write no CRC, and then writes a wrong one
        return records[top + name].read(budget, check_crc=False)

    def raw(storage: Storage) -> memoryview:
        content = read(f"data/{storage.key}")
        if len(content) != storage.nbytes:
            raise FormatError(
                f"storage {quote(storage.key)} has {len(content):,} bytes in the file, "
                f"and {storage.nbytes:,} by its type and number of elements"
            )
        return content

    order = _byteorder(bytes(read("byteorder")[:8])) if top + "byteorder" in records else LITTLE
    value, _ = read_pickle(read("data.pkl", Budget(MAX_BYTES)), 0, ALLOWED, _storage)
    return _arrays(find_state_dict(value), raw, order, limit, copy)


def _top_folder(records: Mapping[str, Record]) -> str:
    """The folder of the one data.pkl, with its slash."""
    tops = [name.removesuffix("data.pkl") for name in records if name.endswith("/data.pkl")]
    if len(tops) != 1:
        raise FormatError(f"the archive has {len(tops)} records data.pkl, where torch writes one")
    if tops[0] + "constants.pkl" in records:
        raise FormatError("the file is a TorchScript program; save its state_dict() instead")
    return tops[0]


def read_legacy(data: memoryview, limit: int, copy: bool) -> dict[str, Array]:
    """The tensors of a file as torch.save wrote it before version 1.6."""
    magic, pos = read_pickle(data, 0, {})
    if magic != MAGIC_NUMBER:
        raise FormatError("the file is a pickle, but not one that torch.save wrote")
    version, pos = read_pickle(data, pos, {})
    if version != PROTOCOL_VERSION:
        raise FormatError(f"the file is not of torch's legacy format {PROTOCOL_VERSION}")
    system, pos = read_pickle(data, pos, {})
    order = BIG if type(system) is dict and system.get("little_endian") is False else LITTLE
    storages: dict[str, Storage] = {}

    def remember(pid: tuple[Any, ...]) -> Storage:
        storage = _storage(pid)
        if storages.setdefault(storage.key, storage) != storage:
            raise FormatError(f"storage {quote(storage.key)} has two different sizes or dtypes")
        return storage

    value, pos = read_pickle(data, pos, ALLOWED, remember)
    keys, pos = read_pickle(data, pos, {})
    runs = _legacy_runs(data, pos, keys, storages, order)
    return _arrays(find_state_dict(value), lambda storage: runs[storage.key], order, limit, copy)


def _legacy_runs(
    data: memoryview, pos: int, keys: object, storages: Mapping[str, Storage], byteorder: str
) -> dict[str, memoryview]:
    """The bytes of each storage, which stand one after another to the end of the file."""
    if type(keys) is not list or any(type(key) is not str for key in keys):
        raise FormatError("the list of storages is not a list of names")
    no_duplicates(keys, "storage")
    if set(keys) != storages.keys():
        raise FormatError("the storages listed are not the storages that the tensors name")
    order = "little" if byteorder == LITTLE else "big"
    runs = {}
    for key in keys:
        storage = storages[key]
        numel = int.from_bytes(data[pos : pos + 8], order)  # type: ignore[arg-type]
        end = pos + 8 + storage.nbytes
        if end > len(data):
            raise FormatError(f"the file is truncated in storage {quote(key)}")
        if numel != storage.numel:
            raise FormatError(f"storage {quote(key)} has {numel} elements for {storage.numel}")
        runs[key] = data[pos + 8 : end]
        pos = end
    return runs


def _storage(pid: tuple[Any, ...]) -> Storage:
    """A persistent id: ("storage", type, key, location, numel[, None])."""
    match pid:
        case ("storage", Global(name=name), str(key), _, int(numel)) | (
            "storage", Global(name=name), str(key), _, int(numel), None,
        ) if name in STORAGES and numel >= 0:  # fmt: skip
            return Storage(key, STORAGES[name], numel)
    raise FormatError("a storage is not named by its type, key, place and number of elements")


def _byteorder(name: bytes) -> str:
    orders = {b"little": LITTLE, b"big": BIG}
    if name not in orders:
        raise FormatError("the record 'byteorder' says neither little nor big")
    return orders[name]


def find_state_dict(value: object) -> dict[str, TensorRecord]:
    """The tensors of a state dict, or of the one within a checkpoint.

    A checkpoint is a dict that has a state dict under one of `WRAPPERS`, the first of which
    is taken; what is no tensor is left out.
    """
    if type(value) is not dict:
        raise FormatError(f"the file holds {quote(value)}, not a dict of tensors")
    candidates = [value.get(key) for key in WRAPPERS] + [value]
    for candidate in candidates:
        tensors = _tensors_of(candidate)
        if tensors:
            return tensors
    if not value:
        return {}
    keys = ", ".join(quote(str(key)) for key in list(value)[:5])
    raise FormatError(f"the file holds no state dict; its keys begin with {keys}")


def _tensors_of(value: object) -> dict[str, TensorRecord]:
    if type(value) is not dict:
        return {}
    tensors = {key: item for key, item in value.items() if type(item) is TensorRecord}
    if any(type(key) is not str for key in tensors):
        raise FormatError("the state dict has a tensor whose name is not a string")
    if len(tensors) > MAX_TENSORS:
        raise FormatError(f"the state dict has {len(tensors):,} tensors, more than any network")
    return tensors


def _arrays(
    tensors: Mapping[str, TensorRecord], raw: Callable[[Storage], memoryview],
    byteorder: str, limit: int, copy: bool,
) -> dict[str, Array]:  # fmt: skip
    """The arrays of the tensors; those of one storage share its memory.

    The budget is held twice: against the storages, which are what takes memory, and
    against the tensors, whose elements may lie over one another (a stride of 0).
    """
    in_storages, in_tensors = Budget(limit), Budget(limit)
    flats: dict[Storage, Array] = {}
    arrays = {}
    for name, tensor in tensors.items():
        in_tensors.spend(tensor.nbytes, f"tensor {quote(name)}")
        storage = tensor.storage
        if storage not in flats:
            in_storages.spend(storage.nbytes, f"storage {quote(storage.key)}")
            flats[storage] = read_storage(raw(storage), storage, byteorder, copy)
        arrays[name] = view(flats[storage], tensor)
    return arrays
