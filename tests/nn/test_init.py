"""First weights have the spread that each paper's code gives them."""

from __future__ import annotations

import numpy as np
import pytest

from minigrad import models, nn

# Of a convolution 32 -> 64, 5x5: fan_in 800, fan_out 1600; depthwise 64, 5x5; linear 400 -> 500.
SPREAD = [
    # scheme                     conv               depthwise           linear
    ("tensorflow",               (2 / 1600) ** 0.5, (2 / 25) ** 0.5,    (1 / 500 / 3) ** 0.5),
    ("torchvision",              (2 / 1600) ** 0.5, (2 / 1600) ** 0.5,  0.01),
    ("torchvision_efficientnet", (2 / 1600) ** 0.5, (2 / 1600) ** 0.5,  (1 / 500 / 3) ** 0.5),
    ("torchvision_mnasnet",      (2 / 1600) ** 0.5, (2 / 1600) ** 0.5,  (1 / 500) ** 0.5),
    ("slim",                     0.09 * 0.8796,     0.09 * 0.8796,      0.09 * 0.8796),
    ("caffe",                    (1 / 800) ** 0.5,  (1 / 25) ** 0.5,    (1 / 400) ** 0.5),
    ("pytorchcv",                (2 / 800) ** 0.5,  (2 / 25) ** 0.5,    (2 / 400) ** 0.5),
]  # fmt: skip


@pytest.mark.parametrize(("scheme", "conv", "depthwise", "linear"), SPREAD)
def test_spread_of_the_first_weights(scheme, conv, depthwise, linear):
    layers = nn.Sequential(
        nn.Conv2d(32, 64, 5), nn.Conv2d(64, 64, 5, groups=64), nn.Linear(400, 500)
    )
    nn.init.initialize(layers, scheme, np.random.default_rng(1))
    for layer, expected in zip(layers, (conv, depthwise, linear), strict=True):
        w = layer.weight.numpy()
        # The standard error of a standard deviation from n values is below sigma / sqrt(n).
        assert w.std() == pytest.approx(expected, rel=5 / w.size**0.5)
        assert abs(w.mean()) < 5 * expected / w.size**0.5
        assert not layer.bias.numpy().any()


@pytest.mark.parametrize("shape", [(0,), (1,), (7, 3), (64, 32, 3, 3)])
@pytest.mark.parametrize("seed", range(5))
def test_the_truncated_normal_draws_again_what_lies_outside_in_order(shape, seed):
    rng = np.random.default_rng(seed)
    z = rng.standard_normal(shape)
    while (outside := np.abs(z) > 2).any():
        z[outside] = rng.standard_normal(np.count_nonzero(outside))
    assert np.array_equal(nn.init.truncated_normal(shape, seed, 0.3), z * 0.3)


def test_the_truncated_normal_stays_within_two_sigma():
    z = nn.init.truncated_normal((10_000,), 0, 0.5)
    assert np.abs(z).max() <= 1
    assert np.abs(z).max() > 0.99


def test_every_network_starts_as_its_authors_did():
    first = {"squeezenext_1_0_23": "caffe", "mobilenet_v2": "slim", "mobilenet_v3_small": "slim",
             "mnasnet_a1": "tensorflow", "efficientnet_b0": "tensorflow",
             "efficientnet_lite0": "tensorflow", "efficientnet_v2_s": "tensorflow"}  # fmt: skip
    for name, scheme in first.items():
        presets = models.entry(name).presets
        assert presets[next(iter(presets))]["init"] == scheme


def test_one_seed_gives_one_network():
    one, two = (models.create("mobilenet_v2_0_35", rng=5).state_dict() for _ in range(2))
    other = models.create("mobilenet_v2_0_35", rng=6).state_dict()
    assert all(np.array_equal(one[k], two[k]) for k in one)
    assert not np.array_equal(one["classifier.weight"], other["classifier.weight"])
