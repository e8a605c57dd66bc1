"""Every pixel has the class of its largest logit, for photographs of any size and shape."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import minigrad as mg
from minigrad.errors import ArgumentError, FormatError, ShapeError
from minigrad.models import segmentation
from minigrad.models.preparation import Framing
from minigrad.vision import naming
from minigrad.vision.agreement import Confusion
from minigrad.vision.frames import frame
from minigrad.vision.pictures import COLOURS, colour, overlay, palette_picture

REAL = Path(__file__).parents[3] / "shared" / "real"
real = pytest.mark.skipif(not REAL.is_dir(), reason="the real files are beside the repository")
FITS = ("squash", "short", "letterbox")


def bright(x):
    """Two logits a pixel: whether red is more than the mean."""
    return np.concatenate([-x[:, :1], x[:, :1]], axis=1)


@given(
    st.sampled_from(FITS), st.integers(1, 90), st.integers(1, 90), st.integers(1, 40),
    st.booleans(),
)  # fmt: skip
def test_a_frame_holds_the_whole_photograph(fit, w, h, size, antialias):
    pixels = np.full((h, w, 3), 200, np.uint8)
    made = frame(pixels, Framing(size, fit, (0.0,) * 3, (1.0,) * 3, antialias=antialias))
    assert made.photo == (w, h)
    assert made.x.dtype == np.float32
    across, down = made.filled
    np.testing.assert_allclose(made.x[0, :, :down, :across], 200, rtol=1e-6)
    assert (made.x[0, :, down:] == 0).all()
    assert (made.x[0, :, :, across:] == 0).all()
    shape = made.x.shape[2:]
    assert shape == ((size, size) if fit != "short" else (down, across))
    assert {"squash": min, "short": min, "letterbox": max}[fit](across, down) == size


def test_a_frame_is_scaled_as_pytorchs_interpolate_does_without_antialias():
    pixels = np.arange(2 * 8 * 3, dtype=np.uint8).reshape(2, 8, 3)
    made = frame(pixels, Framing(2, "squash", (0.0,) * 3, (1.0,) * 3, antialias=False))
    # Columns 1.5 and 5.5 of eight: half-pixel centres, four pixels read.
    expected = (pixels[:, [1, 5]].astype(float) + pixels[:, [2, 6]]) / 2
    np.testing.assert_array_equal(made.x[0], expected.transpose(2, 0, 1))


def test_a_photograph_too_thin_to_scale_is_refused():
    with pytest.raises(FormatError, match="too long and thin"):
        frame(np.zeros((2, 2000, 3), np.uint8), Framing(32, "short"))


@given(st.sampled_from(FITS), st.integers(2, 60), st.integers(2, 60), st.data())
def test_the_label_map_is_the_largest_logit_of_the_enlarged_map(fit, w, h, data):
    if max(w, h) > 20 * min(w, h):
        return
    rng = np.random.default_rng(data.draw(st.integers(0, 9)))
    seen = frame(np.zeros((h, w, 3), np.uint8), Framing(24, fit))
    z = rng.standard_normal((1, 3, *(-(-n // 4) for n in seen.x.shape[2:]))).astype(np.float32)
    labels = naming.label_map(z, seen)
    assert labels.shape == (h, w)
    part = [-(-n * f // m) for n, f, m in zip(z.shape[2:], seen.filled[::-1], seen.x.shape[2:],
                                              strict=True)]  # fmt: skip
    shown = mg.resize(mg.Tensor(z[:, :, : part[0], : part[1]]), (h, w), mode="linear").numpy()[0]
    np.testing.assert_array_equal(labels, shown.argmax(axis=0))


def test_strips_give_the_same_map_as_the_whole(monkeypatch):
    seen = frame(np.zeros((31, 17, 3), np.uint8), Framing(16, "squash"))
    z = np.random.default_rng(0).standard_normal((1, 5, 8, 8)).astype(np.float32)
    whole = naming.label_map(z, seen)
    monkeypatch.setattr(naming, "STRIP", 1)
    np.testing.assert_array_equal(naming.label_map(z, seen), whole)


def test_a_photograph_is_named_side_by_side():
    pixels = np.zeros((20, 40, 3), np.uint8)
    pixels[:, 24:] = 255
    labels = mg.vision.segment(bright, pixels, framing=Framing(40, "letterbox", (127.0,) * 3))
    expected = np.zeros((20, 40), np.uint8)
    expected[:, 24:] = 1
    np.testing.assert_array_equal(labels, expected)


def test_one_channel_is_the_probability_of_the_foreground():
    pixels = np.zeros((8, 8, 3), np.uint8)
    pixels[:4] = 255
    made = mg.vision.segment(lambda x: x[:, :1], pixels,
                             framing=Framing(8, "squash", (0.0,) * 3, (255.0,) * 3))  # fmt: skip
    assert made.tolist() == [[1] * 8] * 4 + [[0] * 8] * 4


def test_mistakes_are_told_in_a_sentence():
    photo = np.zeros((8, 8, 3), np.uint8)
    model = segmentation.create("lraspp_mobilenet_v3_large", rng=0)
    with pytest.raises(ArgumentError, match=r"training mode: call eval\(\) first"):
        mg.vision.segment(model, photo)
    with pytest.raises(ArgumentError, match="does not say how photographs are framed"):
        mg.vision.segment(bright, photo)
    with pytest.raises(ShapeError, match=r"expected logits \(1, K, H, W\)"):
        mg.vision.segment(lambda x: x[:, 0], photo, framing=Framing(8))


@given(st.integers(0, 2**32 - 1))
def test_agreement_is_counted_class_by_class(seed):
    rng = np.random.default_rng(seed)
    named, mask = rng.integers(0, 4, (2, 9, 7))
    mask[rng.random(mask.shape) < 0.2] = 255
    confusion = Confusion(5)
    confusion.add(named, mask)
    got = confusion.agreement()
    counted = mask != 255
    assert got.pixel_accuracy == pytest.approx((named == mask)[counted].mean())
    shares = []
    for k in range(5):
        both = ((named == k) & (mask == k))[counted].sum()
        either = ((named == k) | (mask == k))[counted].sum()
        if either:
            shares.append(both / either)
            assert got.iou[k] == pytest.approx(shares[-1])
        else:
            assert np.isnan(got.iou[k])
    assert got.mean_iou == pytest.approx(np.mean(shares))


def test_a_mask_of_another_size_or_class_is_refused():
    with pytest.raises(ShapeError, match="the mask is"):
        Confusion(2).add(np.zeros((2, 3), int), np.zeros((3, 2), int))
    with pytest.raises(ShapeError, match="the mask holds 7, but there are 2 classes"):
        Confusion(2).add(np.zeros((1, 1), int), np.full((1, 1), 7))
    assert np.isnan(Confusion(2).agreement().mean_iou)


def test_colours_are_told_apart():
    table = np.array(COLOURS, float)
    apart = np.abs(table[:, None] - table[None]).sum(-1) + 1e3 * np.eye(len(table))
    assert apart.min() >= 50
    assert colour(0) == (0, 0, 0)
    assert colour(1) == colour(21)


def test_a_palette_picture_holds_the_labels_and_an_overlay_shows_them():
    labels = np.zeros((60, 80), np.uint8)
    labels[10:50, 20:60] = 2
    mask = palette_picture(labels)
    np.testing.assert_array_equal(np.asarray(mask), labels)
    assert mask.convert("RGB").getpixel((30, 30)) == colour(2)
    photo = Image.new("RGB", (80, 60), (10, 20, 30))
    drawn = np.asarray(overlay(photo, labels, ["background", "a", "b"]))
    assert (drawn[0, 0] == (10, 20, 30)).all()
    assert (drawn[10, 20] == 255).all(), "an outline"
    tinted = np.array(colour(2)) * 0.55 + np.array((10, 20, 30)) * 0.45
    assert np.abs(drawn[14, 24] - tinted).max() <= 1


@real
def test_a_real_network_names_the_pixels_of_a_real_photograph():
    model = mg.load_graph(REAL / "deeplabv3_257_float.tflite")
    framing = Framing(257, "squash", (127.5,) * 3, (127.5,) * 3)
    labels = mg.vision.segment(model, REAL / "segmentation_input_rotation0.jpg", framing=framing)
    with Image.open(REAL / "segmentation_golden_rotation0.png") as golden:
        np.testing.assert_array_equal(labels, np.asarray(golden) // 10)
