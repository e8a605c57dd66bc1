"""Each operation against the textbook: values, slopes, and the conventions at the edges."""

from __future__ import annotations

import math

import numpy as np
import pytest

import minigrad as mg
from minigrad.errors import DtypeError, ShapeError
from minigrad.kernels import BACKENDS, unavailable
from minigrad.tensor import Tensor
from minigrad.verify.bounds import step_bound

pytestmark = pytest.mark.usefixtures("double")

rng = np.random.default_rng(7)


def slope(f, x):
    return mg.grad(lambda t: f(t).sum())(np.asarray(x, float)).numpy()


def sigmoid(x):
    return 1 / (1 + math.exp(-x))


# name: (op, f, f', where)
FUNCTIONS = {
    "neg": (mg.neg, lambda x: -x, lambda x: -1, (-2, 0, 3)),
    "exp": (mg.exp, math.exp, math.exp, (-2, 0, 3)),
    "log": (mg.log, math.log, lambda x: 1 / x, (0.1, 1, 7)),
    "sqrt": (mg.sqrt, math.sqrt, lambda x: 0.5 / math.sqrt(x), (0.1, 1, 7)),
    "absolute": (mg.absolute, abs, lambda x: math.copysign(1, x), (-2, 3)),
    "power 3": (lambda x: x**3, lambda x: x**3, lambda x: 3 * x * x, (-2, 0, 3)),
    "power -0.5": (lambda x: x**-0.5, lambda x: x**-0.5, lambda x: -0.5 * x**-1.5, (0.1, 1, 7)),
    "relu": (mg.relu, lambda x: max(x, 0), lambda x: float(x > 0), (-2, 0, 3)),
    "relu6": (mg.relu6, lambda x: min(max(x, 0), 6), lambda x: float(0 < x < 6), (-1, 0, 3, 6, 7)),
    "clamp": (
        lambda x: mg.clamp(x, 0, 6), lambda x: min(max(x, 0), 6), lambda x: float(0 <= x <= 6),
        (-1, 0, 3, 6, 7),
    ),
    "hardsigmoid": (
        mg.hardsigmoid, lambda x: min(max(x + 3, 0), 6) / 6, lambda x: (-3 < x < 3) / 6,
        (-4, -3, 0, 1, 3, 4),
    ),
    "hardswish": (
        mg.hardswish, lambda x: x * min(max(x + 3, 0), 6) / 6,
        lambda x: 0 if x <= -3 else 1 if x >= 3 else (2 * x + 3) / 6, (-4, -3, -1.5, 0, 3, 4),
    ),
    "sigmoid": (mg.sigmoid, sigmoid, lambda x: sigmoid(x) * sigmoid(-x), (-30, -1, 0, 30)),
    "tanh": (mg.tanh, math.tanh, lambda x: 1 / math.cosh(x) ** 2, (-3, 0, 0.5)),
    "silu": (
        mg.silu, lambda x: x * sigmoid(x),
        lambda x: sigmoid(x) * (1 + x * sigmoid(-x)), (-30, -1, 0, 2),
    ),
}  # fmt: skip


@pytest.mark.parametrize(("op", "f", "derivative", "where"), FUNCTIONS.values(), ids=FUNCTIONS)
def test_values_and_slopes_of_a_function(op, f, derivative, where):
    x = np.array(where, float)
    np.testing.assert_allclose(op(Tensor(x)).numpy(), [f(v) for v in where], rtol=1e-14)
    # 1 - y cancels where a sigmoid is saturated: the error is one of the scale 1, not of y'.
    slopes = [derivative(v) for v in where]
    np.testing.assert_allclose(slope(op, x), slopes, rtol=1e-13, atol=np.finfo(float).eps)


TIES = {mg.maximum: ([0, 0.5, 1], [1, 0.5, 0]), mg.minimum: ([1, 0.5, 0], [0, 0.5, 1])}


@pytest.mark.parametrize("op", TIES, ids=["maximum", "minimum"])
def test_a_tie_gives_half_to_each(op):
    a, b = mg.grad(lambda a, b: op(a, b).sum(), argnums=(0, 1))([1.0, 2.0, 3.0], [2.0, 2.0, 2.0])
    assert (a.numpy().tolist(), b.numpy().tolist()) == TIES[op]


def test_max_shares_between_ties_and_gives_nan_its_due():
    assert slope(lambda x: x.max(), [1.0, 3.0, 3.0]).tolist() == [0, 0.5, 0.5]
    assert slope(lambda x: x.max(), [1.0, np.nan]).tolist() == [0, 1]


@pytest.mark.parametrize("name", ["relu", "relu6", "clamp", "hardsigmoid", "hardswish"])
def test_the_cotangent_of_nan_is_passed_on(name):
    """Never turned into 0, which would hide that something went wrong."""
    op = FUNCTIONS[name][0]
    assert np.isnan(op(Tensor([np.nan])).numpy()).all()
    assert slope(op, [np.nan]) != 0


def test_division_by_zero_is_ieee_754s():
    y = Tensor([1.0, -1.0, 0.0]) / Tensor([0.0, 0.0, 0.0])
    assert y.numpy()[:2].tolist() == [np.inf, -np.inf]
    assert np.isnan(y.numpy()[2])


def test_mask_keeps_nothing_of_what_it_hides():
    x = Tensor([np.nan, np.inf, 1.0], requires_grad=True)
    y = mg.mask(x, np.array([False, False, True]))
    assert y.numpy().tolist() == [0, 0, 1]
    y.backward([5.0, 5.0, 5.0])
    assert x.grad.numpy().tolist() == [0, 0, 5]


def test_astype_rounds_forward_and_its_cotangent_comes_back_in_the_old_dtype():
    x = Tensor([1 / 3], requires_grad=True)
    y = x.astype(np.float32)
    assert y.dtype == np.float32
    assert y.item() == np.float32(1 / 3)
    y.backward()
    assert x.grad.dtype == np.float64
    assert x.astype("float64") is x
    with pytest.raises(DtypeError, match="not int64"):
        x.astype(int)


INDICES = [1, -1, slice(1, None), (slice(None), 0), (..., 1), (None, 0), (0, 1, 2),
           (slice(None, None, -2), ..., slice(0, 0)), np.int64(1)]  # fmt: skip


@pytest.mark.parametrize("index", INDICES, ids=str)
def test_slices_are_numpys_and_their_gradient_marks_them(index):
    x = rng.normal(size=(2, 3, 4))
    assert np.array_equal(Tensor(x)[index].numpy(), x[index])
    marked = np.zeros(x.shape)
    marked[index] = 1
    assert np.array_equal(slope(lambda t: t[index], x), marked)


@pytest.mark.parametrize(
    ("a", "b"),
    [((3,), (3,)), ((2, 3), (3,)), ((3,), (3, 2)), ((2, 3), (3, 4)), ((5, 2, 3), (3, 4)),
     ((5, 1, 2, 3), (4, 3, 2)), ((3,), (5, 3, 2)), ((0, 2, 3), (3, 4)), ((2, 0), (0, 3))],
)  # fmt: skip
def test_matmul_is_numpys(a, b):
    a, b = rng.integers(-4, 5, a).astype(float), rng.integers(-4, 5, b).astype(float)
    y = mg.matmul(Tensor(a), Tensor(b))
    assert y.shape == (a @ b).shape
    assert np.array_equal(y.numpy(), a @ b)


def test_stacks_that_do_not_broadcast_are_refused():
    with pytest.raises(ShapeError, match="do not fit"):
        mg.matmul(Tensor(np.ones((2, 3, 4))), Tensor(np.ones((3, 4, 5))))


@pytest.mark.parametrize("axis", [None, 0, -1, (0, 2), ()])
@pytest.mark.parametrize("keepdims", [False, True])
def test_reductions_are_numpys(axis, keepdims):
    x = rng.integers(-4, 5, (2, 3, 4)).astype(float)
    how = {"axis": axis, "keepdims": keepdims}
    for op in (mg.sum, mg.mean, mg.max):
        expected = getattr(np, op.__name__)(x, **how)
        assert np.array_equal(op(Tensor(x), **how).numpy(), expected)
    expected = np.var(x, ddof=0, **how)
    np.testing.assert_allclose(mg.var(Tensor(x), correction=0, **how).numpy(), expected, rtol=1e-14)


def test_softmax_of_the_textbook():
    x = np.log([[1.0, 2.0, 5.0]])
    np.testing.assert_allclose(mg.softmax(Tensor(x)).numpy(), [[1 / 8, 2 / 8, 5 / 8]], rtol=1e-15)
    np.testing.assert_allclose(
        mg.log_softmax(Tensor(x)).numpy(), np.log([[1 / 8, 2 / 8, 5 / 8]]), rtol=1e-15
    )
    assert mg.softmax(Tensor(np.ones((0, 3)))).shape == (0, 3)
    assert mg.softmax(Tensor(np.ones((3, 0)))).shape == (3, 0)


# --- loss -------------------------------------------------------------------------------


def test_the_gradient_of_cross_entropy_is_p_minus_q_over_n():
    z, labels, eps = rng.normal(size=(4, 3)), [2, 0, 1, 1], 0.1
    p = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    q = (1 - eps) * np.eye(3)[labels] + eps / 3
    loss, slopes = mg.value_and_grad(mg.cross_entropy)(z, labels, eps)
    np.testing.assert_allclose(loss.item(), -(q * np.log(p)).sum() / 4, rtol=1e-14)
    np.testing.assert_allclose(slopes.numpy(), (p - q) / 4, atol=1e-15)


def test_a_class_of_probability_zero_costs_nothing_unless_it_is_the_label():
    z = Tensor([[0.0, -np.inf, 0.0]], requires_grad=True)
    loss = mg.cross_entropy(z, [0])
    loss.backward()
    assert loss.item() == math.log(2)
    assert z.grad.numpy().tolist() == [[-0.5, 0.0, 0.5]]
    assert mg.cross_entropy(z, [1]).item() == math.inf


def test_ignored_rows_do_not_count_and_nothing_left_is_nan():
    z = Tensor(rng.normal(size=(3, 2)))
    some = mg.cross_entropy(z, [1, -100, 0], ignore_index=-100)
    both = mg.cross_entropy(Tensor(z.numpy()[[0, 2]]), [1, 0])
    assert some.item() == pytest.approx(both.item(), rel=1e-15)
    assert math.isnan(mg.cross_entropy(z, [9, 9, 9], ignore_index=9).item())


@pytest.mark.parametrize(
    ("labels", "error", "message"),
    [
        ([0, 1, 3], ShapeError, r"labels must lie in 0\.\.2"),
        ([0, 1, -1], ShapeError, r"labels must lie in 0\.\.2"),
        ([0, 1], ShapeError, r"labels \(N,\), .*, got \(3, 3\), \(2,\)"),
        ([0.0, 1.0, 2.0], DtypeError, "labels must be an array of integers"),
    ],
)
def test_labels_that_are_none_are_refused(labels, error, message):
    with pytest.raises(error, match=message):
        mg.cross_entropy(Tensor(np.zeros((3, 3))), labels)


# --- convolution and pooling ------------------------------------------------------------


def test_a_1x1_convolution_is_a_matrix_product_for_each_pixel():
    x, w = rng.integers(-4, 5, (2, 3, 4, 5)) * 1.0, rng.integers(-4, 5, (6, 3, 1, 1)) * 1.0
    y = mg.conv2d(Tensor(x), Tensor(w)).numpy()
    assert np.array_equal(y, np.einsum("oi,nihw->nohw", w[:, :, 0, 0], x))


def test_convolution_with_a_unit_filter_shifts_the_image():
    x = rng.normal(size=(1, 1, 5, 5))
    w = np.zeros((1, 1, 3, 3))
    w[0, 0, 0, 2] = 1  # the pixel above right
    y = mg.conv2d(Tensor(x), Tensor(w), padding=1).numpy()
    assert np.array_equal(y[0, 0, 1:, :-1], x[0, 0, :-1, 1:])
    assert not y[0, 0, 0].any()
    assert not y[0, 0, :, -1].any()


def test_same_keeps_the_odd_pixel_after():
    x = Tensor(np.arange(1.0, 5).reshape(1, 1, 1, 4))
    w = Tensor(np.array([1.0, 10, 100]).reshape(1, 1, 1, 3))
    same = mg.conv2d(x, w, stride=2, padding="same").numpy().ravel()
    assert same.tolist() == [321, 43]  # windows 1 2 3 and 3 4 0: the pad is behind
    symmetric = mg.conv2d(x, w, stride=2, padding=(0, 1)).numpy().ravel()
    assert symmetric.tolist() == [210, 432]


def test_groups_are_convolutions_side_by_side():
    x, w = rng.integers(-4, 5, (1, 4, 5, 5)) * 1.0, rng.integers(-4, 5, (6, 2, 3, 3)) * 1.0
    together = mg.conv2d(Tensor(x), Tensor(w), groups=2).numpy()
    apart = [
        mg.conv2d(Tensor(x[:, 2 * g : 2 * g + 2]), Tensor(w[3 * g : 3 * g + 3])).numpy()
        for g in range(2)
    ]
    assert np.array_equal(together, np.concatenate(apart, axis=1))


def test_max_pool_gives_its_cotangent_to_the_first_maximum():
    x = Tensor(np.array([[1.0, 5.0], [5.0, 2.0]]).reshape(1, 1, 2, 2), requires_grad=True)
    mg.max_pool2d(x, 2).backward(np.full((1, 1, 1, 1), 3.0))
    assert x.grad.numpy().tolist() == [[[[0, 3], [0, 0]]]]


def test_pads_count_in_a_mean_unless_told_otherwise():
    x = Tensor(np.full((1, 1, 2, 2), 4.0))
    counted = mg.avg_pool2d(x, 2, padding=1)
    assert counted.numpy().ravel().tolist() == [1, 1, 1, 1]
    alone = mg.avg_pool2d(x, 2, padding=1, count_include_pad=False)
    assert alone.numpy().ravel().tolist() == [4, 4, 4, 4]


@pytest.mark.parametrize(
    ("shape", "how", "message"),
    [
        ((1, 1, 4, 4), {"kernel_size": 5}, "does not fit an input of 4"),
        ((1, 1, 4, 4), {"kernel_size": 2, "padding": 2}, "touches nothing"),
        ((1, 1, 1, 1), {"kernel_size": 2, "dilation": 3, "padding": 2}, "touches nothing"),
        ((1, 4, 4), {"kernel_size": 2}, r"x must be \(N, C, H, W\)"),
        ((1, 1, 0, 4), {"kernel_size": 2}, "nothing to pool"),
        ((1, 1, 4, 4), {"kernel_size": 0}, "kernel_size must be an integer >= 1"),
    ],
)
def test_windows_without_a_value_are_refused(shape, how, message):
    with pytest.raises(ShapeError, match=message):
        mg.max_pool2d(Tensor(np.ones(shape)), **how)


def test_global_avg_pool_is_the_mean_of_each_map():
    x = rng.integers(-4, 5, (2, 3, 4, 4)).astype(float)
    y = mg.global_avg_pool(Tensor(x))
    assert np.array_equal(y.numpy(), x.mean(axis=(2, 3), keepdims=True))
    with pytest.raises(ShapeError, match="not empty"):
        mg.global_avg_pool(Tensor(np.ones((1, 1, 0, 3))))


# --- batch norm -------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(4, 3), (2, 3, 5), (2, 3, 4, 5)])
def test_batch_norm_in_training_normalises_with_the_biased_variance(shape):
    x, gamma, beta, eps = rng.normal(2, 3, shape), rng.normal(size=3), rng.normal(size=3), 1e-3
    axes = (0, *range(2, len(shape)))
    each = (1, 3, *(1,) * (len(shape) - 2))
    mean, var = x.mean(axis=axes), x.var(axis=axes)
    expected = (x - mean.reshape(each)) / np.sqrt(var.reshape(each) + eps)
    expected = expected * gamma.reshape(each) + beta.reshape(each)
    running = Tensor(np.full(3, 10.0)), Tensor(np.full(3, 20.0))
    y = mg.batch_norm(
        Tensor(x), *running, Tensor(gamma), Tensor(beta), training=True, momentum=0.25, eps=eps
    )
    m = x.size // 3
    np.testing.assert_allclose(y.numpy(), expected, rtol=1e-12)
    np.testing.assert_allclose(running[0].numpy(), 7.5 + 0.25 * mean, rtol=1e-14)
    np.testing.assert_allclose(running[1].numpy(), 15 + 0.25 * var * m / (m - 1), rtol=1e-13)


def test_batch_norm_in_training_is_the_composition_to_second_order():
    """The fused rules against the chain rule through mean, var and division."""

    def composed(x, gamma, beta):
        centred = x - x.mean(axis=0, keepdims=True)
        r = 1 / mg.sqrt((centred * centred).mean(axis=0, keepdims=True) + 1e-2)
        return centred * r * gamma + beta

    def fused(x, gamma, beta):
        return mg.batch_norm(x, None, None, gamma, beta, training=True, eps=1e-2)

    args = [Tensor(a) for a in (rng.normal(size=(5, 3)), *rng.normal(size=(2, 3)))]

    def derivatives(f, k):
        first = mg.grad(lambda *a: mg.exp(f(*a)).sum(), argnums=k)
        second = mg.grad(lambda *a: (first(*a) ** 2).sum())
        return first(*args).numpy(), second(*args).numpy()

    for k in range(3):
        for one, other in zip(derivatives(composed, k), derivatives(fused, k), strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-10)


def test_batch_norm_refuses_what_has_no_variance_or_no_statistics():
    x = Tensor(np.ones((1, 3)))
    with pytest.raises(ShapeError, match="at least 2 values a channel"):
        mg.batch_norm(x, None, None, training=True)
    with pytest.raises(ShapeError, match="evaluation needs running_mean"):
        mg.batch_norm(x, None, None)
    with pytest.raises(ShapeError, match=r"running_var must be \(3,\), got \(2,\)"):
        mg.batch_norm(x, Tensor(np.ones(3)), Tensor(np.ones(2)))


def test_evaluation_does_not_move_the_running_statistics():
    mean, var = Tensor(np.zeros(3)), Tensor(np.ones(3))
    mg.batch_norm(Tensor(rng.normal(size=(2, 3))), mean, var)
    assert mean.version.count == var.version.count == 0


# --- noise ------------------------------------------------------------------------------


def test_dropout_keeps_the_mean_and_drops_in_the_gradient_what_it_dropped():
    x = Tensor(np.ones(10_000), requires_grad=True)
    y = mg.dropout(x, 0.25, rng=np.random.default_rng(0))
    y.sum().backward()
    assert set(np.unique(y.numpy())) == {0, 1 / 0.75}
    assert np.array_equal(x.grad.numpy(), y.numpy())
    # Binomial: ten standard deviations of the share that is kept.
    assert abs((y.numpy() != 0).mean() - 0.75) < 10 * math.sqrt(0.25 * 0.75 / 10_000)


def test_stochastic_depth_drops_whole_images():
    y = mg.stochastic_depth(Tensor(np.ones((64, 2, 3))), 0.5, rng=np.random.default_rng(0)).numpy()
    kept = y.reshape(64, -1)
    assert set(np.unique(kept)) == {0, 2}
    assert np.array_equal(kept.min(axis=1), kept.max(axis=1))


@pytest.mark.parametrize("drop", [mg.dropout, mg.stochastic_depth])
def test_without_training_or_probability_nothing_happens(drop):
    x = Tensor(np.ones((2, 3)))
    assert drop(x, 0.5, training=False) is x
    assert drop(x, 0.0) is x
    assert not drop(x, 1.0).numpy().any()
    for p in (-0.1, 1.1, math.nan):
        with pytest.raises(ValueError, match="p must be a number >= 0 and <= 1"):
            drop(x, p)


# --- the bounds themselves --------------------------------------------------------------


def test_a_bound_is_not_so_wide_that_it_says_nothing():
    """A float32 sum of 1000 terms that are all near 1 is within 1e-4 of itself."""
    x = rng.uniform(0.5, 1.5, 1000)
    params = {"axes": (0,), "keepdims": False}
    bound = step_bound("sum", [x], params, x.sum(), np.float32)
    assert 0 < bound < 1e-4 * x.sum()


@pytest.mark.parametrize("backend", [b for b in BACKENDS if not unavailable(b)])
def test_a_window_larger_than_its_map_counts_in_ceil_mode(backend):
    """PyTorch gives 3 and 1.5; without ceil_mode there is no window at all."""
    x = mg.Tensor(np.arange(4.0).reshape(1, 1, 2, 2), requires_grad=True)
    how = {"kernel_size": 3, "stride": 2}
    with mg.backend(backend):
        largest = mg.max_pool2d(x, **how, ceil_mode=True)
        mean = mg.avg_pool2d(x, **how, ceil_mode=True)
        (largest * 10 + mean).backward()
    assert (largest.item(), mean.item()) == (3, 1.5)
    assert x.grad.numpy().ravel().tolist() == [0.25, 0.25, 0.25, 10.25]
    with pytest.raises(mg.ShapeError, match="does not fit"):
        mg.max_pool2d(x, **how)
