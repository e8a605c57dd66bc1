"""Sums of a million terms and more: as good as float64, where one chain loses everything."""

from __future__ import annotations

import numpy as np
import pytest

import minigrad as mg
from minigrad.geometry import ConvSpec
from minigrad.kernels import backend, classify, find, unavailable

FAST = [name for name in ("numpy", "numba", "cython") if not unavailable(name)]
ULP = np.finfo(np.float32).eps  # of a value a little above a power of two
pytestmark = pytest.mark.parametrize("name", FAST)


def channels_last(x):
    return np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)


def test_batch_norm_of_a_constant_map_is_zero(name):
    x = np.full((1, 1, 1000, 1000), 255, np.float32)
    with backend(name):
        mean, var = find("batch_norm_statistics").call(x)
        y = mg.batch_norm(mg.Tensor(x), None, None, training=True)
    assert mean.tolist() == [255]
    assert var.tolist() == [0]
    assert not y.numpy().any()


def test_the_mean_of_a_million_numbers_is_one_rounding_from_the_exact_one(name):
    x = np.random.default_rng(0).normal(1000, 1, (1, 2, 1024, 512)).astype(np.float32)
    exact = x.astype(np.float64)
    with backend(name):
        mean, var = find("batch_norm_statistics").call(channels_last(x))
        pooled = find("global_avg_pool").call(x)
    np.testing.assert_allclose(mean, exact.mean(axis=(0, 2, 3)), rtol=ULP)
    np.testing.assert_allclose(pooled[0, :, 0, 0], exact.mean(axis=(0, 2, 3)), rtol=ULP)
    np.testing.assert_allclose(var, exact.var(axis=(0, 2, 3)), rtol=4 * ULP)


def test_more_ones_than_float32_can_count_are_counted(name):
    """2^24 + 2^20 of them: a chain of float32 stops at 2^24."""
    x = np.ones((17, 1, 1024, 1024), np.float32)
    spec = ConvSpec(groups=1)
    with backend(name):
        dw = find("conv2d_weight_grad", classify(spec, (1, 1, 1, 1))).call(x, x, (1, 1, 1, 1), spec)
        db = find("sum").call(x, (0, 2, 3), False)
        rows = find("sum").call(x.reshape(1, -1), (1,), False)
    assert [dw.item(), db.item(), rows.item()] == [float(x.size)] * 3


def test_gradients_after_relu_are_better_than_a_chain(name):
    rng = np.random.default_rng(1)
    x = channels_last(np.maximum(rng.normal(size=(32, 8, 56, 56)), 0).astype(np.float32))
    g = channels_last(rng.uniform(size=x.shape).astype(np.float32))
    spec, w_shape = ConvSpec(groups=8), (8, 1, 1, 1)
    exact = np.einsum("nchw,nchw->c", g.astype(np.float64), x.astype(np.float64))
    with backend(name):
        dw = find("conv2d_weight_grad", classify(spec, w_shape)).call(g, x, w_shape, spec)
    np.testing.assert_allclose(dw[:, 0, 0, 0], exact, rtol=4 * ULP)


def test_linear_of_a_very_long_row_is_cut(name):
    x = np.ones((1, 2**24 + 4096), np.float32)
    with backend(name):
        assert find("linear").call(x, x, None).item() == x.size
