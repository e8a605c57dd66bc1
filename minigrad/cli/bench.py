"""``minigrad bench``: how fast a network runs here, as a plan, eagerly, and elsewhere.

The other engines read the ONNX file that ``minigrad export`` writes.  All run in one
process and take turns; before each turn the others' threads are asleep.  FLOPs are 2 x
MACs; the peak is that of independent fused multiply-adds in registers, measured before
and after.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from minigrad.cli import engines
from minigrad.cli.arguments import add_input, add_json, add_network, build, dtype_of, input_shape
from minigrad.cli.engines import ENGINES, Engine
from minigrad.cli.numbers import positive, seconds, several_threads
from minigrad.cli.stopwatch import interleave, settle
from minigrad.cli.terminal import print_json, print_lines, progress
from minigrad.columns import Column, fit, width
from minigrad.engine import compile
from minigrad.errors import GraphError
from minigrad.graphs.imported import ImportedGraph
from minigrad.kernels import unavailable
from minigrad.kernels.cython.program import peak
from minigrad.models import Network, summary
from minigrad.tensor import Array, Tensor, no_grad
from minigrad.threads import available_cpus
from minigrad.threads import threads as use_threads

__all__ = ["configure", "run"]

Row = dict[str, Any]
Model = Network | ImportedGraph
PEAK_SECONDS = 0.1


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    add = parser.add_argument
    add_network(parser)
    add_input(parser)
    add("--threads", type=several_threads, metavar="1,2", help="default: 1, and all CPUs")
    add("--batch", type=positive, metavar="N", help="images at once (default: --input's, or 1)")
    add("--seconds", type=seconds, default=2.0, help="for each engine (default: %(default)s)")
    add_json(parser, "a list, one object an engine and threads")


def run(args: argparse.Namespace) -> int:
    """Measure and print; 0."""
    model = build(args)
    shape = (args.batch or input_shape(args)[0], *input_shape(args)[1:])
    x = np.random.default_rng(0).standard_normal(shape, np.float32)
    x = x.astype(dtype_of(model))
    macs = summary(model, shape).macs * shape[0]
    onnx, why = _onnx(model, shape, x.dtype)
    threads = args.threads or sorted({1, available_cpus()})
    rows = [
        row
        for n in progress(threads, "measuring", len(threads))
        for row in _measured(model, x, onnx, n, args.seconds, macs)
    ]
    if args.json:
        print_json([{"model": model.name, "shape": shape, **row} for row in rows])
    else:
        print_lines([*_table(model.name, shape, macs, rows, width()), *_left_out(rows, why)])
    return 0


def _onnx(model: Model, shape: Sequence[int], dtype: Any) -> tuple[bytes | None, str]:
    """The network as the others read it, and why not."""
    if not engines.installed():
        return None, "not installed"
    if dtype != np.float32:
        return None, "the network is float64"
    from minigrad.engine.export import to_onnx

    try:
        file: bytes = to_onnx(model, shape).SerializeToString()
    except GraphError as error:
        return None, str(error)
    return file, "not installed"


class _Plan:
    """A plan as an engine."""

    def __init__(self, model: Model, x: Array, threads: int) -> None:
        self._plan, self._x = compile(model, x.shape, dtype=x.dtype, threads=threads), x
        self._y: Array | None = None

    def run(self) -> None:
        """One inference."""
        self._y = self._plan.outputs(self._x)[0]

    def output(self) -> Array:
        """Of the last run."""
        return np.asarray(self._y)


class _Eager:
    """The model called as it is, nothing recorded."""

    def __init__(self, model: Model, x: Array, threads: int) -> None:
        self._model, self._x, self._threads = model, Tensor(x), threads
        self._y: Array | None = None

    def run(self) -> None:
        """One inference."""
        with no_grad(), use_threads(self._threads):
            made = self._model(self._x)
            self._y = (made[0] if isinstance(made, list) else made).numpy()

    def output(self) -> Array:
        """Of the last run."""
        return np.asarray(self._y)


def _measured(
    model: Model, x: Array, onnx: bytes | None, threads: int, span: float, macs: int
) -> Iterator[Row]:
    """A row for each engine at this number of threads."""
    here = _engines(model, x, onnx, threads)
    for engine in here.values():
        engine.run()
    reference = next(iter(here.values())).output().copy()
    before = _peak(threads)
    times = interleave({name: engine.run for name, engine in here.items()}, span)
    peak = max(before, _peak(threads))
    for name, timing in times.items():
        yield {
            "engine": name,
            "threads": threads,
            **timing._asdict(),
            "images_per_second": 1e6 * len(x) / timing.median_us,
            "gflops": 2e-3 * macs / timing.median_us,
            "percent_of_peak": 2e-1 * macs / timing.median_us / peak if peak else None,
            "difference": _difference(here[name].output(), reference),
        }


def _engines(model: Model, x: Array, onnx: bytes | None, threads: int) -> Mapping[str, Engine]:
    found: dict[str, Engine] = {}
    if unavailable("cython") is None:
        found["plan"] = _Plan(model, x, threads)
    found["eager"] = _Eager(model, x, threads)
    if onnx is not None:
        found |= {name: ENGINES[name](onnx, x, threads) for name in engines.installed()}
    return found


def _peak(threads: int) -> float:
    """GFLOP/s in float32; 0 without the compiled core."""
    settle()
    return 0.0 if unavailable("cython") else peak(PEAK_SECONDS, threads)


def _difference(y: Array, reference: Array) -> float:
    """The largest, as a part of the largest output."""
    return float(np.abs(y - reference).max() / np.abs(reference).max())


def _table(
    name: str, shape: Sequence[int], macs: int, rows: Sequence[Row], limit: int
) -> Iterator[str]:
    yield f"{name}, {'x'.join(map(str, shape))}, {macs:,} MACs"
    yield ""
    yield from fit(
        [
            Column("threads", [str(r["threads"]) for r in rows]),
            Column("engine", [r["engine"] for r in rows], right=False),
            Column("median ms", [f"{r['median_us'] / 1e3:.2f}" for r in rows]),
            Column("p10 ms", [f"{r['p10_us'] / 1e3:.2f}" for r in rows]),
            Column("images/s", [f"{r['images_per_second']:.1f}" for r in rows], rank=1),
            Column("% of peak", [_percent(r["percent_of_peak"]) for r in rows]),
            Column("difference", [f"{r['difference']:.0e}" for r in rows], rank=2),
        ],
        limit,
    )
    yield ""
    if all(r["percent_of_peak"] is None for r in rows):
        yield "The compiled core is not there, so there is no plan and no peak: minigrad doctor"


def _left_out(rows: Sequence[Row], why: str) -> Iterator[str]:
    """The engines that were not measured."""
    missing = [e for e in ENGINES if e not in {r["engine"] for r in rows}]
    if missing:
        yield f"Not measured, because {why}: {', '.join(missing)}"


def _percent(value: float | None) -> str:
    return "" if value is None else f"{value:.0f}"
