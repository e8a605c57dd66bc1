"""Tensors of an ONNX file: numbers in the file itself, or in another file beside it."""

from __future__ import annotations

import os
from contextlib import ExitStack

import numpy as np

from minigrad.errors import FormatError, quote
from minigrad.formats.limits import Budget, byte_count
from minigrad.formats.numbers import Array, numbers_from, widen_bfloat16
from minigrad.formats.source import Source, source
from minigrad.graphs.data import Constant, Unread
from minigrad.graphs.wire import Message

__all__ = ["DTYPES", "ExternalFiles", "read_tensor"]

DIMS, DATA_TYPE, SEGMENT, FLOATS, INT32S, INT64S, NAME, RAW = 1, 2, 3, 4, 5, 7, 8, 9
DOUBLES, UINT64S, EXTERNAL, LOCATION = 10, 11, 13, 14
KEY, VALUE = 1, 2  # of an entry of EXTERNAL
BFLOAT16 = 16
DTYPES = {
    1: "float32", 2: "uint8", 3: "int8", 4: "uint16", 5: "int16", 6: "int32", 7: "int64", 9: "bool",
    10: "float16", 11: "float64", 12: "uint32", 13: "uint64", 14: "complex64", 15: "complex128",
    BFLOAT16: "bfloat16",
}  # fmt: skip
OTHERS = {8: "texts", 17: "float8", 18: "float8", 19: "float8", 20: "float8", 21: "uint4",
          22: "int4", 23: "float4", 24: "float8"}  # fmt: skip
# The field that has the numbers of a type, if they are not raw.
FIELDS = {
    **dict.fromkeys(["float32", "complex64"], FLOATS), "int64": INT64S,
    **dict.fromkeys(["float64", "complex128"], DOUBLES),
    **dict.fromkeys(["uint32", "uint64"], UINT64S),
}  # fmt: skip


class ExternalFiles:
    """The files beside a model that hold its numbers: below its folder, and nowhere else.

    Parameters
    ----------
    folder : str or None
        Of the model; None if the model is not a file.
    stack : ExitStack
        Closes them.
    """

    def __init__(self, folder: str | None, stack: ExitStack) -> None:
        self.folder = folder
        self.stack = stack
        self.files: dict[str, Source] = {}

    def read(self, location: str, offset: int, length: int | None) -> memoryview:
        """The bytes of a tensor; to the end of the file if there is no length."""
        if location not in self.files:
            path = self._path(location)
            try:
                self.files[location] = self.stack.enter_context(source(path))
            except (FormatError, OSError) as error:
                reason = error.strerror if isinstance(error, OSError) else error
                raise FormatError(f"external data {quote(location)}: {reason}") from None
        file = self.files[location]
        size = file.size - offset if length is None else length
        if not 0 <= offset <= offset + size <= file.size:
            raise FormatError(f"external data {quote(location)}: the file ends before its numbers")
        return file.read(offset, size)

    def _path(self, location: str) -> str:
        """The path of a file below the folder, through no link and no ``..``."""
        if self.folder is None:
            raise FormatError("the model has external data, and no folder to look for them")
        parts = location.replace("\\", "/").split("/")
        if any(part in ("", ".", "..") or ":" in part or "\0" in part for part in parts):
            raise FormatError(f"external data must lie below the model, not at {quote(location)}")
        path = self.folder
        for part in parts:
            path = os.path.join(path, part)
            if os.path.islink(path):
                raise FormatError(f"external data {quote(location)} is a link: not followed")
        return path


def read_tensor(tensor: Message, files: ExternalFiles, budget: Budget) -> tuple[str, Constant]:
    """Name and numbers of a TensorProto."""
    name, kind = tensor.text(NAME), tensor.integer(DATA_TYPE)
    what = f"tensor {quote(name)}"
    if kind not in DTYPES:
        return name, Unread(f"a tensor of {OTHERS.get(kind, f'type {kind}')}")
    if tensor.has(SEGMENT):
        return name, Unread("a tensor in segments")
    shape = tuple(int(n) for n in tensor.integers(DIMS))
    dtype = DTYPES[kind]
    stored = np.dtype("<u2" if dtype == "bfloat16" else dtype).newbyteorder("<")
    nbytes = byte_count(shape, stored.itemsize, what)
    budget.spend_memory(nbytes * (2 if dtype == "bfloat16" else 1), what)
    raw = _raw(tensor, files, nbytes)
    flat = _numbers(tensor, dtype, stored) if raw is None else numbers_from(raw, stored, what)
    _check_size(what, flat.nbytes, nbytes)
    return name, (widen_bfloat16(flat) if dtype == "bfloat16" else flat).reshape(shape)


def _raw(tensor: Message, files: ExternalFiles, nbytes: int) -> memoryview | None:
    """The bytes of the numbers, None if they stand in a field of their type."""
    if tensor.integer(LOCATION):
        entries = {entry.text(KEY): entry.text(VALUE) for entry in tensor.messages(EXTERNAL)}
        offset, length = (_size(entries.get(key, "")) for key in ("offset", "length"))
        raw = files.read(entries.get("location", ""), offset or 0, length)
    elif tensor.has(RAW):
        raw = tensor.bytes(RAW)
    else:
        return None
    _check_size(f"tensor {quote(tensor.text(NAME))}", len(raw), nbytes)
    return raw


def _check_size(what: str, found: int, expected: int) -> None:
    if found != expected:
        raise FormatError(f"{what} has {found:,} bytes of numbers, and {expected:,} by its shape")


def _size(digits: str) -> int | None:
    """A size in decimal digits, None if there is none."""
    if not digits:
        return None
    if not (digits.isascii() and digits.isdigit()) or len(digits) > 18:
        raise FormatError(f"external data have {quote(digits)} for a size")
    return int(digits)


def _numbers(tensor: Message, dtype: str, stored: np.dtype[np.generic]) -> Array:
    """The numbers of a tensor that are not raw; small types stand in integers of 32 bits."""
    field = FIELDS.get(dtype, INT32S)
    if field in (FLOATS, DOUBLES):
        return tensor.numbers(field, "<f4" if field == FLOATS else "<f8").view(stored)
    wide = tensor.integers(field)
    if dtype in ("float16", "bfloat16"):
        return wide.astype(np.uint16).view(stored)
    return wide.astype(stored)
