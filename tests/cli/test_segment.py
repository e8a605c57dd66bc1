"""minigrad segment, and evaluate with masks: what is printed and drawn is the label map."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from drawn_shapes import KINDS, bundled
from PIL import Image

import minigrad as mg
from minigrad.cli import main
from minigrad.models import segmentation
from minigrad.vision.agreement import Confusion

REAL = Path(__file__).parents[3] / "shared" / "real"
real = pytest.mark.skipif(not REAL.is_dir(), reason="the real files are beside the repository")
NAME = "lraspp_squeezenext_1_0_23v5"


@pytest.fixture(scope="module")
def given(tmp_path_factory):
    """Two photographs, one of them turned by its camera, a network of three classes."""
    root = tmp_path_factory.mktemp("segment")
    rng = np.random.default_rng(0)
    (root / "photos").mkdir()
    small = rng.integers(0, 256, (6, 8, 3), np.uint8)
    photo = Image.fromarray(small).resize((80, 60))
    photo.save(root / "photos" / "a.png")
    exif = Image.Exif()
    exif[274] = 6
    photo.save(root / "photos" / "b.jpg", exif=exif, quality=95)
    model = segmentation.create(NAME, num_classes=3, rng=0).eval()
    model.labels = ("background", "cat", "dog")
    mg.formats.save(root / "w.npz", model.state_dict())
    return root, model


def run_json(capsys, *argv):
    code = main([*map(str, argv), "--json"])
    out, err = capsys.readouterr()
    return code, json.loads(out), err


def test_the_shares_are_those_of_the_label_map(given, capsys):
    root, model = given
    photos = sorted((root / "photos").iterdir())
    code, results, err = run_json(capsys, "segment", root / "photos", "--weights", root / "w.npz")
    assert (code, err) == (0, "")
    for photo, result in zip(photos, results, strict=True):
        labels = mg.vision.segment(model, photo)
        assert result["photo"] == str(photo)
        assert result["size"] == list(labels.shape[::-1])
        counts = np.bincount(labels.ravel(), minlength=3)
        told = {c["index"]: c["pixels"] for c in result["classes"]}
        assert told == {k: n for k, n in enumerate(counts) if n}
        assert sum(c["share"] for c in result["classes"]) == pytest.approx(1)
        assert [c["pixels"] for c in result["classes"]] == sorted(told.values(), reverse=True)
        assert {c["label"] for c in result["classes"]} <= {"background", "cat", "dog"}
    assert results[1]["size"] == [60, 80], "upright"


def test_masks_and_overlays_are_drawn(given, tmp_path, capsys):
    root, model = given
    photo = root / "photos" / "b.jpg"
    argv = ["segment", photo, "--weights", root / "w.npz", "--draw", tmp_path / "new" / "folder"]
    code, (result,), _ = run_json(capsys, *argv)
    assert code == 0
    mask, overlay = map(Path, result["files"])
    with Image.open(mask) as drawn:
        assert drawn.mode == "P"
        np.testing.assert_array_equal(np.asarray(drawn), mg.vision.segment(model, photo))
    with Image.open(overlay) as drawn:
        assert drawn.size == (60, 80)
    assert main([*map(str, argv)]) == 2
    assert "--force replaces it" in capsys.readouterr().err
    assert main([*map(str, argv), "--force"]) == 0


def test_alone_it_shows_a_small_network_of_ours_on_a_drawn_picture(tmp_path, capsys):
    """The picture is the one that was drawn, so its mask is known."""
    code, (result,), err = run_json(capsys, "segment", "--draw", tmp_path)
    assert code == 0
    assert "a small network of ours that knows discs, squares and triangles" in err
    drawn = bundled()
    with Image.open(result["photo"]) as picture:
        np.testing.assert_array_equal(np.asarray(picture), drawn.picture)
    assert {c["label"] for c in result["classes"]} == set(KINDS)
    confusion = Confusion(len(KINDS))
    with Image.open(result["files"][0]) as mask:
        confusion.add(np.asarray(mask), drawn.mask)
    assert confusion.agreement().mean_iou >= 0.93
    argv = ["segment", result["photo"], "--model", "lraspp_inverted_residual_small"]
    (again,) = run_json(capsys, *argv)[1]
    assert again["classes"] == result["classes"]


def test_a_broken_photograph_does_not_stop_the_others(given, tmp_path, capsys):
    root, _ = given
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    argv = ["segment", tmp_path / "broken.png", root / "photos" / "a.png", "--weights",
            root / "w.npz"]  # fmt: skip
    code, results, _ = run_json(capsys, *argv)
    assert code == 2
    assert "error" in results[0]
    assert "classes" in results[1]


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ([], "give a file with --weights"),
        (["--weights", "{w}", "--size", "5000"], "--size is at most 4096"),
        (["--weights", "{w}", "--std", "0"], "--std must not be 0"),
        (["--weights", "{w}", "--model", "lraspp"], "segmentation has no network 'lraspp'"),
        (["--weights", "{w}", "--model", "deeplabv3_mobilenet_v2"], "not of deeplabv3"),
        (["--weights", "{w}", "--labels", "{labels}"], "there are 2 names, but the network has 3"),
    ],
)
def test_mistakes_are_told_in_a_sentence(given, tmp_path, argv, message, capsys):
    root, _ = given
    (tmp_path / "labels.txt").write_text("a\nb\n")
    filled = [a.format(w=root / "w.npz", labels=tmp_path / "labels.txt") for a in argv]
    assert main(["segment", str(root / "photos" / "a.png"), *filled]) == 2
    assert message in capsys.readouterr().err


def test_two_photographs_of_one_name_cannot_share_a_folder(given, tmp_path, capsys):
    root, _ = given
    photo = str(root / "photos" / "a.png")
    argv = ["segment", photo, photo, "--weights", str(root / "w.npz"), "--draw", str(tmp_path)]
    assert main(argv) == 2
    assert "cannot share a folder" in capsys.readouterr().err


def test_evaluation_counts_the_pixels_of_masks(given, tmp_path, capsys):
    root, model = given
    named = {p.stem: mg.vision.segment(model, p) for p in (root / "photos").iterdir()}
    for stem, labels in named.items():
        mask = labels.copy()
        mask[:10] = 255
        mask[10:20] = (labels[10:20] + 1) % 3
        Image.fromarray(mask).save(tmp_path / f"{stem}.png")
    argv = ["evaluate", root / "photos", "--masks", tmp_path, "--weights", root / "w.npz"]
    code, score, _ = run_json(capsys, *argv)
    assert (code, score["images"], score["unreadable"]) == (0, 2, [])
    right = sum(v[20:].size for v in named.values())
    counted = sum(v[10:].size for v in named.values())
    assert score["pixel_accuracy"] == pytest.approx(right / counted)
    assert 0 < score["mean_iou"] < 1
    assert sum(c["pixels"] for c in score["classes"]) == counted
    assert main([*map(str, argv)]) == 0
    assert "mIoU" in capsys.readouterr().out
    (tmp_path / "a.png").unlink()
    code, score, _ = run_json(capsys, *argv)
    assert (code, score["images"], len(score["unreadable"])) == (2, 1, 1)


@real
def test_a_real_network_of_a_file_names_pixels(capsys):
    photo = REAL / "segmentation_input_rotation0.jpg"
    code, (result,), _ = run_json(
        capsys, "segment", photo, "--weights", REAL / "deeplabv3_257_float.tflite"
    )
    assert code == 0
    assert [c["label"] for c in result["classes"]] == ["background", "person", "horse"]
