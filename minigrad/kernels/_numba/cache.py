"""Numba's cache on disk, held to a checksum.

Numba trusts its cache: a file that was cut short raises an EOFError at every run, and one
whose machine code is damaged runs whatever stands there.  Here every file begins with a
digest of the rest.  What does not agree with its digest counts as absent: the kernel is
compiled again, and its file is written anew.
"""

from __future__ import annotations

import functools
import hashlib
import os
import pickle
import uuid
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from numba.core.caching import FunctionCache
from numba.core.serialize import dumps

__all__ = ["checked_cache"]

_DIGEST = hashlib.sha256().digest_size


def checked_cache(function: Callable[..., object]) -> FunctionCache:
    """Numba's cache of ``function``, in the place that Numba chooses, with files of ours.

    Raises
    ------
    RuntimeError
        If there is no directory that a cache can be written to.
    """
    cache = FunctionCache(function)
    implementation = cache._impl
    stamp = implementation.locator.get_source_stamp()
    cache._cache_file = _Files(Path(cache.cache_path), implementation.filename_base, stamp)
    return cache


class _Files:
    """One file for each key, its content after a digest; Numba calls ``load`` and ``save``."""

    def __init__(self, directory: Path, name: str, stamp: object) -> None:
        self._directory, self._name, self._stamp = directory, name, stamp

    def _path(self, key: object) -> Path:
        digest = hashlib.sha256(repr(key).encode()).hexdigest()
        return self._directory / f"{self._name}.{digest[:16]}.minigrad"

    def load(self, key: object) -> Any:
        """What was saved; None if there is nothing, of another source, or damaged."""
        path = self._path(key)
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            return None
        digest, content = data[:_DIGEST], data[_DIGEST:]
        if hashlib.sha256(content).digest() != digest:
            _warn(str(self._directory))
            return None
        stamp, payload = pickle.loads(content)
        return pickle.loads(payload) if stamp == self._stamp else None

    def save(self, key: object, data: object) -> None:
        """Write the file beside its place and move it there, so that no reader sees a part."""
        content = pickle.dumps((self._stamp, dumps(data)))
        path = self._path(key)
        part = path.with_name(f"{path.name}.{uuid.uuid4().hex[:16]}")
        try:
            part.write_bytes(hashlib.sha256(content).digest() + content)
            os.replace(part, path)
        finally:
            part.unlink(missing_ok=True)


@functools.cache
def _warn(directory: str) -> None:
    warnings.warn(
        f"a compiled kernel in Numba's cache {directory} is damaged; it is compiled again",
        RuntimeWarning,
        stacklevel=2,
    )
