"""Compiling a kernel, keeping it, and running it on several threads.

A kernel is a C function ``void kernel(job, first, last)``: do the tasks first to last of
the job, a table of integers (addresses, strides, sizes).  Tasks write to different
places, and each output element belongs to one task whole, so who runs which task, and
how many threads there are, cannot change a bit.

One thread calls the kernel directly.  Several go through one small parallel loop, whose
threads take tasks from a common counter until none are left.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import itertools
import math
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numba
import numpy as np
from llvmlite import ir
from llvmlite.binding import ffi
from numba import types
from numba.core import sigutils
from numba.core.caching import NullCache
from numba.core.ccallback import CFunc
from numba.core.compiler_lock import global_compiler_lock

from minigrad.kernels._numba.cache import checked_cache
from minigrad.kernels._numba.vectors import I64, int64, intrinsic
from minigrad.kernels.contract import Array
from minigrad.threads import num_threads

__all__ = ["STAMP", "Call", "SumCall", "address", "compiled", "empty", "job", "run", "vector_bytes"]

_LINE = 64  # bytes of a cache line
_SHARES = 4  # tasks for each thread: who comes late does fewer

_SIGNATURE = types.void(types.int64, types.int64, types.int64)

# Numba's cache looks at the file of the kernel alone.  A kernel closes over this stamp,
# so that a change in any file of the engine makes what was cached before unusable.
STAMP = int.from_bytes(
    hashlib.sha256(
        b"".join(p.read_bytes() for p in sorted(Path(__file__).parent.glob("*.py")))
    ).digest()[:7],
    "big",
)


def compiled(kernel: Callable[..., None]) -> Any:
    """``kernel`` as a C function, from the cache if there is one that can be written."""
    function = CFunc(kernel, sigutils.normalize_signature(_SIGNATURE), {}, {})
    return _with_cache(function, kernel, function.compile)


def _with_cache(function: Any, kernel: Callable[..., None], compile_: Callable[[], object]) -> Any:
    """``function`` compiled; with a cache on disk, if there is one that can be written."""
    try:
        function._cache = checked_cache(kernel)
        compile_()
    except (RuntimeError, OSError):  # no place for a cache, or it cannot be written
        function._cache = NullCache()
        compile_()
    return function


def job(*words: int) -> Array:
    """The table of integers that a kernel reads."""
    return np.array(words, np.int64)


def address(array: Array) -> int:
    """Where the numbers of ``array`` lie."""
    place: int = array.ctypes.data
    return place


# ``array.ctypes`` costs one to two microseconds, five times a call, as much as a small
# layer.  The address is the first field after the object's head in NumPy's C structure, part
# of its binary interface; where that does not hold the slow way stays.
_HEAD = object.__basicsize__
_probe = np.zeros(1)
if ctypes.c_int64.from_address(id(_probe) + _HEAD).value == _probe.ctypes.data:

    def address(array: Array) -> int:
        return ctypes.c_int64.from_address(id(array) + _HEAD).value


def empty(shape: Sequence[int], dtype: Any) -> Array:
    """An uninitialised array that begins on a cache line: no vector of it lies across two."""
    size, count = np.dtype(dtype).itemsize, math.prod(shape)
    memory = np.empty(count + _LINE // size, dtype)
    start = -address(memory) % _LINE // size
    return memory[start : start + count].reshape(shape)


class Call:
    """A job with its arrays: every decision taken but the number of threads.

    ``kept`` are the arrays that the table has addresses of.
    """

    def __init__(self, kernel: Any, table: Array, tasks: int, *kept: Any) -> None:
        self._kernel, self._table, self._tasks, self._kept = kernel, table, tasks, kept

    def run(self, threads: int = 1) -> None:
        """Run all tasks on so many threads."""
        if self._tasks:
            run(self._kernel, self._table, self._tasks, threads)


class SumCall:
    """A weight gradient's job: the sums begin at +0, and ``deliver`` puts them where they belong.

    Word ``place`` of the table says into how many tasks the tiles are cut.
    """

    def __init__(
        self, kernel: Any, table: Array, place: int, tiles: int, sums: Array,
        deliver: Callable[[], None], *kept: Any,
    ) -> None:  # fmt: skip
        self._kernel, self._table, self._place, self._tiles = kernel, table, place, tiles
        self._sums, self._deliver, self._kept = sums, deliver, kept

    def run(self, threads: int = 1) -> None:
        """Run all tiles on so many threads."""
        self._sums.fill(0)
        if self._tiles:
            tasks = min(threads * _SHARES if threads > 1 else 1, self._tiles)
            self._table[self._place] = tasks
            run(self._kernel, self._table, tasks, threads)
        self._deliver()


def run(kernel: Any, table: Array, tasks: int, threads: int | None = None) -> None:
    """Run all tasks of the job on ``threads``, or on as many as the caller may use."""
    workers = min(threads or num_threads(), tasks)
    if workers <= 1:
        kernel.ctypes(address(table), 0, tasks)
    elif _parallel_layer() and not _forked:
        _run_parallel(kernel, address(table), tasks, workers)
    else:
        _run_pool(kernel, address(table), tasks, workers)


def _run_parallel(kernel: Any, job: int, tasks: int, workers: int) -> None:
    counter = np.zeros(1, np.int64)
    before, wanted = numba.get_num_threads(), min(workers, numba.config.NUMBA_NUM_THREADS)
    if wanted != before:
        numba.set_num_threads(wanted)
    try:
        _parallel_loop()(kernel.address, job, tasks, workers, address(counter))
    finally:
        if wanted != before:
            numba.set_num_threads(before)


@functools.cache
def _parallel_loop() -> Any:
    signature = types.void(*[types.int64] * 5)
    loop = numba.njit(parallel=True, nogil=True)(_share)
    return _with_cache(loop, _share, lambda: loop.compile(signature))


def _share(kernel: int, job: int, tasks: int, workers: int, counter: int) -> None:
    for _ in numba.prange(workers):
        task = _take(counter)
        while task < tasks:
            _call(kernel, job, task)
            task = _take(counter)


@intrinsic
def _take(typing: Any, counter: Any) -> Any:
    """The next number that no thread has taken yet."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        pointer = builder.inttoptr(args[0], I64.as_pointer())
        return builder.atomic_rmw("add", pointer, int64(1), "monotonic")

    return types.int64(types.int64), codegen


@intrinsic
def _call(typing: Any, kernel: Any, job: Any, task: Any) -> Any:
    """kernel(job, task, task + 1), the kernel given by its address."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        function = ir.FunctionType(ir.VoidType(), [I64] * 3)
        pointer = builder.inttoptr(args[0], function.as_pointer())
        builder.call(pointer, [args[1], args[2], builder.add(args[2], int64(1))])
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, types.int64), codegen


@functools.cache
def _parallel_layer() -> bool:
    """Whether Numba has a threading layer worth using; if not, say so once."""
    if numba.config.THREADING_LAYER != "workqueue":
        for layer in ("omppool", "tbbpool"):
            try:
                with _short_waits():
                    __import__(f"numba.np.ufunc.{layer}")
            except ImportError:
                continue
            return True
    warnings.warn(
        "Numba has only its workqueue threading layer here, which is slow and not safe with "
        "several Python threads; minigrad uses threads of its own, about 50 us a call. "
        "Install an OpenMP runtime (or tbb) for the fast way.",
        RuntimeWarning,
        stacklevel=2,
    )
    return False


@contextmanager
def _short_waits() -> Iterator[None]:
    """For an OpenMP runtime loaded inside: a thread that waits soon sleeps.

    GNU's default is to spin for milliseconds.  Where another process wants the CPU, the thread
    that is waited for then cannot run: every call takes the 8 ms of a time slice.
    """
    if "OMP_WAIT_POLICY" in os.environ or "GOMP_SPINCOUNT" in os.environ:
        yield
        return
    os.environ["GOMP_SPINCOUNT"] = "10000"
    try:
        yield
    finally:
        del os.environ["GOMP_SPINCOUNT"]


def _run_pool(kernel: Any, job: int, tasks: int, workers: int) -> None:
    call = kernel.ctypes  # releases the GIL
    cuts = [tasks * i // workers for i in range(workers + 1)]
    parts = [_pool(workers).submit(call, job, *cut) for cut in itertools.pairwise(cuts)]
    for part in parts:
        part.result()


@functools.cache
def _pool(workers: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(workers, thread_name_prefix="minigrad-numba")


# An OpenMP runtime does not survive a fork: the child uses threads of its own.
_forked = False


def _after_fork() -> None:
    global _forked
    _forked = True
    _pool.cache_clear()


def _hold() -> None:
    global_compiler_lock.acquire()
    ffi.lib._lock.__enter__()


def _release() -> None:
    ffi.lib._lock.__exit__(None, None, None)
    global_compiler_lock.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
    # A fork waits until no other thread is in Numba's compiler or in LLVM: in the child nobody
    # would release their locks.
    os.register_at_fork(before=_hold, after_in_parent=_release, after_in_child=_release)


@functools.cache
def vector_bytes() -> int:
    """The width of the vectors to emit; ``MINIGRAD_ISA`` (avx2, baseline) narrows it."""
    import llvmlite.binding as llvm

    features = llvm.get_host_cpu_features()
    asked = os.environ.get("MINIGRAD_ISA", "")
    if features.get("avx512f") and asked not in ("avx2", "baseline"):
        return 64
    return 32 if features.get("avx2") and asked != "baseline" else 16
