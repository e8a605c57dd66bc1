"""Several runs as one table of Markdown, for each row the run with the worst ratio.

``python -m benchmarks.worst RUN.json RUN.json ...``: files that ``layers``, ``networks`` or
``blocks`` wrote with --json, of the same rows.  A run's rows without a ratio (no peers) count
by their time.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.report import Row
from benchmarks.timing import geometric_mean

__all__ = ["main", "tables", "worst"]

Key = tuple[str, ...]
# For one thread: copies from several of Python's hinder one another, and the limit is too low.
LIMIT = ["% limit"]


def worst(runs: Iterable[Sequence[Row]]) -> list[Row]:
    """The worst row of each work; ValueError if the runs are not of the same work."""
    found: dict[Key, list[Row]] = {}
    counts = []
    for rows in runs:
        counts.append({_key(row) for row in rows})
        for row in rows:
            found.setdefault(_key(row), []).append(row)
    if any(count != counts[0] for count in counts):
        raise ValueError("the runs are not of the same rows")
    return [min(rows, key=_goodness) for rows in found.values()]


def tables(rows: Sequence[Row]) -> list[str]:
    """A table for each direction, backend and batch; threads stand side by side."""
    whole = "p10_ratio" in rows[0]
    groups: dict[Key, list[Row]] = {}
    for row in rows:
        groups.setdefault((row["direction"], row["backend"], str(row["batch"])), []).append(row)
    make = _whole if whole else _layers
    return [
        f"{direction}, {backend}, batch {batch}\n\n{make(group)}"
        for (direction, backend, batch), group in groups.items()
    ]


def _key(row: Row) -> Key:
    return tuple(str(row[k]) for k in ("name", "backend", "threads", "batch", "direction"))


def _goodness(row: Row) -> float:
    ratio = row["ratio_to_best_peer"]
    return float(-row["median_us"] if ratio is None else ratio)


def _by_name(rows: Iterable[Row]) -> dict[str, dict[int, Row]]:
    found: dict[str, dict[int, Row]] = {}
    for row in rows:
        found.setdefault(row["name"], {})[row["threads"]] = row
    return found


def _markdown(heads: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    rule = ["---"] * len(heads)
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (heads, rule, *lines))


def _layers(rows: Sequence[Row]) -> str:
    threads = sorted({row["threads"] for row in rows})
    heads = ["layer"]
    for t in threads:
        heads += [
            f"us, {t} thread{'s' * (t > 1)}",
            "% peak",
            *LIMIT[: t == 1],
            "best peer",
            "ratio",
        ]
    lines = [
        [name, *(cell for t in threads for cell in _layer_cells(per[t]))]
        for name, per in _by_name(rows).items()
    ]
    return f"{_markdown(heads, lines)}\n\n{_kinds(rows, threads)}"


def _layer_cells(row: Row) -> list[str]:
    limit = row["percent_of_limit"]
    bound = row["limit_gflops"] < row["peak_gflops"]
    ratio = row["ratio_to_best_peer"]
    return [
        f"{row['median_us']:.1f}",
        f"{row['percent_of_peak']:.0f}",
        *([f"{limit:.0f}" if bound else ""] if row["threads"] == 1 else []),
        row["best_peer"] or "",
        "" if ratio is None else f"{ratio:.2f}",
    ]


def _kinds(rows: Sequence[Row], threads: Sequence[int]) -> str:
    """Median and least percent of peak of each kind, and the geometric means of the ratios."""
    lines = []
    for group in dict.fromkeys(row["group"] for row in rows):
        cells = [group]
        for t in threads:
            shares = [
                r["percent_of_peak"] for r in rows if (r["group"], r["threads"]) == (group, t)
            ]
            cells.append(f"{statistics.median(shares):.0f} ({min(shares):.0f})")
        lines.append(cells)
    means = ["geometric mean of the ratios"]
    for t in threads:
        ratios = [r["ratio_to_best_peer"] for r in rows if r["threads"] == t]
        means.append("" if None in ratios else f"{geometric_mean(ratios):.2f}")
    heads = ["percent of peak, median (least)", *(f"threads: {t}" for t in threads)]
    return _markdown(heads, [*lines, means])


def _whole(rows: Sequence[Row]) -> str:
    peers = list(dict.fromkeys(peer for row in rows for peer in row["peers"]))
    heads = ["", "threads", "plan ms", "% peak", *peers, "ratio", "in 10th percentiles"]
    lines = [
        [name, str(t), *_whole_cells(row, peers)]
        for name, per in _by_name(rows).items()
        for t, row in sorted(per.items())
    ]
    return _markdown(heads, lines)


def _whole_cells(row: Row, peers: Sequence[str]) -> list[str]:
    share = row["percent_of_peak"]
    times: Mapping[str, Any] = row["peers"]
    return [
        f"{row['median_us'] / 1e3:.3g}",
        "" if share is None else f"{share:.0f}",
        *(f"{times[p]['median_us'] / 1e3:.3g}" if p in times else "" for p in peers),
        f"{row['ratio_to_best_peer']:.2f}",
        f"{row['p10_ratio']:.2f}",
    ]


def main(argv: Sequence[str] | None = None) -> int:
    """Print the tables; 0, or 1 if the runs do not belong together."""
    parser = argparse.ArgumentParser("python -m benchmarks.worst", description=__doc__)
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN.json")
    options = parser.parse_args(argv)
    try:
        rows = worst([json.loads(path.read_text()) for path in options.runs])
    except ValueError as e:
        print(f"benchmarks.worst: {e}", file=sys.stderr)
        return 1
    print("\n\n".join(tables(rows)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
