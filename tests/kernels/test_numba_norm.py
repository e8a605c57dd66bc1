"""BatchNorm in training: the Numba engine has the compiled core's bits, and those of the rule."""

from __future__ import annotations

import ctypes
import ctypes.util

import numpy as np
from drawing import DTYPES, SEEDS, THREADS, batches, same_bits
from hypothesis import given
from hypothesis import strategies as st
from needs import needs

from minigrad.kernels import cython
from minigrad.kernels import numba as numba_backend
from minigrad.kernels.contract import CHAIN
from minigrad.threads import threads

pytestmark = needs("numba")
compiled = needs("cython")

EPS = 1e-5


def all_same_bits(got, expected):
    for a, b in zip(got, expected, strict=True):
        same_bits(a, b)


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
