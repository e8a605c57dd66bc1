"""Layers are their operations with remembered weights."""

from __future__ import annotations

import numpy as np
import pytest

import minigrad as mg
from minigrad import nn
from minigrad.errors import ShapeError


def tensor(*shape, seed=0):
    return mg.Tensor(np.random.default_rng(seed).standard_normal(shape))


def test_conv2d_is_the_operation_with_its_own_switches():
    layer = nn.Conv2d(4, 6, (3, 5), stride=2, padding=(1, 2), dilation=2, groups=2).to(np.float64)
    x = tensor(2, 4, 13, 17)
    y = mg.conv2d(x, layer.weight, layer.bias, 2, (1, 2), 2, 2)
    assert np.array_equal(layer(x).numpy(), y.numpy())


@pytest.mark.parametrize(("kernel", "dilation"), [(3, 1), (5, 1), (3, 2), ((3, 1), 1), ((1, 3), 4)])
def test_symmetric_padding_keeps_the_size(kernel, dilation):
    layer = nn.Conv2d(1, 1, kernel, padding="symmetric", dilation=dilation).to(np.float64)
    assert layer(tensor(1, 1, 11, 9)).shape == (1, 1, 11, 9)


def test_same_padding_puts_the_odd_pixel_after():
    layer = nn.Conv2d(1, 1, 3, stride=2, padding="same", bias=False).to(np.float64)
    with mg.no_grad():
        layer.weight.copy_(np.ones((1, 1, 3, 3)))
    x = np.zeros((1, 1, 4, 4))
    x[..., 0, 0] = 1  # seen by the first window only if nothing lies before it
    y = layer(mg.from_numpy(x)).numpy()
    assert np.array_equal(y[0, 0], [[1, 0], [0, 0]])


def test_groups_must_divide_the_channels():
    with pytest.raises(ShapeError, match="groups=3 must divide both in_channels=4"):
        nn.Conv2d(4, 6, 1, groups=3)


def test_batch_norm_trains_on_the_batch_and_evaluates_on_what_ran():
    layer = nn.BatchNorm2d(3, momentum=0.25).to(np.float64)
    x = tensor(4, 3, 5, 5)
    y = layer(x).numpy()
    assert np.allclose(y.mean((0, 2, 3)), 0, atol=1e-15)
    mean, var = x.numpy().mean((0, 2, 3)), x.numpy().var((0, 2, 3), ddof=1)
    assert np.allclose(layer.running_mean.numpy(), 0.25 * mean, rtol=1e-14)
    assert np.allclose(layer.running_var.numpy(), 0.75 + 0.25 * var, rtol=1e-14)
    layer.eval()
    before = layer.running_mean.numpy().copy()
    z = layer(x).numpy()
    shape = (1, 3, 1, 1)
    expected = (x.numpy() - before.reshape(shape)) / np.sqrt(
        layer.running_var.numpy().reshape(shape) + 1e-5
    )
    assert np.allclose(z, expected, rtol=1e-13)
    assert np.array_equal(layer.running_mean.numpy(), before)


def test_dropout_and_stochastic_depth_act_in_training_only():
    x = mg.Tensor(np.ones((64, 8, 2, 2)))
    for layer, axes in ((nn.Dropout(0.5), ()), (nn.StochasticDepth(0.5), (1, 2, 3))):
        layer.rng = np.random.default_rng(0)
        y = layer(x).numpy()
        assert set(np.unique(y)) == {0, 2}
        if axes:  # a sample is dropped as a whole
            assert np.array_equal(y.min(axes), y.max(axes))
        assert layer.eval()(x) is x


def test_impossible_arguments_are_named():
    with pytest.raises(ValueError, match="Dropout: p must be a number >= 0 and < 1, not 1"):
        nn.Dropout(1)
    with pytest.raises(ValueError, match="activation must be one of 'relu'"):
        nn.Activation("gelu")
