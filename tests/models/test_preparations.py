"""How photographs were prepared for each network, held against the libraries' own words."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from minigrad.models import entry, names
from minigrad.models.metadata import Description, describe
from minigrad.models.preparation import IMAGENET, SIGNED, Preparation
from minigrad.vision import preprocess

THEIRS = json.loads((Path(__file__).parents[1] / "golden" / "preparations.json").read_text())
PLAIN = {"mean": (0.0,) * 3, "std": (1.0,) * 3}


@pytest.mark.parametrize("row", THEIRS, ids=lambda row: f"{row['name']}-{row['preset']}")
def test_a_librarys_weights_get_the_librarys_preparation(row):
    ours = entry(row["name"]).preparation(row["preset"])
    scaled = ours.size + ours.margin
    assert (ours.size, scaled, ours.squash) == (row["size"], row["scaled"], row["squash"])
    assert (ours.resample, ours.order, ours.crop_first) == (row["resample"], "RGB", False)
    np.testing.assert_allclose(np.array(ours.mean) / 255, row["mean"], atol=1e-12)
    np.testing.assert_allclose(np.array(ours.std) / 255, row["std"], atol=1e-12)


# The authors' own files, of which no library has a copy that could be asked.
TENSORFLOW = [
    # preprocess_for_eval of slim's inception_preprocessing.py: central_crop 0.875, each side
    *((name, "slim", 224, 32, True, "bilinear", 127.5, 127.5)
      for name in names() if name.startswith(("mobilenet_v2", "mobilenet_v3"))),
    # preprocessing.py of tensorflow/tpu's efficientnet: CROP_PADDING = 32, resize_bicubic
    *((f"efficientnet_b{i}", "tensorflow", size, 32, False, "bicubic", 123.675, 58.395)
      for i, size in enumerate((224, 240, 260, 300, 380, 456, 528, 600, 672))),
    # efficientnet_lite_builder.py
    *((f"efficientnet_lite{i}", "tensorflow", size, 32, False, "bicubic", 127.0, 128.0)
      for i, size in enumerate((224, 240, 260, 280, 300))),
    # preprocessing.py of tensorflow/tpu's mnasnet: CROP_PADDING = 32, tf.image.resize
    *((name, "tensorflow", 224, 32, False, "bilinear", 123.675, 58.395)
      for name in names() if name.startswith("mnasnet")),
    # google/automl: preprocess_legacy.py for "effnetv1_autoaug", else preprocessing.py
    *((f"efficientnet_v2_b{i}", "tensorflow", size, 32, False, "bicubic", 123.675, 58.395)
      for i, size in enumerate((224, 240, 260, 300))),
    *((f"efficientnet_v2_{k}", "tensorflow", size, 0, True, "bilinear", 128.0, 128.0)
      for k, size in (("s", 384), ("m", 480), ("l", 480), ("xl", 512))),
]  # fmt: skip


@pytest.mark.parametrize("row", TENSORFLOW, ids=lambda row: row[0])
def test_the_authors_weights_get_the_authors_preparation(row):
    name, preset, size, margin, squash, resample, mean, std = row
    ours = entry(name).preparation(preset)
    assert ours == entry(name).preparation(), "the authors' is the default"
    assert (ours.size, ours.margin, ours.squash, ours.resample) == (size, margin, squash, resample)
    assert (ours.mean[0], ours.std[0]) == (mean, std)


def picture(wh):
    return Image.fromarray(
        np.random.default_rng(0).integers(0, 256, (wh[1], wh[0], 3)).astype(np.uint8)
    )


SIDES = [(300, 200), (201, 333), (8, 8), (1, 9), (700, 3), (481, 640)]


@pytest.mark.parametrize("wh", SIDES)
def test_slim_keeps_seven_eighths_of_each_side(wh):
    """tf.image.central_crop: from int((side - side 7/8) / 2), the same from the end."""
    image, plain = picture(wh), SIGNED._replace(size=56, margin=8, **PLAIN)
    left, top = (int((side - side * 0.875) / 2) for side in wh)
    centre = image.crop((left, top, wh[0] - left, wh[1] - top))
    want = np.asarray(centre.resize((56, 56), Image.Resampling.BILINEAR))
    np.testing.assert_array_equal(preprocess(image, plain)[0], want.transpose(2, 0, 1))


@pytest.mark.parametrize("margin", [0, 8])
@pytest.mark.parametrize("wh", SIDES)
def test_squashed_the_whole_photograph_is_a_square_before_it_is_cut(wh, margin):
    image = picture(wh)
    plain = IMAGENET._replace(size=56, margin=margin, squash=True, **PLAIN)
    whole = image.resize((56 + margin,) * 2, Image.Resampling.BILINEAR)
    want = np.asarray(whole)[margin // 2 : 56 + margin // 2, margin // 2 : 56 + margin // 2]
    np.testing.assert_array_equal(preprocess(image, plain)[0], want.transpose(2, 0, 1))


@pytest.mark.parametrize("squash", [False, True])
def test_the_file_says_whether_to_squash_and_an_older_file_that_it_does_not(squash):
    written = describe("mobilenet_v2", "slim", {}, (), IMAGENET._replace(squash=squash))
    assert Description.of(written).preparation == IMAGENET._replace(squash=squash)
    older = {k: v for k, v in IMAGENET._asdict().items() if k != "squash"}
    assert Preparation(**older) == IMAGENET
    written["minigrad.preparation"] = json.dumps(older)
    assert Description.of(written).preparation == IMAGENET
