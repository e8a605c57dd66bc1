"""Compiling a kernel, keeping it, and running it on several threads.

A kernel is a template ``def kernel(job: Words, first: int, last: int)``: do the tasks first to
last of a job, a table of integers with names (addresses, steps, sizes).  Tasks write to
different places, and each output element belongs to one task whole, so who runs which task,
and how many threads there are, cannot change a bit.

One thread calls the kernel directly.  Several are started by the OpenMP or TBB layer that comes
with Numba, and take tasks from a common counter until none are left.  While compiled code runs,
Python sees no signal; so a job that may be long is run in pieces of a fortieth of a second,
between which Ctrl-C ends it.  What it had written is thrown away.
"""

from __future__ import annotations

import copy
import ctypes
import functools
import importlib
import itertools
import os
import time
import warnings
from collections import namedtuple
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import numba
import numpy as np
from llvmlite.binding import ffi
from numba import types
from numba.core import sigutils
from numba.core.ccallback import CFunc
from numba.core.compiler_lock import global_compiler_lock

from minigrad.kernels.contract import Array
from minigrad.kernels.numba._cache import KernelCache
from minigrad.kernels.numba._compiler import Compiler
from minigrad.kernels.numba._template import Template
from minigrad.kernels.numba._vectors import Vector, call, take
from minigrad.threads import num_threads

__all__ = ["Job", "Kernel", "kernel", "kernel_of", "lanes_of", "run", "vector_bytes"]

_LONG = 1 << 22  # bytes that a job touches, from which on it may be long
_PIECES = 32  # into which a long job is cut before it is known how long it is
_PIECE = 0.025  # seconds that a piece of a long job takes
Words = tuple[Any, ...]


class Kernel:
    """A template that is a whole kernel; ``kernel.of(dtype, M, V)`` compiles it, once."""

    def __init__(self, template: Template, lanes: int) -> None:
        self.template, self.lanes = template, lanes
        self.of = functools.cache(self._of)

    def _of(self, dtype: np.dtype[np.generic], *constants: Any) -> Any:
        size = np.dtype(dtype).itemsize
        vector = Vector(size, self.lanes or vector_bytes() // size)
        source = self.template.function
        integers = types.void(*[types.int64] * source.__code__.co_argcount)
        signature = sigutils.normalize_signature(integers)

        cache = KernelCache(source, (vector, constants))
        whole = source if cache.hit else self.template.expand(vector, constants)
        entry: Any = CFunc(whole, signature, {}, {"error_model": "numpy"}, Compiler)
        entry._cache = cache
        entry.compile()
        return entry


def kernel_of(lanes: int) -> Callable[[Callable[..., None]], Kernel]:
    """As a decorator: a kernel with vectors of so many lanes; keyword arguments are constants."""
    return lambda function: Kernel(Template(function), lanes)


kernel = kernel_of(0)  # with the CPU's vectors


class Job:
    """A kernel with its table of words, and the arrays that the table has addresses of.

    Parameters
    ----------
    words : a NamedTuple of the kernel; for an array its address stands in the table
    tasks : how many there are
    """

    def __init__(self, kernel: Any, words: Words, tasks: int) -> None:
        self._kernel, self._words, self.tasks = kernel, words, tasks
        numbers = [address(w) if isinstance(w, np.ndarray) else w for w in words]
        self._table = np.array(numbers, np.int64)
        self.long = _bytes_of(words) >= _LONG

    def on(self, *arrays: Array) -> Job:
        """The same job on other arrays, which are its first words."""
        job = object.__new__(Job)
        job._kernel, job._words, job.tasks = self._kernel, (self._words, arrays), self.tasks
        job._table = self._table.copy()
        job._table[: len(arrays)] = [address(array) for array in arrays]
        job.long = self.long or _bytes_of(arrays) >= _LONG
        return job

    def cut_into(self, word: int, tasks: int) -> Job:
        """The same job cut into so many tasks, which one of its words says."""
        self._table[word] = tasks
        job = copy.copy(self)
        job.tasks = tasks
        return job

    def run(self, threads: int | None = None) -> None:
        """Run all tasks on so many threads, or on as many as the caller may use."""
        workers = min(threads or num_threads(), self.tasks)
        if not self.long:
            self._launch(0, self.tasks, workers)
            return
        first, piece = 0, max(self.tasks // _PIECES, workers)
        while first < self.tasks:
            last, start = min(first + piece, self.tasks), time.perf_counter()
            self._launch(first, last, workers)
            first, seconds = last, max(time.perf_counter() - start, 1e-6)
            piece = max(int(piece * _PIECE / seconds), workers)

    def _launch(self, first: int, last: int, workers: int) -> None:
        """Run the tasks first to last."""
        table = address(self._table)
        if workers <= 1:
            self._kernel.ctypes(table, first, last)
        elif (layer := _threading_layer()) and not _forked:
            layer.run(self._kernel, table, first, last, workers)
        else:
            _run_pool(self._kernel, table, first, last, workers)


def _bytes_of(words: Words) -> int:
    """Of the arrays among the words of a job."""
    return sum(w.nbytes for w in words if isinstance(w, np.ndarray))


def run(kernel: Any, words: Words, tasks: int, threads: int | None = None) -> None:
    """Run a job once."""
    if tasks:
        Job(kernel, words, tasks).run(threads)


# ``array.ctypes`` costs one to two microseconds, five times a call, as much as a small
# layer.  The address is the first field after the object's head in NumPy's C structure, part
# of its binary interface; where that does not hold the slow way stays.
def address(array: Array) -> int:
    """Where the numbers of ``array`` lie."""
    place: int = array.ctypes.data
    return place


_HEAD = object.__basicsize__
_probe = np.zeros(1)
if ctypes.c_int64.from_address(id(_probe) + _HEAD).value == _probe.ctypes.data:

    def address(array: Array) -> int:
        return ctypes.c_int64.from_address(id(array) + _HEAD).value


# The words of a job that is shared out: the next task that no thread has taken, the address of
# the kernel and of its own job, and where the tasks end.
Share = namedtuple("Share", "next kernel job last")


@kernel
def share(arrays: int, sizes: int, steps: int, job: Share) -> None:
    """One thread's part.  The first three arguments are the threading layer's, for arrays."""
    task = take(job)
    while task < job.last:
        call(job.kernel, job.job, task, task + 1)
        task = take(job)


class _Layer:
    """Numba's threading layer: what calls a function on several threads at once."""

    def __init__(self, library: Any) -> None:
        integer, place, size = ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t
        self.set_threads = ctypes.CFUNCTYPE(None, integer)(library.set_num_threads)
        self.threads = ctypes.CFUNCTYPE(integer)(library.get_num_threads)
        signature = ctypes.CFUNCTYPE(None, *[place] * 5, size, size, integer)
        self.start = signature(library.parallel_for)
        self.part = share.of(np.dtype(np.int64)).address
        self.most = numba.config.NUMBA_NUM_THREADS
        ctypes.CFUNCTYPE(None, integer)(library.launch_threads)(self.most)

    def run(self, kernel: Any, job: int, first: int, last: int, workers: int) -> None:
        """Share the tasks first to last among so many threads."""
        workers = min(workers, self.most)
        words = address(table := np.array((workers, first, kernel.address, job, last), np.int64))
        before = self.threads()
        self.start(self.part, None, words, None, words + table.itemsize, 0, 0, workers)
        self.set_threads(before)  # which is what others who use Numba have set


@functools.cache
def _threading_layer() -> _Layer | None:
    """The layer worth using; if there is none, say so once."""
    if numba.config.THREADING_LAYER != "workqueue":
        for layer in ("omppool", "tbbpool"):
            try:
                with _short_waits():
                    library = importlib.import_module(f"numba.np.ufunc.{layer}")
            except ImportError:
                continue
            return _Layer(library)
    warnings.warn(
        "Numba has only its workqueue threading layer here, which is slow and not safe with "
        "several Python threads; minigrad uses threads of its own, about 50 us a call. "
        "Install an OpenMP runtime (or tbb) for the fast way.",
        RuntimeWarning,
        stacklevel=2,
    )
    return None


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


def _run_pool(kernel: Any, job: int, first: int, last: int, workers: int) -> None:
    call = kernel.ctypes  # releases the GIL
    cuts = [first + (last - first) * i // workers for i in range(workers + 1)]
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


def lanes_of(dtype: np.dtype[np.generic]) -> int:
    """How many numbers a vector holds."""
    return vector_bytes() // dtype.itemsize
