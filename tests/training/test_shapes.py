"""A small network learns which pixels are discs, squares and triangles: mIoU 0.9 in eight epochs.

Weights and pictures start from a seed, and bits do not depend on threads or instruction sets with
FMA, so this is the same run everywhere.  What would make it fail: a wrong gradient in the head, in
a resize or in the loss of a map, or masks that leave their pictures.
"""

from __future__ import annotations

import pytest
from drawn_shapes import learn_masks, mean_iou, scenes

import minigrad as mg

EPOCHS, PICTURES = 8, 640


@pytest.mark.newest
def test_a_small_network_names_the_pixels_of_shapes():
    model = mg.models.segmentation.create("lraspp_inverted_residual_small", rng=0)
    learn_masks(model, EPOCHS, PICTURES)
    assert mean_iou(model.eval(), scenes(1, 64)) >= 0.9
