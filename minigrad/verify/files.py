"""Arrays of one case on disk, in a format that any language reads.

    npy          DIR/CASE/NAME.npy
    safetensors  DIR/CASE.safetensors
    json         DIR/CASE.json: {NAME: {"shape": [...], "data": [...]}}

bfloat16 travels as float32, in which each of its numbers is exact.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from minigrad.errors import FormatError
from minigrad.tensor import Array

__all__ = ["FORMATS", "read_arrays", "write_arrays"]

FORMATS = ("npy", "safetensors", "json")


def write_arrays(folder: Path, case: str, arrays: Mapping[str, Array], form: str) -> None:
    """Write the arrays of one case.

    Parameters
    ----------
    folder : Path
        An existing folder.
    case : str
    arrays : mapping of names to arrays
    form : {"npy", "safetensors", "json"}
    """
    plain = {name: _plain(a) for name, a in arrays.items()}
    if form == "npy":
        (folder / case).mkdir(exist_ok=True)
        for name, array in plain.items():
            np.save(folder / case / f"{name}.npy", array, allow_pickle=False)
    elif form == "safetensors":
        from minigrad.formats import save

        save(folder / f"{case}.safetensors", plain)
    else:
        listed = {k: {"shape": a.shape, "data": a.ravel().tolist()} for k, a in plain.items()}
        (folder / f"{case}.json").write_text(json.dumps(listed), encoding="utf-8")


def _plain(array: Array) -> Array:
    """Contiguous, in a dtype that NumPy itself has."""
    narrow = array.astype(np.float32) if array.dtype.name == "bfloat16" else array
    return np.asarray(narrow, order="C")


def read_arrays(folder: Path, case: str, dtype: str) -> dict[str, Array]:
    """Read the arrays of one case, in whichever of the formats it is there; {} if in none.

    Parameters
    ----------
    folder : Path
    case : str
    dtype : str
        Of the numbers in a JSON file, which do not say.

    Returns
    -------
    dict of arrays

    Raises
    ------
    FormatError
        If a file is not what its name says.
    """
    if (folder / case).is_dir():
        return {p.stem: read_npy(p) for p in sorted((folder / case).glob("*.npy"))}
    if (folder / f"{case}.safetensors").is_file():
        from minigrad.formats import load

        return dict(load(folder / f"{case}.safetensors"))
    path = folder / f"{case}.json"
    return _read_json(path, dtype) if path.is_file() else {}


def read_npy(path: Path) -> Array:
    """One array of a .npy file, which is mapped, so that a header cannot ask for memory."""
    if not path.is_file():
        raise FormatError(f"{path.name!r} is not a regular file")
    try:
        return np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))
    except ValueError as error:
        if path.stat().st_size and "mmap" in str(error):  # an array without elements
            return np.asarray(np.load(path, allow_pickle=False))
        raise FormatError(f"{path.name!r} is no .npy file: {str(error)[:200]}") from None
    except EOFError:
        raise FormatError(f"{path.name!r} is no .npy file: it is cut short") from None


def _read_json(path: Path, dtype: str) -> dict[str, Array]:
    try:
        listed = json.loads(path.read_text(encoding="utf-8"))
        return {
            name: np.array(value["data"], dtype).reshape(value["shape"])
            for name, value in listed.items()
        }
    except (AttributeError, KeyError, RecursionError, TypeError, ValueError) as error:
        raise FormatError(
            f"{path.name!r} must be {{name: {{shape, data}}}}: {str(error)[:200]}"
        ) from None
