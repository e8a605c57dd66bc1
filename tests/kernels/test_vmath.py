"""exp, log, sigmoid, SiLU and tanh of the compiled core: the error that is promised in ULP.

One ULP is the distance of neighbouring floats at the exact result (in its binade; subnormal
results have the smallest subnormal).  float32 is judged by float64, which errs by 2^-28 ULP of
it; float64 by Python's decimal numbers.  `--full` tries every float32 there is.
"""

from __future__ import annotations

import importlib.util
import math
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal, localcontext
from pathlib import Path

import numpy as np
import pytest

from minigrad.kernels.cython.core import REASON, core, levels
from minigrad.kernels.cython.core import level as at_level
from minigrad.kernels.polynomials import POLYNOMIALS
from minigrad.threads import available_cpus

pytestmark = pytest.mark.skipif(REASON is not None, reason=str(REASON))

LEVELS = levels()
WITH_FMA = [level for level in LEVELS if level != "baseline"]
EXT = Path(__file__).parents[2] / "ext"

# Stated in ext/vmath.h: so many ULP; and, where the sigmoid is subnormal, so many |x| of the
# smallest subnormal number (beyond 755 the result is zero).
PROMISED = {"exp": 1.1, "log": 0.9, "sigmoid": 3.8, "silu": 4.5, "tanh": 2.6}
BESIDE = {"silu": 0.5}
VANISHED = 755
NAMES = list(PROMISED)


def computed(name, x):
    """The function, with the registers of the present level."""
    y = np.empty_like(x)
    core.elementwise(name, x, y, x.size, 1)
    return y


def on_level(level, name, x):
    """The function, with the registers of ``level``."""
    with at_level(level):
        return computed(name, x)


def same_numbers(a, b):
    """Equal bits; a NaN is a NaN."""
    word = np.uint32 if a.itemsize == 4 else np.uint64
    return bool(((a.view(word) == b.view(word)) | (np.isnan(a) & np.isnan(b))).all())


# ------------------------------------------------------------------------------ float32


def sigmoid64(x):
    e = np.exp(-np.abs(x))
    return np.where(x < 0, e, 1) / (1 + e)


EXACT = {
    "exp": np.exp,
    "log": np.log,
    "sigmoid": sigmoid64,
    "silu": lambda x: x * sigmoid64(x),
    "tanh": np.tanh,
}


def per_ulp(exact):
    """1 / ULP of float32 at each exact result, a power of two made of its exponent."""
    exponent = ((exact.view(np.int64) >> 52) & 0x7FF) - 1023
    return ((1023 + np.minimum(23 - exponent, 149)) << 52).view(np.float64)


@np.errstate(all="ignore")
def worst_error(name, words):
    """The largest error in ULP over the float32 that have these bits, on the present level."""
    x = words.view(np.float32)
    y, exact = computed(name, x), EXACT[name](x.astype(np.float64))
    nan, most = np.isnan(exact), 2.0**128  # where float32 ends: infinity stands for it
    clipped = np.clip(np.where(nan, 0, exact), -most, most)
    slack = BESIDE.get(name, 0) * np.clip(np.where(nan, 0, -x), 0, VANISHED) * 2.0**-149
    assert (np.isnan(y) == nan).all()
    got = np.clip(np.where(nan, 0, y.astype(np.float64)), -most, most)
    return float(((np.abs(got - clipped) - slack) * per_ulp(clipped)).max())


CHUNK = 2**18  # a few arrays of as many numbers fit in a cache


def some_floats(first, step):
    """The bits of CHUNK float32, every ``step``-th from ``first`` on."""
    last = min(first + CHUNK * step, 2**32)
    return np.arange(first, last, step, np.int64).astype(np.uint32)


def all_floats(step):
    """The bits of every ``step``-th float32, chunk by chunk."""
    return (some_floats(first, step) for first in range(0, 2**32, CHUNK * step))


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("name", NAMES)
def test_float32_is_within_the_promise(name, level):
    with at_level(level):  # a prime: every exponent, ever other mantissas
        worst = max(worst_error(name, words) for words in all_floats(step=4093))
    assert worst <= PROMISED[name]


@pytest.mark.full
@pytest.mark.parametrize("name", NAMES)
def test_every_float32_is_within_the_promise(name):
    """On one level: others with an FMA have its bits, and the rest every 4093rd number above."""
    firsts = range(0, 2**32, CHUNK)
    with at_level(LEVELS[0]), ThreadPoolExecutor(available_cpus()) as pool:
        worst = max(pool.map(lambda first: worst_error(name, some_floats(first, 1)), firsts))
    print(f"\n{name}: {worst}")
    assert worst <= PROMISED[name]


@pytest.mark.parametrize("name", NAMES)
def test_levels_with_an_fma_agree_to_the_bit(name):
    for words in all_floats(step=4093):
        x = words.view(np.float32)
        expected = on_level(WITH_FMA[0], name, x)
        assert all(same_numbers(on_level(level, name, x), expected) for level in WITH_FMA[1:])


def test_the_judge_of_errors_sees_one_ulp(monkeypatch):
    """A function that is off by one float must be found wrong, subnormal results included."""
    for x in (0.3, -100.0, 80.0):
        words = np.full(1, x, np.float32).view(np.uint32)
        right = np.exp(words.view(np.float32).astype(np.float64)).astype(np.float32)
        for off in (1, -1):
            wrong = (right.view(np.int32) + off).view(np.float32)
            monkeypatch.setitem(globals(), "computed", lambda *_, wrong=wrong: wrong)
            assert 0.5 < worst_error("exp", words) < 1.5


# ------------------------------------------------------------------------------ float64


def decimal_sigmoid(x):
    return 1 / (1 + (-x).exp())


def decimal_tanh(x):
    if abs(x) < Decimal("1e-12"):
        return x - x**3 / 3
    e = (2 * x).exp()
    return (e - 1) / (e + 1)


EXACT_DECIMAL = {
    "exp": Decimal.exp,
    "log": Decimal.ln,
    "sigmoid": decimal_sigmoid,
    "silu": lambda x: x * decimal_sigmoid(x),
    "tanh": decimal_tanh,
}


def samples(name, count):
    """Float64 over the whole range where the result is neither zero, one, nor infinite."""
    rng = np.random.default_rng(0)
    if name == "log":
        spread = np.ldexp(rng.uniform(1, 2, count), rng.integers(-1073, 1023, count))
        return np.concatenate([spread, rng.uniform(0.5, 2, count), rng.uniform(0.99, 1.01, count)])
    low, high = {"exp": (-745.2, 709.7), "tanh": (-20, 20)}.get(name, (-745.2, 40))
    tiny = np.ldexp(rng.uniform(-1, 1, count // 4), rng.integers(-1070, 0, count // 4))
    falling = rng.uniform(low, low + 37, count // 4)  # for exp and its kin: subnormal results
    return np.concatenate([rng.uniform(low, high, count), rng.uniform(-2, 2, count), tiny, falling])


def error_in_ulp(got, exact, slack):
    exponent = max(math.frexp(float(exact))[1] - 53, -1074) if float(exact) else -1074
    return (abs(Decimal(got) - exact) - slack) / Decimal(2) ** exponent


def largest_error_float64(name, count):
    x = samples(name, count)
    results = {level: on_level(level, name, x) for level in LEVELS}
    assert all(same_numbers(results[level], results[WITH_FMA[0]]) for level in WITH_FMA)
    worst = Decimal(0)
    with localcontext() as context:
        context.prec, context.Emin, context.Emax = 40, -99999, 99999
        for k, v in enumerate(x):
            exact = EXACT_DECIMAL[name](Decimal(float(v)))
            slack = Decimal(BESIDE.get(name, 0) * max(0, -v)) * Decimal(2) ** -1074
            worst = max(worst, *(error_in_ulp(float(y[k]), exact, slack) for y in results.values()))
    return float(worst)


@pytest.mark.parametrize("name", NAMES)
def test_float64_is_within_the_promise(name):
    assert largest_error_float64(name, 10_000) <= PROMISED[name]


@pytest.mark.full
@pytest.mark.parametrize("name", NAMES)
def test_float64_is_within_the_promise_on_many_more_samples(name):
    worst = largest_error_float64(name, 100_000)
    print(f"\n{name}: {worst}")
    assert worst <= PROMISED[name]


# ---------------------------------------------------------------------- known values


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("level", LEVELS)
class TestExactValues:
    def test_the_tail_of_an_array_has_the_bits_of_a_full_register(self, level, dtype):
        x = np.random.default_rng(0).normal(size=40).astype(dtype) * 3
        for name in NAMES:
            whole = on_level(level, name, x)
            for n in range(40):
                assert same_numbers(on_level(level, name, x[:n].copy()), whole[:n])

    def test_where_the_result_is_known(self, level, dtype):
        tiny = np.finfo(dtype).smallest_subnormal
        one, inf = dtype(1), dtype(np.inf)
        for name, x, y in [
            ("exp", 0, 1),
            ("exp", 1000, inf),
            ("exp", -1000, 0),
            ("log", 1, 0),
            ("log", 0, -inf),
            ("log", -tiny, np.nan),
            ("log", inf, inf),
            ("sigmoid", 0, 0.5),
            ("sigmoid", 1000, 1),
            ("sigmoid", -1000, 0),
            ("tanh", 50, 1),
            ("tanh", -50, -1),
            ("tanh", tiny, tiny),
            ("tanh", -tiny, -tiny),
            ("silu", tiny, one * tiny / 2),
            ("silu", -10000, -0.0),
            ("silu", 10000, 10000),
        ]:
            got = on_level(level, name, np.full(1, x, dtype))
            assert same_numbers(got, np.full(1, y, dtype)), (name, x, got)

    def test_tanh_is_odd_to_the_bit(self, level, dtype):
        x = np.random.default_rng(0).normal(size=1000).astype(dtype) * 5
        assert same_numbers(on_level(level, "tanh", -x), -on_level(level, "tanh", x))

    def test_nan_comes_out_of_every_lane(self, level, dtype):
        for lane in range(16):
            x = np.zeros(16, dtype)
            x[lane] = np.nan
            for name in NAMES:
                assert np.isnan(on_level(level, name, x)).tolist() == np.isnan(x).tolist()


def test_the_polynomials_are_those_of_the_script():
    spec = importlib.util.spec_from_file_location("coefficients", EXT / "coefficients.py")
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    assert {dtype: script.tables(dtype) for dtype in script.PRECISIONS} == POLYNOMIALS
