"""The functions beside convolution: the Numba engine has the compiled core's bits.

Where the core is not built, the same calls are held to NumPy in float64, within the error
that the core states.
"""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from needs import needs

from minigrad.kernels import cython
from minigrad.kernels import numba as numba_backend
from minigrad.threads import threads

pytestmark = needs("numba")
compiled = needs("cython")

FUNCTIONS = ["relu", "relu6", "hardsigmoid", "hardswish", "sigmoid", "silu", "tanh", "exp", "log"]
DTYPES = [np.float32, np.float64]
EDGES = [0.0, -0.0, np.inf, -np.inf, np.nan, 1, -1, 3, -3, 6, 1e-40, -1e-40, 88.7, -87.3, -103.9]
EDGES += [709.7, -745, -750, 3e38, -3e38, 1e-310]


def same_bits(got, expected):
    """Bit for bit, signs of zero included; one NaN is as good as another."""
    assert got.dtype == expected.dtype
    assert got.shape == expected.shape
    np.testing.assert_array_equal(got, expected)
    there = ~np.isnan(expected)
    np.testing.assert_array_equal(np.signbit(got[there]), np.signbit(expected[there]))


def numbers(dtype, count=20_003):
    """General values, the edges, and (in float32) any bits at all."""
    rng = np.random.default_rng(11)
    parts = [np.array(EDGES), 5 * rng.standard_normal(count), 60 * rng.standard_normal(count)]
    x = np.concatenate(parts).astype(dtype)
    if dtype is np.float32:
        bits = rng.integers(0, 2**32, count, dtype=np.uint64).astype(np.uint32)
        x = np.concatenate([x, bits.view(np.float32)])
    return x


@compiled
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.fma
def test_functions_have_the_bits_of_the_core(name, dtype):
    x = numbers(dtype)
    same_bits(getattr(numba_backend, name)(x), getattr(cython, name)(x))


@compiled
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", FUNCTIONS[:7])
@pytest.mark.fma
def test_slopes_have_the_bits_of_the_core(name, dtype):
    at, function = numbers(dtype), f"{name}_input_grad"
    g = np.random.default_rng(12).permutation(at)
    same_bits(getattr(numba_backend, function)(g, at), getattr(cython, function)(g, at))
    g, at = (a[: 2 * 3 * 5 * 7].reshape(2, 3, 5, 7) for a in (g, at))
    last = np.ascontiguousarray(at.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    for module in (numba_backend, cython):
        same_bits(getattr(module, function)(g, last), getattr(cython, function)(g, at))


EXACT = {
    "relu": lambda x: np.maximum(x, 0),
    "relu6": lambda x: np.clip(x, 0, 6),
    "hardsigmoid": lambda x: np.clip(x + 3, 0, 6) / 6,
    "hardswish": lambda x: x * np.clip(x + 3, 0, 6) / 6,
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "silu": lambda x: x / (1 + np.exp(-x)),
    "tanh": np.tanh,
    "exp": np.exp,
    "log": lambda x: np.log(np.abs(x)),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_are_within_four_ulp_of_their_formulas(name):
    x = np.random.default_rng(2).uniform(-20, 20, 10_000).astype(np.float32)
    x = np.abs(x) if name == "log" else x
    exact = EXACT[name](x.astype(np.float64))
    got = getattr(numba_backend, name)(x)
    # x + 3 is rounded near -3, where hardswish and hardsigmoid are small.
    slack = 1e-6 if name.startswith("hard") else 0
    assert (np.abs(got - exact) <= 4 * np.spacing(np.abs(exact).astype(np.float32)) + slack).all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_place_of_a_number_changes_no_bit(dtype):
    """A full vector and a tail, one thread and several, this layout and that."""
    x = numbers(dtype)[: 16_384 * 2 + 5]
    for name in FUNCTIONS:
        function = getattr(numba_backend, name)
        whole = function(x)
        same_bits(np.concatenate([function(x[:3]), function(x[3:])]), whole)
        same_bits(function(x[::-1]), whole[::-1])
        with threads(1):
            same_bits(function(x), whole)


SHAPES = [(3, 5, 7, 11), (2, 16, 1, 1), (1, 1, 64, 80), (0, 3, 2, 2), (2, 33, 4, 4)]
AXES = [axes for r in range(5) for axes in itertools.combinations(range(4), r)]


@compiled
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES)
def test_sums_have_the_bits_of_the_core(shape, dtype):
    x = np.random.default_rng(1).standard_normal(shape).astype(dtype)
    last = np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    for axes in AXES:
        expected = cython.sum(x, axes, False)
        same_bits(numba_backend.sum(x, axes, False), expected)
        same_bits(numba_backend.sum(last, axes, False), expected)
    if x.size:
        same_bits(numba_backend.global_avg_pool(x), cython.global_avg_pool(x))


@compiled
@given(st.integers(0, 40), st.integers(1, 12_000), st.sampled_from(DTYPES))
@pytest.mark.fma
def test_rows_have_the_bits_of_the_core(seed, length, dtype):
    x = np.random.default_rng(seed).standard_normal((2, length)).astype(dtype)
    same_bits(numba_backend.sum(x, (1,), True), cython.sum(x, (1,), True))
    same_bits(numba_backend.softmax(x), cython.softmax(x))
    same_bits(numba_backend.log_softmax(x), cython.log_softmax(x))
    g = x[:, ::-1]
    for gradient, y in (("softmax", numba_backend.softmax(x)), ("log_softmax", x)):
        function = f"{gradient}_input_grad"
        same_bits(getattr(numba_backend, function)(g, y), getattr(cython, function)(g, y))


def test_sums_of_whole_numbers_are_exact():
    x = np.rint(9 * np.random.default_rng(1).standard_normal((3, 5, 7, 11))).astype(np.float32)
    for axes in AXES:
        np.testing.assert_array_equal(numba_backend.sum(x, axes, True), x.sum(axes, keepdims=True))


@compiled
@given(
    st.integers(0, 9), st.integers(0, 70), st.sampled_from([1, 3, 17, 33, 100]),
    st.sampled_from(DTYPES), st.booleans(),
)  # fmt: skip
@pytest.mark.fma
def test_linear_has_the_bits_of_the_core(n, inputs, outputs, dtype, with_bias):
    rng = np.random.default_rng(n)
    x, w, bias = (
        rng.standard_normal(shape).astype(dtype)
        for shape in ((n, inputs), (outputs, inputs), (outputs,))
    )
    bias = bias if with_bias else None
    same_bits(numba_backend.linear(x, w, bias), cython.linear(x, w, bias))


def test_a_softmax_sums_to_one_and_survives_large_numbers():
    x = np.array([[1e30, 1e30], [0.0, -1e30]], np.float32)
    np.testing.assert_array_equal(numba_backend.softmax(x), [[0.5, 0.5], [1, 0]])
