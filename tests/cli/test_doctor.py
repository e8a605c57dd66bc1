"""minigrad doctor tells what the kernels themselves say."""

from __future__ import annotations

import json
import platform

import numpy as np
import pytest

from minigrad.cli import doctor, main
from minigrad.kernels import BACKENDS, backends, unavailable
from minigrad.kernels.cython.core import LEVEL, levels


@pytest.fixture
def found(capsys):
    assert main(["doctor", "--json"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    return json.loads(out)


def test_versions_are_those_that_run(found):
    assert found["python"].startswith(platform.python_version())
    assert found["numpy"] == np.__version__


def test_each_backend_is_shown_with_what_serves_it_or_why_not(found):
    assert set(found["kernels"]) | set(found["unavailable"]) == set(BACKENDS)
    assert not set(found["kernels"]) & set(found["unavailable"])
    for name, served in found["kernels"].items():
        assert served == backends(name)
    for name, reason in found["unavailable"].items():
        assert reason == unavailable(name)


def test_a_missing_extension_is_told_with_what_to_do(monkeypatch, capsys):
    reason = "the compiled core is not built: pip install ."
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr(doctor, "unavailable", {"cython": reason}.get)
    assert main(["doctor"]) == 0
    shown = capsys.readouterr().out
    assert f"The backend cython cannot be used: {reason}" in " ".join(shown.split())
    assert max(map(len, shown.splitlines())) <= 80


def test_a_missing_extra_is_told_with_what_to_do(monkeypatch, capsys):
    real = doctor._version
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr(doctor, "_version", lambda name: None if name == "onnx" else real(name))
    main(["doctor"])
    assert "onnx is not installed (ONNX files): pip install 'minigrad-cpu[onnx]'" in (
        capsys.readouterr().out
    )
    main(["doctor", "--json"])
    assert json.loads(capsys.readouterr().out)["extras"]["onnx"] is None


def test_settings_of_the_environment_are_shown(monkeypatch, capsys):
    monkeypatch.setenv("MINIGRAD_NUM_THREADS", "1")
    main(["doctor", "--json"])
    shown = json.loads(capsys.readouterr().out)
    assert shown["threads"] == 1
    assert shown["environment"]["MINIGRAD_NUM_THREADS"] == "1"


def test_the_instruction_set_is_the_one_that_the_core_runs(found):
    assert found["levels"] == {"chosen": LEVEL, "usable": list(levels())}
