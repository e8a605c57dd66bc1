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
from minigrad import formats, nn
from minigrad.cli import classifiers, main, photographs, terminal
from minigrad.cli.packages import imagenet_labels
from minigrad.kernels import current_backend
from minigrad.models import convert, create
from minigrad.threads import num_threads
from minigrad.vision import preparation_for, preprocess

COFFEE = Path(minigrad.__file__).parent / "data" / "coffee.png"


@pytest.fixture
def network(monkeypatch):
    """A network whose logit k is k times the batch's mean red, and what it was called with."""
    calls = []

    def load(model, weights, preset):
        calls.append({"model": model, "weights": str(weights), "preset": preset})
        made = create(model, rng=0)
        made.classifier = nn.Linear(1, 1000)
        return made

    def call(network, preparation, count):
        def logits(batch):
            calls.append({"batch": batch, "backend": current_backend(), "threads": num_threads()})
            return (np.arange(1000.0) * batch[:, :1].mean((2, 3))).astype(np.float32)

        return logits

    monkeypatch.setattr(classifiers, "_load", load)
    monkeypatch.setattr(classifiers, "_call", call)
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
        "--backend", "numpy", "--threads", "1", "--preset", "timm",
    )  # fmt: skip
    assert code == 0
    assert network[0] == {"model": "efficientnet_lite1", "weights": "w.pth", "preset": "timm"}
    assert (network[1]["backend"], network[1]["threads"]) == ("numpy", 1)
    assert (results[0]["backend"], results[0]["threads"]) == ("numpy", 1)
    wanted = preprocess(photo, "efficientnet_lite1")
    np.testing.assert_array_equal(network[1]["batch"], wanted)


def test_an_unreadable_photo_is_told_and_the_others_still_run(network, photo, tmp_path, capsys):
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"not a photograph")
    missing, empty = tmp_path / "missing.png", tmp_path / "empty"
    empty.mkdir()
    argv = [broken, missing, empty, photo, "--weights", "w.pth"]
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


def test_a_folder_reuses_memory_and_leaves_pillow_as_it_was(network, tmp_path, monkeypatch):
    for name in "abc":
        Image.new("RGB", (4, 4)).save(tmp_path / f"{name}.png")
    kept, read = [], photographs.preprocess
    monkeypatch.setattr(
        photographs, "preprocess",
        lambda *args: (kept.append(Image.core.get_blocks_max()), read(*args))[1],
    )  # fmt: skip
    before = Image.core.get_blocks_max()
    assert main(["classify", str(tmp_path), "--weights", "w.pth", "--threads", "1"]) == 0
    assert kept == [max(before, photographs.KEPT)] * 3
    assert Image.core.get_blocks_max() == before


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


def test_the_table_shows_photo_time_backend_and_the_best(network, photo, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    assert main(["classify", str(photo), "--weights", "w.pth", "--backend", "numpy"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    shown = " ".join(out.split())
    for part in ("red.png", "efficientnet_lite0", " ms (numpy", "63.2%", "tissue"):
        assert part in shown
    assert max(map(len, out.splitlines()[1:])) <= 80


def test_another_preparation_can_be_asked_for(network, photo, capsys):
    argv = ["classify", str(photo), "--model", "squeezenext_1_0_23", "--weights", "w.pth"]
    assert main([*argv, "--json"]) == 0
    np.testing.assert_array_equal(
        network[-1]["batch"], preprocess([photo], preparation_for("squeezenext_1_0_23"))
    )
    assert main([*argv, "--preparation", "imagenet", "--json"]) == 0
    np.testing.assert_array_equal(network[-1]["batch"], preprocess(photo, "imagenet"))
    assert main([*argv, "--preparation", "imagenette"]) == 2
    assert "there is no network 'imagenette'" in capsys.readouterr().err


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_an_output_that_is_not_finite_is_no_answer(network, monkeypatch, photo, capsys, bad):
    monkeypatch.setattr(classifiers, "_call", lambda *_: lambda batch: np.full((1, 1000), bad))
    assert main(["classify", str(photo), "--weights", "w.pth"]) == 2
    assert "not finite" in capsys.readouterr().err


@pytest.fixture
def head(tmp_path):
    """A small network with a head of 3 classes, saved as a trainer would."""
    model = create("mobilenet_v2_0_35", num_classes=3, preset="torchvision", rng=0)
    path = tmp_path / "tuned.npz"
    formats.save(path, convert(model.state_dict(), "torchvision", "mobilenet_v2_0_35").state)
    return ["--model", "mobilenet_v2_0_35", "--weights", str(path)]


LABELS = {
    "a.txt": "cat\ndog\n\nhorse\n",
    "b.json": '["cat", "dog", "horse"]',
    "c.json": '{"2": "horse", "0": "cat", "1": "dog"}',
    "d.json": '{"horse": 2, "cat": 0, "dog": 1}',
}


@pytest.mark.parametrize("name", LABELS)
def test_a_fine_tuned_head_has_its_own_labels(head, photo, capsys, tmp_path, name):
    (tmp_path / name).write_text(LABELS[name])
    code, (result,), _ = run_json(capsys, photo, *head, "--labels", tmp_path / name)
    assert code == 0
    assert {b["index"]: b["label"] for b in result["top"]} == {0: "cat", 1: "dog", 2: "horse"}


def test_without_labels_the_classes_of_a_head_are_numbered(head, photo, capsys):
    _, (result,), _ = run_json(capsys, photo, *head)
    assert sorted(b["label"] for b in result["top"]) == ["class 0", "class 1", "class 2"]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [("a.txt", "cat\ndog", "2 names, but the network has 3"), ("a.json", "{", "is no JSON"),
     ("a.json", '{"a": "b"}', "must be a list of names"), ("a.json", "[1, 2, 3]", "must be a list"),
     ("a.json", '{"0": "a", "2": "b", "3": "c"}', "must be a list"),
     ("a.txt", "\udcff", "no text in UTF-8"), ("a.json", "[" * 100000, "is no JSON")],
)  # fmt: skip
def test_labels_that_do_not_fit_are_a_sentence(head, photo, capsys, tmp_path, name, text, message):
    (tmp_path / name).write_bytes(text.encode("utf-8", "surrogateescape"))
    assert main(["classify", str(photo), *head, "--labels", str(tmp_path / name)]) == 2
    assert message in capsys.readouterr().err


def test_a_mistyped_model_is_told_the_nearest(capsys):
    assert main(["classify", "--model", "efficientnet_lite"]) == 2
    assert "did you mean efficientnet_lite" in capsys.readouterr().err


def test_weights_that_are_not_there_are_named(photo, capsys):
    assert main(["classify", str(photo), "--weights", "/nowhere/w.pth"]) == 2
    assert "/nowhere/w.pth" in capsys.readouterr().err


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
    assert list(terminal.progress([1, 2, 3], "working", 3)) == [1, 2, 3]
    assert ("working" in stream.getvalue()) == stream.isatty()
    assert capsys.readouterr().out == "", "stdout is for results"


def test_without_the_compiled_core_the_first_use_says_so(network, photo, capsys, monkeypatch):
    monkeypatch.setattr(classifiers, "unavailable", lambda name: "it is not built")
    argv = ["classify", str(photo), "--weights", "w.pth", "--json"]
    assert main(argv) == 0
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "the compiled core is missing" in err
    assert "minigrad doctor" in err
    assert main([*argv, "--backend", "numpy"]) == 0
    assert capsys.readouterr().err == ""
