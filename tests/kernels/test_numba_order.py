"""Long sums of the Numba engine follow the rule of ``contract``: blocks, added in two words.

``order`` is the rule in plain Python.  Equal bits leave no room for another place to cut.
"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from needs import needs
from order import product, sum_by_the_rule, weight

from minigrad.geometry import conv_output_shape, conv_spec
from minigrad.kernels import numba as numba_backend
from minigrad.threads import threads

pytestmark = [
    needs("numba"),
    pytest.mark.fma,
]
DTYPES = st.sampled_from([np.float32, np.float64])
# Batch, rows and columns of the map: some blocks of one image, blocks of several images, and
# rows that are longer than a block.
MAPS = [(1, 30, 28), (3, 13, 12), (9, 7, 7), (2, 3, 395), (1, 2, 800), (1, 60, 14), (5, 1, 200)]
# Channels, groups, window, stride.
LAYERS = [
    (17, 18, 1, (1, 1), 1), (4, 33, 1, (3, 3), 1), (3, 5, 1, (1, 3), 2), (6, 4, 2, (3, 3), 2),
    (18, 18, 18, (3, 3), 1), (33, 33, 33, (5, 5), 2), (16, 16, 16, (3, 3), 2), (7, 7, 7, (2, 7), 1),
]  # fmt: skip


@given(st.sampled_from(MAPS), st.sampled_from(LAYERS), DTYPES, st.data())
def test_weight_gradients_are_cut_into_blocks_of_pixels(size, layer, dtype, data):
    (n, h, v), (cin, cout, groups, kernel, stride) = size, layer
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    x = rng.standard_normal((n, cin, h, v)).astype(dtype)
    w_shape = (cout, cin // groups, *kernel)
    padding = tuple((k // 2, k // 2) for k in kernel)
    spec = conv_spec(x.shape, w_shape, stride, padding, 1, groups)
    g = rng.standard_normal(conv_output_shape(x.shape, w_shape, spec)).astype(dtype)
    with threads(data.draw(st.sampled_from([1, 2]))):
        dw = numba_backend.conv2d_weight_grad(g, x, w_shape, spec)
    o, i, a, b = (data.draw(st.integers(0, k - 1)) for k in w_shape)
    channel = o // (cout // groups) * (cin // groups) + i
    expected = weight(g[:, o], x[:, channel], a, b, spec)
    np.testing.assert_array_equal(dw[o, i, a, b], expected)


@given(st.sampled_from([4096, 4097, 9000]), st.sampled_from([1, 3]), DTYPES)
def test_a_long_linear_is_cut_into_blocks_of_inputs(inputs, n, dtype):
    rng = np.random.default_rng(inputs)
    x, w, bias = (rng.standard_normal(s).astype(dtype) for s in ((n, inputs), (2, inputs), (2,)))
    y = numba_backend.linear(x, w, bias)
    expected = [[product(row, v, b) for v, b in zip(w, bias, strict=True)] for row in x]
    np.testing.assert_array_equal(y, np.array(expected, dtype))


@given(
    st.sampled_from([(2, 3, 40, 41), (1, 17, 30, 9), (70, 300), (3, 9000), (2, 2, 700)]),
    st.data(),
    DTYPES,
)
def test_sums_are_cut_into_blocks_of_chains(shape, data, dtype):
    x = (1e3 * np.random.default_rng(1).standard_normal(shape)).astype(dtype)
    axes = tuple(sorted(data.draw(st.sets(st.integers(0, len(shape) - 1), min_size=1))))
    got = numba_backend.sum(x, axes, False)
    np.testing.assert_array_equal(got, sum_by_the_rule(x, axes).astype(dtype))
