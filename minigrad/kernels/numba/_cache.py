"""Compiled kernels on disk, held to a checksum.

Numba trusts its cache: a file that was cut short raises an EOFError at every run, and one
whose machine code is damaged runs whatever stands there.  Here a file begins with a digest of
the rest.  What does not agree with its digest counts as absent: the kernel is compiled again,
and its file is written anew.
"""

from __future__ import annotations

import functools
import hashlib
import os
import pickle
import uuid
import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from numba.core.caching import FunctionCache
from numba.core.compiler import CompileResult
from numba.core.registry import cpu_target
from numba.core.serialize import dumps

__all__ = ["KernelCache"]

_DIGEST = hashlib.sha256().digest_size

# What is compiled depends on every file here, and on the formulas and tables beside: a change in
# one makes what was cached unusable.
_FILES = [path for i in (0, 1) for path in sorted(Path(__file__).parents[i].glob("*.py"))]
_SOURCES = hashlib.sha256(b"".join(path.read_bytes() for path in _FILES)).digest()


class KernelCache:
    """The file of one kernel, in the place that Numba chooses; Numba's compilers use it.

    Where no file can be read or written there is none, and the kernel is compiled each time.

    Parameters
    ----------
    function : its source, whose file decides the place
    identity : what the kernel was made with: constants and the width of vectors
    """

    def __init__(self, function: Callable[..., object], identity: object) -> None:
        machine = cpu_target.target_context.codegen().magic_tuple()
        self._marks = dumps((_SOURCES, machine, repr(identity)))
        name = hashlib.sha256(repr((machine, identity)).encode()).hexdigest()[:16]
        self._path: Path | None = None
        with suppress(RuntimeError):  # Numba knows no directory
            place = FunctionCache(function)._impl
            folder = Path(place.locator.get_cache_path())
            self._path = folder / f"{place.filename_base}.{name}.minigrad"
        self._found = self._load(self._path) if self._path else None

    @property
    def hit(self) -> bool:
        """Whether the kernel need not be compiled."""
        return self._found is not None

    def load_overload(self, signature: object, context: Any) -> Any:
        """The compiled kernel, or None."""
        if self._found is None:
            return None
        context.refresh()
        return CompileResult._rebuild(context, *self._found)

    def save_overload(self, signature: object, compiled: Any) -> None:
        """Write the file beside its place and move it there, so that no reader sees a part."""
        if self._path is None:
            return
        content = pickle.dumps((self._marks, dumps(compiled._reduce())))
        part = self._path.with_name(f"{self._path.name}.{uuid.uuid4().hex[:16]}")
        with suppress(OSError):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            try:
                part.write_bytes(hashlib.sha256(content).digest() + content)
                os.replace(part, self._path)
            finally:
                part.unlink(missing_ok=True)

    def _load(self, path: Path) -> Any:
        try:
            data = path.read_bytes()
        except OSError:
            return None
        digest, content = data[:_DIGEST], data[_DIGEST:]
        if hashlib.sha256(content).digest() != digest:
            _warn(str(path.parent))
            return None
        marks, payload = pickle.loads(content)
        return pickle.loads(payload) if marks == self._marks else None


@functools.cache
def _warn(directory: str) -> None:
    warnings.warn(
        f"a compiled kernel in Numba's cache {directory} is damaged; it is compiled again",
        RuntimeWarning,
        stacklevel=2,
    )
