"""The picture says what the summary says: every mark is counted and measured."""

from __future__ import annotations

from itertools import pairwise
from math import sqrt
from xml.etree import ElementTree

import pytest

from minigrad import models
from minigrad.models import drawing
from minigrad.models.drawing import KINDS, svg
from minigrad.nn.blocks import InvertedResidual, SqueezeNeXtBlock

SVG = "{http://www.w3.org/2000/svg}"
NAMES = ["squeezenext_1_0_23", "mobilenet_v2", "mobilenet_v3_large", "efficientnet_v2_b0"]


@pytest.fixture(scope="module", params=NAMES)
def drawn(request):
    model = models.create(request.param)
    return model, ElementTree.fromstring(svg(model))


def blocks_of(model):
    return [block for stage in model.blocks for block in stage]


def groups(root):
    """The <g> of each part of the network, in the order of the computation."""
    return [g for g in root.iter(f"{SVG}g") if g.find(f"{SVG}title") is not None]


def of_blocks(root):
    return [g for g in groups(root) if g.find(f"{SVG}title").text.startswith("blocks.")]


def test_height_and_width_are_the_roots_of_rows_and_channels(drawn):
    _, root = drawn
    heights, widths = [], []
    for g in groups(root):
        channels, rows, _ = g.find(f"{SVG}title").text.split(": ")[1].split(",")[0].split(" × ")
        box = g.find(f"{SVG}rect")
        heights.append(float(box.get("height")) / sqrt(int(rows)))
        if float(box.get("width")) > 3.0:
            widths.append(float(box.get("width")) / sqrt(int(channels)))
    assert max(heights) == pytest.approx(min(heights), rel=0.01)
    assert max(widths) == pytest.approx(min(widths), rel=0.03)  # written to a tenth


def test_boxes_do_not_touch_and_stay_inside(drawn):
    _, root = drawn
    spans = [
        (float(r.get("x")), float(r.get("x")) + float(r.get("width")))
        for r in (g.find(f"{SVG}rect") for g in groups(root))
    ]
    assert all(a[1] < b[0] for a, b in pairwise(spans))
    assert spans[0][0] > 0
    assert spans[-1][1] < float(root.get("width"))


def test_colours_are_kinds_dots_are_gates_and_dashes_are_projections(drawn):
    model, root = drawn
    for g, block in zip(of_blocks(root), blocks_of(model), strict=True):
        _, light, dark = KINDS[type(block)]
        large = isinstance(block, InvertedResidual) and block.dw.conv.weight.shape[-1] > 3
        assert g.find(f"{SVG}rect").get("fill") == (dark if large else light)
        assert (g.find(f"{SVG}circle") is not None) == (getattr(block, "se", None) is not None)
        arc = g.find(f"{SVG}path")
        assert (arc is not None) == getattr(block, "residual", True)
        if isinstance(block, SqueezeNeXtBlock):
            assert (arc.get("stroke-dasharray") is not None) == (block.shortcut is not None)


def test_the_titles_add_up_to_the_network(drawn):
    model, root = drawn
    found = models.summary(model)
    costs = [g.find(f"{SVG}title").text.split("; ")[1] for g in groups(root)]
    macs = sum(int(c.split(" MACs")[0].replace(",", "")) for c in costs)
    parameters = sum(int(c.split("), ")[1].split(" ")[0].replace(",", "")) for c in costs)
    assert (macs, parameters) == (found.macs, found.parameters)


def test_the_legend_has_what_the_picture_uses_and_no_more():
    used = {
        "mobilenet_v2": {"inverted residual 3x3", "other", "shortcut"},
        "squeezenext_1_0_23": {"SqueezeNeXt", "other", "shortcut", "projected"},
        "efficientnet_b0": {"inverted residual 3x3", "inverted residual 5x5", "other",
                            "squeeze and excitation", "shortcut"},
    }  # fmt: skip
    for name, words in used.items():
        root = ElementTree.fromstring(svg(models.create(name)))
        legend = [g for g in root.iter(f"{SVG}g") if g.get("transform")]
        assert {g.find(f"{SVG}text").text for g in legend} == words


def test_the_highest_bar_is_the_largest_share(drawn):
    model, root = drawn
    found = models.summary(model)
    most = [max(getattr(box, what) for box in drawing._boxes(model, found))
            for what in ("macs", "parameters")]  # fmt: skip
    shares = [t.text for t in root.iter(f"{SVG}text") if t.text.endswith("%")]
    assert shares == [f"{most[0] / found.macs:.0%}", f"{most[1] / found.parameters:.0%}"]


def test_names_are_escaped():
    model = models.create("mobilenet_v3_small")
    model.name = "<b> & co"
    root = ElementTree.fromstring(svg(model))
    assert root.find(f"{SVG}text").text == "<b> & co"
