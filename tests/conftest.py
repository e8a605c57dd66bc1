"""Two profiles (quick and `--full`), and a list of the skips that are allowed.

A skipped test proves nothing, so `--allowed-skips FILE` makes a run fail for every skip
whose test FILE does not name.  A line of FILE is a pattern of test ids and, after a hash
sign, the reason.
"""

from __future__ import annotations

import os
import subprocess
import sys
from fnmatch import fnmatchcase
from pathlib import Path

import pytest
from hypothesis import settings

# Behind everything else, for the folders that are not installed (benchmarks); an installed
# minigrad, with its compiled core, stays in front of the folder of that name.
sys.path.append(str(Path(__file__).parents[1]))
sys.path.append(
    str(Path(__file__).parent)
)  # for what tests share (fuzzing, measured, judged_steps)

import minigrad
from minigrad.kernels.cython.core import LEVEL

NO_FMA = "without FMA a product is rounded by itself"
settings.register_profile("quick", derandomize=True, database=None, deadline=None, max_examples=40)
# Derandomize is said, because where it is not, hypothesis sets it by whether CI is in the
# environment.
settings.register_profile(
    "full", derandomize=False, deadline=None, max_examples=200, print_blob=True
)


@pytest.fixture
def run_python(tmp_path):
    """Run this Python, in an empty folder, on the very minigrad that is being tested."""

    def run(*args, **environment):
        home = {"PYTHONPATH": str(Path(minigrad.__file__).parents[1])}
        return subprocess.run(
            [sys.executable, *args],
            cwd=tmp_path,
            env={**os.environ, **home, **environment},
            capture_output=True,
            text=True,
            timeout=300,
        )

    return run


@pytest.fixture
def double():
    """New tensors of numbers are float64: for tests that hold exact or measured derivatives."""
    minigrad.set_default_dtype("float64")
    yield
    minigrad.set_default_dtype("float32")


def pytest_addoption(parser):
    parser.addoption("--full", action="store_true", help="the long profile: everything")
    parser.addoption("--allowed-skips", metavar="FILE", help="fail if other tests are skipped")


def pytest_configure(config):
    settings.load_profile("full" if config.getoption("full") else "quick")
    listed = config.getoption("allowed_skips")
    if listed:
        config.pluginmanager.register(SkipCheck(Path(listed)), "skip-check")


def pytest_report_header():
    return f"minigrad: {Path(minigrad.__file__).parent}"


def pytest_collection_modifyitems(config, items):
    """Without `--full`, tests marked full are left out (and counted as deselected)."""
    if LEVEL == "baseline":
        for item in items:
            if item.get_closest_marker("fma"):
                item.add_marker(pytest.mark.skip(reason=NO_FMA))
    if config.getoption("full"):
        return
    long = [item for item in items if item.get_closest_marker("full")]
    if long:
        config.hook.pytest_deselected(items=long)
        items[:] = [item for item in items if item not in long]


class SkipCheck:
    """Fails the run if a test outside the list is skipped."""

    def __init__(self, path: Path) -> None:
        lines = (line.partition("#")[0].strip() for line in path.read_text().splitlines())
        self.patterns = [line for line in lines if line]
        self.unlisted: list[str] = []

    def _note(self, report):
        # An expected failure is reported as a skip, but it ran.
        skipped = report.skipped and not hasattr(report, "wasxfail")
        if skipped and not any(fnmatchcase(report.nodeid, p) for p in self.patterns):
            self.unlisted.append(report.nodeid)

    pytest_runtest_logreport = pytest_collectreport = _note

    def pytest_sessionfinish(self, session, exitstatus):
        if self.unlisted and exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter):
        for nodeid in self.unlisted:
            terminalreporter.write_line(f"SKIPPED, but not on the list: {nodeid}", red=True)
