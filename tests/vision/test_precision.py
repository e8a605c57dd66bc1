"""COCO's average precision is what pycocotools says: golden/make_average_precision.py."""

from __future__ import annotations

import gzip
import json
import math
from pathlib import Path

import numpy as np
import pytest

from minigrad.errors import ShapeError
from minigrad.vision.precision import Found, Truth, average_precision

GOLDEN = Path(__file__).parents[1] / "golden" / "average_precision.json.gz"
CASES = json.loads(gzip.decompress(GOLDEN.read_bytes()))["cases"]


def boxes(rows):
    return np.array([row[:4] for row in rows], np.float64).reshape(-1, 4)


def read(image):
    objects, found = image["objects"], image["detections"]
    truth = Truth(
        boxes(objects), np.array([o[4] for o in objects], int),
        np.array([o[5] for o in objects], bool), np.array([o[6] for o in objects], float),
    )  # fmt: skip
    return truth, Found(
        boxes(found), np.array([d[4] for d in found], int), np.array([d[5] for d in found])
    )


@pytest.mark.parametrize("case", range(len(CASES)))
def test_the_numbers_are_those_of_pycocotools(case):
    images = [read(image) for image in CASES[case]["images"]]
    got = average_precision([t for t, _ in images], [f for _, f in images])
    stats = CASES[case]["stats"]
    expected = [*stats[:6], stats[8]]
    for value, wanted in zip(got, expected, strict=True):
        if wanted == -1:
            assert math.isnan(value)
        else:
            assert abs(value - wanted) <= 1e-6


def test_nothing_found_is_0_and_nothing_there_is_no_number():
    truth, found = read({"objects": [[0, 0, 9, 9, 1, 0, 81]], "detections": []})
    assert average_precision([truth], [found])[:3] == (0, 0, 0)
    nothing, _ = read({"objects": [], "detections": []})
    assert math.isnan(average_precision([nothing], [found]).ap)
    with pytest.raises(ShapeError, match="1 images and 0 answers"):
        average_precision([truth], [])
