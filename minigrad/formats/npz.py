"""NumPy's .npz: a zip archive of .npy files, read without pickle.

A .npy file (NumPy's NEP 1) is a magic string, a version, the header's length, the header,
which is the text of a dict, and the numbers.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Mapping
from typing import BinaryIO, NamedTuple

import numpy as np

from minigrad.errors import FormatError, quote
from minigrad.formats.limits import Budget, byte_count
from minigrad.formats.metadata import RESERVED, decode_metadata, encode_metadata
from minigrad.formats.numbers import Array, numbers_from
from minigrad.formats.state_dict import StateDict
from minigrad.formats.zip_reader import Record

__all__ = ["read_npz", "write_npz"]

MAX_HEADER = 1 << 12
MAGIC, VERSIONS = b"\x93NUMPY", (b"\1", b"\2")
STEPS = 40  # of work for an array
# What NumPy writes, to the letter; no expression is evaluated.  (Python 2 wrote 3L for 3.)
HEADER = re.compile(
    rb"\{'descr': '([<>|][biufc]\d{1,2})', 'fortran_order': (True|False), "
    rb"'shape': \((?:(\d{1,19}L?(?:, \d{1,19}L?)*),?)?\), \}\s*"
)
DTYPES = ("b1", "i1", "u1", "i2", "u2", "f2", "i4", "u4", "f4", "i8", "u8", "f8", "c8", "c16")


class Header(NamedTuple):
    """What a .npy file says of its array, and where the numbers begin."""

    shape: tuple[int, ...]
    fortran_order: bool
    dtype: np.dtype[np.generic]
    start: int


def read_npz(records: Mapping[str, Record], budget: Budget, check_crc: bool) -> StateDict:
    """The arrays of an .npz with these records."""
    budget.work(STEPS * len(records))
    for name, record in records.items():
        budget.spend_memory(record.nbytes, f"the record {quote(name)}")
    arrays = {
        name.removesuffix(".npy"): _read_npy(name, record, check_crc)
        for name, record in records.items()
    }
    metadata = decode_metadata(arrays.pop(RESERVED, None))
    return StateDict(arrays, metadata)


def _read_npy(name: str, record: Record, check_crc: bool) -> Array:
    what = f"the record {quote(name)}"
    content = record.read(check_crc)
    header = _read_header(content, what)
    nbytes = byte_count(header.shape, header.dtype.itemsize, what)
    if nbytes != len(content) - header.start:
        raise FormatError(
            f"{what} holds {len(content) - header.start:,} bytes for {nbytes:,} of data"
        )
    flat = numbers_from(content[header.start :], header.dtype, what)
    return flat.reshape(header.shape, order="F" if header.fortran_order else "C")


def _read_header(raw: memoryview, what: str) -> Header:
    major = bytes(raw[6:7])
    width = 2 if major == b"\1" else 4
    start = 8 + width + int.from_bytes(raw[8 : 8 + width], "little")
    match = HEADER.fullmatch(raw[8 + width : start]) if start < 8 + MAX_HEADER else None
    if bytes(raw[:6]) != MAGIC or major not in VERSIONS or start > len(raw) or match is None:
        raise FormatError(f"{what} does not begin with the header of a .npy array of numbers")
    descr, fortran_order, sizes = (part.decode() for part in match.groups(default=b""))
    if descr[1:] not in DTYPES:
        raise FormatError(f"{what} is of dtype {quote(descr)}, which is not read")
    shape = tuple(int(n.rstrip("L ")) for n in sizes.split(",") if n)
    return Header(shape, fortran_order == "True", np.dtype(descr), start)


def write_npz(file: BinaryIO, arrays: Mapping[str, Array], metadata: Mapping[str, str]) -> None:
    """Write the arrays, stored, as numpy.savez does (but of any name)."""
    beside = {RESERVED: encode_metadata(metadata)} if metadata else {}
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for name, array in {**arrays, **beside}.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as record:
                np.lib.format.write_array(record, np.asanyarray(array), allow_pickle=False)
