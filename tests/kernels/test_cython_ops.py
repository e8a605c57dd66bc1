"""Everything but convolution in the compiled core: whose bits, in which order, and no others.

Three kinds of oracle.  Where the operations are NumPy's, one by one (ReLU6, hardswish,
BatchNorm, pooling): NumPy's bits.  Where an order of summation is promised: the same order in
a loop of Python.  Where FMAs are: the C library's fma.  The other tests hold that a result
knows nothing of threads, registers, neighbours in the batch, and memory order.
"""

from __future__ import annotations

import inspect
import math

import numpy as np
import pytest
from drawing import pools
from hypothesis import given
from hypothesis import strategies as st
from needs import needs
from order import cut, fma_chain, in_two_words, product, row_of_chains, sum_by_the_rule

from minigrad import threads
from minigrad.geometry import ConvSpec
from minigrad.kernels import cython as ops
from minigrad.kernels import numpy as numpy_backend
from minigrad.kernels.contract import CHAIN, FUNCTIONS, INNER, PoolWindow
from minigrad.kernels.cython.core import core, levels
from minigrad.kernels.cython.core import level as on
from minigrad.kernels.cython.layout import pixels as to_pixels
from minigrad.kernels.cython.pooling import bind_global_avg_pool, max_pool2d_values

pytestmark = needs("cython")

LEVELS = levels()
WITH_FMA = [level for level in LEVELS if level != "baseline"]
DTYPES = [np.float32, np.float64]
dtypes = st.sampled_from(DTYPES)
seeds = st.integers(0, 2**32 - 1)


@pytest.fixture(params=LEVELS)
def level(request):
    """Every level that this CPU runs, one after another."""
    with on(request.param):
        yield request.param


def same(a, b):
    """Equal shapes, dtypes and bits; a NaN is a NaN."""
    word = {4: np.uint32, 8: np.uint64}[a.itemsize]
    if a.shape != b.shape or a.dtype != b.dtype:
        return False
    bits = np.ascontiguousarray(a).view(word) == np.ascontiguousarray(b).view(word)
    return bool((bits | ((a != a) & (b != b)).reshape(bits.shape)).all())


def results(value):
    return value if isinstance(value, tuple) else (value,)


def all_same(a, b):
    return all(same(p, q) for p, q in zip(results(a), results(b), strict=True))


def normal(shape, dtype, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(dtype)


def odd_layouts(x):
    """The values of x in the memory orders that a user can bring along."""
    yield np.asfortranarray(x)
    if x.ndim == 4:
        yield np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
        yield np.ascontiguousarray(x.transpose(2, 0, 1, 3)).transpose(1, 2, 0, 3)
    wide = np.full([2 * n + 1 for n in x.shape], -77, x.dtype)
    inside = wide[tuple(slice(1, None, 2) for _ in x.shape)]
    inside[...] = x
    yield inside
    yield np.ascontiguousarray(x[..., ::-1])[..., ::-1]
    raw = np.zeros(x.nbytes + 1, np.uint8)
    unaligned = raw[1:].view(x.dtype).reshape(x.shape)
    unaligned[...] = x
    unaligned.flags.writeable = False
    yield unaligned
    packed = np.zeros(x.shape, np.dtype({"names": ["x"], "formats": [x.dtype], "itemsize": 13}))
    packed["x"] = x
    yield packed["x"]


WINDOW = PoolWindow((3, 3), (2, 2), ((1, 1), (1, 1)))


def calls(dtype, n=3):
    """{name: (function of arrays, its arrays)}: every function, on sizes that fit no register."""
    x, g = normal((n, 21, 9, 7), dtype), normal((n, 21, 5, 4), dtype, 1)
    mean, gamma, beta, var = (normal(21, dtype, k) for k in range(2, 6))
    rows, w, bias = normal((n + 6, 131), dtype, 6), normal((37, 131), dtype, 7), normal(37, dtype)
    _, index = numpy_backend.max_pool2d(x, WINDOW)
    elementwise = ("relu", "relu6", "hardsigmoid", "hardswish", "sigmoid", "silu", "tanh", "exp")
    summed = ((0, 2, 3), (2, 3), (0,), (1,), (3,), (1, 3), (0, 1, 2, 3), (0, 1, 2))
    table = {name: (getattr(ops, name), [x]) for name in elementwise}
    table |= {f"sum {axes}": (lambda x, axes=axes: ops.sum(x, axes, False), [x]) for axes in summed}
    dy = normal(x.shape, dtype, 10)
    table |= {f"{f}_input_grad": (getattr(ops, f"{f}_input_grad"), [dy, 3 * x])
              for f in (*elementwise[:-1], "softmax", "log_softmax")}  # fmt: skip
    return table | {
        "log": (ops.log, [np.abs(x)]),
        "softmax": (ops.softmax, [x]),
        "log_softmax": (ops.log_softmax, [x]),
        "linear": (ops.linear, [rows, w, bias]),
        "batch_norm": (lambda *a: ops.batch_norm(*a, 1e-5), [x, mean, var**2, gamma, beta]),
        "max_pool2d": (lambda x: ops.max_pool2d(x, WINDOW), [x]),
        "max_pool2d_gather": (ops.max_pool2d_gather, [x, index]),
        "max_pool2d_input_grad": (
            lambda g, index: ops.max_pool2d_input_grad(g, index, (len(g), 21, 9, 7)),
            [g, index],
        ),
        "avg_pool2d": (lambda x: ops.avg_pool2d(x, WINDOW), [x]),
        "avg_pool2d_input_grad": (
            lambda g: ops.avg_pool2d_input_grad(g, (len(g), 21, 9, 7), WINDOW),
            [g],
        ),
        "global_avg_pool": (ops.global_avg_pool, [x]),
        "batch_norm_statistics": (ops.batch_norm_statistics, [x]),
        "batch_norm_sums": (
            lambda *a: ops.batch_norm_sums(*a, 1e-5),
            [normal(x.shape, dtype, 9), x, mean, var**2],
        ),
        "batch_norm_input_grad": (
            lambda *a: ops.batch_norm_input_grad(*a, 1e-5),
            [normal(x.shape, dtype, 9), x, mean, var**2, gamma],
        ),
    }


NAMES = list(calls(np.float32))


def test_every_function_of_the_contract_is_compiled_and_exercised_here():
    others = [name for name, function in FUNCTIONS.items() if not function.by_kind]
    assert {name.split()[0] for name in NAMES} >= set(others)
    functions = (inspect.unwrap(getattr(ops, f)) for f in others)
    # What a method does (``kernels/batch_norm``) it does with the functions that it was made of.
    parts = [part for f in functions for part in getattr(f, "__self__", [f])]
    assert all("cython" in part.__module__ for part in parts)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", NAMES)
class TestTheResultKnowsNothingOf:
    @pytest.mark.fma
    def test_the_registers(self, name, dtype):
        function, arrays = calls(dtype)[name]
        expected = function(*arrays)
        for level in WITH_FMA:
            with on(level):
                assert all_same(function(*arrays), expected), level

    def test_the_number_of_threads(self, name, dtype):
        function, arrays = calls(dtype, n=60)[name]
        with threads(1):
            expected = function(*arrays)
        for n in (2, 3, 4):
            with threads(n):
                assert all_same(function(*arrays), expected)

    def test_the_memory_order(self, name, dtype, level):
        function, arrays = calls(dtype)[name]
        expected = function(*arrays)
        for k, array in enumerate(arrays):
            for other in odd_layouts(array):
                given = [*arrays[:k], other, *arrays[k + 1 :]]
                assert all_same(function(*given), expected), (k, other.strides)

    def test_the_other_images_of_the_batch(self, name, dtype, level):
        function, arrays = calls(dtype)[name]
        if name.startswith(("sum (0", "batch_norm_")):
            return  # it sums over the batch
        whole = results(function(*arrays))
        for n in range(len(arrays[0])):
            alone = [a[n : n + 1] if a.ndim == 4 or a is arrays[0] else a for a in arrays]
            for y, w in zip(results(function(*alone)), whole, strict=True):
                assert same(y, w[n : n + 1])

    def test_what_it_was_given_and_returns_new_memory(self, name, dtype):
        function, arrays = calls(dtype)[name]
        before = [a.copy() for a in arrays]
        for a in arrays:
            a.flags.writeable = False
        for y in results(function(*arrays)):
            assert y.flags.writeable
            assert not any(np.shares_memory(y, a) for a in arrays)
        assert all(same(a, b) for a, b in zip(arrays, before, strict=True))


SHAPES = st.lists(st.integers(0, 9), max_size=5).map(tuple)


@given(st.sampled_from(DTYPES), seeds)
def test_slopes_are_numpys_operations_one_by_one(dtype, seed):
    rng = np.random.default_rng(seed)
    g, at = rng.normal(size=101).astype(dtype), (4 * rng.normal(size=101)).astype(dtype)
    at[:9] = [0, -0.0, 3, -3, 6, np.inf, -np.inf, np.nan, 1e-40]
    for name in ("relu", "relu6", "hardsigmoid", "hardswish", "sigmoid", "tanh"):
        function = f"{name}_input_grad"
        with np.errstate(invalid="ignore"):
            expected = getattr(numpy_backend, function)(g, at)
        assert same(getattr(ops, function)(g, at), expected), name


@given(SHAPES, dtypes, st.sampled_from(LEVELS), seeds)
def test_clamps_are_numpys_operations_one_by_one(shape, dtype, level, seed):
    x = (normal(shape, dtype, seed) * 5).astype(dtype).reshape(shape)
    with on(level):
        for name in ("relu", "relu6", "hardsigmoid", "hardswish"):
            assert same(getattr(ops, name)(x), np.asarray(getattr(numpy_backend, name)(x))), name


@pytest.mark.parametrize("dtype", DTYPES)
def test_activations_at_the_edges(dtype, level):
    inf, nan = np.inf, np.nan
    x = np.array([nan, inf, -inf, -0.0, 0.0], dtype)
    expected = {
        "relu": [nan, inf, 0, -0.0, 0],
        "relu6": [nan, 6, 0, -0.0, 0],
        "hardsigmoid": [nan, 1, 0, 0.5, 0.5],
        "hardswish": [nan, inf, nan, -0.0, 0],
        "sigmoid": [nan, 1, 0, 0.5, 0.5],
        "silu": [nan, inf, nan, -0.0, 0],
        "tanh": [nan, 1, -1, -0.0, 0],
        "exp": [nan, inf, 0, 1, 1],
        "log": [nan, inf, nan, -inf, -inf],
    }
    for name, y in expected.items():
        assert same(getattr(ops, name)(x), np.array(y, dtype)), name


@pytest.mark.parametrize("shape", [(), (1,), (0, 3), (2, 3, 4, 5, 6)])
def test_elementwise_functions_keep_shape_and_memory_order(shape):
    x = np.asfortranarray(normal(shape, np.float32))
    y = ops.exp(x)
    assert y.shape == x.shape
    assert y.strides == x.strides


# --------------------------------------------------------------------------------- sums


LONG = [CHAIN - 1, CHAIN, CHAIN + 1, 3 * CHAIN]  # and so times the other axes


@st.composite
def sums(draw):
    shape = draw(st.lists(st.integers(1, 7), min_size=1, max_size=5))
    shape[draw(st.integers(0, len(shape) - 1))] = draw(st.integers(0, 70) | st.sampled_from(LONG))
    axes = draw(st.sets(st.integers(0, len(shape) - 1), min_size=1))
    return normal(shape, draw(dtypes), draw(seeds)), tuple(sorted(axes))


@given(sums(), st.sampled_from(LEVELS), st.booleans())
def test_a_sum_is_added_in_the_order_of_the_rule(case, level, channels_last):
    x, axes = case
    expected = sum_by_the_rule(x, axes).astype(x.dtype)
    if channels_last and x.ndim == 4:
        x = np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    with on(level):
        assert same(ops.sum(x, axes, False), expected)
        assert ops.sum(x, axes, True).shape == x.sum(axis=axes, keepdims=True).shape


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("length", [4095, 4096, 4097, 8192, 70001])
def test_a_long_row_is_cut_into_blocks(length, dtype, level):
    x = normal((2, length), dtype)
    expected = np.array([row_of_chains(r) for r in x]).astype(dtype)
    assert same(ops.sum(x, (1,), False), expected)
    assert same(ops.sum(x[0], (0,), False), expected[0])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", [1, 2, 3])
def test_a_long_column_is_cut_into_blocks_and_shared_between_threads(n, dtype, level):
    x = normal((5, 70, 31, 17), dtype)
    expected = sum_by_the_rule(x, (0, 2, 3)).astype(dtype)
    with threads(n):
        assert same(ops.sum(x, (0, 2, 3), False), expected)


def test_blocks_in_softmax_and_sum_are_cut_alike(level):
    x = np.zeros(16 * CHAIN * 20 + 4097, np.float32)
    x[1::3] = -3
    total = ops.sum(ops.exp(x), (0,), False)
    assert same(ops.softmax(x)[:1], (np.float32(1) / total)[None])


@pytest.mark.parametrize("dtype", DTYPES)
def test_an_infinite_sum_of_blocks_is_infinite_and_not_nan(dtype, level):
    x = np.zeros((3 * CHAIN, 40), dtype)
    x[5, 3], x[5, 4], x[2 * CHAIN, 4], x[2 * CHAIN, 5] = np.inf, np.inf, -np.inf, np.nan
    expected = np.zeros(40, dtype)
    expected[3:6] = np.inf, np.nan, np.nan
    with np.errstate(invalid="ignore"):
        assert same(ops.sum(x, (0,), False), expected)
        assert same(ops.sum(np.tile(x.T, 16), (1,), False), expected)


def test_sums_start_from_positive_zero_and_empty_ones_are_zero(level):
    assert same(ops.sum(np.full((3, 2), -0.0), (0,), False), np.zeros(2))
    assert same(ops.sum(np.full((3, 2), -0.0), (1,), False), np.zeros(3))
    assert same(ops.sum(np.empty((0, 2)), (0,), False), np.zeros(2))
    assert same(ops.sum(np.empty((2, 0)), (1,), False), np.zeros(2))
    assert ops.sum(np.empty((2, 0)), (0,), True).shape == (1, 0)


@given(st.integers(1, 4), st.integers(1, 3), st.integers(1, 300), dtypes, seeds)
def test_a_global_average_is_a_sum_and_a_division(n, c, pixels, dtype, seed):
    x = normal((n, c, pixels, 3), dtype, seed)
    expected = sum_by_the_rule(x, (2, 3))[:, :, None, None] / (pixels * 3)
    assert same(ops.global_avg_pool(x), expected.astype(dtype))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("n", "c", "side"), [(1, 20, 45), (2, 150, 48), (1, 3, 70), (1, 300, 30)])
def test_threads_share_the_blocks_of_a_bound_mean(n, c, side, dtype, level):
    """Maps of eight blocks and more, and one of fewer, in any number of threads."""
    x = to_pixels(normal((n, c, side, side), dtype)).transpose(0, 3, 1, 2)
    expected = sum_by_the_rule(x, (2, 3))[:, :, None, None] / (side * side)
    y = np.empty((n, c, 1, 1), dtype)
    call = bind_global_avg_pool(x, y)
    for count in (1, 2, 3, 5, 1):
        y[...] = np.nan
        call.run(count)
        assert same(y, expected.astype(dtype))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("width", [1, 7, 8, 16, 33, 130])
def test_three_planes_become_pixels(width, dtype, level):
    """A photograph's, and one cut out of a larger one, whose rows lie apart."""
    whole = normal((2, 3, 5, width + 3), dtype)
    for x in (whole, whole[:, :, 1:4, 2 : width + 2]):
        y = np.full(to_pixels(x).size + 8, np.nan, dtype)
        inside = y[4:-4].reshape(x.shape[0], *x.shape[2:], 3)
        core.copy_map(x, inside.transpose(0, 3, 1, 2), 2)
        assert np.array_equal(inside, x.transpose(0, 2, 3, 1))
        assert np.isnan(y[:4]).all()
        assert np.isnan(y[-4:]).all()


# ------------------------------------------------------------------------------ softmax


@given(st.integers(1, 70), st.integers(1, 5), dtypes, st.sampled_from(LEVELS), seeds)
def test_softmax_is_exp_sum_and_division(length, rows, dtype, level, seed):
    x = normal((rows, length), dtype, seed) * dtype(30)
    top = x.max(axis=1, keepdims=True)
    with on(level):
        e = ops.exp(x - top)
        total = np.array([row_of_chains(r) for r in e], dtype)[:, None]
        assert same(ops.softmax(x), e / total)
        assert same(ops.log_softmax(x), (x - top) - ops.log(total))


@pytest.mark.parametrize("dtype", DTYPES)
def test_softmax_at_the_edges(dtype, level):
    inf, nan = np.inf, np.nan
    infinite = [[-inf, 0, 0], [inf, 0, 0], [-inf, -inf, -inf], [nan, 0, 0], [1e38, -1e38, 0]]
    rows = np.array(infinite, dtype)
    half = np.log(dtype(2))
    assert same(ops.softmax(rows[:1]), np.array([[0, 0.5, 0.5]], dtype))
    assert np.isnan(ops.softmax(rows[1:4])).all()
    assert same(ops.softmax(rows[4:]), np.array([[1, 0, 0]], dtype))
    assert ops.log_softmax(rows[0])[0] == -inf
    np.testing.assert_allclose(ops.log_softmax(rows[0])[1:], -half, rtol=4 * np.finfo(dtype).eps)
    wide = normal((3, 70), dtype)
    wide[0, 69], wide[1, 0] = nan, nan
    assert np.isnan(ops.softmax(wide)).all(axis=1).tolist() == [True, True, False]
    assert ops.softmax(np.empty((0, 4), dtype)).shape == (0, 4)
    assert ops.softmax(np.empty((4, 0), dtype)).shape == (4, 0)


# ------------------------------------------------------------------------------- linear


@st.composite
def linears(draw):
    n, i = draw(st.integers(0, 9)), draw(st.integers(0, 140))
    if n == 1:
        i = draw(st.sampled_from([INNER - 1, INNER, INNER + 1, 2 * INNER + 130]))
    o = draw(st.sampled_from([0, 1, 3, 5, 17, 33]))
    dtype, seed = draw(dtypes), draw(seeds)
    bias = normal(o, dtype, seed + 2) if draw(st.booleans()) else None
    w = normal((o, i), dtype, seed + 1)
    return normal((n, i), dtype, seed), np.asfortranarray(w) if draw(st.booleans()) else w, bias


@given(linears(), st.sampled_from(WITH_FMA))
def test_linear_adds_to_the_bias_one_fma_after_another(case, level):
    x, w, bias = case
    expected = np.zeros((len(x), len(w)), x.dtype)
    for n, o in np.ndindex(*expected.shape):
        expected[n, o] = product(x[n], w[o], 0.0 if bias is None else bias[o])
    with on(level):
        assert same(ops.linear(x, w, bias), expected)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", [1, 2, 7, 50])
def test_linear_is_a_pointwise_convolution_on_one_pixel(n, dtype):
    x, w, bias = normal((n, 300), dtype), normal((70, 300), dtype, 1), normal(70, dtype, 2)
    y = ops.pointwise_conv2d(x[:, :, None, None], w[:, :, None, None], bias, ConvSpec())
    assert same(ops.linear(x, w, bias), np.ascontiguousarray(y[:, :, 0, 0]))


@pytest.mark.parametrize("dtype", DTYPES)
def test_linear_is_exact_on_integers_and_within_the_bound(dtype, level):
    rng = np.random.default_rng(0)
    x, w, b = (rng.integers(-9, 10, s).astype(dtype) for s in ((50, 200), (70, 200), 70))
    assert same(ops.linear(x, w, b), x @ w.T + b)
    x, w, b = normal((50, 200), dtype), normal((70, 200), dtype, 1), normal(70, dtype, 2)
    wide = [a.astype(np.longdouble) for a in (x, w, b)]
    exact, size = (f(wide[0]) @ f(wide[1]).T + f(wide[2]) for f in (np.asarray, np.abs))
    u = np.finfo(dtype).eps / 2
    gamma = 402 * u / (1 - 402 * u)  # 200 products and 200 sums, when an FMA is two operations
    assert (np.abs(ops.linear(x, w, b) - exact) <= gamma * size).all()


# ---------------------------------------------------------------------------- BatchNorm


@given(
    st.integers(1, 3), st.integers(1, 40), st.integers(1, 120), dtypes, st.sampled_from(WITH_FMA),
    seeds,
)  # fmt: skip
def test_statistics_are_sums_over_the_batch_in_float64(n, c, h, dtype, level, seed):
    x = normal((n, c, h, 3), dtype, seed)
    mean = sum_by_the_rule(x, (0, 2, 3)) / (n * h * 3)
    with on(level):
        got = ops.batch_norm_statistics(x)
    assert same(got[0], mean.astype(dtype))
    var = [squares(x[:, k].ravel(), mean[k]) / (n * h * 3) for k in range(c)]
    assert same(got[1], np.array(var).astype(dtype))


def squares(row, mean):
    """The column rule for (x - mean)^2."""
    centred = cut(np.float64(row) - mean, CHAIN)
    return in_two_words([fma_chain(block, block) for block in centred])


@pytest.mark.parametrize("shape", [(5, 3), (2, 17, 4), (3, 33, 5, 4), (2, 3, 2, 3, 2)])
@pytest.mark.parametrize("dtype", DTYPES)
def test_batch_norm_gradients_are_their_formulas(shape, dtype, level):
    x, g, gamma = normal(shape, dtype), normal(shape, dtype, 1), normal(shape[1], dtype, 2)
    mean, var = ops.batch_norm_statistics(x)
    axes, column = (0, *range(2, len(shape))), (-1,) + (1,) * (len(shape) - 2)
    r = 1 / np.sqrt(var + dtype(1e-5))
    xhat = (x - mean.reshape(column)) * r.reshape(column)
    beta_bar, gamma_bar = ops.batch_norm_sums(g, x, mean, var, 1e-5)
    n, u = math.prod(shape) // shape[1], np.finfo(dtype).eps / 2
    for got, terms in ((beta_bar, g), (gamma_bar, g * xhat)):
        exact = terms.astype(np.longdouble).sum(axis=axes)
        assert (np.abs(got - exact) <= n * u / (1 - n * u) * np.abs(terms).sum(axis=axes)).all()
    wide = [v.astype(np.float64) for v in (g, x, mean, var)]
    a, b = ((t / n).astype(dtype).reshape(column) for t in ops.batch_norm_sums(*wide, 1e-5))
    dx = ops.batch_norm_input_grad(g, x, mean, var, gamma, 1e-5)
    assert same(dx, (gamma * r).reshape(column) * ((g - a) - xhat * b))


# -------------------------------------------------------------------------------- pools


@given(pools(), st.sampled_from(LEVELS))
def test_a_max_pool_without_places_has_the_same_maxima(case, level):
    x, window, layout = case
    with on(level):
        assert same(max_pool2d_values(layout(x), window), ops.max_pool2d(x, window)[0])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kernel", [(16, 16), (1, 257), (70, 31), (70, 40)])
def test_a_window_of_many_taps_is_cut_into_blocks(kernel, dtype, level):
    x = normal((2, 37, 70, 300), dtype)
    window = PoolWindow(kernel, kernel)
    first = x[:, :, : kernel[0], : kernel[1]]
    expected = (sum_by_the_rule(first, (2, 3)) / math.prod(kernel)).astype(dtype)
    assert same(ops.avg_pool2d(x, window)[:, :, 0, 0], expected)
