"""How long the Numba engine takes to be ready: ``python -m benchmarks.first_call --help``.

Each kernel is called in two fresh processes, the first with an empty cache, the second with
what the first left behind.  Beside it what a process pays once, before its first kernel:
importing Numba and the engine, and Numba's setting up of its registries.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from typing import Any

from benchmarks.layers import LAYERS
from benchmarks.work import FUNCTIONS, Layer, Work

__all__ = ["main"]


def main(argv: list[str] | None = None) -> int:
    """Measure and print; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.first_call", description=__doc__)
    parser.add_argument("--layers", default="", metavar="PATTERN", help="a regular expression")
    parser.add_argument("--direction", default=",".join(FUNCTIONS), metavar="NAMES")
    parser.add_argument("--json", metavar="FILE", help="write the rows there")
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    given = parser.parse_args(argv)
    if given.child:
        print(json.dumps(first_call(*given.child)))
        return 0
    rows = []
    print(
        f"{'layer':24}{'direction':13}{'import':>8}{'set up':>8}{'compiled':>10}{'cached':>8}  ms"
    )
    for layer in LAYERS:
        for direction in given.direction.split(","):
            if re.search(given.layers, layer.name):
                rows.append(measure(layer, direction))
                print(
                    "{name:24}{direction:13}{import_ms:8.0f}{set_up_ms:8.0f}{compiled_ms:10.0f}{cached_ms:8.1f}".format(
                        **rows[-1]
                    ),
                    flush=True,
                )
    if given.json:
        with open(given.json, "w") as file:
            json.dump(rows, file, indent=1)
    return 0


def measure(layer: Layer, direction: str) -> dict[str, Any]:
    """The first call in a process without a cache, and in one that finds it."""
    with tempfile.TemporaryDirectory() as cache:
        compiled, cached = (_child(layer.name, direction, cache) for _ in range(2))
    return {
        "name": layer.name,
        "direction": direction,
        "import_ms": cached["import_ms"],
        "set_up_ms": cached["set_up_ms"],
        "compiled_ms": compiled["first_ms"],
        "cached_ms": cached["first_ms"],
    }


def _child(name: str, direction: str, cache: str) -> dict[str, float]:
    command = [sys.executable, "-W", "ignore", "-m", "benchmarks.first_call"]
    result = subprocess.run(
        [*command, "--child", name, direction],
        env=os.environ | {"NUMBA_CACHE_DIR": cache}, check=True, capture_output=True, text=True,
    )  # fmt: skip
    told: dict[str, float] = json.loads(result.stdout)
    return told


def first_call(name: str, direction: str) -> dict[str, float]:
    """In this process: import the engine, then call one kernel for the first time."""
    layer = next(layer for layer in LAYERS if layer.name == name)
    work = Work.make(layer, 1, direction)
    started = time.perf_counter()
    from minigrad.kernels import numba as numba_backend

    for module in ("_convolution",):
        importlib.import_module(f"minigrad.kernels.numba.{module}")
    from numba.core.registry import cpu_target

    imported = time.perf_counter()
    cpu_target.typing_context.refresh()
    cpu_target.target_context.refresh()
    ready = time.perf_counter()
    getattr(numba_backend, FUNCTIONS[direction])(*work.arguments())
    called = time.perf_counter()
    return {
        "import_ms": 1e3 * (imported - started),
        "set_up_ms": 1e3 * (ready - imported),
        "first_ms": 1e3 * (called - ready),
    }


if __name__ == "__main__":
    sys.exit(main())
