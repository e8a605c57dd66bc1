"""Whole training steps beside PyTorch: ``python -m benchmarks.training --help``.

A step is forward, loss, backward and an update by SGD with momentum and weight decay; the
engines take turns in one process.  "ours" is compiled for the shape, and eager mode beside it.
Noise is off.  Peak memory is that of a process that makes three steps with one engine.
PyTorch is in no extra: ``pip install torch==2.13.0`` in
an environment that also has minigrad.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from benchmarks import machine
from benchmarks.report import Case, Row, make_row, write_json
from benchmarks.timing import geometric_mean, interleave
from minigrad import models, optim
from minigrad.data import Batch
from minigrad.engine.trace import trace
from minigrad.nn.module import Module
from minigrad.ops import cross_entropy
from minigrad.threads import threads as use_threads
from minigrad.training import Run, Settings, compile_training
from minigrad.training.loop import train_step

__all__ = ["FIGURES", "main", "our_step"]

SIZE = 224  # of a network named without one; "mobilenet_v2@32" has 32 pixels a side
# PyTorch's best mode over ours that is to be reached, batch 8.
FIGURES = {
    "mobilenet_v2": 2.0,
    "efficientnet_lite0": 2.0,
    "efficientnet_b0": 2.0,
    "squeezenext_1_0_23": 1.6,
}
OURS = ("ours", "recompute", "eager")
ROUNDS = 5  # of bursts, each with one untimed step at least
MODES = ("contiguous", "channels_last", "compile")
Call = Callable[[], object]


def size_of(name: str) -> int:
    """Pixels a side."""
    return int(name.partition("@")[2] or SIZE)


def a_model(name: str) -> Module:
    """The network without noise, so that both sides do the same work."""
    model = models.create(name.partition("@")[0], rng=0)
    for module in model.modules():
        if hasattr(module, "p"):
            module.p = 0.0
    return model


def a_batch(batch: int, size: int = SIZE, classes: int = 1000) -> Batch:
    """The same general values for everybody."""
    rng = np.random.default_rng(0)
    images = rng.standard_normal((batch, 3, size, size), np.float32)
    return Batch(images, rng.integers(0, classes, batch))


def our_step(name: str, batch: int, engine: str = "ours") -> Call:
    """A step of ours: "ours" is compiled, "recompute" with less memory, "eager" is not."""
    model = a_model(name).train()
    optimizer = optim.SGD(model.parameters(), 1e-3, momentum=0.9, weight_decay=1e-4)
    data = a_batch(batch, size_of(name))
    if engine == "eager":
        run, settings = Run(model, optimizer), Settings()
        return lambda: train_step(run, data, settings)
    again = engine == "recompute"
    step = compile_training(model, cross_entropy, optimizer, data.images.shape, recompute=again)
    return lambda: step(*data)


def their_step(name: str, batch: int, mode: str, threads: int) -> Call:
    """A step of PyTorch's."""
    import torch

    from benchmarks.torch_training import torch_step

    torch.set_num_threads(threads)
    data = a_batch(batch, size_of(name))
    graph = trace(a_model(name).eval(), data.images.shape, np.float32)
    return torch_step(torch, graph, *data, mode)


def rows(names: Sequence[str], args: argparse.Namespace) -> Iterator[Row]:
    """A row for each network, number of threads and batch."""
    for threads in args.threads:
        peak = machine.peak(threads)
        for batch in args.batch:
            for name in names:
                case = Case("training", threads, batch)
                yield row(name, case, args.ours, args.modes, args.seconds, peak)


def row(
    name: str, case: Case, ours: Sequence[str], modes: Sequence[str], seconds: float,
    peak: float | None,
) -> Row:  # fmt: skip
    """Ours and PyTorch's modes in turn."""
    with use_threads(case.threads):
        calls = {engine: our_step(name, case.batch, engine) for engine in ours}
        for mode in modes:
            calls[mode] = their_step(name, case.batch, mode, case.threads)
        times = interleave(calls, seconds, ROUNDS, least=1)
    own = {engine: times.pop(engine) for engine in ours}
    flops = _flops(name, case.batch)
    return make_row(name, "cython", case, flops, own["ours"], times, peak) | {
        "own": {engine: timing.median_us for engine, timing in own.items()},
        "peers": {mode: timing.median_us for mode, timing in times.items()},
    }


def _flops(name: str, batch: int) -> int:
    """Forward and both gradients of every convolution and linear layer: 3 x 2 x MACs."""
    return (
        6 * batch * models.summary(a_model(name).eval(), (1, 3, size_of(name), size_of(name))).macs
    )


def peak_memory(name: str, case: Case, engine: str) -> float:
    """MB of a process that makes three steps."""
    code = "import sys; from benchmarks.training import _steps; _steps(*sys.argv[1:])"
    arguments = [name, str(case.batch), str(case.threads), engine]
    done = subprocess.run([sys.executable, "-c", code, *arguments], check=True, capture_output=True)
    return float(done.stdout.split()[-1])


def _steps(name: str, batch: str, threads: str, engine: str) -> None:
    with use_threads(int(threads)):
        step = (
            our_step(name, int(batch), engine)
            if engine in OURS
            else their_step(name, int(batch), engine, int(threads))
        )
        for _ in range(3):
            step()
    print(machine.most_memory())


def line(found: Row) -> str:
    """One row as text."""
    own = "".join(f"{e} {us / 1e3:7.0f}  " for e, us in found["own"].items() if e != "ours")
    peers = "".join(f"{mode} {us / 1e3:7.0f}  " for mode, us in found["peers"].items())
    goal = FIGURES.get(found["name"], math.nan)
    return (
        f"{found['name']:22} {found['threads']} threads  batch {found['batch']:2}  "
        f"ours {found['median_us'] / 1e3:7.0f} ms, {own}  {peers} "
        f"ratio {found['ratio_to_best_peer']:.2f} "
        f"(to reach {goal:.1f})  {found['percent_of_peak']:.0f} % of peak"
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Time the steps, print a line each."""
    parser = argparse.ArgumentParser("python -m benchmarks.training", description=__doc__)
    parser.add_argument("--models", default=",".join(FIGURES))
    parser.add_argument("--threads", type=_numbers, default=[1, 2])
    parser.add_argument("--batch", type=_numbers, default=[8])
    parser.add_argument("--ours", type=_words, default=list(OURS), help='"ours" is always one')
    parser.add_argument("--modes", type=_words, default=list(MODES[:2]), help=", ".join(MODES))
    parser.add_argument("--seconds", type=float, default=10.0, help="for each engine of a row")
    parser.add_argument("--memory", action="store_true", help="peak memory of each engine too")
    parser.add_argument("--json", type=Path, metavar="FILE")
    args = parser.parse_args(argv)
    found = []
    for one in rows(args.models.split(","), args):
        if args.memory:
            case = Case("training", one["threads"], one["batch"])
            one["memory_mb"] = {
                e: peak_memory(one["name"], case, e) for e in (*args.ours, *args.modes)
            }
        found.append(one)
        print(line(one), json.dumps(one.get("memory_mb", {})), flush=True)
    print(f"geometric mean {geometric_mean(r['ratio_to_best_peer'] for r in found):.2f}")
    if args.json:
        write_json(args.json, found)
    return 0


def _words(text: str) -> list[str]:
    return text.split(",")


def _numbers(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


if __name__ == "__main__":
    sys.exit(main())
