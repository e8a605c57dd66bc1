"""minigrad evaluate on COCO's JSON and VOC's XML: average precision of what detect finds."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import minigrad as mg
from minigrad.cli import box_scores, main
from minigrad.models import detection
from minigrad.vision.finding import Detection

GOLDEN = Path(__file__).parents[1] / "golden" / "average_precision.json.gz"
CASES = json.loads(gzip.decompress(GOLDEN.read_bytes()))["cases"]
NAME = "ssdlite320_mobilenet_v3_large"
LABELS = ("background", "cat", "dining table", "dog", "bird")


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A network of five classes that finds much."""
    file = tmp_path_factory.mktemp("weights") / "w.npz"
    rng = np.random.default_rng(0)
    model = detection.create(NAME, num_classes=len(LABELS), rng=0).eval()
    for level in model.class_head.levels:
        level.out.bias = mg.nn.Parameter(rng.normal(size=level.out.bias.shape).astype(np.float32))
    model.labels = LABELS
    mg.formats.save(file, model.state_dict())
    return file


def photographs(folder, count):
    """Of noise; number k is 40 + k pixels wide."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(1)
    for k in range(count):
        pixels = rng.integers(0, 256, (40, 40 + k, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{k}.png")


def coco(folder, images, names):
    """A JSON with these objects: rows of left, top, width, height, class, crowd, area."""
    files = [{"id": 7 * k, "file_name": f"{k}.png"} for k in range(len(images))]
    known = [{"id": 10 * k, "name": name} for k, name in names.items()]
    objects = [
        {"image_id": 7 * k, "bbox": row[:4], "category_id": 10 * row[4], "iscrowd": row[5],
         "area": row[6]}
        for k, rows in enumerate(images)
        for row in rows
    ]  # fmt: skip
    (folder / "instances.json").write_text(
        json.dumps({"images": files, "categories": known, "annotations": objects})
    )
    return folder / "instances.json"


def run_json(capsys, *argv):
    code = main(["evaluate", *map(str, argv), "--json"])
    return code, json.loads(capsys.readouterr().out)


@pytest.mark.parametrize("case", [3, 26])
def test_of_stored_answers_it_tells_what_pycocotools_does(
    case, weights, tmp_path, capsys, monkeypatch
):
    case = CASES[case]
    rows = [image["detections"] for image in case["images"]]
    classes = 1 + max(row[4] for image in case["images"] for row in image["objects"])
    photographs(tmp_path / "photos", len(rows))
    file = coco(tmp_path, [image["objects"] for image in case["images"]],
                {k: LABELS[k].title() for k in range(1, classes)})  # fmt: skip

    def stored(model, output, seen, threshold):
        assert threshold == 0
        return [
            Detection(LABELS[k], score, x, y, x + w, y + h, k)
            for x, y, w, h, k, score in rows[seen.photo[0] - 40]
            if k < classes
        ]

    monkeypatch.setattr(box_scores, "found", stored)
    argv = [tmp_path / "photos", "--annotations", file, "--weights", weights, "--size", "64"]
    code, told = run_json(capsys, *argv)
    assert (code, told["images"], told["unreadable"]) == (0, len(rows), [])
    got = [told[k] for k in ("ap", "ap50", "ap75", "small", "medium", "large", "recall")]
    stats = [*case["stats"][:6], case["stats"][8]]
    assert [-1 if v is None else v for v in got] == pytest.approx(stats, abs=1e-6)
    means = [c["ap"] for c in told["classes"] if c["ap"] is not None]
    assert np.mean(means) == pytest.approx(told["ap"])
    counted = sum(c["objects"] for c in told["classes"])
    assert counted == sum(len(image["objects"]) for image in case["images"])
    assert main(["evaluate", *map(str, argv)]) == 0
    table = capsys.readouterr().out
    assert f"AP {told['ap']:.1%}, AP50 {told['ap50']:.1%}, AP75 {told['ap75']:.1%}" in table
    assert "cat" in table


def test_a_network_that_finds_its_own_boxes_is_right(weights, tmp_path, capsys):
    """The truth is what detect finds over one half, one object of a class and a photograph."""
    root = tmp_path / "VOC2007"
    photographs(root / "JPEGImages", 3)
    (root / "Annotations").mkdir()
    model = detection.create(NAME, weights=weights)
    objects = 0
    for k in range(3):
        found = mg.vision.detect(model, root / "JPEGImages" / f"{k}.png", threshold=0.0)
        best = {d.label: d for d in reversed(found)}.values()
        objects += len(best)
        text = "".join(
            f"<object><name>{d.label.replace(' ', '')}</name><bndbox><xmin>{d.left + 1}</xmin>"
            f"<ymin>{d.top + 1}</ymin><xmax>{d.right}</xmax><ymax>{d.bottom}</ymax></bndbox>"
            "</object>"
            for d in best
        )
        (root / "Annotations" / f"{k}.xml").write_text(
            f"<annotation><filename>{k}.png</filename>{text}</annotation>"
        )
    code, told = run_json(capsys, root, "--weights", weights)
    assert (code, told["images"], told["recall"]) == (0, 3, pytest.approx(1))
    assert sum(c["objects"] for c in told["classes"]) == objects == 12
    again = run_json(capsys, root / "JPEGImages", "--annotations", root / "Annotations",
                     "--weights", weights)  # fmt: skip
    assert again == (code, told)


def test_a_broken_photograph_is_named_and_left_out(weights, tmp_path, capsys):
    photographs(tmp_path / "photos", 2)
    file = coco(tmp_path, [[[0, 0, 9, 9, 1, 0, 81]], [[0, 0, 9, 9, 1, 0, 81]], []], {1: "cat"})
    (tmp_path / "photos" / "0.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    argv = [tmp_path / "photos", "--annotations", file, "--weights", weights]
    code, told = run_json(capsys, *argv)
    assert (code, told["images"]) == (2, 1)
    assert [c["objects"] for c in told["classes"]] == [1]
    assert [Path(p["photo"]).name for p in told["unreadable"]] == ["0.png", "2.png"]
    assert main(["evaluate", *map(str, argv)]) == 2
    assert "0.png" in capsys.readouterr().err


def test_classes_that_the_network_has_not_are_told(weights, tmp_path, capsys):
    photographs(tmp_path / "photos", 1)
    rows = [[0, 0, 9, 9, 1, 0, 81], [0, 0, 9, 9, 2, 0, 81]]
    file = coco(tmp_path, [rows], {1: "cat", 2: "lynx", 3: "unseen"})
    argv = ["evaluate", tmp_path / "photos", "--annotations", file, "--weights", weights]
    assert main([*map(str, argv)]) == 2
    assert "1 of the annotations' 2 classes ('lynx') are none" in capsys.readouterr().err
    code, told = run_json(capsys, *argv[1:], "--known")
    assert (code, [c["label"] for c in told["classes"]]) == (0, ["cat"])
    file = coco(tmp_path, [rows], {1: "puma", 2: "lynx"})
    assert main([*map(str, argv), "--known"]) == 2
    error = capsys.readouterr().err
    assert "none of the annotations' classes ('lynx', 'puma') is one of the network's" in error
    file.write_text("[")
    assert main([*map(str, argv)]) == 2
    assert "instances.json: the file is no JSON" in capsys.readouterr().err
