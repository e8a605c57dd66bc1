"""NumPy's .npz: a zip archive of .npy files, read without pickle.

A .npy file (NumPy's NEP 1) is a magic string, a version, the header's length, the header,
which is the text of a dict, and the numbers.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from minigrad.errors import FormatError
from minigrad.formats.limits import Budget, byte_count, quote
from minigrad.formats.zip_reader import Record

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["read_npz", "write_npz"]

Array = npt.NDArray[Any]
MAX_HEADER = 1 << 12
MAGIC, VERSIONS = b"\x93NUMPY", (b"\1", b"\2")
# What NumPy writes, to the letter; no expression is evaluated.  (Python 2 wrote 3L for 3.)
HEADER = re.compile(
    rb"\{'descr': '([<>|][biufc]\d{1,2})', 'fortran_order': (True|False), "
    rb"'shape': \((?:(\d{1,19}L?(?:, \d{1,19}L?)*),?)?\), \}\s*"
)
DTYPES = ("b1", "i1", "u1", "i2", "u2", "f2", "i4", "u4", "f4", "i8", "u8", "f8", "c8", "c16")


def read_npz(records: Mapping[str, Record], limit: int, copy: bool) -> dict[str, Array]:
    """The arrays of an .npz with these records; without ``copy``, views where they can be."""
    arrays, unpacked = Budget(limit), Budget(limit)
    views = {
        name.removesuffix(".npy"): _read_npy(record, arrays, unpacked)
        for name, record in records.items()
    }
    return {name: array.copy(order="K") for name, array in views.items()} if copy else views


def _read_npy(record: Record, arrays: Budget, unpacked: Budget) -> Array:
    """One array: budget first, then bytes, then header, then the array over the bytes."""
    what = f"the record {quote(record.name)}"
    arrays.spend(record.nbytes, what)
    content = record.read(unpacked)
    shape, fortran_order, dtype, start = _read_header(content, what)
    nbytes = byte_count(shape, dtype.itemsize, what)
    if nbytes != len(content) - start:
        raise FormatError(f"{what} holds {len(content) - start:,} bytes for {nbytes:,} of data")
    native = dtype.newbyteorder("=")
    if nbytes == 0:
        return np.empty(shape, native)
    flat: Array = np.frombuffer(content, dtype, offset=start).astype(native, copy=False)
    return flat.reshape(shape, order="F" if fortran_order else "C")


def _read_header(raw: memoryview, what: str) -> tuple[tuple[int, ...], bool, np.dtype[Any], int]:
    """Shape, whether in Fortran's order, dtype, and where the data begin."""
    major = bytes(raw[6:7])
    width = 2 if major == b"\1" else 4
    start = 8 + width + int.from_bytes(raw[8 : 8 + width], "little")
    header = HEADER.fullmatch(raw[8 + width : start]) if start < 8 + MAX_HEADER else None
    if bytes(raw[:6]) != MAGIC or major not in VERSIONS or start > len(raw) or header is None:
        raise FormatError(f"{what} does not begin with the header of a .npy array of numbers")
    descr, fortran_order, sizes = (part.decode() for part in header.groups(default=b""))
    if descr[1:] not in DTYPES:
        raise FormatError(f"{what} is of dtype {quote(descr)}, which is not read")
    shape = tuple(int(n.rstrip("L ")) for n in sizes.split(",") if n)
    return shape, fortran_order == "True", np.dtype(descr), start


def write_npz(path: Path, arrays: Mapping[str, Array]) -> None:
    """Write the arrays to ``path``, stored, as numpy.savez does (but of any name)."""
    import zipfile

    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
                np.lib.format.write_array(file, np.asanyarray(array), allow_pickle=False)
