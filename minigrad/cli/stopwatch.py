"""How a time is taken: in bursts, engines taking turns, after everything else is still.

Engines share one process, so that all see the same machine in the same minute.  Each
keeps its own threads, which spin for some milliseconds after a call and would steal
time from the next engine; ``settle`` waits until they sleep.  Every burst begins with
untimed calls, which wake the engine's own threads and warm its caches.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np

__all__ = ["Timing", "interleave", "settle"]

Call = Callable[[], object]
ROUNDS = 10
WARM_SECONDS, LEAST_CALLS = 0.002, 3
TICK = 0.01  # the kernel books other threads' CPU time at its timer tick, at most 10 ms


class Timing(NamedTuple):
    """Median and 10th percentile of single calls, in microseconds."""

    median_us: float
    p10_us: float
    calls: int

    @classmethod
    def of(cls, times_ns: Sequence[int]) -> Timing:
        """
        >>> Timing.of([3000, 1000, 2000])
        Timing(median_us=2.0, p10_us=1.2, calls=3)
        """
        p10, median = np.percentile(times_ns, (10, 50)) / 1e3
        return cls(float(median), float(p10), len(times_ns))


def settle(limit: float = 2.0) -> None:
    """Return when no other thread of this process uses the CPU any more."""
    deadline = time.perf_counter() + limit
    while time.perf_counter() < deadline:
        before = time.process_time()
        time.sleep(TICK)
        if time.process_time() - before < TICK / 10:
            return
    raise RuntimeError(f"threads of this process still spin {limit} s after the last call")


def interleave(
    calls: Mapping[str, Call], seconds: float, rounds: int = ROUNDS, least: int = LEAST_CALLS
) -> dict[str, Timing]:
    """Time each call for about ``seconds`` in all, round-robin, each round starting one later.

    A burst has at least so many untimed calls, and then timed ones.
    """
    times: dict[str, list[int]] = {name: [] for name in calls}
    order = list(calls)
    with _no_collection():
        for _ in range(rounds):
            for name in order:
                times[name] += _burst(calls[name], seconds / rounds, least)
            order = order[1:] + order[:1]
    return {name: Timing.of(t) for name, t in times.items()}


@contextmanager
def _no_collection() -> Iterator[None]:
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()


def _burst(call: Call, seconds: float, least: int) -> list[int]:
    settle()
    _repeat(call, WARM_SECONDS, least)
    return _repeat(call, seconds, least)


def _repeat(call: Call, seconds: float, least: int) -> list[int]:
    clock = time.perf_counter_ns
    times: list[int] = []
    end = clock() + int(seconds * 1e9)
    while clock() < end or len(times) < least:
        before = clock()
        call()
        times.append(clock() - before)
    return times
