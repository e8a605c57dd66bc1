"""Engines of others: what ``python -m benchmarks.judged`` puts to each, on a few cases."""

from __future__ import annotations

import pytest

from benchmarks.judged.__main__ import ENGINES, Ours, row
from minigrad.verify import examine

OPS = ("conv2d", "depthwise_conv2d", "linear", "max_pool2d", "batch_norm", "relu6", "softmax")


@pytest.mark.parametrize("op", OPS)
def test_onnx_runtime_passes(op: str) -> None:
    pytest.importorskip("onnxruntime")
    _, make, how = ENGINES["onnxruntime"]
    few = {"conv2d": "3x3", "depthwise_conv2d": "5x5", "linear": "prime"}.get(op, "")
    report = examine(make().kernel(op), op, cases=lambda t: few in t.geometry.name, **how)
    assert not report.failures, str(report)
    assert report.outcomes


def test_a_row_of_the_table() -> None:
    engine = Ours("numpy")
    reports = {
        op: examine(engine.kernel(op), op, gradients=engine.gradients(op)) for op in ("relu", "mul")
    }
    cells = row("ours", reports, 1.0)
    assert (cells["operations"], cells["wrong"], cells["failing"]) == (2, 0, {})
    assert 0 <= cells["median"] <= cells["largest"] <= 1
    assert cells["largest"] > 0
