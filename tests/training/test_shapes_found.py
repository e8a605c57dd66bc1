"""A small SSDLite on inverted residuals finds discs, squares, triangles: AP50 0.9 in four epochs.

Weights and pictures start from a seed, and bits do not depend on threads or instruction sets with
FMA, so this is the same run everywhere.  What would make it fail: a wrong gradient in the heads or
in a loss, anchors that learn another object, boxes that are coded one way and decoded another.
"""

from __future__ import annotations

import numpy as np
import pytest
from drawn_shapes import KINDS, inputs, learn_boxes, scenes

import minigrad as mg
from minigrad.models.dense.trunk import Trunk, trimmed
from minigrad.models.detection.anchors import grid, halved
from minigrad.models.detection.boxes import TORCHVISION
from minigrad.models.detection.detector import Selection
from minigrad.models.detection.heads import Extra
from minigrad.models.detection.ssdlite import SSDLite
from minigrad.models.families import small
from minigrad.models.network import Style
from minigrad.nn import init
from minigrad.nn.layers import Sequential
from minigrad.vision.finding import found
from minigrad.vision.frames import Frame
from minigrad.vision.precision import Found, Truth, average_precision

EPOCHS, PICTURES = 4, 640
SHAPES = ([(0.35, 0.35), (0.5, 0.5)], [(0.5, 0.5), (0.65, 0.65)])  # of the anchors of two maps


class Small(SSDLite):
    """Its first map has an eighth of the picture's sides."""

    def anchors(self, height, width):
        return grid(halved((height, width), len(self.shapes), 8), self.shapes)


def detector():
    """SSDLite's heads on two stages of our small network, and on one coarser map."""
    network = trimmed(
        small.NETWORKS["inverted_residual_small"], "minigrad", stem_stride=2, features_only=True
    )
    trunk, style = Trunk(network, ("1",)), Style()
    (channels,) = trunk.channels
    extras = Sequential(Extra(channels, 48, 96, style))
    model = Small(
        trunk, extras, (channels, 96), len(KINDS), SHAPES, style, TORCHVISION, Selection()
    )
    rng = np.random.default_rng(0)
    init.initialize(model, "torchvision", rng)
    model.draw_heads(rng)
    model.num_classes, model.labels = len(KINDS), KINDS
    return model


def pair(model, scene):
    """What is there, and what is found, in pixels."""
    x, size = inputs([scene]), scene.mask.shape
    with mg.no_grad():
        told = found(model, model(mg.Tensor(x)).numpy(), Frame(x, size, size), 0.0)
    sizes = scene.boxes[:, 2:] - scene.boxes[:, :2]
    truth = Truth(
        np.hstack([scene.boxes[:, :2], sizes]), scene.labels, np.zeros(len(sizes), bool),
        sizes.prod(1),
    )  # fmt: skip
    boxes = np.array([d[2:6] for d in told]).reshape(-1, 4)
    boxes[:, 2:] -= boxes[:, :2]
    labels, scores = ([getattr(d, k) for d in told] for k in ("category", "score"))
    return truth, Found(boxes, np.array(labels, int), np.array(scores, float))


@pytest.mark.newest
def test_a_small_network_finds_shapes():
    model = detector()
    learn_boxes(model, EPOCHS, PICTURES)
    pairs = [pair(model.eval(), scene) for scene in scenes(1, 64)]
    assert average_precision([t for t, _ in pairs], [f for _, f in pairs]).ap50 >= 0.9
