"""Safetensors, read and written with NumPy alone.

A file is 8 bytes with the header's length, the header (JSON), and the tensors' bytes, which
must fill the rest of the file exactly, without gaps or overlaps:

    {"name": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}, ...,
     "__metadata__": {"name": "text"}}
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import accumulate
from typing import BinaryIO, NoReturn

import numpy as np

from minigrad.errors import FormatError, quote
from minigrad.formats.json_scanner import parse
from minigrad.formats.limits import Budget, byte_count
from minigrad.formats.metadata import RESERVED, checked_metadata
from minigrad.formats.numbers import Array, numbers_from, widen_bfloat16
from minigrad.formats.source import Source
from minigrad.formats.state_dict import StateDict
from minigrad.records import NamedTuple

__all__ = ["read_safetensors", "write_safetensors"]

MAX_HEADER = 1 << 21  # a tensor needs about 100 bytes
MAX_DIGITS = 20
STEPS = 30  # of work for a tensor
SPELLINGS = {
    "F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2", "I64": "<i8", "I32": "<i4",
    "I16": "<i2", "I8": "i1", "U64": "<u8", "U32": "<u4", "U16": "<u2", "U8": "u1", "BOOL": "?",
    "C64": "<c8",
}  # fmt: skip
DTYPES = {name: np.dtype(spelling) for name, spelling in SPELLINGS.items()}
NAMES = {dtype: name for name, dtype in DTYPES.items() if name != "BF16"}


class Tensor(NamedTuple):
    """One tensor of the header; ``begin`` and ``end`` count bytes from the header's end."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int

    @property
    def what(self) -> Named:
        """The tensor in a message."""
        return Named(self.name)


class Named:
    """A tensor in a message, put into words only where there is one."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name

    def __str__(self) -> str:
        return f"tensor {quote(self.name)}"


def read_safetensors(source: Source, budget: Budget) -> StateDict:
    """The tensors of the file; bfloat16 becomes float32."""
    header, start = _read_header(source, budget)
    metadata = checked_metadata(header.pop(RESERVED, {}))
    tensors = [_tensor(name, entry, budget) for name, entry in header.items()]
    _check_gapless(tensors, source.size - start)
    for tensor in tensors:
        widened = 2 if tensor.dtype == "BF16" else 1
        budget.spend_memory(widened * (tensor.end - tensor.begin), tensor.what)
    source.reserve([tensor.end - tensor.begin for tensor in tensors])
    arrays = {tensor.name: _read_tensor(source, start, tensor) for tensor in tensors}
    return StateDict(arrays, metadata)


def _read_header(source: Source, budget: Budget) -> tuple[dict[str, object], int]:
    """The header, and where the tensors' bytes begin."""
    length = int.from_bytes(source.read(0, min(8, source.size)), "little")
    if length > min(source.size - 8, MAX_HEADER):
        raise FormatError(
            f"the header's length is given as {length:,} bytes; the file has {source.size:,}, and "
            f"{MAX_HEADER:,} would list any network"
        )
    budget.spend_values(length, "the header")

    def pairs(items: list[tuple[str, object]]) -> dict[str, object]:
        budget.work(1 + len(items))
        values = dict(items)
        if len(values) < len(items):
            raise FormatError("the header has an object with the same key twice")
        return values

    try:
        header = parse(
            str(source.read(8, length), "utf-8"), object_pairs_hook=pairs, parse_int=_integer,
            parse_float=_no_number, parse_constant=_no_number,
        )  # fmt: skip
    except FormatError:
        raise
    except (ValueError, RecursionError):
        raise FormatError("the header is not JSON in UTF-8") from None
    if not isinstance(header, dict):
        raise FormatError("the header is not an object of tensors by name")
    return header, 8 + length


def _integer(digits: str) -> int:
    if len(digits) > MAX_DIGITS:
        _no_number(digits)
    return int(digits)


def _no_number(text: str) -> NoReturn:
    raise FormatError(f"the header has the number {quote(text)}, which is no size")


def _tensor(name: str, entry: object, budget: Budget) -> Tensor:
    """The tensor that an entry describes, if its size is that of its shape."""
    what = Named(name)
    budget.work(STEPS)
    match entry:
        case {"dtype": str(dtype), "shape": list(shape), "data_offsets": [int(begin), int(end)]}:
            pass
        case _:
            raise FormatError(f"{what} is not described by dtype, shape and data_offsets")
    if dtype not in DTYPES:
        raise FormatError(f"{what} is of dtype {quote(dtype)}, which NumPy does not have")
    nbytes = byte_count(shape, DTYPES[dtype].itemsize, what)
    if not 0 <= begin <= end or nbytes != end - begin:
        raise FormatError(f"{what} has {end - begin:,} bytes in the file, and {nbytes:,} by shape")
    return Tensor(name, dtype, tuple(shape), begin, end)


def _check_gapless(tensors: list[Tensor], size: int) -> None:
    """Every byte belongs to one tensor."""
    end = 0
    for tensor in sorted(tensors, key=lambda tensor: (tensor.begin, tensor.end)):
        if tensor.begin != end:
            raise FormatError(f"{tensor.what} begins at byte {tensor.begin:,}, expected {end:,}")
        end = tensor.end
    if end != size:
        raise FormatError(f"the tensors take {end:,} bytes of the file, which has {size:,} of them")


def _read_tensor(source: Source, start: int, tensor: Tensor) -> Array:
    raw = source.read(start + tensor.begin, tensor.end - tensor.begin)
    flat = numbers_from(raw, DTYPES[tensor.dtype], tensor.what)
    return (widen_bfloat16(flat) if tensor.dtype == "BF16" else flat).reshape(tensor.shape)


def write_safetensors(
    file: BinaryIO, arrays: Mapping[str, Array], metadata: Mapping[str, str], page: int = 8
) -> None:
    """Write the arrays; wide numbers come first, so that each lies on a multiple of its size.

    The first begins at a multiple of ``page``, and the others follow without gaps.
    """
    import json  # which makes the start slower, and reading does not need it

    plain = {n: np.asarray(a, a.dtype.newbyteorder("<"), order="C") for n, a in arrays.items()}
    order = sorted(plain, key=lambda name: -plain[name].itemsize)
    ends = dict(zip(order, accumulate(plain[name].nbytes for name in order), strict=True))
    header: dict[str, object] = {RESERVED: dict(metadata)} if metadata else {}
    for name, array in plain.items():
        header[name] = {
            "dtype": NAMES[array.dtype],
            "shape": array.shape,
            "data_offsets": [ends[name] - array.nbytes, ends[name]],
        }
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-(8 + len(text)) % page)
    file.write(len(text).to_bytes(8, "little") + text)
    for name in order:
        file.write(plain[name].reshape(-1).view(np.uint8).data)
