"""The run itself: what is skipped is on the list, and what takes minutes waits for --full."""

from __future__ import annotations

from pathlib import Path

import pytest

import minigrad

CONFTEST = Path(__file__).with_name("conftest.py")
TESTS = """
import pytest
from hypothesis import settings

def test_runs(): assert settings.default.derandomize is not {full}
@pytest.mark.full
def test_long(): pass
@pytest.mark.skip(reason="no such machine")
def test_skipped(): pass
@pytest.mark.xfail(strict=True)
def test_expected_to_fail(): assert False
"""
pytest_plugins = ["pytester"]


@pytest.fixture
def run(pytester, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(Path(minigrad.__file__).parents[1]))

    def run(*args, full=False, listed=""):
        pytester.makeconftest(CONFTEST.read_text())
        pytester.makepyfile(test_a=TESTS.format(full=full))
        skips = pytester.path / "skips.txt"
        skips.write_text(listed)
        markers = ("-o", "markers=full: long", "-p", "no:randomly")
        return pytester.runpytest_subprocess(*markers, f"--allowed-skips={skips}", *args)

    return run


def test_a_skip_that_is_not_listed_fails_the_run(run):
    result = run()
    result.assert_outcomes(passed=1, skipped=1, xfailed=1, deselected=1)
    result.stdout.fnmatch_lines(["SKIPPED, but not on the list: test_a.py::test_skipped"])
    assert result.ret == pytest.ExitCode.TESTS_FAILED


def test_a_listed_skip_does_not(run):
    result = run(listed="# why\ntest_a.py::test_ski*  # needs a machine that is rare\n")
    result.assert_outcomes(passed=1, skipped=1, xfailed=1, deselected=1)
    assert result.ret == pytest.ExitCode.OK


def test_full_runs_the_long_tests_and_looks_for_new_examples(run):
    result = run("--full", full=True, listed="test_a.py::test_skipped")
    result.assert_outcomes(passed=2, skipped=1, xfailed=1)
    assert result.ret == pytest.ExitCode.OK


def test_a_module_skipped_while_it_is_collected_counts_too(run, pytester):
    pytester.makepyfile(test_b="import pytest; pytest.importorskip('there_is_no_such_module')")
    result = run(listed="test_a.py::test_skipped")
    result.stdout.fnmatch_lines(["SKIPPED, but not on the list: test_b.py"])
    assert result.ret == pytest.ExitCode.TESTS_FAILED
