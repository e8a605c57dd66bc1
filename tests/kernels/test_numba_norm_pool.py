"""BatchNorm and the pools: the Numba engine has the compiled core's bits.

Pools and BatchNorm in evaluation leave no choice of order, so they are held to NumPy too,
which needs no compiled core.
"""

from __future__ import annotations

import ctypes
import ctypes.util

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minigrad.errors import ShapeError
from minigrad.kernels import cython
from minigrad.kernels import numba as numba_backend
from minigrad.kernels import numpy as numpy_backend
from minigrad.kernels.contract import CHAIN, PoolWindow
from minigrad.threads import threads

pytestmark = pytest.mark.skipif(
    numba_backend.UNAVAILABLE is not None, reason=str(numba_backend.UNAVAILABLE)
)
compiled = pytest.mark.skipif(cython.UNAVAILABLE is not None, reason=str(cython.UNAVAILABLE))

CHANNELS = st.sampled_from([1, 3, 8, 16, 17, 33, 64, 70, 131])
DTYPES = st.sampled_from([np.float32, np.float64])
SEEDS = st.integers(0, 2**32 - 1)
THREADS = st.sampled_from([1, 2, 4])
EPS = 1e-5


def same_bits(got, expected):
    """Bit for bit, signs of zero included; one NaN is as good as another."""
    assert got.dtype == expected.dtype
    assert got.shape == expected.shape
    np.testing.assert_array_equal(got, expected)
    there = ~np.isnan(expected)
    np.testing.assert_array_equal(np.signbit(got[there]), np.signbit(expected[there]))


def all_same_bits(got, expected):
    for a, b in zip(got, expected, strict=True):
        same_bits(a, b)


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


# ---------------------------------------------------------------------------- BatchNorm


@given(batches(least=0), THREADS)
def test_batch_norm_is_numpys_operations_one_by_one(case, workers):
    _, *given_ = case
    with threads(workers):
        got = numba_backend.batch_norm(*given_, EPS)
    same_bits(got, numpy_backend.batch_norm(*given_, EPS))


@compiled
@given(batches(), THREADS)
def test_batch_norm_of_a_batch_has_the_bits_of_the_core(case, workers):
    g, x, mean, var, gamma, _ = case
    calls = {
        "batch_norm_statistics": (x,),
        "batch_norm_sums": (g, x, mean, var, EPS),
        "batch_norm_input_grad": (g, x, mean, var, gamma, EPS),
    }
    for name, arguments in calls.items():
        with threads(workers):
            got = getattr(numba_backend, name)(*arguments)
        expected = getattr(cython, name)(*arguments)
        if name == "batch_norm_input_grad":
            got, expected = (got,), (expected,)
        all_same_bits(got, expected)


_fma = ctypes.CDLL(ctypes.util.find_library("m")).fma
_fma.restype, _fma.argtypes = ctypes.c_double, [ctypes.c_double] * 3


def sum_of_products(a, b):
    """sum a b in float64: chains of CHAIN fused multiply-adds, added in two words."""
    pairs = list(zip(a.astype(float).tolist(), b.astype(float).tolist(), strict=True))
    hi = lo = 0.0
    for start in range(0, len(pairs), CHAIN):
        chain = 0.0
        for x, y in pairs[start : start + CHAIN]:
            chain = _fma(x, y, chain)
        total = hi + chain
        part = total - hi
        hi, lo = total, lo + ((hi - (total - part)) + (chain - part))
    return hi + lo


@given(st.integers(1, 3), st.integers(1, 3), st.sampled_from([1, 2, 9, 16, 40]), DTYPES, SEEDS)
def test_the_sums_of_a_batch_are_blocks_of_chains(n, c, h, dtype, seed):
    """The rule itself, for whoever has no compiled core."""
    x, g = np.random.default_rng(seed).standard_normal((2, n, c, h, 9)).astype(dtype)
    pixels = [v.transpose(1, 0, 2, 3).reshape(c, n * h * 9) for v in (x, g)]
    ones, count = np.ones(n * h * 9), n * h * 9
    means = np.array([sum_of_products(ones, v) / count for v in pixels[0]])
    centred = pixels[0].astype(float) - means[:, None]
    squares = np.array([sum_of_products(d, d) / count for d in centred])
    mean, var = numba_backend.batch_norm_statistics(x)
    same_bits(mean, means.astype(dtype))
    same_bits(var, squares.astype(dtype))
    r = 1 / np.sqrt(var.astype(float) + EPS)
    centred = pixels[0].astype(float) - mean.astype(float)[:, None]
    totals = np.array([sum_of_products(ones, v) for v in pixels[1]])
    products = np.array([sum_of_products(v, d) for v, d in zip(pixels[1], centred, strict=True)])
    along, across = numba_backend.batch_norm_sums(g, x, mean, var, EPS)
    same_bits(along, totals.astype(dtype))
    same_bits(across, (products * r).astype(dtype))
    channel = (slice(None), None, None)
    a, b = (v.astype(dtype)[channel] for v in (totals / count, (products * r) / count))
    r = 1 / np.sqrt(var + dtype(EPS))
    dx = (g - a) - (x - mean[channel]) * r[channel] * b
    same_bits(numba_backend.batch_norm_input_grad(g, x, mean, var, mean, EPS),
              (mean * r)[channel] * dx)  # fmt: skip


# -------------------------------------------------------------------------------- pools


@st.composite
def pools(draw):
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


@given(pools(), THREADS, st.booleans())
def test_max_pool_finds_numpys_maxima_and_the_cores(case, workers, flaws):
    x, window, layout = case
    x = np.round(x)  # ties
    if flaws:
        x.flat[::3], x.flat[1::7], x.flat[2::11] = np.nan, -np.inf, np.inf
    y, index = numpy_backend.max_pool2d(x, window)
    with threads(workers):
        got, places = numba_backend.max_pool2d(layout(x), window)
    same_bits(got, y)
    np.testing.assert_array_equal(places, index)
    assert places.dtype == np.int64
    if cython.UNAVAILABLE is None:
        np.testing.assert_array_equal(places, cython.max_pool2d(x, window)[1])


@given(pools(), THREADS, SEEDS)
def test_a_chosen_maximum_is_gathered_and_scattered_in_order(case, workers, seed):
    x, window, layout = case
    shape, pixels = window.output_shape(x.shape), x.shape[2] * x.shape[3]
    rng = np.random.default_rng(seed)
    index = rng.integers(0, min(pixels, 3), shape)  # few places, so that many meet
    g = rng.standard_normal(shape).astype(x.dtype)
    with threads(workers):
        gathered = numba_backend.max_pool2d_gather(layout(x), index)
        dx = numba_backend.max_pool2d_input_grad(layout(g), index, x.shape)
    same_bits(gathered, numpy_backend.max_pool2d_gather(x, index))
    same_bits(dx, numpy_backend.max_pool2d_input_grad(g, index, x.shape))
    if cython.UNAVAILABLE is None:
        same_bits(dx, cython.max_pool2d_input_grad(g, index, x.shape))


@given(pools(), THREADS, st.booleans())
def test_avg_pool_adds_numpys_taps_and_the_cores_in_their_order(case, workers, count_include_pad):
    x, window, layout = case
    if (numpy_backend.pooling.divisor(x.shape, window, count_include_pad) < 1).any():
        return  # a mean of nothing
    how = window, count_include_pad
    y = numpy_backend.avg_pool2d(x, *how)
    with threads(workers):
        got = numba_backend.avg_pool2d(layout(x), *how)
        dx = numba_backend.avg_pool2d_input_grad(layout(y), x.shape, *how)
    same_bits(got, y)
    same_bits(dx, numpy_backend.avg_pool2d_input_grad(y, x.shape, *how))
    if cython.UNAVAILABLE is None:
        same_bits(got, cython.avg_pool2d(x, *how))
        same_bits(dx, cython.avg_pool2d_input_grad(y, x.shape, *how))


def test_a_window_wholly_on_padding_has_no_maximum():
    window = PoolWindow((1, 1), (1, 1), ((1, 0), (0, 0)))
    y, index = numba_backend.max_pool2d(np.ones((1, 3, 1, 1)), window)
    assert y[0, :, 0, 0].tolist() == [-np.inf] * 3
    assert index[0, :, 0, 0].tolist() == [-1] * 3


# ------------------------------------------------------------------------------- errors


@pytest.mark.parametrize("wrong", [-1, 12, 2**40])
def test_an_index_outside_of_the_map_is_refused(wrong):
    x, index = np.ones((1, 2, 3, 4)), np.zeros((1, 2, 2, 2), np.int64)
    index[0, 1, 1, 1] = wrong
    with pytest.raises(ShapeError, match="outside of the map"):
        numba_backend.max_pool2d_gather(x, index)
    with pytest.raises(ShapeError, match="outside of the map"):
        numba_backend.max_pool2d_input_grad(np.ones((1, 2, 2, 2)), index, x.shape)
