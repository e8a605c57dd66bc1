"""The pytest plugin and the strategy: one decorated function judges a kernel over all cases."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
from hypothesis import given

import minigrad
from minigrad.verify.strategies import calls
from minigrad.verify.testing import Case, cases

ROOT = Path(__file__).parents[2]
SUITE = """
import numpy as np
import pytest

@pytest.mark.minigrad("softmax")
def test_right(case):
    x = case.inputs[0]
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)

@pytest.mark.minigrad("relu", dtype="float64")
def test_wrong(case):
    return case.inputs[0] * 1.001

@pytest.mark.minigrad("max_pool2d", layout="NHWC")
def test_refusing(case):
    raise NotImplementedError("no pools")

@pytest.mark.minigrad("relu")
def test_without_a_case():
    return None
"""


def pytest_on(folder: Path, text: str, *arguments: str) -> str:
    """The output of pytest with the plugin on one file."""
    (folder / "test_suite.py").write_text(text)
    paths = [str(ROOT), str(Path(minigrad.__file__).parents[1])]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "PYTEST_ADDOPTS": ""}
    command = [sys.executable, "-m", "pytest", "-p", "pytest_minigrad", "-q", "-W",
               "ignore", *arguments, str(folder / "test_suite.py")]  # fmt: skip
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True).stdout


def test_each_case_is_a_test_and_what_is_returned_is_judged(tmp_path: Path) -> None:
    out = pytest_on(tmp_path, SUITE)
    right, wrong, refused = (len(cases(op)) for op in ("softmax", "relu", "max_pool2d"))
    assert f"{wrong + 1} failed, {right} passed, {refused} skipped" in out
    assert "test_wrong[relu: one: normal]" in out
    assert "wrong as float64" in out
    assert "takes the argument `case`" in out


def test_the_plugin_imports_nothing_where_it_is_not_used(tmp_path: Path) -> None:
    text = "import sys\ndef test_it():\n    assert not [m for m in sys.modules if m == 'minigrad']"
    assert "1 passed" in pytest_on(tmp_path, text)


@given(calls("linear"))
def test_a_strategy_draws_cases(case: Case) -> None:
    x, w, bias = case.inputs
    y = x @ w.T + bias
    assert case.judge(y) == ""
    if y.size:  # an error as large as all that was added
        assert case.judge(y + (np.abs(x) @ np.abs(w).T + np.abs(bias) + 1)) != ""


def test_gradients_of_a_case() -> None:
    for case in cases("linear"):
        x, _, _ = case.inputs
        dy = case.cotangent
        assert case.judge(dy.T @ x, wrt="w") == ""
        assert case.judge(dy.sum(axis=0), wrt="bias") == ""


def test_a_case_knows_whether_its_inputs_were_changed() -> None:
    case = cases("relu")[0]
    y = np.maximum(case.inputs[0], 0)
    case.inputs[0][...] = 0
    assert case.judge(y) == "argument 0 was changed by the call"
