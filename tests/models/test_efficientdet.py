"""EfficientDet computes what effdet computes, under its names (tests/golden/dense.json.gz)."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from golden_dense import CASES, expect_output, weights
from judged_steps import judged

import minigrad as mg
from minigrad import nn
from minigrad.models import detection
from minigrad.models.detection.anchors import grid, octave_shapes
from minigrad.models.detection.bifpn import Node, fused
from minigrad.models.detection.boxes import PLAIN
from minigrad.models.detection.heads import SharedHead
from minigrad.models.detection.matching import match
from minigrad.models.network import Style
from minigrad.vision.finding import found
from minigrad.vision.frames import Frame

NETWORKS = [name for name in CASES if "efficientdet" in name]
PARTS = {
    # name                    backbone,   BiFPN,  classes,  boxes
    "tf_efficientdet_d0":    (3_595_388, 196_281,  69_354, 19_044),
    "tf_efficientdet_lite0": (2_958_848, 196_224,  69_354, 19_044),
    "tf_efficientdet_lite1": (3_723_520, 390_896, 101_394, 32_508),
    "tf_efficientdet_lite2": (4_357_952, 708_064, 136_890, 49_428),
}  # fmt: skip


@cache
def golden(name):
    """The network with the golden weights, and its output in float64."""
    model = detection.create(name, weights=weights.state(CASES[name]["keys"]))
    with mg.no_grad(), mg.backend("numpy"):
        return model, model(mg.from_numpy(weights.image(CASES[name]["size"]))).numpy()


@pytest.mark.parametrize("name", NETWORKS)
def test_parameters_of_each_part_are_those_of_effdet(name):
    model = detection.create(name, rng=0)
    parts = (model.backbone, model.fpn, model.class_net, model.box_net)
    assert tuple(sum(p.size for p in part.parameters()) for part in parts) == PARTS[name]


@pytest.mark.parametrize("name", NETWORKS)
def test_logits_and_moved_boxes_equal_effdets(name):
    case = CASES[name]
    _, output = golden(name)
    expect_output(output[:, :, :90].copy(), case["outputs"][0])
    expect_output(output[:, :, 90:].copy(), case["outputs"][1])


@pytest.mark.parametrize("name", [name for name in NETWORKS if "boxes" in CASES[name]])
def test_boxes_labels_and_scores_equal_effdets(name):
    case = CASES[name]
    size = case["size"]
    model, output = golden(name)
    seen = Frame(np.zeros((1, 3, size, size), np.float32), (size, size), (size, size))
    got = found(model, output, seen, 0.0)
    assert [d.category for d in got] == case["labels"]
    np.testing.assert_allclose([d.score for d in got], case["scores"], rtol=1e-9)
    np.testing.assert_allclose([d[2:6] for d in got], case["boxes"], atol=1e-9 * size)


@pytest.mark.parametrize("name", [name for name in NETWORKS if "losses" in CASES[name]])
def test_losses_and_the_gradient_of_the_image_equal_effdets(name):
    case = CASES[name]
    size = case["size"]
    model = detection.create(name, weights=weights.state(case["keys"]), stochastic_depth=0.0)
    anchors = model.anchors(size, size)
    boxes = np.array([[30.0, 40.0, 130.0, 200.0], [160.0, 20.0, 310.0, 150.0]]) / 320
    targets = [match(boxes, [5, 17], anchors), match(boxes[1:], [3], anchors)]
    x = mg.Tensor(weights.image(size, 2), requires_grad=True)
    loss = detection.efficientdet_loss(model.train()(x), targets, model.coder)
    loss.backward()
    # effdet's matching and its goals are in float32.
    assert loss.item() == pytest.approx(case["losses"]["loss"], rel=1e-6)
    flat, told = x.grad.numpy().ravel(), case["image"]
    assert np.linalg.norm(flat) == pytest.approx(told["norm"], rel=1e-5)
    some = flat[:: max(1, flat.size // 32)][:32]
    assert np.abs(some - told["some"]).max() <= 1e-5 * np.abs(told["some"]).max()


@pytest.mark.parametrize("name", NETWORKS)
def test_the_names_are_effdets_and_lead_back(name):
    state = weights.state(CASES[name]["keys"])
    model = detection.create(name, weights=state)
    theirs = model.key_map()
    assert set(theirs.values()) == set(state)
    for ours, value in model.state_dict().items():
        assert value.tobytes() == state[theirs[ours]].tobytes()
    assert detection.CATALOGUE.identify(state) == name
    assert (model.num_classes, model.logits) == (91, 90)


def test_every_step_is_within_its_bound():
    state = weights.state(CASES["tf_efficientdet_d0"]["keys"])
    model = detection.create("tf_efficientdet_d0", weights=state).to(np.float32)
    steps = judged(model, weights.image(64).astype(np.float32))
    assert {"conv2d", "batch_norm_eval", "max_pool2d", "resample", "concat"} <= set(steps)


def test_fewer_classes_are_read_from_the_weights():
    state = detection.create("tf_efficientdet_lite0", num_classes=3, rng=0).state_dict()
    model = detection.create("tf_efficientdet_lite0", weights=state)
    assert (model.num_classes, model.labels) == (3, ("background", "class 1", "class 2"))


def test_a_new_network_takes_every_class_to_be_rare():
    model = detection.create("tf_efficientdet_lite0", rng=0)
    z = model.class_net.predict.pw.bias.numpy()
    np.testing.assert_allclose(1 / (1 + np.exp(-z)), 0.01, 1e-6)


def test_the_anchors_are_nine_a_cell_in_cells_of_the_map():
    level = octave_shapes((4, 8), 3.0)
    assert len(level) == 9
    assert level[1] == pytest.approx((3 * 1.4 / 8, 3 * 0.7 / 4))
    assert level[6] == pytest.approx((3 * 4 ** (1 / 3) / 8, 3 * 4 ** (1 / 3) / 4))


def test_maps_are_weighed_by_what_is_left_of_the_weights():
    maps = [mg.Tensor(np.full((1, 2, 1, 1), v)) for v in (1.0, 10.0, 100.0)]
    weights = mg.Tensor(np.array([3.0, -5.0, 1.0]))
    assert fused(maps, weights).numpy().ravel()[0] == pytest.approx((3 * 1 + 100) / (4 + 1e-4))
    assert fused(maps, None).numpy().ravel()[0] == 111


def smooth(module, rng):
    """The module with weights, in float64, far from the kinks of ReLU6."""
    nn.init.initialize(module, "tensorflow", rng)
    module.to(np.float64).eval()
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.bias = nn.Parameter(np.full(part.bias.shape, 3.0))
            part.weight = nn.Parameter(np.full(part.bias.shape, 0.1))
    return module


def test_the_gradient_of_the_loss_through_the_heads_is_its_slope():
    rng = np.random.default_rng(0)
    anchors = grid([(2, 2), (1, 1)], [octave_shapes(size, 1.0)[:1] for size in ((2, 2), (1, 1))])
    target = match([[0.05, 0.1, 0.4, 0.5], [0.4, 0.5, 1, 1]], [1, 2], anchors)
    how = (2, 1, 2, 1)
    heads = [smooth(SharedHead(*how, k, Style("same"), "silu"), rng) for k in (2, 4)]

    def loss(*maps):
        output = mg.concat([head(maps) for head in heads], axis=2)
        return detection.efficientdet_loss(output, [target], PLAIN)

    mg.check_grads(loss, *(rng.standard_normal((1, 2, n, n)) for n in (2, 1)))


def test_the_gradient_of_a_node_and_of_fast_attention_is_its_slope():
    rng = np.random.default_rng(1)
    node = smooth(Node((2, 3), 2, Style("same"), "silu", True), rng)
    mg.check_grads(lambda *maps: node(maps), *(rng.standard_normal((1, c, 2, 2)) for c in (2, 3)))
    maps = [mg.Tensor(rng.standard_normal((1, 2, 2, 2))) for _ in range(2)]
    mg.check_grads(lambda weights: fused(maps, weights), np.array([0.7, 1.3]))


def test_the_loss_of_efficientdet_by_hand():
    rng = np.random.default_rng(3)
    anchors = grid([(3, 3)], [[(0.4, 0.4)]])
    target = match([[0.0, 0.0, 0.35, 0.4]], [2], anchors)
    output = rng.normal(size=(1, 9, 6))
    p = 1 / (1 + np.exp(-output[0, :, :2]))
    (learns,) = np.flatnonzero(target.labels)
    so = np.zeros((9, 2), bool)
    so[learns, 1] = True
    names = np.where(so, -0.25 * (1 - p) ** 1.5 * np.log(p), -0.75 * p**1.5 * np.log(1 - p)).sum()
    goal = target.coded(PLAIN)[learns]
    assert goal.tolist().count(0) == 1, "the object is as high as the anchor"
    d = np.abs(output[0, learns, 2:] - goal) * (goal != 0)
    boxes = np.where(d < 0.1, d * d / 2, 0.1 * (d - 0.05)).sum() / 4
    got = detection.efficientdet_loss(mg.Tensor(output), [target], PLAIN)
    assert got.item() == pytest.approx((names + 50 * boxes) / 2)
