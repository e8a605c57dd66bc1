"""The summary of a network: counts by hand, receptive fields by what a pixel can change."""

from __future__ import annotations

import json
from xml.etree import ElementTree

import numpy as np
import pytest

import minigrad as mg
from minigrad import models, nn
from minigrad.errors import ShapeError
from minigrad.models.costs import summary


def tower():
    return nn.Sequential(
        nn.ConvBN(3, 4, 3, 2, activation="relu6"),
        nn.InvertedResidual(4, 4, 2, kernel_size=5, dilation=2),
        nn.MaxPool2d(3, 2),
        nn.SqueezeNeXtBlock(4, 8),
    )


def test_counts_by_hand():
    s = summary(nn.Sequential(nn.Conv2d(3, 8, (3, 1), stride=2), nn.Flatten()), (7, 3, 9, 9))
    (conv, _) = s.layers
    assert conv.output_shape == (1, 8, 4, 5)
    assert conv.macs == 8 * 4 * 5 * 3 * 3
    assert conv.parameters == s.parameters == 8 * 3 * 3 + 8
    assert conv.activation_bytes == 8 * 4 * 5 * 4
    assert (conv.kernel, conv.stride) == ((3, 1), (2, 2))


def test_no_weight_is_drawn_and_the_mode_stays():
    model = models.create("mobilenet_v2")
    assert model.training
    summary(model)
    assert model.training
    assert not any(p.has_values for p in model.parameters())


def test_parameters_of_the_rows_add_up():
    for name in ("squeezenext_1_0_23", "mobilenet_v3_small", "efficientnet_v2_b0"):
        s = summary(models.create(name))
        assert sum(layer.parameters for layer in s.layers) == s.parameters


@pytest.mark.parametrize("axis", [0, 1])
def test_the_receptive_field_is_what_a_pixel_can_change(axis):
    """Of a 1-D line of output positions, exactly those change that see the changed pixel."""
    model = tower().to(np.float64).eval()
    nn.init.initialize(model, rng=np.random.default_rng(0))
    size = 63
    field = summary(model, (1, 3, size, size)).layers[-1].fields[axis]
    x = mg.Tensor(np.random.default_rng(1).standard_normal((1, 3, size, size)), requires_grad=True)
    y = model(x)
    middle = y.shape[2] // 2
    g = np.zeros(y.shape)
    g[:, :, middle, middle] = np.random.default_rng(2).standard_normal(y.shape[1])
    seen = np.abs(mg.gradients(y, [x], g)[0].numpy()).sum((0, 1, 3 - axis))
    inside = np.flatnonzero(seen)
    first, last = middle * field.jump + field.first, middle * field.jump + field.last
    assert first <= inside.min()
    assert inside.max() <= last
    # A ReLU or a pool may hide an edge from one position, not from a field's width of them.
    assert field.size - (inside.max() - inside.min() + 1) <= 2 * field.jump


def test_receptive_fields_by_the_formula():
    model = nn.Sequential(nn.Conv2d(3, 3, 3, 2, 1), nn.Conv2d(3, 3, (3, 1), 1, (1, 0)),
                          nn.Conv2d(3, 3, 5, 2, "same", 2))  # fmt: skip
    a, b, c = (layer.fields for layer in summary(model, (1, 3, 32, 32)).layers)
    assert [f.size for f in a] == [3, 3]
    assert [f.size for f in b] == [7, 3]
    assert [f.size for f in c] == [23, 19]
    assert [f.jump for f in c] == [4, 4]
    assert [f.centre for f in a] == [0, 0]


def test_a_shortcut_does_not_shrink_what_is_seen():
    s = summary(nn.Sequential(nn.InvertedResidual(4, 4)), (1, 4, 8, 8))
    added = next(layer for layer in s.layers if layer.operation == "add")
    assert [f.size for f in added.fields] == [3, 3]


@pytest.mark.parametrize("name", ["squeezenext_1_0_23", "efficientnet_b0", "efficientnet_v2_xl"])
@pytest.mark.parametrize("width", [80, 120])
def test_the_table_fits_its_width(name, width):
    lines = summary(models.create(name), (1, 3, 224, 224)).table(width).splitlines()
    assert max(map(len, lines)) <= width
    assert any("MACs" in line for line in lines)


def test_the_summary_is_plain_data():
    data = summary(models.create("mobilenet_v3_small")).as_dict()
    assert json.loads(json.dumps(data))["macs"] == 56_510_400
    assert "FLOPs = 2 MACs" in data["counted"]


def test_the_shape_must_be_that_of_images():
    with pytest.raises(ShapeError, match=r"input_shape must be \(N, C, H, W\)"):
        summary(nn.Identity(), (3, 224, 224))


@pytest.mark.parametrize("name", ["squeezenext_1_0_23", "mobilenet_v3_small", "efficientnet_v2_s"])
def test_the_picture_has_a_box_for_every_block(name):
    model = models.create(name)
    root = ElementTree.fromstring(models.svg(model))
    titles = [e.text for e in root.iter("{http://www.w3.org/2000/svg}title")]
    blocks = sum(len(stage) for stage in model.blocks)
    named = (model.stem, model.pool, model.head, model.hidden, model.classifier)
    assert len(titles) == blocks + sum(part is not None for part in named)
    arcs = len(list(root.iter("{http://www.w3.org/2000/svg}path")))
    joined = sum(getattr(b, "residual", True) for stage in model.blocks for b in stage)
    assert arcs == joined
