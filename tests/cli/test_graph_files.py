"""Commands that take a network's file in place of a name."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
from onnx import helper

import minigrad as mg
from minigrad.cli import main

GOLDEN = Path(__file__).parents[1] / "golden"
STORED = zipfile.ZipFile(GOLDEN / "exported.zip")
SIZE = ["--input", "1x3x32x32"]


@pytest.fixture(params=["others.old.onnx", "efficientnet_b0.new.onnx"])
def path(request, tmp_path):
    (tmp_path / "net.onnx").write_bytes(STORED.read(request.param))
    return str(tmp_path / "net.onnx")


def said(capsys, *words):
    code = main([*words])
    out, error = capsys.readouterr()
    return code, out, error


def test_summary_shows_its_layers(capsys, path):
    code, out, _ = said(capsys, "summary", path, *SIZE, "--json")
    found = json.loads(out)
    assert code == 0
    assert found["model"] == "net" if "model" in found else found["name"] == "net"
    assert said(capsys, "summary", path)[0] == 0  # a free batch is one image


def test_bench_measures_it(capsys, path):
    code, out, _ = said(
        capsys, "bench", path, *SIZE, "--seconds", "0.01", "--threads", "1", "--json"
    )
    rows = json.loads(out)
    assert code == 0
    assert {row["engine"] for row in rows} >= {"plan", "eager"}
    assert all(row["difference"] < 1e-4 for row in rows)


def test_it_is_exported_with_a_free_batch_and_compared_with_itself(capsys, path, tmp_path):
    out = str(tmp_path / "out.onnx")
    assert said(capsys, "export", path, out, *SIZE, "--batch", "free")[0] == 0
    x = np.random.default_rng(1).normal(size=(2, 3, 32, 32)).astype("f4")
    first, again = (mg.load_graph(p)(mg.from_numpy(x)).numpy() for p in (path, out))
    np.testing.assert_allclose(again, first, rtol=1e-4, atol=1e-5)
    np.save(tmp_path / "x.npy", x[:1])
    code, told, error = said(
        capsys, "compare", path, "--input", str(tmp_path / "x.npy"), "--onnx", out
    )
    assert code == 0, told + error


def test_it_is_compiled_into_a_plan_file(capsys, path, tmp_path):
    assert said(capsys, "compile", path, "-o", str(tmp_path / "net.plan"), *SIZE)[0] == 0
    x = np.random.default_rng(1).normal(size=(1, 3, 32, 32)).astype("f4")
    y = mg.load_plan(tmp_path / "net.plan")(x)
    np.testing.assert_array_equal(y, mg.compile(mg.load_graph(path), x.shape)(x))


@pytest.mark.parametrize("words", [["--preset", "timm"], ["--classes", "5"], ["--set", "width=2"],
                                   ["--weights", "w.npz"]])  # fmt: skip
def test_words_of_our_own_networks_are_refused(capsys, path, words):
    code, _, error = said(capsys, "summary", path, *words)
    assert code == 2
    assert f"{words[0]} is for networks of minigrad" in error


def test_all_nodes_that_are_not_read_are_in_the_answer(capsys, tmp_path):
    content = STORED.read("others.old.onnx")
    broken = content.replace(b"LeakyRelu", b"MeekyRelu").replace(b"DepthToSpace", b"DepthToPlace")
    (tmp_path / "net.onnx").write_bytes(broken)
    code, _, error = said(capsys, "summary", str(tmp_path / "net.onnx"))
    assert code == 2
    assert "2 not read" in error
    assert "(MeekyRelu): the operator is not known" in error
    assert "(DepthToPlace): the operator is not known" in error


def test_a_file_for_ten_images_is_measured_for_one(capsys, tmp_path):
    """Few networks hold to the number of images that their file says."""
    x, y = (helper.make_tensor_value_info(name, 1, (10, 3, 8, 8)) for name in "xy")
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "net", [x], [y])
    content = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    (tmp_path / "net.onnx").write_bytes(content.SerializeToString())
    code, out, _ = said(capsys, "bench", str(tmp_path / "net.onnx"), "--seconds", "0.01", "--json")
    assert code == 0
    assert json.loads(out)[0]["shape"] == [1, 3, 8, 8]
    assert said(capsys, "summary", str(tmp_path / "net.onnx"))[0] == 0


def test_of_a_network_in_integers_is_said_who_cannot_run_it(capsys, tmp_path):
    path = tmp_path / "net.tflite"
    with np.load(GOLDEN / "tflite.npz") as stored:
        path.write_bytes(stored["LEAKY_RELU, int8|file"].tobytes())
    sizes = ["--input", "x".join(map(str, *[next(iter(mg.load_graph(path).inputs.values()))]))]
    code, out, _ = said(capsys, "bench", str(path), *sizes, "--seconds", "0.01")
    assert code == 0
    assert "Not measured, because" in out
    for words in (("export", str(path), str(tmp_path / "x.onnx")),
                  ("compile", str(path), "-o", str(tmp_path / "x.plan"))):  # fmt: skip
        code, _, error = said(capsys, *words, *sizes)
        assert (code, "fault of minigrad" in error) == (2, False), error
