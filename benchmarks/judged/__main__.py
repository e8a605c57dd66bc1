"""The table: every engine that is installed, over every operation it has.

python -m benchmarks.judged [ENGINE ...] [--json FILE] [--verbose]

The judge's own values are computed once and shared, so the first engine's seconds include them.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

import minigrad as mg
from minigrad.verify import Report, examine
from minigrad.verify.geometries import GEOMETRIES
from minigrad.verify.operations import OPERATIONS

__all__ = ["ENGINES", "judge_engine"]

DETOUR = {"functions": "absolute"}
"""ONNX Runtime's logistic function is 1/2 + tanh(x / 2) / 2, ncnn's tanh 2 s(2 x) - 1."""


class Ours:
    """A backend of minigrad."""

    def __init__(self, backend: str) -> None:
        self.backend = backend

    def kernel(self, op: str) -> Callable[..., Any]:
        """The function of one operation."""

        def call(*arrays: Any, **words: Any) -> Any:
            with mg.backend(self.backend), mg.no_grad():
                return OPERATIONS[op](*map(mg.Tensor, arrays), **words).numpy()

        return call

    def gradients(self, op: str) -> Callable[..., Any]:
        """The gradients of one operation."""

        def call(dy: Any, *arrays: Any, **words: Any) -> Any:
            with mg.backend(self.backend):
                back = mg.vjp(lambda *a: OPERATIONS[op](*a, **words), *arrays)[1]
                return [None if g is None else g.numpy() for g in back(mg.Tensor(dy))]

        return call


def _torch(**how: Any) -> Any:
    from benchmarks.judged.with_torch import Torch

    return Torch(**how)


def _onnx(name: str, *how: Any) -> Any:
    from benchmarks.judged import with_onnx

    return getattr(with_onnx, name)(*how)


def _jax() -> Any:
    from benchmarks.judged.with_jax import Jax

    return Jax()


def _litert() -> Any:
    from benchmarks.judged.with_litert import LiteRT

    return LiteRT()


def _ncnn(winograd: bool) -> Any:
    from benchmarks.judged.with_ncnn import Ncnn

    return Ncnn(winograd)


# name: (module, how to make it, settings of examine)
ENGINES: dict[str, tuple[str, Callable[[], Any], dict[str, Any]]] = {
    "minigrad numpy": ("numpy", lambda: Ours("numpy"), {}),
    "minigrad cython": ("numpy", lambda: Ours("cython"), {}),
    "torch": ("torch", _torch, {}),
    "torch channels_last": ("torch", lambda: _torch(channels_last=True), {}),
    "torch medium": ("torch", lambda: _torch(precision="medium"), {}),
    "onnxruntime": ("onnxruntime", lambda: _onnx("OnnxRuntime"), DETOUR),
    "jax": ("jax", _jax, {}),
    "litert": ("ai_edge_litert", _litert, {}),
    "ncnn": ("ncnn", lambda: _ncnn(False), DETOUR),
    "ncnn winograd": ("ncnn", lambda: _ncnn(True), {"algorithm": "winograd", **DETOUR}),
    "openvino f32": ("openvino", lambda: _onnx("OpenVINO", "f32"), {}),
    "openvino default": ("openvino", lambda: _onnx("OpenVINO", None), {}),
}


def judge_engine(name: str) -> dict[str, Report]:
    """{operation: report} for all operations that an engine has."""
    _, make, settings = ENGINES[name]
    engine, reports = make(), {}
    for op in GEOMETRIES:
        if op in ("inverted_residual", "squeezenext_block") and not isinstance(engine, Ours):
            continue
        how = dict(settings)
        if op not in ("conv2d", "depthwise_conv2d"):
            how.pop("algorithm", None)
        gradients = engine.gradients(op) if hasattr(engine, "gradients") else None
        report = examine(engine.kernel(op), op, gradients=gradients, **how)
        if report.outcomes:
            reports[op] = report
    return reports


def row(name: str, reports: dict[str, Report], seconds: float) -> dict[str, Any]:
    """One line of the table."""
    outcomes = [o for r in reports.values() for o in r.outcomes]
    shares = [o.verdict.worst for o in outcomes
              if o.verdict is not None and o.verdict.total and not o.trial.exact]  # fmt: skip
    return {
        "engine": name, "operations": len(reports), "arrays": len(outcomes),
        "wrong": sum(o.wrong for o in outcomes),
        "refused": sum(len(r.refused) for r in reports.values()),
        "median": float(np.median(shares or [0])), "largest": max(shares, default=0.0),
        "seconds": seconds,
        "failing": {op: len(r.failures) for op, r in reports.items() if r.failures},
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.judged", description=__doc__)
    parser.add_argument("engines", nargs="*", metavar="ENGINE", help=", ".join(ENGINES))
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--verbose", action="store_true", help="print the reports of failures")
    args = parser.parse_args()
    there = [name for name, (module, *_) in ENGINES.items() if find_spec(module)]
    rows = []
    print("| engine | operations | arrays | wrong | refused cases | bound used: median | largest "
          "| seconds |\n|---|---|---|---|---|---|---|---|")  # fmt: skip
    for name in args.engines or there:
        start = time.perf_counter()
        reports = judge_engine(name)
        rows.append(row(name, reports, time.perf_counter() - start))
        r = rows[-1]
        cells = [name, r["operations"], r["arrays"], r["wrong"], r["refused"],
                 f"{r['median']:.2g}", f"{r['largest']:.2g}", f"{r['seconds']:.0f}"]  # fmt: skip
        print(f"| {' | '.join(map(str, cells))} |", flush=True)
        for report in reports.values():
            if args.verbose and report.failures:
                print(report, flush=True)
    if args.json:
        args.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
