"""Networks that find objects: their sizes, anchors, coded boxes and losses."""

from __future__ import annotations

import json

import numpy as np
import pytest
from golden_dense import GOLDEN, weights
from hypothesis import given
from hypothesis import strategies as st

import minigrad as mg
from minigrad import nn
from minigrad.errors import ShapeError
from minigrad.models import detection
from minigrad.models.detection import anchors as shapes
from minigrad.models.detection.boxes import TORCHVISION, Coder, centres, corners, overlaps
from minigrad.models.detection.heads import SSDLiteHead
from minigrad.models.detection.matching import Targets, match
from minigrad.models.network import Style

SSDLITE = "ssdlite320_mobilenet_v3_large"
PUBLISHED = [
    # name                          parameters         MACs    boxes
    (SSDLITE,                        3_440_060, 583_171_904,   3_234),
    ("ssdlite_mobilenet_v2",         4_500_543, 749_503_856,   1_917),
    ("ssdlite_squeezenext_1_0_23v5", 1_458_268, 506_042_592,   3_234),
    ("tf_efficientdet_d0",           3_880_067, 2_492_331_520, 49_104),
    ("tf_efficientdet_lite0",        3_243_470, 973_589_696,  19_206),
    ("tf_efficientdet_lite1",        4_248_318, 1_966_649_904, 27_621),
    ("tf_efficientdet_lite2",        5_252_334, 3_371_304_384, 37_629),
]  # fmt: skip


@pytest.mark.parametrize(("name", "parameters", "macs", "boxes"), PUBLISHED)
def test_parameters_multiply_adds_and_anchors(name, parameters, macs, boxes):
    model = detection.create(name, rng=0).eval()
    size = model.framing.size
    assert sum(p.size for p in model.parameters()) == parameters
    assert mg.summary(model, (1, 3, size, size)).macs == macs
    assert model.anchors(size, size).shape == (boxes, 4)


def test_fewer_classes_are_read_from_the_weights():
    state = detection.create(SSDLITE, num_classes=3, rng=0).state_dict()
    model = detection.create(SSDLITE, weights=state)
    assert (model.num_classes, model.labels) == (3, ("background", "class 1", "class 2"))


@pytest.mark.parametrize("name", detection.names())
def test_a_plan_computes_what_the_network_does(name):
    model = detection.create(name, num_classes=3, rng=0).eval()
    x = weights.image(96).astype(np.float32)
    with mg.no_grad():
        eager = model(mg.Tensor(x)).numpy()
    assert eager.shape == (1, len(model.anchors(96, 96)), model.logits + 4)
    if mg.current_backend() == "cython":
        assert np.array_equal(mg.compile(model, x.shape, fold=False)(x), eager)
    plan = mg.compile(model, x.shape)
    folded = plan(x, threads=1)
    assert plan(x, threads=3).tobytes() == folded.tobytes()
    assert np.abs(folded - eager).max() <= 1e-4 * np.abs(eager).max()


def test_the_anchors_are_those_of_the_papers():
    first = shapes.torchvision_shapes()[0]
    assert first[0] == (0.2, 0.2)
    assert first[1] == pytest.approx((np.sqrt(0.2 * 0.35),) * 2)
    assert first[2] == pytest.approx((0.2 * np.sqrt(2), 0.2 / np.sqrt(2)))
    assert max(max(shape) for level in shapes.torchvision_shapes() for shape in level) == 1.0
    assert [len(level) for level in shapes.tensorflow_shapes()] == [3, 6, 6, 6, 6, 6]
    made = shapes.grid([(1, 2)], [[(0.5, 0.25), (1.0, 1.0)]])
    assert made.tolist() == [
        [0.25, 0.5, 0.5, 0.25], [0.25, 0.5, 1, 1], [0.75, 0.5, 0.5, 0.25], [0.75, 0.5, 1, 1],
    ]  # fmt: skip


BOXES = st.tuples(st.integers(1, 6), st.integers(0, 2**32 - 1)).map(
    lambda drawn: corners(np.random.default_rng(drawn[1]).uniform(0.02, 0.9, (drawn[0], 4)))
)


@given(BOXES, st.booleans(), st.integers(0, 9))
def test_coding_leads_back(boxes, rows_first, seed):
    coder = Coder(rows_first=rows_first)
    anchors = np.random.default_rng(seed).uniform(0.05, 1, boxes.shape)
    np.testing.assert_allclose(
        coder.decode(coder.encode(boxes, anchors), anchors), boxes, atol=1e-12
    )
    np.testing.assert_allclose(corners(centres(boxes)), boxes, atol=1e-12)


def test_a_moved_box_by_hand():
    anchors = np.array([[0.5, 0.5, 0.2, 0.4]])
    t = np.array([[1.0, -2.0, 5 * np.log(2), 0.0]])
    expected = [0.5 + 0.02 - 0.2, 0.5 - 0.08 - 0.2, 0.5 + 0.02 + 0.2, 0.5 - 0.08 + 0.2]
    np.testing.assert_allclose(Coder().decode(t, anchors)[0], expected)
    np.testing.assert_allclose(
        Coder(rows_first=True).decode(t[:, [1, 0, 3, 2]], anchors)[0], expected
    )
    huge = TORCHVISION.decode(np.array([[0.0, 0.0, 1e30, 1e30]]), anchors)
    assert huge[0, 2] - huge[0, 0] == pytest.approx(0.2 * 1000 / 16)


@given(BOXES, BOXES)
def test_overlaps_are_shares_of_what_two_boxes_cover(a, b):
    got = overlaps(a, b)
    for i, one in enumerate(a):
        for j, other in enumerate(b):
            w, h = np.minimum(one[2:], other[2:]) - np.maximum(one[:2], other[:2])
            shared = max(w, 0) * max(h, 0)
            both = np.prod(one[2:] - one[:2]) + np.prod(other[2:] - other[:2]) - shared
            assert got[i, j] == pytest.approx(shared / both)


def test_every_object_is_learnt_by_some_anchor():
    anchors = shapes.grid([(4, 4)], [[(0.25, 0.25)]])
    targets = match([[0.0, 0.0, 0.25, 0.25], [0.4, 0.4, 0.45, 0.45]], [3, 7], anchors)
    assert targets.labels.tolist().count(3) == 1
    assert targets.labels.tolist().count(7) == 1, "by force: it is small"
    assert targets.labels[0] == 3
    assert (targets.coded(Coder())[0] == 0).all()
    assert match([], [], anchors).labels.sum() == 0


@pytest.mark.parametrize("library", ["torchvision", "effdet"])
def test_objects_with_one_best_anchor_are_matched_as_the_library_does(library):
    for case in json.loads((GOLDEN / "matching.json").read_text())["cases"]:
        objects, anchors = (np.array(case[name]) / 8 for name in ("objects", "anchors"))
        labels = np.arange(1, len(objects) + 1)
        got = match(objects, labels, centres(anchors), earlier=library == "effdet")
        assert (got.labels - 1).tolist() == case[library]
        learns = got.labels > 0
        assert np.array_equal(got.boxes[learns], objects[got.labels[learns] - 1])


@pytest.mark.parametrize(
    ("name", "kept"), [("tf_efficientdet_lite0", 1), ("ssdlite_mobilenet_v2", 1), (SSDLITE, 2)]
)
def test_a_network_learns_as_its_library_does(name, kept):
    model = detection.create(name, num_classes=3, rng=0)
    same = [[0.2, 0.2, 0.5, 0.6]] * 2
    labels = model.targets(same, [1, 2], 64, 64).labels
    shared = match(same[:1], [1], model.anchors(64, 64), enough=2.0).labels > 0
    assert labels[shared].tolist() == [kept]


def test_smooth_l1_and_focal_losses_by_hand():
    x = mg.Tensor([0.5, -3.0, 1.0])
    assert detection.smooth_l1_loss(x, 0.0, "none").tolist() == [0.125, 2.5, 0.5]
    assert detection.smooth_l1_loss(x, 0.0, "none", beta=2.0).tolist() == [0.0625, 2.0, 0.25]
    z = np.array([[2.0, -1.0], [40.0, -800.0]])
    p = np.exp(-np.logaddexp(0, -z))
    so = np.array([[1, 0], [0, 1]])
    got = detection.focal_loss(mg.Tensor(z), so, reduction="none").numpy()
    first = -0.25 * (1 - p[0, 0]) ** 2 * np.log(p[0, 0])
    second = -0.75 * p[0, 1] ** 2 * np.log(1 - p[0, 1])
    np.testing.assert_allclose(got, [[first, second], [0.75 * 40, 0.25 * 800]], rtol=1e-12)
    with pytest.raises(ShapeError):
        detection.focal_loss(mg.Tensor(z), [1])
    with pytest.raises(ShapeError):
        detection.smooth_l1_loss(x, mg.Tensor([1.0]))


def test_gradients_of_both_losses_through_the_head_are_slopes():
    rng = np.random.default_rng(0)
    anchors = shapes.grid([(3, 3), (2, 2)], [[(0.4, 0.4)], [(0.6, 0.6)]])
    target = match([[0.05, 0.1, 0.4, 0.5], [0.5, 0.5, 1, 1]], [1, 2], anchors)
    head = SSDLiteHead((2, 3), (1, 1), 7, Style())
    nn.init.initialize(head, "tensorflow", rng)
    head.to(np.float64).eval()
    for part in head.modules():
        if isinstance(part, nn.BatchNorm2d):  # far from the kinks of ReLU6
            part.bias = nn.Parameter(np.full(part.bias.shape, 3.0))
            part.weight = nn.Parameter(np.full(part.bias.shape, 0.1))
    maps = [rng.standard_normal(shape) for shape in ((1, 2, 3, 3), (1, 3, 2, 2))]
    so = (target.labels[None, :, None] == np.arange(1, 8)).astype(int)

    def ssd(*maps):
        return detection.ssd_loss(head(maps), [target], Coder())

    def focal(*maps):
        return detection.focal_loss(head(maps), so, reduction="sum")

    mg.check_grads(ssd, *maps)
    mg.check_grads(focal, *maps)


def test_targets_must_be_as_many_as_images():
    nothing = Targets(np.zeros(2, int), np.zeros((2, 4)), np.ones((2, 4)))
    with pytest.raises(ShapeError, match="1 targets for 2 images"):
        detection.ssd_loss(mg.zeros(2, 2, 7), [nothing], Coder())


def test_the_loss_of_ssd_by_hand():
    rng = np.random.default_rng(3)
    anchors = shapes.grid([(3, 3)], [[(0.4, 0.4)]])
    target = match([[0.0, 0.0, 0.35, 0.4]], [2], anchors)
    output = rng.normal(size=(1, 9, 7))
    logs = output[0, :, :3] - np.logaddexp.reduce(output[0, :, :3], axis=1, keepdims=True)
    (learns,) = np.flatnonzero(target.labels)
    negatives = sorted(-logs[a, 0] for a in range(9) if a != learns)[-3:]
    d = np.abs(output[0, learns, 3:] - target.coded(Coder())[learns])
    boxes = np.where(d < 1, d * d / 2, d - 0.5).sum()
    expected = boxes - logs[learns, 2] + sum(negatives)
    got = detection.ssd_loss(mg.Tensor(output), [target], Coder())
    assert got.item() == pytest.approx(expected)
