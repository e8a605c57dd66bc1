"""Files of weights, read and written: each by the file that knows its format."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import BinaryIO

import numpy as np

from minigrad.errors import DtypeError, FormatError, quote
from minigrad.formats.limits import Budget
from minigrad.formats.metadata import RESERVED
from minigrad.formats.numbers import Array
from minigrad.formats.source import Source, within_budget
from minigrad.formats.state_dict import StateDict

__all__ = ["load", "save"]

TORCH_MAGIC = (  # torch's magic number, as pickled in protocol 2 and later, or 1
    b"\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.",
    b"L119547037146038801333356L\n",
)
MAX_NAME = 1 << 12  # bytes
MAX_SAVED = 8_000  # arrays, and bytes of names and metadata: what each of the three readers takes
MAX_SAVED_TEXT = 1 << 20
SAVED = "float64, float32, float16, int64, int32, int16, int8, uint8, bool"
SAVED_DTYPES = [np.dtype(name) for name in SAVED.split(", ")]


def load(
    path: str | os.PathLike[str],
    *,
    key: str | None = None,
    budget: int | None = None,
    mmap: bool = False,
) -> StateDict:
    """Read the tensors of a file of weights, by name.

    A checkpoint of training is read too.  Its weights are looked for under ``state_dict``,
    ``model``, ``net`` and the like, in any nesting; a moving average (``state_dict_ema``,
    ``ema``) is taken if there is nothing else, or if ``key`` names it.  What is no tensor is
    left out, and nothing in it is run.  What torch.compile, DataParallel and AveragedModel
    put before all names (``_orig_mod.``, ``module.``) is cut off.  Nothing else is renamed.

    Parameters
    ----------
    path : path
        A ``.pth``, ``.npz`` or ``.safetensors`` file; its content decides which it is.
    key : str, optional
        Which state dict of a checkpoint to read, such as ``"state_dict_ema"``; a dot leads
        from an outer dict to an inner one.
    budget : int, optional
        The most bytes of arrays.  Default: 64 MiB and twice the file, at most 4 GiB.
    mmap : bool
        By default the arrays are a snapshot, which nothing changes later.  If true, they are
        views of the mapped file, and nothing is read before it is used.  It costs three
        things: checksums are not checked, a change of the file changes the arrays, and if it
        becomes shorter, using them ends the process.  `save` replaces files, which is safe.

    Returns
    -------
    StateDict
        A dict of arrays, with attributes: ``metadata`` (text that was saved with them),
        ``key`` (which state dict of a checkpoint this is) and ``others`` (which more there
        are).  Strides and shared storages are as in the file.  dtypes are kept, except
        bfloat16, which NumPy does not have: it becomes float32, which is exact.

    Raises
    ------
    FormatError
        If the file is broken, hostile, over the budget, or of another format.
    OSError
        If the file cannot be opened.

    Examples
    --------
    >>> import minigrad as mg, numpy as np, tempfile
    >>> path = tempfile.mkdtemp() + "/weights.safetensors"
    >>> mg.formats.save(path, {"conv.weight": np.ones((8, 3, 3, 3), np.float32)})
    >>> mg.load(path)["conv.weight"].shape
    (8, 3, 3, 3)
    """
    with within_budget(path, budget, mapped=mmap) as (file, paid):
        return _read(file, paid, key, check_crc=not mmap)


def _read(file: Source, budget: Budget, key: str | None, check_crc: bool) -> StateDict:
    """The format is told by its strongest sign: the length of a .safetensors header may be any
    eight bytes, but what follows it is never what follows a pickle's or archive's first eight.
    """
    head = bytes(file.read(0, min(file.size, 64)))
    if head[8:9] == b"{":
        from minigrad.formats.safetensors import read_safetensors

        return _only(read_safetensors(file, budget), key)
    if head.startswith((b"PK\3\4", b"PK\5\6")):
        return _read_archive(file, budget, key, check_crc)
    if any(magic in head for magic in TORCH_MAGIC):
        from minigrad.formats.pth import read_legacy

        return read_legacy(file, budget, key)
    if head.startswith(b"\x80"):
        raise FormatError("the file is a pickle, but not one that torch.save wrote")
    raise FormatError(f"the file begins with {head[:9]!r}, as no .pth, .npz or .safetensors does")


def _read_archive(file: Source, budget: Budget, key: str | None, check_crc: bool) -> StateDict:
    """A zip archive is a .pth if it has a pickle, and an .npz if it has nothing but arrays."""
    from minigrad.formats.zip_reader import read_records

    records = read_records(file, budget)
    if any(name.endswith("/data.pkl") for name in records):
        from minigrad.formats.pth import read_zip

        return read_zip(records, budget, key, check_crc)
    for name in records:
        if not name.endswith(".npy"):
            raise FormatError(f"the zip archive is no .pth and no .npz: it has {quote(name)}")
    from minigrad.formats.npz import read_npz

    return _only(read_npz(records, budget, check_crc), key)


def _only(state: StateDict, key: str | None) -> StateDict:
    """The state dict of a file that has one and no names for it."""
    from minigrad.formats.prefixes import without_wrappers

    if key is not None:
        raise FormatError(f"the file has no parts, so none under the key {quote(key)}")
    return StateDict(without_wrappers(state), state.metadata)


def save(
    path: str | os.PathLike[str],
    state_dict: Mapping[str, Array],
    *,
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write arrays by name to a ``.npz``, ``.pth`` or ``.safetensors`` file.

    The new file takes the old one's place when it is complete and on the disk, so a failure
    leaves the old one as it was, and arrays mapped from it (``load(path, mmap=True)``) keep
    their values.  A symbolic link stays, and the file that it points to is replaced.

    Parameters
    ----------
    path : path
        Where to write; its ending says in which format.
    state_dict : mapping of str to ndarray
        What to write.
    metadata : mapping of str to str, optional
        Text that travels with the arrays.  Default: that of ``state_dict``, if it was loaded
        from a file.

    Raises
    ------
    FormatError
        If the path ends in none of the three, no format can hold a name, or ``load`` would
        refuse the file: more than 8,000 arrays, or 1 MiB of names and metadata.
    DtypeError
        If an array has a dtype that the formats do not share.
    OSError
        If the file cannot be written.

    Examples
    --------
    >>> import minigrad as mg, numpy as np, tempfile
    >>> path = tempfile.mkdtemp() + "/weights.npz"
    >>> mg.formats.save(path, {"conv.bias": np.zeros(8)}, metadata={"trained on": "flowers"})
    >>> mg.load(path).metadata
    {'trained on': 'flowers'}
    """
    suffix = os.path.splitext(os.fspath(path))[1].lower()
    if suffix not in (".npz", ".pth", ".pt", ".safetensors"):
        name = quote(os.path.basename(os.fspath(path)))
        raise FormatError(f"{name}: save writes .npz, .pth and .safetensors, not {quote(suffix)}")
    if metadata is None:
        metadata = state_dict.metadata if isinstance(state_dict, StateDict) else {}
    _check_names(state_dict)
    _check_texts(metadata)
    _check_dtypes(state_dict)
    _check_extent(state_dict, metadata)
    from minigrad.formats.writing import replacing

    with replacing(path) as file:
        _write(file, suffix, state_dict, metadata)


def _check_names(state_dict: Mapping[str, Array]) -> None:
    """Names that every format can hold: the same for all, so that a file can be converted."""
    for name in state_dict:
        if not isinstance(name, str):
            raise FormatError(f"save: the name of an array is {quote(name)}, not text")
        if "\0" in name or name == RESERVED or not _is_unicode(name):
            raise FormatError(f"save: no file of weights can hold an array named {quote(name)}")
        if len(name.encode()) > MAX_NAME:
            raise FormatError(f"save: the name {quote(name)} is longer than {MAX_NAME:,} bytes")


def _check_extent(state_dict: Mapping[str, Array], metadata: Mapping[str, str]) -> None:
    """Nothing is written that would not be read again."""
    import json

    if len(state_dict) > MAX_SAVED:
        raise FormatError(
            f"save: {len(state_dict):,} arrays; a file of weights is read if it has up to "
            f"{MAX_SAVED:,}"
        )
    texts = (*state_dict, *metadata.keys(), *metadata.values())
    size = sum(len(json.dumps(text, ensure_ascii=False).encode()) for text in texts)
    if size > MAX_SAVED_TEXT:
        raise FormatError(
            f"save: names and metadata take {size:,} bytes; a file of weights is read if they take "
            f"up to {MAX_SAVED_TEXT:,}"
        )


def _check_texts(metadata: Mapping[str, str]) -> None:
    for text in (*metadata.keys(), *metadata.values()):
        if not isinstance(text, str) or not _is_unicode(text):
            raise FormatError(f"save: metadata are text by name, and {quote(text)} is not text")


def _is_unicode(text: str) -> bool:
    """Whether UTF-8 has it: half a surrogate pair it has not."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _check_dtypes(state_dict: Mapping[str, Array]) -> None:
    for name, array in state_dict.items():
        if array.dtype.newbyteorder("=") not in SAVED_DTYPES:
            raise DtypeError(f"save: array {quote(name)} is {array.dtype}, not one of {SAVED}")


def _write(
    file: BinaryIO, suffix: str, arrays: Mapping[str, Array], metadata: Mapping[str, str]
) -> None:
    if suffix == ".npz":
        from minigrad.formats.npz import write_npz

        write_npz(file, arrays, metadata)
    elif suffix == ".safetensors":
        from minigrad.formats.safetensors import write_safetensors

        write_safetensors(file, arrays, metadata)
    else:
        from minigrad.formats.pth_writer import write_pth

        write_pth(file, arrays, metadata)
