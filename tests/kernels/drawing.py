"""Batches and windows that are drawn for the compiled engines, and equality to the bit."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from minigrad.kernels.contract import PoolWindow

CHANNELS = st.sampled_from([1, 3, 5, 8, 16, 17, 24, 33, 64, 70, 131])
DTYPES = st.sampled_from([np.float32, np.float64])
SEEDS = st.integers(0, 2**32 - 1)
THREADS = st.sampled_from([1, 2, 4])


def same_bits(got, expected):
    """Bit for bit, signs of zero included; one NaN is as good as another."""
    assert got.dtype == expected.dtype
    assert got.shape == expected.shape
    np.testing.assert_array_equal(got, expected)
    there = ~np.isnan(expected)
    np.testing.assert_array_equal(np.signbit(got[there]), np.signbit(expected[there]))


def unaligned(x):
    """The same numbers at an odd address."""
    raw = np.empty(x.nbytes + 1, np.uint8)
    y = raw[1:].view(x.dtype).reshape(x.shape)
    y[...] = x
    return y


LAYOUTS = {
    "C": np.ascontiguousarray,
    "channels last": lambda x: np.moveaxis(np.ascontiguousarray(np.moveaxis(x, 1, -1)), -1, 1),
    "backwards": lambda x: np.ascontiguousarray(x[::-1])[::-1],
    "every other": lambda x: np.repeat(x, 2, axis=-1)[..., ::2],
    "unaligned": unaligned,
}
layouts = st.sampled_from(list(LAYOUTS.values()))


@st.composite
def batches(draw, least=1):
    """g, x, and a vector for each channel's mean, variance, gamma and beta."""
    pixels = draw(st.lists(st.integers(1, 9), max_size=3))
    shape = (draw(st.integers(least, 5)), draw(CHANNELS), *pixels)
    rng, dtype = np.random.default_rng(draw(SEEDS)), draw(DTYPES)
    g, x = (draw(layouts)(rng.standard_normal(shape).astype(dtype)) for _ in range(2))
    mean, var, gamma, beta = (rng.standard_normal(shape[1]).astype(dtype) for _ in range(4))
    return g, x, mean, np.square(var), gamma, beta


@st.composite
def pools(draw):
    """x, a window, and a memory order."""
    kernel, stride = (draw(st.tuples(st.integers(1, 4), st.integers(1, 4))) for _ in range(2))
    dilation = draw(st.tuples(st.integers(1, 2), st.integers(1, 2)))
    pads = tuple(tuple(draw(st.integers(0, k // 2)) for _ in range(2)) for k in kernel)
    size = [
        d * (k - 1) + 1 + draw(st.integers(0, 6)) for k, d in zip(kernel, dilation, strict=True)
    ]
    window = PoolWindow(kernel, stride, pads, dilation, draw(st.booleans()))
    shape = draw(st.integers(0, 3)), draw(CHANNELS | st.just(0)), *size
    x = np.random.default_rng(draw(SEEDS)).standard_normal(shape).astype(draw(DTYPES))
    return x, window, draw(layouts)
