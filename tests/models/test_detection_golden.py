"""SSDLite computes what torchvision computes, under its names (tests/golden/dense.json.gz)."""

from __future__ import annotations

import numpy as np
import pytest
from golden_dense import CASES, expect_gradients, expect_output, weights

import minigrad as mg
from minigrad.models import detection
from minigrad.models.detection.matching import match
from minigrad.vision.finding import found
from minigrad.vision.frames import Frame

SSDLITE = "ssdlite320_mobilenet_v3_large"
CASE = CASES[SSDLITE]


@pytest.fixture(scope="module")
def golden():
    """The network with the golden weights, and its output in float64."""
    model = detection.create(SSDLITE, weights=weights.state(CASE["keys"]))
    with mg.no_grad(), mg.backend("numpy"):
        return model, model(mg.from_numpy(weights.image(CASE["size"]))).numpy()


def test_logits_and_moved_boxes_equal_torchvisions(golden):
    _, output = golden
    expect_output(output[:, :, :91].copy(), CASE["outputs"][0])
    expect_output(output[:, :, 91:].copy(), CASE["outputs"][1])


def test_boxes_labels_and_scores_equal_torchvisions(golden):
    model, output = golden
    size = CASE["size"]
    seen = Frame(np.zeros((1, 3, size, size), np.float32), (size, size), (size, size))
    got = found(model, output, seen, 0.0)
    assert [d.category for d in got] == CASE["labels"]
    np.testing.assert_allclose([d.score for d in got], CASE["scores"], rtol=1e-9)
    # torchvision's anchors have shapes that were rounded to float32.
    np.testing.assert_allclose([d[2:6] for d in got], CASE["boxes"], atol=1e-4)


def test_losses_and_gradients_equal_torchvisions():
    model = detection.create(SSDLITE, weights=weights.state(CASE["keys"])).train()
    size = CASE["size"]
    anchors = model.anchors(size, size)
    boxes = np.array([[30.0, 40.0, 130.0, 200.0], [160.0, 20.0, 310.0, 150.0]]) / size
    targets = [match(boxes, [5, 17], anchors), match(boxes[1:], [3], anchors)]
    with mg.backend("numpy"):
        output = model(mg.from_numpy(weights.image(size, 2)))
        loss = detection.ssd_loss(output, targets, model.coder)
        loss.backward()
    assert loss.item() == pytest.approx(sum(CASE["losses"].values()), rel=1e-6)
    expect_gradients(model, CASE, 1e-5)


def test_the_names_are_torchvisions_and_lead_back():
    state = weights.state(CASE["keys"])
    model = detection.create(SSDLITE, weights=state)
    theirs = model.key_map()
    assert set(theirs.values()) == set(state)
    for ours, value in model.state_dict().items():
        assert value.tobytes() == state[theirs[ours]].tobytes()
    assert detection.CATALOGUE.identify(state) == SSDLITE
