"""The life of a plan in its process: fork, spawn, thousands of runs, and the end."""

from __future__ import annotations

import os
import sys
from typing import Any

import pytest
from needs import needs

pytestmark = needs("cython")

PLAN = """
import gc, multiprocessing, os, resource, sys, warnings
import numpy as np
import minigrad as mg

UNIT = 1 if sys.platform == "darwin" else 1024

def high_water():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * UNIT / 1e6

def make(name="mobilenet_v2_0_35", side=32):
    model = mg.models.create(name, rng=0).eval()
    return mg.compile(model, (1, 3, side, side), threads=2)

x = np.random.default_rng(0).normal(size=(1, 3, 32, 32)).astype(np.float32)
"""
# Run by name in the child, so that a spawned process can import it.
PROCESSES = """
def bits(plan):
    return plan(x).tobytes()

if __name__ == "__main__":
    plan = make()
    expected = bits(plan)
    for method in ("fork", "spawn"):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # fork beside our own threads
            with multiprocessing.get_context(method).Pool(2) as pool:
                assert pool.map(bits, [plan] * 4) == [expected] * 4, method
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        os._exit(0 if bits(plan) == expected else 1)  # the very plan, not a copy of it
    assert os.waitpid(child, 0)[1] == 0
    assert bits(plan) == expected
    print("done")
"""
RUNS = """
plan = make()
y = plan(x)
for _ in range(500):
    plan(x, out=y)
before = high_water()
for _ in range(10_000):
    plan(x, out=y)
for _ in range(2_000):
    plan(x)
print(high_water() - before)
"""
GONE = """
def once():
    plan = make("mobilenet_v2", 224)
    plan(np.zeros((1, 3, 224, 224), np.float32))

for _ in range(4):
    once()
gc.collect()
before = high_water()
for _ in range(12):
    once()
print(high_water() - before)
"""


@pytest.fixture
def child(run_python: Any, tmp_path: Any) -> Any:
    """What a script prints that begins with PLAN."""

    def child(code: str) -> str:
        (tmp_path / "script.py").write_text(PLAN + code)
        done = run_python("script.py")
        assert done.returncode == 0, done.stderr
        printed: str = done.stdout
        return printed

    return child


@pytest.mark.skipif(not hasattr(os, "fork"), reason="fork is Unix's")
def test_plans_run_in_forked_and_spawned_processes(child: Any) -> None:
    assert child(PROCESSES) == "done\n"


@pytest.mark.newest
@pytest.mark.skipif(sys.platform == "win32", reason="the high-water mark is Unix's")
def test_ten_thousand_runs_do_not_grow(child: Any) -> None:
    """A leak of 200 bytes a run would show, with an array to write to or without."""
    assert float(child(RUNS)) < 2


@pytest.mark.skipif(sys.platform == "win32", reason="the high-water mark is Unix's")
def test_what_a_plan_held_goes_with_it(child: Any) -> None:
    """Each plan holds 14 MB of weights: two that stay would show."""
    assert float(child(GONE)) < 20
