"""Networks made to hurt, and damaged at random: one sentence, soon, in little memory."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest
from fuzzing import fuzz
from graph_files import onnx_file, tflite_file
from hostile_graphs import HOSTILE
from hostile_networks import HOSTILE as NETWORKS
from measured import AIM, Measured

SECONDS, MEMORY = AIM, 200 << 20
QUICK, LONG = 2_000, 20_000


@pytest.fixture(scope="module")
def measured():
    with Measured("graph_readers:any_size") as process:
        yield process


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_network_is_refused_soon_and_in_little_memory(name, tmp_path, measured):
    path = tmp_path / "net"
    path.write_bytes(HOSTILE[name]())
    result = measured.read(path)
    assert result.error == "FormatError", result
    assert result.message.startswith(str(path))
    assert result.message.isprintable()
    assert len(result.message) < len(str(path)) + 400
    assert result.seconds < SECONDS
    assert result.peak < MEMORY


@pytest.fixture(scope="module")
def made():
    with Measured("graph_readers:network") as process:
        yield process


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_that_asks_for_too_much_is_refused(name, tmp_path, made):
    path = tmp_path / "net.onnx"
    path.write_bytes(NETWORKS[name]())
    result = made.read(path)
    assert result.error in ("FormatError", "ShapeError", "ArgumentError", "NotEnoughMemory"), result
    assert result.message.isprintable()
    assert len(result.message) < len(str(path)) + 400
    assert result.seconds < SECONDS
    assert result.peak < MEMORY


def test_the_corpora_are_large():
    assert len(HOSTILE) >= 100
    assert len(NETWORKS) >= 40


def check(tmp_path, kind, count, first=0):
    contents = {"onnx": [onnx_file(), onnx_file(opset=7)], "tflite": [tflite_file()]}[kind]
    paths = [tmp_path / f"{n}.{kind}" for n in range(len(contents))]
    for path, content in zip(paths, contents, strict=True):
        path.write_bytes(content)
    report = fuzz(f"graph_readers:{kind}", paths, count, ["FormatError"], first)
    assert report.faults == []
    assert report.refused + report.read == count


@pytest.mark.parametrize("kind", ["onnx", "tflite"])
def test_a_damaged_network_is_refused_or_read(tmp_path, kind):
    check(tmp_path, kind, QUICK)


@pytest.mark.full
@pytest.mark.parametrize("kind", ["onnx", "tflite"])
def test_many_damaged_networks(tmp_path, kind):
    check(tmp_path, kind, LONG, first=QUICK)


EXPORTED = zipfile.ZipFile(Path(__file__).parents[1] / "golden" / "exported.zip")
REFUSALS = ["FormatError", "ShapeError", "ArgumentError", "GraphError", "DtypeError",
            "NotEnoughMemory"]  # fmt: skip


def check_networks(tmp_path, count, first=0):
    """Networks that PyTorch wrote, damaged: made of them what can be made, their shapes tried."""
    paths = []
    for name in ("others.old.onnx", "mobilenet_v2.old.onnx", "others.new.onnx"):
        paths.append(tmp_path / name)
        paths[-1].write_bytes(EXPORTED.read(name))
    report = fuzz("graph_readers:network_of_photographs", paths, count, REFUSALS, first)
    assert report.faults == []
    assert report.refused + report.read == count


def test_a_damaged_network_of_pytorchs_is_refused_or_made(tmp_path):
    check_networks(tmp_path, 600)


@pytest.mark.full
def test_many_damaged_networks_of_pytorchs(tmp_path):
    check_networks(tmp_path, 6_000, first=600)
