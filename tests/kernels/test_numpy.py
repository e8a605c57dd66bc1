"""The NumPy backend against the reference: within the bound, and equal on integers."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minigrad.geometry import ConvSpec
from minigrad.kernels import numpy as kernels
from minigrad.kernels import reference
from minigrad.kernels.contract import CONV_FUNCTIONS, FUNCTIONS, PoolWindow, classify
from minigrad.verify import bounds
from minigrad.verify.strategies import LAYOUTS, conv_problems, laid_out, pool_windows

ACTIVATIONS = ("relu", "relu6", "hardsigmoid", "hardswish", "sigmoid", "silu", "tanh")
DTYPES = (np.float32, np.float64)
thorough = settings(max_examples=4 * settings().max_examples)


def calls(problem, x, w, bias, g):
    """The arguments of the three functions, under their names."""
    return {
        "conv2d": (x, w, bias, problem.spec),
        "conv2d_input_grad": (g, w, x.shape, problem.spec),
        "conv2d_weight_grad": (g, x, w.shape, problem.spec),
    }


def kernel(function, problem):
    """The function that serves this kind of convolution."""
    kind = classify(problem.spec, problem.w_shape)
    return getattr(kernels, f"{kind}_{function}", None) or getattr(kernels, function)


def wide(arguments):
    return [a.astype(np.float64) if isinstance(a, np.ndarray) else a for a in arguments]


@thorough
@given(conv_problems())
def test_every_value_is_within_its_bound(problem):
    for function, arguments in calls(problem, *problem.arrays()).items():
        exact = getattr(reference, function)(*wide(arguments))
        steps = getattr(bounds, f"{function}_roundings")(*arguments)
        allowed = steps.bound(problem.dtype) + steps.bound(np.float64)
        got = kernel(function, problem)(*arguments)
        assert got.dtype == problem.dtype
        assert got.shape == exact.shape
        assert np.all(np.abs(got - exact) <= allowed), function


@thorough
@given(conv_problems())
def test_integers_come_out_exactly(problem):
    for function, arguments in calls(problem, *problem.arrays(integers=True)).items():
        got = kernel(function, problem)(*arguments)
        assert np.array_equal(got, getattr(reference, function)(*arguments)), function


@thorough
@given(conv_problems())
def test_adjoints_are_exact_on_integers(problem):
    x, w, _, g = problem.arrays(integers=True)
    arguments = calls(problem, x, w, None, g)
    y, dx, dw = (kernel(name, problem)(*arguments[name]) for name in CONV_FUNCTIONS)
    assert np.vdot(y, g) == np.vdot(dx, x) == np.vdot(dw, w)


@given(conv_problems(max_terms=2000))
def test_depthwise_is_a_general_convolution(problem):
    """The function of its own, and the one for every kind, on the same call."""
    groups = problem.spec.groups
    problem = problem._replace(
        x_shape=(problem.x_shape[0], groups, *problem.x_shape[2:]),
        w_shape=(groups, 1, *problem.w_shape[2:]),
    )
    for function, arguments in calls(problem, *problem.arrays(integers=True)).items():
        own = getattr(kernels, f"depthwise_{function}")(*arguments)
        assert np.array_equal(own, getattr(kernels, function)(*arguments))


@pytest.mark.parametrize("layout", LAYOUTS)
@given(problem=conv_problems(max_terms=2000))
def test_any_strides_give_the_same_and_are_not_written_to(layout, problem):
    plain = problem.arrays(integers=True)
    placed = [laid_out(a, layout) for a in plain]
    for function, arguments in calls(problem, *placed).items():
        got = kernel(function, problem)(*arguments)
        assert np.array_equal(got, kernel(function, problem)(*calls(problem, *plain)[function]))
        assert got.flags.writeable
        assert not any(np.shares_memory(got, a) for a in placed if a.size)
    assert all(np.array_equal(a, b) for a, b in zip(plain, placed, strict=True))


@given(conv_problems(max_terms=2000))
def test_an_image_does_not_see_the_rest_of_the_batch(problem):
    x, w, bias, _ = problem.arrays(integers=True)
    together = kernel("conv2d", problem)(x, w, bias, problem.spec)
    for n in range(len(x)):
        alone = kernel("conv2d", problem)(x[n : n + 1], w, bias, problem.spec)
        assert np.array_equal(alone, together[n : n + 1])


@thorough
@given(pool_windows(), st.sampled_from(DTYPES), st.integers(0, 2**16))
def test_max_pool2d_is_the_references_also_for_ties_and_nan(drawn, dtype, seed):
    shape, window = drawn
    values = np.array([0, 0, 1, 1, 2, -np.inf, np.inf, np.nan], dtype)
    x = np.random.default_rng(seed).choice(values, shape)
    got, expected = kernels.max_pool2d(x, window), reference.max_pool2d(x, window)
    assert got[0].dtype == dtype
    assert np.array_equal(got[0], expected[0], equal_nan=True)
    assert np.array_equal(got[1], expected[1])


@given(pool_windows(), st.integers(0, 2**16))
def test_scatter_is_the_transpose_of_gather(drawn, seed):
    shape, window = drawn
    rng = np.random.default_rng(seed)
    x = rng.integers(-4, 5, shape).astype(float)
    y, where = kernels.max_pool2d(x, window)
    g = rng.integers(-4, 5, y.shape).astype(float)
    assert np.array_equal(kernels.max_pool2d_gather(x, where), y)
    assert np.vdot(y, g) == np.vdot(x, kernels.max_pool2d_input_grad(g, where, shape))


@thorough
@given(pool_windows(dilated=False), st.booleans(), st.sampled_from(DTYPES), st.integers(0, 2**16))
def test_avg_pool2d_is_the_references_within_the_bound(drawn, counted, dtype, seed):
    shape, window = drawn
    x = np.random.default_rng(seed).normal(size=shape).astype(dtype)
    got = kernels.avg_pool2d(x, window, counted)
    exact = reference.avg_pool2d(x.astype(np.float64), window, counted)
    params = {"window": window, "count_include_pad": counted}
    assert got.dtype == dtype
    assert np.all(np.abs(got - exact) <= bounds.step_bound("avg_pool2d", [x], params, exact, dtype))


@given(pool_windows(dilated=False), st.booleans(), st.integers(0, 2**16))
def test_avg_pool2d_input_grad_is_its_transpose(drawn, counted, seed):
    """Column by column: the pools of the unit images are the matrix, exactly transposed."""
    shape, window = drawn
    shape = (1, 1, *shape[2:])
    units = np.eye(math.prod(shape)).reshape(-1, 1, *shape[2:])
    matrix = kernels.avg_pool2d(units, window, counted).reshape(len(units), -1)
    outputs = np.eye(matrix.shape[1]).reshape(-1, *window.output_shape(shape)[1:])
    transposed = kernels.avg_pool2d_input_grad(outputs, (len(outputs), *shape[1:]), window, counted)
    assert np.array_equal(transposed.reshape(len(outputs), -1), matrix.T)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("function", [*ACTIVATIONS, "exp", "log"])
def test_functions_of_one_element_agree_with_python(function, dtype):
    """Python's own math, in float64, at the very points."""
    low = 0.01 if function == "log" else -20
    x = np.linspace(low, 20, 401).astype(dtype)
    exact = np.array([PYTHON[function](v) for v in x.tolist()])
    got = getattr(kernels, function)(x)
    assert got.dtype == dtype
    assert np.all(np.abs(got - exact) <= bounds.step_bound(function, [x], {}, exact, dtype))


def _hard(v):
    return min(max(v + 3, 0), 6) / 6


def _sigmoid(v):
    return 1 / (1 + math.exp(-v)) if v > 0 else math.exp(v) / (1 + math.exp(v))


PYTHON = {
    "relu": lambda v: max(v, 0),
    "relu6": lambda v: min(max(v, 0), 6),
    "hardsigmoid": _hard,
    "hardswish": lambda v: v * _hard(v),
    "sigmoid": _sigmoid,
    "silu": lambda v: v * _sigmoid(v),
    "tanh": math.tanh,
    "exp": math.exp,
    "log": math.log,
}


@pytest.mark.parametrize("shape", [(), (1,), (0, 3), (2, 3, 4)])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("function", [*ACTIVATIONS, "exp", "log"])
def test_shape_and_dtype_are_kept_down_to_0d(function, dtype, shape):
    y = getattr(kernels, function)(np.ones(shape, dtype))
    assert np.asarray(y).dtype == dtype
    assert np.shape(y) == shape


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("function", ACTIVATIONS)
def test_nan_goes_through_and_the_limits_are_right(function, dtype):
    huge = np.finfo(dtype).max / 8  # hardswish multiplies by 6 before it divides
    x = np.array([np.nan, -huge, huge], dtype)
    nan, below, above = getattr(kernels, function)(x)
    limits = {"relu6": (0, 6), "hardsigmoid": (0, 1), "sigmoid": (0, 1), "tanh": (-1, 1)}
    low, high = limits.get(function, (0, huge))
    assert np.isnan(nan)
    assert below == low
    assert above == high


@pytest.mark.parametrize("dtype", DTYPES)
def test_softmax_does_not_overflow(dtype):
    x = np.array([[1e4, 1e4 - 1, -1e4], [-1e4, -1e4, -1e4]], dtype)
    p, log_p = kernels.softmax(x), kernels.log_softmax(x)
    assert np.allclose(p[0], [1 / (1 + math.exp(-1)), 1 / (1 + math.e), 0], rtol=1e-6)
    assert np.allclose(p[1], 1 / 3)
    assert log_p[0, 2] == dtype(-2e4 - math.log1p(math.exp(-1)))


def test_the_backend_is_complete():
    missing = [f for f in (*CONV_FUNCTIONS, *FUNCTIONS) if not hasattr(kernels, f)]
    assert missing == []


def test_a_window_of_dilated_taps_reads_every_second_pixel():
    x = np.arange(16.0).reshape(1, 1, 4, 4)
    y, where = kernels.max_pool2d(x, PoolWindow((2, 2), (1, 1), dilation=(2, 2)))
    assert y.ravel().tolist() == where.ravel().tolist() == [10, 11, 14, 15]


# --- long sums ----------------------------------------------------------------------------


def long_sums():
    """A million values of the mean 1000, where one float32 after another loses everything."""
    x = np.random.default_rng(0).normal(1000, 1, (2, 2, 700, 700)).astype(np.float32)
    return x, x.astype(np.float64)


def test_a_mean_of_a_million_values_is_a_rounding_from_the_exact_one():
    x, wide = long_sums()
    mean, var = kernels.batch_norm_statistics(x)
    exact = wide.mean((0, 2, 3)), wide.var((0, 2, 3))
    for got, right in zip((mean, var), exact, strict=True):
        assert np.all(np.abs(got - right) <= np.spacing(got))
    pooled = kernels.global_avg_pool(x)[:, :, 0, 0]
    assert np.all(np.abs(pooled - wide.mean((2, 3))) <= np.spacing(pooled))
    for axes in ((0,), (0, 2, 3), (2, 3), (1,), (0, 1, 2, 3)):
        got, right = kernels.sum(x, axes, False), wide.sum(axes)
        assert np.all(np.abs(got - right) <= np.spacing(got)), axes


def test_a_float64_sum_loses_less_than_a_chain_of_additions():
    """Along the first axis too, where NumPy itself adds one row after another."""
    x = np.random.default_rng(0).normal(1, 1, (1 << 16, 4))
    exact = np.array([math.fsum(column) for column in x.T])
    assert np.all(np.abs(kernels.sum(x, (0,), False) - exact) <= 4 * np.spacing(exact))


def test_weight_gradients_of_ones_do_not_stop_at_the_last_integer():
    """float32 counts to 2^24 and stays there."""
    rows = 1 << 12
    x = np.ones((2, 1, rows, rows // 2 + 1), np.float32)
    count = x.size
    assert count > 1 << 24
    for w_shape, function in (((1, 1, 1, 1), kernels.conv2d_weight_grad),
                              ((1, 1, 1, 1), kernels.depthwise_conv2d_weight_grad)):  # fmt: skip
        assert function(x, x, w_shape, ConvSpec()).item() == np.float32(count)
    flat = x.reshape(1, -1)
    assert kernels.linear(flat, flat, None).item() == np.float32(count)
