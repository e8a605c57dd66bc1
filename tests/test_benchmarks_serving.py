"""The benchmark of a server's day: every caller is counted, and a wrong answer is no time."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from minigrad.errors import BackendError
from minigrad.models import create

sys.path.append(str(Path(__file__).parents[1]))  # after the installed minigrad
from benchmarks import recorded, serving

SHAPE = (1, 3, 64, 64)


@pytest.fixture(scope="module")
def job():
    model = recorded.ordinary(create("mobilenet_v2_0_35", rng=0), SHAPE)
    return recorded.Job.make("mobilenet_v2_0_35", model, SHAPE)


def test_every_answer_of_every_caller_is_counted(job):
    given = [[], []]
    took, lasted = serving.asked([given[0].append, given[1].append], job.x, 0.02)
    assert len(took) == sum(map(len, given)) - len(given), "the first of each is not"
    assert lasted >= 0.02
    assert min(took) >= 0


@pytest.mark.parametrize("callers", [1, 3])
def test_a_row_for_each_engine(job, callers):
    (row,) = serving.days(job, ["minigrad"], callers, 0.02, 2)
    assert (row.engine, row.callers) == ("minigrad", callers)
    assert row.p50 <= row.p95 <= row.p99
    assert row.per_second > 0
    assert len(serving.table([row, row]).splitlines()) == 4


def test_an_engine_that_is_wrong_has_no_time(job, monkeypatch):
    monkeypatch.setitem(serving.ENGINES, "zeros", lambda job, n: [lambda x: 0 * job.expected] * n)
    with pytest.raises(BackendError, match="zeros: mobilenet_v2_0_35 is off by 1 of"):
        serving.days(job, ["zeros"], 1, 0.01, 1)


@pytest.mark.skipif(sys.platform != "linux", reason="memory is read in /proc")
def test_memory_is_that_of_this_process():
    early, late = serving.memory("mobilenet_v2_0_35", 32, 40, callers=2)
    assert early > 1
    assert late > 1
    assert np.isfinite([early, late]).all()
