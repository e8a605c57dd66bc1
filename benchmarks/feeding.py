"""Whether batches are ready when a step wants them: ``python -m benchmarks.feeding --help``.

A training step is compiled and run over a loader's batches; what is measured is how long it
waits for each.  0 workers prepare a batch when it is asked for, so their row says what the
preparation itself takes.  Pictures are random; they are changed as ``minigrad train`` does.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np

from minigrad.cli.training_data import shift_at, varied
from minigrad.data import ArrayDataset, Loader
from minigrad.models import create
from minigrad.ops import cross_entropy
from minigrad.optim import SGD
from minigrad.threads import threads as use_threads
from minigrad.training import compile_training

__all__ = ["Task", "main", "row"]


class Task(NamedTuple):
    """A network and the pictures that it learns from."""

    network: str
    picture: tuple[int, int, int]
    size: int
    batch: int


TASKS = (
    Task("inverted_residual_small", (28, 28, 1), 28, 64),
    Task("squeezenext_small", (28, 28, 1), 28, 64),
    Task("mobilenet_v2", (192, 144, 3), 128, 32),
)


def row(task: Task, workers: int, threads: int, steps: int) -> dict[str, object]:
    """Medians over ``steps`` steps, after two that nobody times: the wait, and all of it."""
    rng = np.random.default_rng(0)
    count = task.batch * (steps + 2)
    pictures = rng.integers(0, 256, (min(count, 2000), *task.picture), np.uint8)
    dataset = ArrayDataset(pictures[np.arange(count) % len(pictures)], np.arange(count) % 10)
    model = create(task.network, num_classes=10, rng=0).train()
    assert model.preparation is not None
    change = varied(model.preparation._replace(size=task.size), shift_at(task.size))
    loader = Loader(dataset, task.batch, change, shuffle=True, workers=workers)
    shape = (task.batch, 3, task.size, task.size)
    step = compile_training(model, cross_entropy, SGD(model.parameters(), 1e-3, 0.9), shape)
    waits, wholes = [], []
    batches = loader.batches(0)
    with use_threads(threads):
        for _ in range(steps + 2):
            start = time.perf_counter()
            batch = next(batches)
            waits.append(time.perf_counter() - start)
            step(*batch)
            wholes.append(time.perf_counter() - start)
    wait, whole = (1e3 * statistics.median(times[2:]) for times in (waits, wholes))
    return {"network": task.network, "batch": task.batch, "workers": workers, "threads": threads,
            "wait_ms": wait, "step_ms": whole}  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.feeding")
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--json", type=Path, metavar="FILE")
    args = parser.parse_args()
    rows = []
    for task in TASKS:
        for workers in args.workers:
            found = row(task, workers, args.threads, args.steps)
            rows.append(found)
            print("{network:24} batch {batch:3}   workers {workers}   waits {wait_ms:6.1f} of "
                  "{step_ms:6.1f} ms".format(**found), flush=True)  # fmt: skip
    if args.json:
        args.json.write_text(json.dumps(rows, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
