"""Single layers against the peers: ``python -m benchmarks.layers --help``."""

from __future__ import annotations

import argparse
import importlib.metadata
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any, TypeVar

from benchmarks import machine
from benchmarks.ours import ours
from benchmarks.peers import PEERS, Engine
from benchmarks.report import Case, Figure, Row, header, line, make_row, summary, title, write_json
from benchmarks.timing import interleave, settle
from benchmarks.work import FUNCTIONS, Layer, Work, dense, depthwise, pointwise, stem
from minigrad.errors import MinigradError
from minigrad.kernels import unavailable
from minigrad.threads import threads as use_threads

OURS = ("cython", "numba", "numpy")  # the reference takes minutes a layer
DISTURBED = 0.05  # CPUs used by other processes, above which a time is suspect
LAYERS = (
    pointwise(16, 96, 112),
    pointwise(96, 24, 56),
    pointwise(24, 144, 56),
    pointwise(144, 32, 28),
    pointwise(384, 64, 14),
    pointwise(64, 384, 14),
    pointwise(960, 160, 7),
    pointwise(320, 1280, 7),
    depthwise(3, 32, 112),
    depthwise(3, 144, 56),
    depthwise(3, 384, 14),
    depthwise(3, 960, 7),
    depthwise(3, 96, 112, 2),
    depthwise(3, 144, 56, 2),
    depthwise(3, 576, 14, 2),
    depthwise(5, 240, 28),
    depthwise(5, 672, 14),
    stem(3, 32, 224, padding=1),
    stem(7, 64, 227, padding=0),
    dense((3, 3), 64, 64, 56),
    dense((3, 3), 128, 128, 28),
    dense((3, 1), 16, 32, 28),
    dense((1, 3), 16, 32, 28),
    dense((3, 1), 32, 32, 28),
    dense((1, 3), 32, 32, 28),
    dense((3, 1), 32, 64, 14),
    dense((1, 3), 32, 64, 14),
)

# Percent of peak to reach at batch 1, with one thread and with two.
FIGURES = {
    "forward": {
        "pointwise": Figure(93, 86),
        "dense": Figure(93, 88),
        "stem": Figure(82, 78),
        "depthwise 3x3": Figure(80, 72),
        "depthwise 3x3, 7x7 map": Figure(62, 52),
        "depthwise 5x5": Figure(88, 78),
        "depthwise s2": Figure(58, 48),
    },
    "input_grad": {
        "pointwise": Figure(88, 82),
        "dense": Figure(88, 82),
        "depthwise 3x3": Figure(75, 65),
        "depthwise 5x5": Figure(75, 65),
        "depthwise s2": Figure(50, 40),
    },
    "weight_grad": {
        "pointwise": Figure(85, 80),
        "dense": Figure(85, 80),
        "depthwise 3x3": Figure(55, 45),
        "depthwise 5x5": Figure(55, 45),
        "depthwise s2": Figure(55, 45),
    },
}


def ratio_figure(case: Case) -> float:
    """The geometric mean of best peer over ours that is to be reached."""
    if case.direction != "forward":
        return 2.0
    if case.batch == 1:
        return 1.35 if case.threads == 1 else 1.5
    return 1.3 if case.threads == 1 else 1.4


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, write; 0, or 1 if an engine was wrong or missing, 2 for bad arguments."""
    options = parse(argv)
    packages = ("minigrad", *(PEERS[p].package for p in options.peers))
    print(machine.describe(p for p in packages if _installed(p)))
    failures: list[str] = []
    rows: list[Row] = []
    tables: list[tuple[Case, list[Row]]] = []
    for case in map(Case._make, product(options.direction, options.threads, options.batch)):
        table = list(_table(case, options, failures))
        tables.append((case, table))
        rows += table
    _print_summary(tables, rows, failures)
    if options.json:
        write_json(options.json, rows)
    return 1 if failures else 0


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """The options, checked; exits with 2 and one sentence for a wrong one."""
    parser = argparse.ArgumentParser("python -m benchmarks.layers", description=__doc__)
    add = parser.add_argument
    add("--threads", type=_list_of(_positive), default=[1, 2], metavar="1,2")
    add("--batch", type=_list_of(_positive), default=[1], metavar="1,8")
    add("--direction", type=_list_of(_one_of(FUNCTIONS)), default=["forward"], metavar="NAMES",
        help=", ".join(FUNCTIONS))  # fmt: skip
    add("--backend", type=_list_of(_one_of(OURS)), default=["cython"], metavar="NAMES",
        help=", ".join(OURS))  # fmt: skip
    add("--peers", type=_list_of(_one_of(PEERS)), default=list(PEERS), metavar="NAMES",
        help=f"{', '.join(PEERS)}; '' for none")  # fmt: skip
    add("--layers", type=_pattern, default=LAYERS, metavar="PATTERN",
        help="a regular expression found in the names of the layers, such as '5x5|@7'")  # fmt: skip
    add("--seconds", type=_seconds, default=0.5, help="for each engine and layer (0.5)")
    add(
        "--eager",
        action="store_true",
        help="time the contract's functions, not the calls that a plan binds beforehand",
    )
    add("--json", type=Path, metavar="FILE", help="write the rows there")
    options = parser.parse_args(argv)
    for name in options.backend:
        reason = unavailable(name)
        if reason:
            parser.error(reason)
    return options


T = TypeVar("T")


def _list_of(item: Callable[[str], T]) -> Callable[[str], list[T]]:
    return lambda text: [item(part) for part in text.split(",")] if text else []


def _one_of(names: Any) -> Callable[[str], str]:
    def check(name: str) -> str:
        if name not in names:
            raise argparse.ArgumentTypeError(f"{name!r} is none of {', '.join(names)}")
        return name

    return check


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected an integer of at least 1, got {text!r}")
    return int(text)


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < 3600:
        raise argparse.ArgumentTypeError(f"expected seconds above 0, got {text!r}")
    return value


def _pattern(text: str) -> tuple[Layer, ...]:
    try:
        layers = tuple(layer for layer in LAYERS if re.search(text, layer.name))
    except re.error as e:
        raise argparse.ArgumentTypeError(f"{text!r} is not a regular expression: {e}") from e
    if not layers:
        names = "; ".join(layer.name for layer in LAYERS)
        raise argparse.ArgumentTypeError(f"no layer matches {text!r}; there are {names}")
    return layers


def _installed(package: str) -> bool:
    try:
        importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def _table(case: Case, options: argparse.Namespace, failures: list[str]) -> Iterator[Row]:
    """Measure every layer of one case, printing each line as it comes."""
    with use_threads(case.threads):
        print(f"\n{title(case)}")
        print(header(options.peers))
        for layer in options.layers:
            for row in _measure(layer, case, options, failures):
                print(line(row, options.peers), flush=True)
                yield row


def _measure(
    layer: Layer, case: Case, options: argparse.Namespace, failures: list[str]
) -> list[Row]:
    """One row for each of our backends: all engines taking turns, the peak before and after."""
    work = Work.make(layer, case.batch, case.direction)
    engines, errors = _engines(work, case, options, failures)
    neighbours = machine.Neighbours()
    before = _peak(case.threads)
    times = interleave({name: e.run for name, e in engines.items()}, options.seconds)
    peak = max(before, _peak(case.threads)) or None
    peers = {p: times[p] for p in options.peers if p in times}
    details = {
        p: {**t._asdict(), "error_over_bound": errors[p], "reorders": engines[p].reorders}
        for p, t in peers.items()
    }
    flops = layer.flops(case.batch)
    common = {"group": layer.group, "others_cpus": neighbours.cpus(), "peers": details}
    return [
        make_row(layer.name, b, case, flops, times[b], peers, peak)
        | {"error_over_bound": errors[b], "call": getattr(engines[b], "call", None)}
        | _limit(layer, case, flops / times[b].median_us / 1e3, peak)
        | common
        for b in options.backend
        if b in times
    ]


def _peak(threads: int) -> float:
    """The FMA peak now (a clock moves during a run); 0 if there is no compiled core."""
    settle()
    return machine.peak(threads) or 0.0


def _engines(
    work: Work, case: Case, options: argparse.Namespace, failures: list[str]
) -> tuple[dict[str, Engine], dict[str, float]]:
    """The engines that compute the work, each with its error over the bound."""
    engines: dict[str, Engine] = {}
    errors: dict[str, float] = {}
    for name, build in _builders(work, case, options):
        try:
            engine = build()
            errors[name] = _error(engine, work)
        except MinigradError as e:
            failures.append(f"{work.layer.name}, {case.direction}, {name}: {e}")
        else:
            engines[name] = engine
    return engines, errors


def _builders(
    work: Work, case: Case, options: argparse.Namespace
) -> Iterator[tuple[str, Callable[[], Engine]]]:
    for name in options.backend:
        yield name, partial(ours, work, name, options.eager)
    for name in options.peers:
        if case.direction in PEERS[name].directions:
            yield name, partial(PEERS[name], work, case.threads)


def _error(engine: Engine, work: Work) -> float:
    """The largest error of one run over its bound; an error above it is an exception."""
    engine.run()
    excess = work.excess(engine.output())
    if excess > 1:
        raise MinigradError(f"wrong by {excess:.3g} times the bound of float32")
    return excess


def _limit(layer: Layer, case: Case, gflops: float, peak: float | None) -> Row:
    intensity = layer.intensity(case.batch)
    row: Row = {"intensity": intensity, "peak_gflops": peak}
    if peak is None or intensity >= machine.COMPUTE_BOUND:
        return row | {"limit_gflops": peak, "percent_of_limit": None}
    limit = machine.limit(peak, intensity, layer.bytes(case.batch), case.threads)
    return row | {"limit_gflops": limit, "percent_of_limit": 100 * gflops / limit}


def _print_summary(
    tables: list[tuple[Case, list[Row]]], rows: list[Row], failures: list[str]
) -> None:
    print("\n* reorders the memory layout inside the call.  Summary:")
    for case, table in tables:
        for backend in dict.fromkeys(row["backend"] for row in table):
            mine = [row for row in table if row["backend"] == backend]
            print("\n".join(summary(case, mine, FIGURES[case.direction], ratio_figure(case))))
    if rows:
        errors = [p["error_over_bound"] for row in rows for p in (row, *row["peers"].values())]
        print(f"largest error of any engine: {max(errors):.2f} of its bound")
        others = [row["others_cpus"] for row in rows if row["others_cpus"] is not None]
        disturbed = sum(cpus > DISTURBED for cpus in others)
        print(f"{disturbed} of {len(rows)} rows saw other processes use over {DISTURBED} CPUs")
    for failure in failures:
        print(f"FAILED {failure}")


if __name__ == "__main__":
    sys.exit(main())
