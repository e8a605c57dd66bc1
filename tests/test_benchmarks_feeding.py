"""The benchmark of waiting for batches counts waits as a part of steps.  Never a time."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[1]))  # after the installed minigrad
feeding = importlib.import_module("benchmarks.feeding")


@pytest.mark.parametrize("workers", [0, 2])
def test_a_row_has_the_wait_and_the_step_around_it(workers):
    task = feeding.Task("inverted_residual_small", (12, 12, 1), 12, 4)
    row = feeding.row(task, workers, threads=1, steps=2)
    assert 0 < row["wait_ms"] < row["step_ms"]
    assert (row["workers"], row["batch"]) == (workers, 4)
