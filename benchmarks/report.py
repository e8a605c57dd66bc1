"""Rows, the lines of a table, and the summary at its end."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.timing import Timing, geometric_mean

__all__ = ["Case", "Figure", "Row", "header", "line", "make_row", "summary", "title", "write_json"]

Row = dict[str, Any]
SHORT = {"onnxruntime": "ort", "openvino": "ov", "litert": "litert", "torch": "torch"}


class Case(NamedTuple):
    """What a table holds fixed."""

    direction: str
    threads: int
    batch: int


class Figure(NamedTuple):
    """What a group of layers should reach: percent of peak at one thread and at two."""

    one: float
    two: float


def make_row(
    name: str,
    backend: str,
    case: Case,
    flops: int,
    ours: Timing,
    peers: Mapping[str, Timing],
    peak: float | None,
) -> Row:
    """A row in the form that all benchmarks share.

    ``ratio_to_best_peer`` is the best peer's median over ours: above 1 we are faster.
    """
    gflops = flops / ours.median_us / 1e3
    best = min(peers, key=lambda p: peers[p].median_us) if peers else None
    return {
        "name": name,
        "backend": backend,
        "threads": case.threads,
        "batch": case.batch,
        "direction": case.direction,
        "median_us": ours.median_us,
        "p10_us": ours.p10_us,
        "gflops": gflops,
        "percent_of_peak": 100 * gflops / peak if peak else None,
        "best_peer": best,
        "ratio_to_best_peer": peers[best].median_us / ours.median_us if best else None,
    }


def write_json(path: Path, rows: Sequence[Row]) -> None:
    path.write_text(json.dumps(rows, indent=1) + "\n")


def header(peers: Iterable[str]) -> str:
    columns = "".join(f"{SHORT[p]:>8} " for p in peers)
    return (
        f"{'layer':23} {'backend':7}{'us':>8}{'p10':>8}{'%peak':>6}{'%lim':>6}{columns}{'ratio':>5}"
    )


def line(row: Row, peers: Iterable[str]) -> str:
    """One row; ``*`` marks a peer that reorders the layout inside the call, ``%lim`` is
    given where memory may be the limit."""
    times = row["peers"]
    cells = "".join(_peer(times[p]) if p in times else f"{'-':>9}" for p in peers)
    return (
        f"{row['name']:23} {row['backend']:7}{_us(row['median_us']):>8}{_us(row['p10_us']):>8}"
        f"{_percent(row['percent_of_peak']):>6}{_percent(row['percent_of_limit']):>6}"
        f"{cells}{_ratio(row['ratio_to_best_peer']):>5}"
    )


def _peer(timing: Row) -> str:
    return f"{_us(timing['median_us']):>8}" + ("*" if timing["reorders"] else " ")


def _us(value: float) -> str:
    return f"{value:.1f}" if value < 1e4 else f"{value:.0f}"


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.0f}"


def _ratio(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def summary(
    case: Case, rows: Sequence[Row], figures: Mapping[str, Figure], ratio_figure: float
) -> list[str]:
    """For one case and one backend: each group against its figure, then the peers."""
    peaks = [row["peak_gflops"] for row in rows if row["peak_gflops"] is not None]
    told = f"; FMA peak {min(peaks):.0f} to {max(peaks):.0f} GFLOP/s" if peaks else ""
    lines = [f"{rows[0]['backend']}: {title(case)}{told}"]
    lines += [_group_line(case, group, rows, figures.get(group)) for group in _groups(rows)]
    ratios = [r["ratio_to_best_peer"] for r in rows if r["ratio_to_best_peer"] is not None]
    if ratios:
        worst = min(rows, key=lambda r: r["ratio_to_best_peer"] or float("inf"))
        lines.append(
            f"  against the best peer {geometric_mean(ratios):.2f}x (figure {ratio_figure:.2f}x); "
            f"worst {worst['ratio_to_best_peer']:.2f}x ({worst['name']}, {worst['best_peer']})"
        )
    return lines


def title(case: Case) -> str:
    s = "s" if case.threads > 1 else ""
    return f"{case.direction}, {case.threads} thread{s}, batch {case.batch}"


def _groups(rows: Sequence[Row]) -> list[str]:
    return list(dict.fromkeys(r["group"] for r in rows))


def _group_line(case: Case, group: str, rows: Sequence[Row], figure: Figure | None) -> str:
    percents = [r["percent_of_peak"] for r in rows if r["group"] == group]
    if None in percents:
        return f"  {group:24} no compiled core, no peak"
    median, least = statistics.median(percents), min(percents)
    told = f"  {group:24} median {median:4.0f} %, least {least:4.0f} %"
    if figure is None or case.threads > 2 or case.batch > 1:
        return told
    wanted = figure.one if case.threads == 1 else figure.two
    reached = median >= wanted and least >= 0.8 * wanted
    return (
        f"{told}  (figure {wanted:.0f} %, least {0.8 * wanted:.0f} %: {'yes' if reached else 'NO'})"
    )
