"""Measurements: ``python -m benchmarks.layers`` and ``python -m benchmarks.startup``.

work      a layer as arrays, its FLOPs, and what a right answer is
timing    interleaved bursts, medians
machine   the FMA peak and the bandwidth that a result is held against
ours      minigrad's backends as engines
peers     ONNX Runtime, OpenVINO, LiteRT and PyTorch as engines
formats   one-layer ONNX and TFLite models, written by hand
report    rows, tables, summary
"""

from __future__ import annotations

import sys
from pathlib import Path

__all__ = ["prefer_the_built_package"]


def prefer_the_built_package(root: Path) -> None:
    """Let an installed minigrad stand in front of the folder's, unless that has its core.

    ``python -m benchmarks.networks`` puts the current folder first.  In a clone after
    ``pip install '.[bench]'`` the package there has no compiled core, and the installed one does.
    """
    core = root / "minigrad" / "kernels" / "cython" / "_ext"
    built = any(core.glob("cpu*.so")) or any(core.glob("cpu*.pyd"))
    if not built and sys.path and Path(sys.path[0] or ".").resolve() == root:
        sys.path.append(sys.path.pop(0))


prefer_the_built_package(Path(__file__).resolve().parents[1])
