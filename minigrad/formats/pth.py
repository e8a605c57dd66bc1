"""PyTorch's .pth, read without PyTorch: both containers that torch.save has written.

zip (since 1.6): records ``<top>/data.pkl``, ``<top>/byteorder`` and one ``<top>/data/<key>``
a storage.  legacy, one stream: the pickles of a magic number, a protocol version, the
writer's byte order and the object; then the pickled list of storage keys, and for each key
the number of elements in 8 bytes and the elements.

The object in the pickle is a state dict, or a checkpoint around one.  Everything that the
file says is checked before the numbers of the first tensor are read.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal

from minigrad.errors import FormatError, quote
from minigrad.formats.checkpoint import Found, find_state_dict
from minigrad.formats.limits import Budget, no_duplicates
from minigrad.formats.metadata import ATTRIBUTE, checked_metadata
from minigrad.formats.pickle_machine import MAX_PICKLE, Opaque
from minigrad.formats.pickle_reader import read_pickle
from minigrad.formats.prefixes import without_wrappers
from minigrad.formats.source import Source
from minigrad.formats.state_dict import StateDict
from minigrad.formats.tensors import (
    BUILDERS,
    STEPS,
    STEPS_PER_AXIS,
    Storage,
    read_storage,
    storage,
    view,
)
from minigrad.formats.zip_reader import Record

__all__ = ["read_legacy", "read_zip"]

MAGIC_NUMBER = 0x1950A86A20F9469CFC6C
PROTOCOL_VERSION = 1001
Order = Literal["<", ">"]
LITTLE: Order = "<"
BIG: Order = ">"
Bytes = Callable[[], memoryview]  # reads the bytes of one storage


def read_zip(
    records: Mapping[str, Record], budget: Budget, key: str | None, check_crc: bool
) -> StateDict:
    """The tensors of a zip file with these records."""
    top = _top_folder(records)
    order = _byteorder(records, top)
    program = _record(records, f"{top}data.pkl")
    if program.nbytes > MAX_PICKLE:
        raise FormatError(f"the pickle has {program.nbytes:,} bytes, more than a list of tensors")
    budget.spend_values(program.nbytes, "the pickle")
    value, _ = read_pickle(_read(program), 0, BUILDERS, budget, storage)

    def find(flat: Storage) -> Bytes:
        record = _record(records, f"{top}data/{flat.key}")
        if record.nbytes != flat.nbytes:
            raise FormatError(
                f"storage {quote(flat.key)} has {record.nbytes:,} bytes in the file, "
                f"and {flat.nbytes:,} by its type and number of elements"
            )
        return lambda: _read(record, check_crc)

    return _state_dict(find_state_dict(value, key), find, program.source, order, budget)


def _top_folder(records: Mapping[str, Record]) -> str:
    """The folder of the one data.pkl, with its slash."""
    tops = [name.removesuffix("data.pkl") for name in records if name.endswith("/data.pkl")]
    if len(tops) != 1:
        raise FormatError(f"the archive has {len(tops)} records data.pkl, where torch writes one")
    if tops[0] + "constants.pkl" in records:
        raise FormatError("the file is a TorchScript program; save its state_dict() instead")
    return tops[0]


def _byteorder(records: Mapping[str, Record], top: str) -> Order:
    record = records.get(f"{top}byteorder")
    name = b"little" if record is None else bytes(_read(record)) if record.nbytes < 8 else b""
    if name not in (b"little", b"big"):
        raise FormatError("the record 'byteorder' says neither little nor big")
    return LITTLE if name == b"little" else BIG


def _record(records: Mapping[str, Record], name: str) -> Record:
    if name not in records:
        raise FormatError(f"the record {quote(name)} is missing")
    return records[name]


def _read(record: Record, check_crc: bool = True) -> memoryview:
    """torch can be told to compute no CRC, and then writes 0."""
    return record.read(check_crc and record.entry.crc != 0)


def read_legacy(source: Source, budget: Budget, key: str | None) -> StateDict:
    """The tensors of a file as torch.save wrote it before version 1.6."""
    head = source.read(0, min(source.size, MAX_PICKLE))
    magic, pos = read_pickle(head, 0, {}, budget)
    if magic != MAGIC_NUMBER:
        raise FormatError("the file is a pickle, but not one that torch.save wrote")
    version, pos = read_pickle(head, pos, {}, budget)
    if version != PROTOCOL_VERSION:
        raise FormatError(f"the file is not of torch's legacy format {PROTOCOL_VERSION}")
    system, pos = read_pickle(head, pos, {}, budget)
    big = isinstance(system, dict) and system.get("little_endian") is False
    order: Order = BIG if big else LITTLE
    storages: dict[str, Storage] = {}

    def remember(pid: tuple[object, ...], budget: Budget) -> Storage:
        flat = storage(pid, budget)
        if isinstance(flat, Opaque):
            raise FormatError(f"the file has storages of a kind not read here: {quote(flat.name)}")
        if storages.setdefault(flat.key, flat) != flat:
            raise FormatError(f"storage {quote(flat.key)} has two different sizes or dtypes")
        return flat

    value, pos = read_pickle(head, pos, BUILDERS, budget, remember)
    keys, pos = read_pickle(head, pos, {}, budget)
    starts = _legacy_starts(source, pos, keys, storages, order)

    def find(flat: Storage) -> Bytes:
        return lambda: source.read(starts[flat.key], flat.nbytes)

    return _state_dict(find_state_dict(value, key), find, source, order, budget)


def _legacy_starts(
    source: Source, pos: int, keys: object, storages: Mapping[str, Storage], order: Order
) -> dict[str, int]:
    """Where each storage begins; they stand one after another to the end of the file."""
    if not isinstance(keys, list) or any(type(key) is not str for key in keys):
        raise FormatError("the list of storages is not a list of names")
    no_duplicates(keys, "storage")
    if set(keys) != storages.keys():
        raise FormatError("the storages listed are not the storages that the tensors name")
    starts = {}
    for key in keys:
        flat = storages[key]
        starts[key] = pos + 8
        if pos + 8 + flat.nbytes > source.size:
            raise FormatError(f"the file is truncated in storage {quote(key)}")
        numel = int.from_bytes(source.read(pos, 8), "little" if order == LITTLE else "big")
        if numel != flat.numel:
            raise FormatError(f"storage {quote(key)} has {numel} elements for {flat.numel}")
        pos += 8 + flat.nbytes
    return starts


def _state_dict(
    found: Found, find: Callable[[Storage], Bytes], file: Source, order: Order, budget: Budget
) -> StateDict:
    """The arrays of the tensors; those of one storage share its memory."""
    readers = {t.storage: find(t.storage) for t in found.tensors.values()}
    for name, tensor in found.tensors.items():
        budget.spend_elements(tensor.nbytes, f"tensor {quote(name)}")
        budget.work(STEPS + STEPS_PER_AXIS * len(tensor.shape))
    for flat in readers:
        budget.spend_memory(flat.array_nbytes, f"storage {quote(flat.key)}")
    file.reserve([flat.nbytes for flat in readers])
    flats = {flat: read_storage(read(), flat, order) for flat, read in readers.items()}
    arrays = {name: view(flats[tensor.storage], tensor) for name, tensor in found.tensors.items()}
    return StateDict(without_wrappers(arrays), _metadata(found), found.key, found.others)


def _metadata(found: Found) -> dict[str, str]:
    """What the file says beside the tensors, in an attribute of their OrderedDict."""
    attributes = found.attributes
    if isinstance(attributes, dict) and ATTRIBUTE in attributes:
        return checked_metadata(attributes[ATTRIBUTE])
    return {}
