"""minigrad compile: the file is a plan of the network, or it is not there."""

from __future__ import annotations

import json

import numpy as np
import pytest

import minigrad as mg
from minigrad import formats
from minigrad.cli import main

NET = "mobilenet_v2_0_35"


def run(capsys, *argv):
    code = main(["compile", *map(str, argv)])
    out, err = capsys.readouterr()
    return code, out, err


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("flag", [[], ["--no-fold"]])
def test_the_file_runs_as_the_network_does(capsys, tmp_path, layout, flag):
    model = mg.models.create(NET, rng=5, num_classes=3).eval()
    formats.save(tmp_path / "w.npz", model.state_dict())
    path = tmp_path / "net.plan"
    code, out, _ = run(
        capsys, NET, "-o", path, "--input", "2x3x32x64", "--weights", tmp_path / "w.npz",
        "--classes", "3", "--layout", layout, "--json", *flag,
    )  # fmt: skip
    told = json.loads(out)
    assert (code, told["shape"], told["layout"]) == (0, [2, 3, 32, 64], layout)
    x = np.random.default_rng(0).normal(size=(2, 3, 32, 64)).astype(np.float32)
    expected = mg.compile(model, x.shape, fold=not flag)(x)
    got = mg.load_plan(path)(x if layout == "NCHW" else x.transpose(0, 2, 3, 1))
    assert np.array_equal(got, expected)


@pytest.mark.parametrize(
    "argv",
    [
        [NET],
        [NET, "-o", "net.onnx"],
        ["no_such_network", "-o", "net.plan"],
        [NET, "-o", "net.plan", "--input", "1x3x1048576x1048576"],
        [NET, "-o", "net.plan", "--layout", "CHWN"],
        [NET, "-o", "no/such/folder/net.plan"],
    ],
)
def test_a_mistake_is_one_sentence_and_leaves_no_file(capsys, tmp_path, monkeypatch, argv):
    monkeypatch.chdir(tmp_path)
    code, out, err = run(capsys, *argv)
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_file_is_replaced_only_if_that_is_said(capsys, tmp_path):
    path = tmp_path / "net.plan"
    path.write_text("mine")
    assert run(capsys, NET, "-o", path, "--input", "1x3x32x32")[0] == 2
    assert path.read_text() == "mine"
    code, out, _ = run(capsys, NET, "-o", path, "--input", "1x3x32x32", "--force")
    assert (code, out) == (0, f"wrote {path}: {NET}, {out.split()[-2]} steps\n")
    assert mg.load_plan(path).name == NET
