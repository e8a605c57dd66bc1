"""A server's day: ``python -m benchmarks.serving --help``.

As many threads as there are callers each ask for one answer after the other, batch 1, for a few
seconds; engines take turns.  Each engine is set as its makers recommend:

    minigrad      one plan for all callers; one caller has all threads, of several each has one
    onnxruntime   one session for all; one caller has all threads, else intra_op_num_threads=1
    openvino      one caller: the latency hint; several: the throughput hint, and a request of its
                  own for each caller; float32

``--memory N`` instead asks one plan for N answers from four threads, and says how large the
process was after a tenth of them, and after all.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.formats import load
from benchmarks.recorded import Job, ordinary
from minigrad.engine import compile
from minigrad.engine.loading import load_plan
from minigrad.errors import BackendError
from minigrad.kernels.contract import Array
from minigrad.models import create
from minigrad.resources import available_cpus
from minigrad.threads import num_threads

__all__ = ["ENGINES", "Day", "asked", "main", "resident_mb", "table"]

Ask = Callable[[Array], Any]
CLOSE = 1e-3  # of the largest logit: an engine that is further off has no time


class Day(NamedTuple):
    """What callers saw: answers a second, and milliseconds for one of them."""

    engine: str
    callers: int
    per_second: float
    p50: float
    p95: float
    p99: float


def minigrad_callers(job: Job, callers: int) -> list[Ask]:
    """One plan, that all callers share."""
    plan = compile(job.model, job.x.shape)
    threads = num_threads() if callers == 1 else 1
    return [lambda x: plan(x, threads=threads)] * callers


def onnxruntime_callers(job: Job, callers: int) -> list[Ask]:
    """One session, that all callers share."""
    runtime = load("onnxruntime", "onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = num_threads() if callers == 1 else 1
    options.execution_mode = runtime.ExecutionMode.ORT_SEQUENTIAL
    session = runtime.InferenceSession(job.onnx, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return [lambda x: session.run(None, {name: x})[0]] * callers


def openvino_callers(job: Job, callers: int) -> list[Ask]:
    """One compiled model, and a request for each caller."""
    openvino = load("openvino", "openvino")
    hint = "LATENCY" if callers == 1 else "THROUGHPUT"
    words = {"PERFORMANCE_HINT": hint, "INFERENCE_PRECISION_HINT": "f32",
             "INFERENCE_NUM_THREADS": num_threads()}  # fmt: skip
    core = openvino.Core()
    compiled = core.compile_model(core.read_model(job.onnx), "CPU", words)

    def caller() -> Ask:
        request = compiled.create_infer_request()
        return lambda x: request.infer({0: x}, share_inputs=True)[0]

    return [caller() for _ in range(callers)]


ENGINES: dict[str, Callable[[Job, int], list[Ask]]] = {
    "minigrad": minigrad_callers,
    "onnxruntime": onnxruntime_callers,
    "openvino": openvino_callers,
}


def check(engine: str, job: Job, ask: Ask) -> None:
    """BackendError if an answer is not that of float64."""
    error = np.abs(ask(job.x) - job.expected).max() / np.abs(job.expected).max()
    if not error < CLOSE:
        raise BackendError(f"{engine}: {job.name} is off by {error:.2g} of its largest logit")


def asked(asks: Sequence[Ask], x: Array, seconds: float) -> tuple[list[float], float]:
    """The seconds of each answer that was given in ``seconds``, and how long that was."""
    took: list[list[float]] = [[] for _ in asks]
    start = threading.Barrier(len(asks) + 1)
    end = [0.0]

    def caller(k: int) -> None:
        asks[k](x)  # what is made for a caller when it first comes is there
        start.wait()
        now = time.perf_counter()
        while now < end[0]:
            asks[k](x)
            before, now = now, time.perf_counter()
            took[k].append(now - before)

    threads = [threading.Thread(target=caller, args=(k,)) for k in range(len(asks))]
    for thread in threads:
        thread.start()
    end[0] = time.perf_counter() + seconds + 60
    start.wait()
    began = time.perf_counter()
    end[0] = began + seconds
    for thread in threads:
        thread.join()
    return [t for some in took for t in some], time.perf_counter() - began


def days(job: Job, engines: Sequence[str], callers: int, seconds: float, turns: int) -> list[Day]:
    """A row for each engine, whose turns come one after the other."""
    built = {name: ENGINES[name](job, callers) for name in engines}
    took: dict[str, list[float]] = {name: [] for name in engines}
    lasted = dict.fromkeys(engines, 0.0)
    for name, asks in built.items():
        check(name, job, asks[0])
    for _ in range(turns):
        for name, asks in built.items():
            some, time_ = asked(asks, job.x, seconds)
            took[name] += some
            lasted[name] += time_
    return [_day(name, callers, took[name], lasted[name]) for name in engines]


def _day(engine: str, callers: int, took: Sequence[float], lasted: float) -> Day:
    p50, p95, p99 = (1e3 * float(p) for p in np.percentile(took, [50, 95, 99]))
    return Day(engine, callers, len(took) / lasted, p50, p95, p99)


def table(rows: Sequence[Day]) -> str:
    """The rows in Markdown."""
    head = ["| callers | engine | requests a second | p50 ms | p95 ms | p99 ms |", "|" + "---|" * 6]
    return "\n".join(
        head
        + [
            f"| {r.callers} | {r.engine} | {r.per_second:.0f} | {r.p50:.2f} | {r.p95:.2f} | "
            f"{r.p99:.2f} |"
            for r in rows
        ]
    )


def resident_mb() -> float:
    """Megabytes of this process in memory now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def memory(name: str, side: int, requests: int, callers: int = 4) -> tuple[float, float]:
    """Megabytes after a tenth of the requests, and after all, of a plan from its file, mapped."""
    shape = (1, 3, side, side)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "net.plan"
        compile(create(name, rng=0).eval(), shape).save(path)
        plan = load_plan(path, threads=1, mmap=True)
        x = np.zeros(shape, np.float32)
        early = _answer(plan, x, requests // 10, callers)
        return early, _answer(plan, x, requests - requests // 10, callers)


def _answer(plan: Ask, x: Array, requests: int, callers: int) -> float:
    """Megabytes after so many more answers."""

    def caller() -> None:
        for _ in range(requests // callers):
            plan(x)

    threads = [threading.Thread(target=caller) for _ in range(callers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return resident_mb()


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, write; 0, or 1 if an engine failed."""
    parser = argparse.ArgumentParser(
        "python -m benchmarks.serving", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument("--model", default="mobilenet_v2")
    parser.add_argument("--side", type=int, default=224, help="of the photograph (224)")
    parser.add_argument("--callers", default="1,2,4,8,16", help="numbers of callers (1,2,4,8,16)")
    parser.add_argument("--engines", default=",".join(ENGINES), help="of these (all)")
    parser.add_argument("--seconds", type=float, default=1.0, help="of a turn (1)")
    parser.add_argument("--turns", type=int, default=3, help="of each engine (3)")
    parser.add_argument("--memory", type=int, metavar="N", help="N answers, and the memory then")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows there")
    options = parser.parse_args(argv)
    if options.memory:
        early, late = memory(options.model, options.side, options.memory)
        print(f"{options.model}: {early:.1f} MB after {options.memory // 10:,} answers, "
              f"{late:.1f} MB after {options.memory:,}")  # fmt: skip
        return 0
    shape = (1, 3, options.side, options.side)
    job = Job.make(options.model, ordinary(create(options.model, rng=0), shape), shape)
    rows: list[Day] = []
    try:
        for callers in map(int, options.callers.split(",")):
            rows += days(job, options.engines.split(","), callers, options.seconds, options.turns)
    except (BackendError, ImportError) as error:
        print(f"benchmarks.serving: {error}", file=sys.stderr)
        return 1
    print(f"{options.model}, {options.side} x {options.side}, {available_cpus()} CPUs\n")
    print(table(rows))
    if options.json:
        options.json.write_text(json.dumps([row._asdict() for row in rows], indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
