"""NumPy's .npz: a zip archive of .npy files, read without pickle.

The layout of a .npy header is NEP 1; NumPy's own functions read and write it.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from minigrad.errors import FormatError
from minigrad.formats.limits import Budget, byte_count, quote
from minigrad.formats.zip_reader import Record

__all__ = ["read_npz", "write_npz"]

Array = npt.NDArray[Any]
MAX_HEADER = 1 << 14


def read_npz(records: Mapping[str, Record], limit: int, copy: bool) -> dict[str, Array]:
    """The arrays of an .npz with these records; without ``copy``, views where stored."""
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
    if nbytes == 0:
        return np.empty(shape, dtype)
    flat: Array = np.frombuffer(content, dtype, offset=start)
    return flat.reshape(shape, order="F" if fortran_order else "C")


def _read_header(content: memoryview, what: str) -> tuple[tuple[int, ...], bool, Any, int]:
    file = io.BytesIO(content[:MAX_HEADER])
    readers = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }
    try:
        version = np.lib.format.read_magic(file)
        shape, fortran_order, dtype = readers[version](file)
    except (ValueError, KeyError, TypeError, SyntaxError, MemoryError, RecursionError):
        # what NumPy's parser of the header dictionary raises for text that is not one
        raise FormatError(f"{what} does not begin with the header of a .npy array") from None
    if dtype.kind not in "biufc" or dtype.hasobject:
        raise FormatError(f"{what} holds {dtype}, not numbers")
    return shape, fortran_order, dtype, file.tell()


def write_npz(path: Path, arrays: Mapping[str, Array]) -> None:
    """Write the arrays to ``path``, stored, as numpy.savez does (but of any name)."""
    import zipfile

    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
                np.lib.format.write_array(file, np.asanyarray(array), allow_pickle=False)
