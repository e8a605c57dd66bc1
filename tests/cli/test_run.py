"""minigrad run: the outputs of a file's network, printed and written, or one sentence."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from minigrad.cli import main

sys.path.append(str(Path(__file__).parents[1] / "graphs"))

from graph_files import attribute, graph, ints, node, onnx_file, tensor, value
from tflite_cases import T, network, tflite_network

W = np.arange(6, dtype="f4").reshape(2, 3, 1, 1)


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder with a network of two outputs, an array and a photograph."""
    monkeypatch.chdir(tmp_path)
    nodes = [node("Conv", ["x", "w"], ["c/1"]), node("Relu", ["c/1"], ["y"])]
    outputs = [value("c/1", ()), value("y", ())]
    content = graph(nodes, [tensor("w", W)], [value("x", ("N", 3, 4, 5))], outputs)
    Path("net.onnx").write_bytes(onnx_file(content))
    last = [node("Transpose", ["x"], ["y"], ints("perm", 0, 3, 1, 2))]
    content = graph(last, [], [value("x", (1, 4, 5, 3))], [value("y", ())])
    Path("last.onnx").write_bytes(onnx_file(content))
    np.save("x.npy", np.random.default_rng(0).normal(size=(2, 3, 4, 5)).astype("f4"))
    pixels = np.random.default_rng(1).integers(0, 256, (4, 5, 3), np.uint8)
    Image.fromarray(pixels).save("photo.png")
    return tmp_path


def run(capsys, *argv):
    code = main(["run", *map(str, argv)])
    out, err = capsys.readouterr()
    return code, out, err


def test_arrays_and_photographs_are_run_and_their_outputs_written(here, capsys):
    code, out, _ = run(capsys, "net.onnx", "--input", "x.npy", "photo.png", "--output", "out",
                       "--mean", 100, "--std", 50, "--json")  # fmt: skip
    rows = json.loads(out)
    assert code == 0
    assert [row["output"] for row in rows] == ["c/1", "y"] * 2
    pixels = np.asarray(Image.open("photo.png")).transpose(2, 0, 1)[None].astype("f4")
    for rows_of, x in ((rows[:2], np.load("x.npy")), (rows[2:], (pixels - 100) / 50)):
        c = np.einsum("oi,nihw->nohw", W[:, :, 0, 0], x)
        for row, expected in zip(rows_of, (c, np.maximum(c, 0)), strict=True):
            np.testing.assert_allclose(np.load(row["file"]), expected, rtol=1e-5, atol=1e-5)
            assert row["shape"] == list(expected.shape)
            assert row["largest"] == pytest.approx(expected.max(), rel=1e-5)
    again = run(capsys, "net.onnx", "--input", "x.npy", "--output", "out")
    assert again[0] == 2
    assert "--force" in again[2]


def test_a_table_is_printed(here, capsys):
    code, out, _ = run(capsys, "net.onnx", "--input", "x.npy")
    assert code == 0
    assert [line.split()[:3] for line in out.splitlines()][2:] == [
        ["x.npy", "c/1", "2x2x4x5"],
        ["x.npy", "y", "2x2x4x5"],
    ]


def test_channels_may_be_last_and_shape_frees_a_size(here, capsys):
    code, out, _ = run(capsys, "last.onnx", "--input", "photo.png", "--json")
    assert (code, json.loads(out)[0]["shape"]) == (0, [1, 3, 4, 5])
    code, out, _ = run(capsys, "net.onnx", "--input", "photo.png", "--shape", "1x3x2x7", "--json")
    assert (code, json.loads(out)[0]["shape"]) == (0, [1, 2, 2, 7])


@pytest.mark.parametrize(
    ("argv", "told"),
    [
        (["no.onnx", "--input", "x.npy"], "no.onnx"),
        (["net.onnx", "--input", "no.npy"], "no.npy"),
        (["net.onnx", "--input", "net.onnx"], "net.onnx"),
        (["net.onnx", "--input", "int.npy"], "above 2^24"),
        (["net.onnx", "--input", "text.npy"], "floats or integers, got <U1"),
        (["net.onnx", "--input", "flat.npy"], "axes"),
        (["net.onnx", "--input", "x.npy", "--std", "0"], "--std"),
        (["net.onnx", "--input", "x.npy", "--mean", "nan"], "--mean"),
        (["net.onnx", "--input", "x.npy", "copy/x.npy", "--output", "out"], "same name"),
        (["strange.onnx", "--input", "x.npy"], "(Fancy): the operator is not known"),
    ],
)
def test_what_cannot_be_run_is_one_sentence(here, capsys, argv, told):
    np.save("int.npy", np.full((1, 3, 4, 5), 2**24 + 1))
    np.save("text.npy", np.array(["a"]))
    np.save("flat.npy", np.ones((3, 4), "f4"))
    Path("copy").mkdir()
    np.save("copy/x.npy", np.load("x.npy"))
    nodes = [node("Fancy", ["x"], ["y"], attribute("a", 2, 3, 1))]
    strange = graph(nodes, [], [value("x", (2, 3, 4, 5))], [value("y", ())])
    Path("strange.onnx").write_bytes(onnx_file(strange))
    code, out, err = run(capsys, *argv)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert told in err


@pytest.mark.parametrize(("dtype", "zero", "less"), [("uint8", 3, 0), ("int8", -5, 128)])
def test_a_tflite_network_in_integers_takes_pixels_as_they_are(here, capsys, dtype, zero, less):
    kind = {"dtype": dtype, "scale": 0.5, "zero": zero}
    content = tflite_network({"x": T((1, 4, 5, 3), **kind), "y": T((1, 4, 5, 3), **kind)},
                             [("RELU", ["x"], ["y"], {})], ["x"], ["y"])  # fmt: skip
    Path("net.tflite").write_bytes(content)
    pixels = np.asarray(Image.open("photo.png")).transpose(2, 0, 1)[None].astype("i4") - less
    np.save("bytes.npy", pixels.astype(dtype))
    code, out, _ = run(capsys, "net.tflite", "--input", "photo.png", "bytes.npy", "--output",
                       "out", "--json")  # fmt: skip
    assert code == 0
    for row in json.loads(out):
        assert np.array_equal(np.load(row["file"]), np.maximum(pixels, zero))


def test_the_summary_of_a_tflite_file(here, capsys):
    Path("small.tflite").write_bytes(network())
    assert main(["summary", "small.tflite"]) == 0
    assert "3x2" in capsys.readouterr()[0]


def test_a_network_of_several_inputs_takes_an_array_for_each(here, capsys):
    inputs = [value("a", ("N", 3)), value("b", ("N", 3))]
    content = graph([node("Sub", ["a", "b"], ["y"])], [], inputs, [value("y", ())])
    Path("two.onnx").write_bytes(onnx_file(content))
    a, b = np.random.default_rng(2).normal(size=(2, 4, 3)).astype("f4")
    np.save("a.npy", a)
    np.save("b.npy", b)
    out = run(capsys, "two.onnx", "--input", "a.npy", "b.npy", "--output", "out")[1]
    assert "4x3" in out
    np.testing.assert_array_equal(np.load("out/a.0.y.npy"), a - b)
    told = "two.onnx has the inputs 'a', 'b': --input takes an .npy file for each of them"
    for files in (["a.npy", "b.npy", "a.npy"], ["photo.png"], ["a.npy", "photo.png"]):
        code, _, error = run(capsys, "two.onnx", "--input", *files)
        assert (code, told in error) == (2, True)
    assert "there are 2: 'a', 'b'" in run(capsys, "two.onnx", "--input", "a.npy")[2]


@pytest.mark.parametrize("dtype", ["i8", "u2", "?", "f2"])
def test_numbers_of_other_types_are_float32(here, capsys, dtype):
    x = np.arange(60).reshape(1, 3, 4, 5).astype(dtype)
    np.save("x.npy", x)
    assert run(capsys, "net.onnx", "--input", "x.npy", "--output", "out")[0] == 0
    c = np.einsum("oi,nihw->nohw", W[:, :, 0, 0], x.astype("f4"))
    np.testing.assert_array_equal(np.load("out/x.0.c_1.npy"), c)
