"""Whole networks and blocks against the peers: the run, its rows and its tables.

``networks``, ``dense`` and ``blocks`` say what is measured; how is here.
"""

from __future__ import annotations

import argparse
import importlib.metadata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

from benchmarks import machine
from benchmarks.layers import DISTURBED, _list_of, _one_of, _positive, _seconds
from benchmarks.network_peers import PEERS, Plan
from benchmarks.recorded import Job
from benchmarks.report import Case, Row, make_row, title, write_json
from benchmarks.timing import Timing, geometric_mean, interleave, settle
from minigrad.cli.engines import Engine
from minigrad.errors import MinigradError
from minigrad.kernels import unavailable
from minigrad.threads import threads as use_threads

__all__ = ["Figures", "main"]

LEAST_P10 = 1.05  # the ratio of 10th percentiles that a figure asks for beside its own
WRONG = 1e-2  # of the largest output: float32 stays below 0.2 % here, bfloat16 above 2 %
SHORT = {"onnxruntime": "ort", "openvino": "ov", "litert": "litert", "ncnn": "ncnn",
         "torch": "torch", "openvino-bf16": "ov bf16"}  # fmt: skip
Figures = Mapping[str, Mapping[tuple[int, int], float]]  # name: {(threads, batch): ratio}
Make = Callable[[str, int], Job]


def main(
    argv: Sequence[str] | None,
    names: Sequence[str],
    make: Make,
    figures: Figures,
    about: str,
    peers: Sequence[str] = tuple(PEERS),
) -> int:
    """Measure, print, write; 0, or 1 if an engine was wrong or missing, 2 for bad arguments."""
    options = _parse(argv, names, about, peers)
    packages = {"minigrad", *(PEERS[p].package for p in options.peers)}
    print(machine.describe(sorted(p for p in packages if _installed(p))))
    failures: list[str] = []
    rows: list[Row] = []
    for batch in options.batch:
        jobs = [
            replace(make(name, batch), channels_last=options.channels_last)
            for name in options.names
        ]
        for threads in options.threads:
            rows += _table(jobs, Case("forward", threads, batch), options, failures)
    _print_summary(rows, figures, failures)
    if options.json:
        write_json(options.json, rows)
    return 1 if failures else 0


def _parse(
    argv: Sequence[str] | None, names: Sequence[str], about: str, peers: Sequence[str]
) -> argparse.Namespace:
    parser = argparse.ArgumentParser(f"python -m benchmarks.{about}")
    add = parser.add_argument
    what = "--blocks" if about == "blocks" else "--models"
    add(what, dest="names", type=_list_of(_one_of(names)), default=list(names), metavar="NAMES",
        help=", ".join(names))  # fmt: skip
    add("--threads", type=_list_of(_positive), default=[1, 2], metavar="1,2")
    add("--batch", type=_list_of(_positive), default=[1], metavar="1,8")
    add("--peers", type=_list_of(_one_of(PEERS)), default=list(peers), metavar="NAMES",
        help=f"{', '.join(PEERS)}; '' for none")  # fmt: skip
    add("--channels-last", action="store_true",
        help="our plan takes and gives channels-last maps")  # fmt: skip
    add("--seconds", type=_seconds, default=2.0, help="for each engine and network (2)")
    add("--json", type=Path, metavar="FILE", help="write the rows there")
    options = parser.parse_args(argv)
    reason = unavailable("cython")
    if reason:
        parser.error(f"a plan needs the compiled core: {reason}")
    return options


def _installed(package: str) -> bool:
    try:
        importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def _table(
    jobs: Iterable[Job], case: Case, options: argparse.Namespace, failures: list[str]
) -> Iterator[Row]:
    peers = [p for p in options.peers if PEERS[p].batches or case.batch == 1]
    print(f"\n{title(case)}; milliseconds\n{_header(peers)}")
    for job in jobs:
        row = _measure(job, case, peers, options.seconds, failures)
        if row:
            print(_line(row, peers), flush=True)
            yield row


def _measure(
    job: Job, case: Case, peers: Sequence[str], seconds: float, failures: list[str]
) -> Row | None:
    """One row: all engines taking turns, the peak before and after."""
    engines, differences = _engines(job, case, peers, failures)
    if "plan" not in engines:
        return None
    neighbours = machine.Neighbours()
    with use_threads(case.threads):
        before = _peak(case.threads)
        times = interleave({name: e.run for name, e in engines.items()}, seconds)
        peak = max(before, _peak(case.threads)) or None
    others = {p: times[p] for p in peers if p in times}
    counted = {p: t for p, t in others.items() if PEERS[p].counted}
    return make_row(job.name, "plan", case, job.flops, times["plan"], counted, peak) | {
        "p10_ratio": _p10_ratio(times["plan"], counted.values()),
        "peak_gflops": peak,
        "difference": differences["plan"],
        "others_cpus": neighbours.cpus(),
        "peers": {
            p: {**t._asdict(), "difference": differences[p], "counted": p in counted}
            for p, t in others.items()
        },
    }


def _engines(
    job: Job, case: Case, peers: Sequence[str], failures: list[str]
) -> tuple[dict[str, Engine], dict[str, float]]:
    """The engines that compute the network, each with its difference from float64."""
    engines: dict[str, Engine] = {}
    differences: dict[str, float] = {}
    builders: dict[str, Any] = {"plan": Plan, **{p: PEERS[p].build for p in peers}}
    for name, build in builders.items():
        try:
            engine = build(job, case.threads)
            engine.run()
            differences[name] = _checked(job, engine, name)
        except MinigradError as e:
            failures.append(f"{job.name}, {title(case)}, {name}: {e}")
        else:
            engines[name] = engine
    return engines, differences


def _checked(job: Job, engine: Engine, name: str) -> float:
    """The difference; an engine that is counted and computes something else is an error."""
    difference = job.difference(engine.output())
    if difference > WRONG and (name == "plan" or PEERS[name].counted):
        raise MinigradError(f"wrong by {difference:.1e} of the largest output")
    return difference


def _peak(threads: int) -> float:
    settle()
    return machine.peak(threads) or 0.0


def _p10_ratio(ours: Timing, peers: Iterable[Timing]) -> float | None:
    return min((t.p10_us / ours.p10_us for t in peers), default=None)


def _header(peers: Iterable[str]) -> str:
    columns = "".join(f"{SHORT[p]:>8}" for p in peers)
    return f"{'':27}{'plan':>7}{'p10':>7}{'%peak':>6}{columns}{'ratio':>7}{'p10':>6}{'differ':>8}"


def _line(row: Row, peers: Iterable[str]) -> str:
    cells = "".join(f"{_ms(row['peers'].get(p, {}).get('median_us')):>8}" for p in peers)
    return (
        f"{row['name']:27}{_ms(row['median_us']):>7}{_ms(row['p10_us']):>7}"
        f"{_number(row['percent_of_peak'], '.0f'):>6}{cells}"
        f"{_number(row['ratio_to_best_peer'], '.2f'):>7}{_number(row['p10_ratio'], '.2f'):>6}"
        f"{row['difference']:>8.0e}"
    )


def _ms(us: float | None) -> str:
    """Milliseconds in three digits or more."""
    if us is None:
        return "-"
    return f"{us / 1e3:.{3 if us < 1e3 else 2 if us < 1e4 else 1}f}"


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


def _print_summary(rows: Sequence[Row], figures: Figures, failures: Sequence[str]) -> None:
    print("\nRatio: the best peer's median over ours (its 10th percentile under p10).")
    for threads, batch in product(*(sorted({r[k] for r in rows}) for k in ("threads", "batch"))):
        mine = [r for r in rows if (r["threads"], r["batch"]) == (threads, batch)]
        print("\n".join(_summary(mine, Case("forward", threads, batch), figures)))
    others = [row["others_cpus"] for row in rows if row["others_cpus"] is not None]
    disturbed = sum(cpus > DISTURBED for cpus in others)
    print(f"{disturbed} of {len(rows)} rows saw other processes use over {DISTURBED} CPUs")
    worst = {p: max(r["peers"][p]["difference"] for r in rows if p in r["peers"])
             for p in PEERS if any(p in r["peers"] for r in rows)}  # fmt: skip
    told = ", ".join(f"{p} {d:.0e}" for p, d in worst.items())
    print(f"largest difference from float64, of the largest output: {told}")
    for failure in failures:
        print(f"FAILED {failure}")


def _summary(rows: Sequence[Row], case: Case, figures: Figures) -> Iterator[str]:
    ratios = [r["ratio_to_best_peer"] for r in rows if r["ratio_to_best_peer"] is not None]
    if ratios:
        yield f"{title(case)}: {geometric_mean(ratios):.2f}x the best peer"
    for row in rows:
        figure = figures.get(row["name"], {}).get((case.threads, case.batch))
        if figure and row["ratio_to_best_peer"] is not None:
            reached = row["ratio_to_best_peer"] >= figure and row["p10_ratio"] >= LEAST_P10
            yield (
                f"  {row['name']:28} {row['ratio_to_best_peer']:.2f}, p10 {row['p10_ratio']:.2f} "
                f"(figure {figure:.2f}, {LEAST_P10:.2f}: {'yes' if reached else 'NO'}; "
                f"{row['best_peer']})"
            )
