"""Files of weights: `load` reads them into NumPy arrays, `save` writes them.

=================  ==========================================================
.pth, .pt, .bin    PyTorch's zip and legacy containers, read without PyTorch
.npz               NumPy's archive, read without pickle
.safetensors       through the safetensors library
=================  ==========================================================

A file is taken for what it contains, not for its name, and is never trusted: no code in it
runs, and its sizes are held against the file and a byte budget before memory is taken.
"""

from __future__ import annotations

import mmap as _mmap
import os
import stat
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from minigrad.errors import DtypeError, FormatError
from minigrad.formats.limits import default_budget, quote
from minigrad.formats.pth import read_legacy, read_zip

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["load", "save"]

Array = npt.NDArray[Any]
PICKLES = (b"\x80", b"L1195470")  # protocol 2 and later, or torch's magic number in protocol 1
PREFIX = "module."  # what torch's DataParallel puts before every name


def load(
    path: str | os.PathLike[str], *, budget: int | None = None, mmap: bool = False
) -> dict[str, Array]:
    """Read the tensors of a file of weights, by name.

    A checkpoint of training is read too: if the top level has a state dict under
    ``state_dict``, ``model_state_dict``, ``model``, ``net``, ``network``, ``params`` or
    ``weights`` (the first of these that has one), its tensors are returned; whatever is no
    tensor is left out.  If every name begins with ``module.`` (DataParallel), that is cut
    off.  Nothing else is renamed.

    Parameters
    ----------
    path : path
        A ``.pth``, ``.npz`` or ``.safetensors`` file; its content decides which it is.
    budget : int, optional
        The most bytes that the arrays may take.  Default: 64 MiB and 8 times the file, at
        most 4 GiB.
    mmap : bool
        If true, arrays are views of the mapped file wherever its bytes can be used as they
        are: nothing is read before it is used.  They can be written to (which copies the
        page, and never changes the file), but the file must not be overwritten in place
        while they live.  Has no effect on ``.safetensors``.

    Returns
    -------
    dict of str to ndarray
        Shape and values of each tensor.  The strides are those of the file, so an array
        need not be contiguous; tensors that share a storage share memory.  dtypes are kept,
        except bfloat16, which NumPy does not have: it becomes float32, which is exact.

    Raises
    ------
    FormatError
        If the file is broken, hostile, over the budget, or of another format.
    MissingExtra
        If a ``.safetensors`` file is read without the package of that name.
    OSError
        If the file cannot be opened.
    """
    path = os.fspath(path)
    try:
        return _without_prefix(_read(path, budget, copy=not mmap))
    except FormatError as error:
        raise FormatError(f"{path}: {error}") from None


def _read(path: str, budget: int | None, copy: bool) -> dict[str, Array]:
    data = _map_file(path, _mmap.ACCESS_READ if copy else _mmap.ACCESS_COPY)
    limit = default_budget(len(data)) if budget is None else budget
    magic = bytes(data[:9])
    if magic[:2] == b"PK":
        return _read_archive(data, limit, copy)
    if magic.startswith(PICKLES):
        return read_legacy(data, limit, copy)
    if magic[8:] == b"{":
        from pathlib import Path

        from minigrad.formats.safetensors import read_safetensors

        return read_safetensors(Path(path), len(data), limit)
    raise FormatError(f"the file begins with {magic!r}, as no .pth, .npz or .safetensors does")


def _map_file(path: str, access: int) -> memoryview:
    """The bytes of a file, none of them read yet; writing to them never reaches the file."""
    status = os.stat(path)
    if not stat.S_ISREG(status.st_mode):
        raise FormatError("this is not a file")
    if status.st_size == 0:
        raise FormatError("the file is empty")
    with open(path, "rb") as file:
        return memoryview(_mmap.mmap(file.fileno(), 0, access=access))


def _read_archive(data: memoryview, limit: int, copy: bool) -> dict[str, Array]:
    """A zip archive is a .pth if it has a pickle, and an .npz if it has nothing but arrays."""
    from minigrad.formats.npz import read_npz
    from minigrad.formats.zip_reader import read_directory

    records = read_directory(data)
    if any(name.endswith("/data.pkl") for name in records):
        return read_zip(records, limit, copy)
    for name in records:
        if not name.endswith(".npy"):
            raise FormatError(f"the zip archive is no .pth and no .npz: it has {quote(name)}")
    return read_npz(records, limit, copy)


def _without_prefix(arrays: dict[str, Array]) -> dict[str, Array]:
    if not all(name.startswith(PREFIX) for name in arrays):
        return arrays
    return {name.removeprefix(PREFIX): array for name, array in arrays.items()}


def save(path: str | os.PathLike[str], state_dict: Mapping[str, Array]) -> None:
    """Write arrays by name to a ``.npz``, ``.pth`` or ``.safetensors`` file.

    The new file takes the old one's place when it is complete, so a failure leaves the old
    one as it was, and arrays mapped from it (``load(path, mmap=True)``) keep their values.

    Raises
    ------
    FormatError
        If the name ends in none of the three.
    DtypeError
        If an array has a dtype that the formats do not share.
    MissingExtra
        If a ``.safetensors`` file is written without the package of that name.
    """
    from pathlib import Path

    path = Path(path)
    _check_dtypes(state_dict)
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        _write(part, path.suffix, state_dict)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _check_dtypes(state_dict: Mapping[str, Array]) -> None:
    for name, array in state_dict.items():
        if array.dtype.newbyteorder("=") not in SAVED_DTYPES:
            raise DtypeError(f"save: array {quote(name)} is {array.dtype}, not one of {SAVED}")


def _write(part: Path, suffix: str, state_dict: Mapping[str, Array]) -> None:
    if suffix == ".npz":
        from minigrad.formats.npz import write_npz

        write_npz(part, state_dict)
    elif suffix in (".pth", ".pt"):
        from minigrad.formats.pth_writer import write_pth

        write_pth(part, state_dict)
    elif suffix == ".safetensors":
        from minigrad.formats.safetensors import write_safetensors

        write_safetensors(part, state_dict)
    else:
        raise FormatError(f"{part.stem}: save writes .npz, .pth and .safetensors, not {suffix!r}")


SAVED = "float64, float32, float16, int64, int32, int16, int8, uint8, bool"
SAVED_DTYPES = [np.dtype(name) for name in SAVED.split(", ")]
