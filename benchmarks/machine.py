"""What the machine can do: the two numbers that a result is held against.

The FMA peak is measured by the compiled core (independent chains of fused multiply-adds
in registers); without the core there is no peak, and no percentage is printed.
Bandwidth is that of copying memory, as much of it as the layer touches, so that a layer
which lives in a cache is held against that cache.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.metadata
import os
import platform
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.lib.stride_tricks import as_strided

from minigrad.kernels import unavailable
from minigrad.kernels.cython import program

__all__ = [
    "COMPUTE_BOUND", "Neighbours", "bandwidth", "describe", "limit", "most_memory", "peak",
]  # fmt: skip

COMPUTE_BOUND = 12.0  # FLOPs a byte; from here on memory is not the limit of these kernels
_PEAK_SECONDS, _COPY_SECONDS, _REPEATS = 0.1, 0.02, 5


def peak(threads: int) -> float | None:
    """FMA peak in GFLOP/s (float32), or None if the compiled core is not there."""
    return None if unavailable("cython") else program.peak(_PEAK_SECONDS, threads)


def most_memory() -> float:
    """MB that this process has had; on Linux ru_maxrss would be its parent's, if that is more."""
    with contextlib.suppress(OSError), open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) / 1024
    import resource  # there is none on Windows

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def limit(peak_gflops: float, intensity: float, bytes_touched: int, threads: int) -> float:
    """min(peak, bandwidth x intensity) in GFLOP/s, for work below COMPUTE_BOUND."""
    if intensity >= COMPUTE_BOUND:
        return peak_gflops
    return min(peak_gflops, intensity * bandwidth(threads, bytes_touched))


def bandwidth(threads: int, bytes_touched: int) -> float:
    """GB/s, read and written together, of copies over about ``bytes_touched``."""
    return _bandwidth(threads, 2 ** max(bytes_touched - 1, 1).bit_length())


@functools.cache
def _bandwidth(threads: int, footprint: int) -> float:
    copies = [_copies(footprint // threads) for _ in range(threads)]
    with ThreadPoolExecutor(threads) as pool:
        return max(_rate(pool, copies) for _ in range(_REPEATS))


def _rate(pool: ThreadPoolExecutor, copies: list[Callable[[], int]]) -> float:
    start = time.perf_counter()
    moved = sum(job.result() for job in [pool.submit(copy) for copy in copies])
    return moved / (time.perf_counter() - start) / 1e9


def _copies(footprint: int) -> Callable[[], int]:
    """A function that copies one half of ``footprint`` to the other, over and over.

    One element is the whole half and the stride is 0, so that a single NumPy call, which
    holds no lock, does all the copies.  The source is written first: memory that was never
    written is one page of zeros, however much of it is read.
    """
    half = footprint // 2
    repeats = max(1, int(_COPY_SECONDS * 50e9) // footprint)
    source, target = (
        as_strided(np.ones(half, np.uint8).view(f"V{half}"), (repeats,), (0,)) for _ in range(2)
    )

    def copy() -> int:
        np.copyto(target, source)
        return 2 * half * repeats

    return copy


class Neighbours:
    """How much of the CPUs other processes use, from when this was made (Linux alone)."""

    _STAT = Path("/proc/stat")

    def __init__(self) -> None:
        self._start = self._now()

    def cpus(self) -> float | None:
        """CPUs used by others on average since then: 0.0 on a quiet machine."""
        if self._start is None:
            return None
        wall, others = (
            now - then for now, then in zip(self._now() or (), self._start, strict=True)
        )
        return max(0.0, others / wall)

    def _now(self) -> tuple[float, float] | None:
        """(seconds, CPU seconds of other processes), interrupts and stolen time counted."""
        if not self._STAT.exists():
            return None
        user, nice, system, _, _, irq, softirq, steal = map(
            int, self._STAT.read_text().split(maxsplit=9)[1:9]
        )
        busy = (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")
        return time.monotonic(), busy - time.process_time()


def describe(packages: Iterable[str]) -> str:
    """CPU, system and versions, one line."""
    names = ["numpy", *packages]
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in names)
    return f"{_cpu()}, Python {platform.python_version()}, {versions}"


def _cpu() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
