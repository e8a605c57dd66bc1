"""Sums at places, the transposes of resizing and taking, are exact ones rounded once."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minigrad.ops.scattering import CHAIN
from minigrad.sampling import MODES, Resizing, Taps, kept, resize_taps
from minigrad.tensor import PRIMITIVES

SIZES = st.one_of(st.integers(1, 40), st.sampled_from([CHAIN - 1, CHAIN, CHAIN + 1, 2 * CHAIN + 1]))
SEEDS, DTYPES = st.integers(0, 2**32 - 1), st.sampled_from(["f4", "f8"])


def drawn(seed: int, shape: tuple[int, ...], dtype: str) -> np.ndarray:
    """Numbers of many sizes and both signs, most of whose sums cancel."""
    rng = np.random.default_rng(seed)
    return (rng.normal(size=shape) * 10.0 ** rng.integers(-7, 8, shape)).astype(dtype)


def check(y: np.ndarray, terms: Iterator[tuple[int, float, float]]) -> None:
    """y[i] is the sum of its products, within the rounding at the end and CHAIN of float64."""
    exact, sizes = [Fraction(0)] * len(y), np.zeros(len(y))
    for i, a, b in terms:
        exact[i] += Fraction(a) * Fraction(b)
        sizes[i] += abs(a * b)
    for found, meant, size in zip(y.tolist(), exact, sizes, strict=True):
        ulp = float(np.spacing(np.abs(y.dtype.type(float(meant)))))
        assert abs(float(Fraction(found) - meant)) <= 0.5 * ulp + (CHAIN + 4) * 2.0**-53 * size


def products(taps: Taps, g: np.ndarray) -> Iterator[tuple[int, float, float]]:
    weights = np.array(taps.weights, g.dtype).tolist()
    for value, pixels, row in zip(g.tolist(), taps.pixels, weights, strict=True):
        for i, weight in zip(pixels, row, strict=True):
            yield i, value, weight


@given(
    n=SIZES, m=SIZES, mode=st.sampled_from(MODES), columns=st.booleans(), dtype=DTYPES, seed=SEEDS
)
def test_the_transpose_of_resizing(
    n: int, m: int, mode: str, columns: bool, dtype: str, seed: int
) -> None:
    taps, _ = resize_taps(n, m, m / n, Resizing(mode))
    taps, g = taps.written_out(), drawn(seed, (m,), dtype)
    names = ("columns", "rows") if columns else ("rows", "columns")
    shape = (1, 1, 1, m) if columns else (1, 1, m, 1)
    how = dict(zip(names, (taps, kept(1)), strict=True))
    y = PRIMITIVES["resample_input_grad"].forward(g.reshape(shape), **how)
    assert y.dtype == g.dtype
    check(y.reshape(-1), products(taps, g))


@given(n=SIZES, m=SIZES, dtype=DTYPES, seed=SEEDS)
def test_the_transpose_of_taking(n: int, m: int, dtype: str, seed: int) -> None:
    x, at = drawn(seed, (2, m), dtype), np.random.default_rng(seed).integers(0, n, (2, m))
    y = PRIMITIVES["put_along"].forward(x, at.astype(dtype), shape=(2, n), axis=1)
    assert y.dtype == x.dtype
    for row, values, places in zip(y, x.tolist(), at.tolist(), strict=True):
        check(row, zip(places, values, [1.0] * m, strict=True))


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_infinity_stays_infinity(dtype: str) -> None:
    taps, _ = resize_taps(2, 3 * CHAIN, 1.5 * CHAIN, Resizing())
    g = np.ones((1, 1, 3 * CHAIN, 1), dtype)
    g[0, 0, 0, 0], g[0, 0, -1, 0] = np.inf, np.nan
    y = PRIMITIVES["resample_input_grad"].forward(g, rows=taps, columns=kept(1))
    np.testing.assert_array_equal(y.reshape(-1), [np.inf, np.nan])
