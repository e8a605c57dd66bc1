"""minigrad evaluate: its shares are those of the network's logits, photograph by photograph."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import minigrad as mg
from minigrad.cli import main
from minigrad.cli.evaluate import class_of
from minigrad.errors import MinigradError
from minigrad.formats import save
from minigrad.models import create
from minigrad.training.evaluation import cross_entropies
from minigrad.vision import preparation_for, preprocess

LABELS = ["red", "green", "blue", "light grey", "dark grey", "black", "white"]
MODEL = "inverted_residual_small"


@pytest.fixture(scope="module")
def given(tmp_path_factory):
    """Photographs of noise in folders of three classes, and a network of seven."""
    root, rng = tmp_path_factory.mktemp("evaluate"), np.random.default_rng(0)
    for folder, count in (("Green", 5), ("light_grey", 4), ("6", 2)):
        (root / "photos" / folder).mkdir(parents=True)
        for k in range(count):
            pixels = rng.integers(0, 256, (40, 40, 3), np.uint8)
            Image.fromarray(pixels).save(root / "photos" / folder / f"{k}.png")
    network = create(MODEL, num_classes=7, rng=0).eval()
    network.classifier.weight = mg.nn.Parameter(
        rng.normal(size=(7, network.classifier.weight.shape[1])).astype(np.float32)
    )
    save(root / "w.safetensors", network.state_dict())
    (root / "labels.txt").write_text("\n".join(LABELS))
    return root, network


def arguments(root: Path) -> list[str]:
    return ["evaluate", str(root / "photos"), "--model", MODEL, "--weights",
            str(root / "w.safetensors"), "--labels", str(root / "labels.txt")]  # fmt: skip


def by_hand(root, network):
    """(label, logits) of each photograph, computed one by one."""
    preparation = network.preparation or preparation_for(MODEL)
    for folder, label in (("6", 6), ("Green", 1), ("light_grey", 3)):
        for photo in sorted((root / "photos" / folder).glob("*.png")):
            with mg.no_grad():
                yield label, network(mg.Tensor(preprocess(photo, preparation))).numpy()[0]


def test_the_shares_are_those_of_the_logits(given, capsys):
    root, network = given
    assert main([*arguments(root), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    pairs = list(by_hand(root, network))
    ranks = np.array([int((z > z[label]).sum()) for label, z in pairs])
    assert 0 < (ranks < 5).sum() < 11, "a network that is neither always right nor always wrong"
    assert told["images"] == 11
    assert told["top1"] == pytest.approx((ranks < 1).mean())
    assert told["top5"] == pytest.approx((ranks < 5).mean())
    losses = [cross_entropies(z[None], np.array([label]))[0] for label, z in pairs]
    assert told["loss"] == pytest.approx(np.mean(losses), rel=1e-4)
    assert [(c["index"], c["label"], c["images"]) for c in told["classes"]] == [
        (1, "green", 5), (3, "light grey", 4), (6, "white", 2),
    ]  # fmt: skip
    for found in told["classes"]:
        z = np.stack([z for label, z in pairs if label == found["index"]])
        right = z.argmax(axis=1) == found["index"]
        assert found["top1"] == pytest.approx(right.mean())
        wrong = np.bincount(z.argmax(axis=1)[~right], minlength=7)
        assert found["taken_for"] == (LABELS[wrong.argmax()] if wrong.any() else None)


def test_the_table_has_the_same_numbers(given, capsys):
    root, _ = given
    assert main([*arguments(root), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert main([*arguments(root), "--threads", "1", "--backend", "numpy"]) == 0
    text = capsys.readouterr().out
    assert f"{MODEL} (numpy, threads: 1): 11 photographs of 3 classes" in text
    assert f"top-1 {told['top1']:.1%}, top-5 {told['top5']:.1%}, loss {told['loss']:.4f}" in text
    assert [line.split("  ")[0].strip() for line in text.splitlines()[-3:]] == [
        "green", "light grey", "white",
    ]  # fmt: skip


def test_a_photograph_that_cannot_be_read_is_told_and_left_out(given, capsys):
    root, _ = given
    broken = root / "photos" / "Green" / "broken.png"
    broken.write_bytes(b"no photograph")
    try:
        assert main([*arguments(root), "--json"]) == 2
        told = json.loads(capsys.readouterr().out)
        assert told["images"] == 11
        assert [u["photo"] for u in told["unreadable"]] == [str(broken)]
        assert main(arguments(root)) == 2
        assert "broken.png" in capsys.readouterr().err
    finally:
        broken.unlink()


@pytest.mark.parametrize(
    ("folder", "labels", "message"),
    [
        ("gren", LABELS, "none of the network's 7 classes; did you mean 'green'?"),
        ("7", LABELS, "none of the network's 7 classes"),
        ("crane", ["crane", "cup", "Crane"], "names 2 classes: call it 0, 2, by its number"),
        ("²", LABELS, "none of the network's 7 classes"),
    ],
)
def test_a_folder_that_names_no_class_is_refused(folder, labels, message):
    with pytest.raises(MinigradError, match=message.replace("?", r"\?")):
        class_of(folder, labels)


@pytest.mark.parametrize(
    ("folder", "number"), [("green", 1), ("LIGHT-GREY", 3), ("light_grey", 3), ("0", 0), ("06", 6)]
)
def test_a_folder_is_named_by_a_label_or_a_number(folder, number):
    assert class_of(folder, LABELS) == number


@pytest.mark.parametrize("name", ["nothing", "photos/Green"])
def test_a_folder_without_folders_of_photographs_is_refused(given, capsys, name):
    root, _ = given
    assert main(["evaluate", str(root / name), *arguments(root)[2:]]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert "folder" in line


def test_weights_that_are_not_finite_are_refused(given, capsys, tmp_path):
    root, network = given
    state = {k: v * np.nan if v.dtype.kind == "f" else v for k, v in network.state_dict().items()}
    save(tmp_path / "nan.safetensors", state)
    argv = [*arguments(root), "--weights", str(tmp_path / "nan.safetensors")]
    assert main(argv) == 2
    assert "not finite" in capsys.readouterr().err


@pytest.mark.parametrize("word", ["plan", "preset", "preparation"])
@pytest.mark.parametrize("job", ["masks", "annotations"])
def test_what_only_a_classifier_has_is_refused_beside_masks_and_objects(
    word, job, tmp_path, capsys
):
    answers = tmp_path / "answers"
    answers.mkdir()
    argv = ["evaluate", str(tmp_path), f"--{job}", str(answers), f"--{word}", "efficientnet_b0"]
    assert main(argv) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"minigrad: --{word} is for a network that names a whole photograph")


@pytest.mark.parametrize("words", [["--size", "64"], ["--mean", "0"], ["--std", "1"], ["--known"]])
def test_what_a_classifier_has_not_is_refused(given, words, capsys):
    root, _ = given
    assert main([*arguments(root), *words]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"minigrad: {words[0]} is for one that names pixels or finds objects")
