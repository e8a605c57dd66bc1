"""minigrad export: the file is a checked ONNX model of the network, or it is not there."""

from __future__ import annotations

import json

import onnx
import pytest

from minigrad import formats
from minigrad.cli import main
from minigrad.models import create


def run(capsys, *argv):
    code = main(["export", *map(str, argv)])
    out, err = capsys.readouterr()
    return code, out, err


def test_the_file_is_the_network(capsys, tmp_path):
    path = tmp_path / "net.onnx"
    code, out, _ = run(capsys, "mobilenet_v2_0_35", path, "--input", "2x3x64x96", "--json")
    told = json.loads(out)
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    (given,) = model.graph.input
    shape = [d.dim_value for d in given.type.tensor_type.shape.dim]
    assert (code, shape, told["operators"]) == (0, [2, 3, 64, 96], len(model.graph.node))
    assert told["opset"] == model.opset_import[0].version


@pytest.mark.parametrize(("flag", "norms"), [([], 0), (["--no-fold"], 52)])
def test_batch_norms_are_folded_unless_they_are_to_stay(capsys, tmp_path, flag, norms):
    path = tmp_path / "net.onnx"
    assert run(capsys, "mobilenet_v2_0_35", path, "--input", "1x3x32x32", *flag)[0] == 0
    kinds = [node.op_type for node in onnx.load(path).graph.node]
    assert kinds.count("BatchNormalization") == norms
    assert kinds.count("Conv") == 52


def test_weights_presets_classes_and_the_networks_own_size_reach_the_file(capsys, tmp_path):
    model = create("squeezenext_1_0_23", rng=5, num_classes=3)
    formats.save(tmp_path / "w.npz", model.state_dict())
    arguments = ["--weights", tmp_path / "w.npz", "--classes", "3"]
    assert run(capsys, "squeezenext_1_0_23", tmp_path / "n.onnx", *arguments)[0] == 0
    graph = onnx.load(tmp_path / "n.onnx").graph
    shapes = [
        [d.dim_value for d in v.type.tensor_type.shape.dim] for v in (*graph.input, *graph.output)
    ]
    assert shapes == [[1, 3, 227, 227], [1, 3]]
    constants = [onnx.numpy_helper.to_array(c) for c in graph.initializer]
    wanted = model.classifier.weight.numpy()
    assert any(c.shape == wanted.shape and (c == wanted).all() for c in constants)


def test_a_failure_leaves_the_old_file_and_nothing_beside_it(capsys, tmp_path, monkeypatch):
    path = tmp_path / "net.onnx"
    path.write_bytes(b"old")

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    code, _, err = run(capsys, "mobilenet_v2_0_35", path, "--force")
    assert (code, err) == (2, f"minigrad: {path}: no space left on device\n")
    assert [p.name for p in tmp_path.iterdir()] == ["net.onnx"]
    assert path.read_bytes() == b"old"


@pytest.mark.parametrize(
    ("argv", "told"),
    [
        (["mobilenet", "x.onnx"], "there is no network 'mobilenet'"),
        (["mobilenet_v2", "no/such/folder/x.onnx"], "no such file"),
        (["mobilenet_v2", "x.onnx", "--input", "1x3x0x4"], "is not of the form"),
        (["mobilenet_v2", "x.txt"], "name must end in .onnx"),
    ],
)
def test_a_mistake_is_one_sentence(capsys, tmp_path, monkeypatch, argv, told):
    monkeypatch.chdir(tmp_path)
    code, out, err = run(capsys, *argv)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert told in err
    assert list(tmp_path.iterdir()) == []


def test_every_node_has_its_layers_name_and_every_value_a_shape(capsys, tmp_path):
    path = tmp_path / "net.onnx"
    assert run(capsys, "mobilenet_v3_small", path, "--input", "1x3x64x64")[0] == 0
    graph = onnx.load(path).graph
    names = [node.name for node in graph.node]
    assert len(set(names)) == len(names)
    assert "" not in names
    assert any(name.startswith("blocks.0.0.dw") for name in names)
    shaped = {v.name for v in (*graph.value_info, *graph.output)}
    assert {out for node in graph.node for out in node.output} <= shaped
