"""Safetensors, through the library of that name: it checks the header, we check the sizes.

A file is 8 bytes with the header's length, the header (JSON), and the tensors' bytes, which
must fill the rest of the file exactly.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from minigrad.errors import FormatError, MissingExtra
from minigrad.formats.limits import Budget, byte_count, quote
from minigrad.formats.tensors import widen_bfloat16

__all__ = ["MAX_HEADER", "read_safetensors", "write_safetensors"]

Array = npt.NDArray[Any]
MAX_HEADER = 1 << 23  # 8 MiB; a tensor needs about 100 bytes
DTYPES = {
    "F64": "f8", "F32": "f4", "F16": "f2", "BF16": "f4", "I64": "i8", "I32": "i4", "I16": "i2",
    "I8": "i1", "U64": "u8", "U32": "u4", "U16": "u2", "U8": "u1", "BOOL": "?", "C64": "c8",
}  # fmt: skip


def read_safetensors(path: Path, size: int, limit: int) -> dict[str, Array]:
    """The tensors of the file at ``path``, of ``size`` bytes; bfloat16 becomes float32."""
    try:
        from safetensors import SafetensorError, safe_open
    except ImportError:
        raise MissingExtra("safetensors", "safetensors", "reading a .safetensors file") from None
    _check_header_length(path, size)
    budget = Budget(limit)
    try:
        with safe_open(path, framework="np") as file:
            names = list(file.keys())
            dtypes = {name: _spend(file.get_slice(name), name, budget) for name in names}
            halves = [name for name in names if dtypes[name] == "BF16"]
            arrays = _read_bfloat16(path, halves) if halves else {}
            return {n: arrays[n] if n in arrays else file.get_tensor(n) for n in names}
    except SafetensorError as error:
        reason = quote(str(error), 150)
        raise FormatError(f"the safetensors library refuses the file: {reason}") from None


def _check_header_length(path: Path, size: int) -> None:
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
    if length > min(size - 8, MAX_HEADER):
        raise FormatError(
            f"the header's length is given as {length:,} bytes; the file has {size:,}, and "
            f"{MAX_HEADER:,} would list any network"
        )


def _spend(entry: Any, name: str, budget: Budget) -> str:
    """Take the tensor from the budget; its dtype."""
    dtype, what = str(entry.get_dtype()), f"tensor {quote(name)}"
    if dtype not in DTYPES:
        raise FormatError(f"{what} is of dtype {quote(dtype)}, which NumPy does not have")
    budget.spend(byte_count(entry.get_shape(), np.dtype(DTYPES[dtype]).itemsize, what), what)
    return dtype


def _read_bfloat16(path: Path, names: Iterable[str]) -> dict[str, Array]:
    """The named tensors, which the library cannot give to NumPy: as float32, exactly."""
    from safetensors import deserialize

    entries = dict(deserialize(path.read_bytes()))  # type: ignore[no-untyped-call]
    halves = {name: np.frombuffer(entries[name]["data"], "<u2") for name in names}
    return {n: widen_bfloat16(half).reshape(entries[n]["shape"]) for n, half in halves.items()}


def write_safetensors(path: Path, arrays: Mapping[str, Array]) -> None:
    """Write the arrays to ``path``."""
    try:
        from safetensors.numpy import save_file
    except ImportError:
        raise MissingExtra("safetensors", "safetensors", "writing a .safetensors file") from None
    save_file({name: np.asarray(array, order="C") for name, array in arrays.items()}, path)
