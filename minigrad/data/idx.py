"""IDX, the format of MNIST and its relatives.

A file is two zero bytes, a byte for the type of the numbers, a byte for the number of axes
d, d sizes as 32-bit integers, and the numbers in row-major order, everything big-endian
(yann.lecun.com/exdb/mnist, "the IDX file format").  The sizes are believed only if the
numbers that they promise are there.
"""

from __future__ import annotations

import gzip
import math
import os
import struct
import zlib
from typing import Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from minigrad.data.datasets import ArrayDataset
from minigrad.errors import FormatError

__all__ = ["IdxDataset", "read_idx"]

Path: TypeAlias = "str | os.PathLike[str]"
_TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_MOST = 1 << 32  # bytes: fifty times MNIST
_PIECE = 1 << 20


class _Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...


def read_idx(path: Path) -> npt.NDArray[np.generic]:
    """The array in an IDX file, plain or compressed with gzip.

    Parameters
    ----------
    path : str or path

    Returns
    -------
    ndarray
        Of the sizes that the file states, in the machine's byte order.

    Raises
    ------
    FormatError
        If the file is no IDX file, or is shorter or longer than its sizes say.
    OSError
        If the file cannot be read.
    """
    name = os.fspath(path)
    with open(path, "rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
        file.seek(0)
        try:
            return _read(gzip.open(file) if packed else file, name)
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise FormatError(f"{name}: the gzip data is broken ({error})") from None


def _read(file: _Readable, name: str) -> npt.NDArray[np.generic]:
    head = file.read(4)
    if len(head) < 4 or head[:2] != b"\0\0" or head[2] not in _TYPES:
        raise FormatError(f"{name}: this is not an IDX file (its first bytes are {head!r})")
    dtype, axes = np.dtype(_TYPES[head[2]]), head[3]
    sizes = file.read(4 * axes)
    if not 1 <= axes <= 32 or len(sizes) < 4 * axes:
        raise FormatError(f"{name}: the header states {axes} axes and ends before their sizes")
    shape = struct.unpack(f">{axes}I", sizes)
    wanted = math.prod(shape) * dtype.itemsize
    if wanted > _MOST:
        raise FormatError(f"{name}: the header states {wanted} bytes, more than {_MOST}")
    data = _exactly(file, wanted, name)
    return np.frombuffer(data, dtype).reshape(shape).astype(dtype.newbyteorder("="))


def _exactly(file: _Readable, size: int, name: str) -> bytes:
    """``size`` bytes, read piece by piece, so that memory follows what is really there."""
    pieces, missing = [], size
    while missing:
        piece = file.read(min(missing, _PIECE))
        if not piece:
            raise FormatError(f"{name}: {missing} of {size} bytes of data are missing")
        pieces.append(piece)
        missing -= len(piece)
    if file.read(1):
        raise FormatError(f"{name}: there is more data than the header's {size} bytes")
    return b"".join(pieces)


class IdxDataset(ArrayDataset):
    """The pictures of one IDX file with the labels of another.

    Parameters
    ----------
    images : str or path
        An IDX file of bytes, (N, H, W) or (N, H, W, C).
    labels : str or path
        An IDX file of integers, (N,).
    classes : sequence of str, optional
        Names of the classes (default: the numbers).

    Raises
    ------
    FormatError
        If a file is broken, or the two do not fit each other.
    """

    def __init__(self, images: Path, labels: Path, classes: tuple[str, ...] | None = None) -> None:
        super().__init__(read_idx(images), read_idx(labels), classes)
