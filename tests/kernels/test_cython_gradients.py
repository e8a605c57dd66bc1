"""Both gradients of a convolution in the compiled core.

A wrong tap, weight or border breaks the adjoint identity on integers, where no rounding can
hide it; a wrong order of the sum leaves the value within its bound and changes its bits,
which Numba, with tiles and a compiler of its own, does not share.
"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from needs import needs
from order import weight

import minigrad as mg
from minigrad.geometry import conv_spec
from minigrad.kernels import cython, reference
from minigrad.kernels import numba as numba_backend
from minigrad.kernels import numpy as numpy_backend
from minigrad.kernels.contract import classify
from minigrad.kernels.cython import dense_gradients, layout
from minigrad.kernels.cython.core import core, levels
from minigrad.kernels.cython.core import level as at_level
from minigrad.verify.bounds import conv2d_input_grad_roundings, conv2d_weight_grad_roundings
from minigrad.verify.strategies import LAYOUTS, ConvProblem, conv_problems, laid_out

pytestmark = needs("cython")

FLOAT32, FLOAT64 = np.dtype(np.float32), np.dtype(np.float64)


def problem(x_shape, w_shape, dtype=FLOAT32, **window):
    return ConvProblem(x_shape, w_shape, conv_spec(x_shape, w_shape, **window), dtype, 7)


# Wider than a tile in every direction, with a rest: several panels of registers and tiles of
# rows, blocks of pixels, bands, merged taps, operands that AVX2 copies; more than the random
# problems have room for.
LARGE = {
    "pointwise, lanes from x": problem((2, 70, 23, 19), (33, 70, 1, 1)),
    "pointwise, lanes from g": problem((1, 17, 31, 20), (97, 17, 1, 1)),
    "pointwise, stride 2": problem((2, 19, 13, 12), (35, 19, 1, 1), stride=2),
    "dense 3x3": problem((2, 33, 12, 25), (50, 33, 3, 3), padding=1),
    "dense 3x3, stride 2": problem((1, 20, 13, 18), (37, 20, 3, 3), stride=2, padding=1),
    "dense 3x1": problem((1, 32, 14, 14), (64, 32, 3, 1), padding=(1, 0)),
    "stem": problem((2, 3, 21, 33), (40, 3, 3, 3), stride=2, padding=((0, 1), (1, 2))),
    "stem 7x7": problem((1, 3, 29, 31), (64, 3, 7, 7), stride=2, padding=((3, 2), (2, 3))),
    "grouped": problem((2, 24, 9, 11), (40, 12, 3, 3), padding=1, groups=2),
    "dilated": problem((1, 18, 15, 14), (35, 18, 3, 3), padding=2, dilation=2),
    "copied, strips of rows": problem((9, 81, 7, 7), (130, 81, 1, 1)),
    "copied, 1x3": problem((3, 70, 11, 14), (49, 70, 1, 3), padding=(0, 1)),
    "copied, grouped, stride 2": problem(
        (3, 110, 25, 23), (120, 55, 3, 3), stride=2, padding=1, groups=2
    ),
    "copied, one row": problem((1, 50, 1, 900), (52, 50, 1, 1)),
    "blocks apart": problem((9, 5, 21, 20), (37, 5, 1, 1)),
    "blocks apart, 3x1, stride 2": problem(
        (9, 17, 43, 41), (18, 17, 3, 1), stride=2, padding=(1, 0)
    ),
    "blocks apart, stem": problem((5, 3, 60, 61), (40, 3, 3, 3), stride=2, padding=1),
    "blocks apart, wide": problem((2, 3, 3, 830), (19, 3, 1, 3), padding=(0, 1)),
    "blocks apart, grouped": problem((9, 24, 20, 21), (20, 12, 1, 1), groups=2),
    "depthwise, many blocks": problem((9, 35, 22, 23), (35, 1, 3, 3), padding=1, groups=35),
    "depthwise, many blocks, stride 2": problem(
        (7, 17, 51, 40), (17, 1, 5, 5), stride=2, padding=2, groups=17
    ),
    "depthwise 3x3": problem((2, 70, 14, 27), (70, 1, 3, 3), padding=1, groups=70),
    "depthwise 3x3, stride 2": problem(
        (2, 37, 15, 28), (37, 1, 3, 3), stride=2, padding=1, groups=37
    ),
    "depthwise 5x5": problem((1, 40, 19, 21), (40, 1, 5, 5), padding=2, groups=40),
    "depthwise 5x5, stride 2": problem(
        (2, 19, 18, 21), (19, 1, 5, 5), stride=2, padding=2, groups=19
    ),
    "depthwise 3x3, pads of TensorFlow": problem(
        (1, 33, 16, 22), (33, 1, 3, 3), stride=2, padding="same", groups=33
    ),
    "depthwise 7x7": problem((1, 21, 12, 13), (21, 1, 7, 7), padding=3, groups=21),
    "depthwise, dilated": problem((1, 21, 12, 13), (21, 1, 3, 3), padding=2, dilation=2, groups=21),
}  # fmt: skip
large = pytest.mark.parametrize("name", LARGE)
dtypes = pytest.mark.parametrize("dtype", [FLOAT32, FLOAT64], ids=str)


def both(p: ConvProblem, x, w, g, **options):
    """dx and dw of the compiled core."""
    return (
        of(p, "input_grad")(g, w, p.x_shape, p.spec, **options),
        of(p, "weight_grad")(g, x, p.w_shape, p.spec, **options),
    )


def of(p: ConvProblem, gradient: str):
    """The function that serves a gradient of this kind."""
    depthwise = classify(p.spec, p.w_shape) == "depthwise"
    return getattr(cython, f"{'depthwise_' if depthwise else ''}conv2d_{gradient}")


def same_bits(got, expected):
    assert got.dtype == expected.dtype
    assert got.shape == expected.shape
    kind = {4: np.uint32, 8: np.uint64}[got.itemsize]
    np.testing.assert_array_equal(
        np.ascontiguousarray(got).view(kind), np.ascontiguousarray(expected).view(kind)
    )


@given(conv_problems())
def test_adjoint_identities_are_exact_on_integers(p):
    x, w, _, g = p.arrays(integers=True)
    y = reference.conv2d(x, w, None, p.spec)
    dx, dw = both(p, x, w, g)
    form = np.vdot(y.astype(np.float64), g)
    assert np.vdot(dx.astype(np.float64), x) == form == np.vdot(dw.astype(np.float64), w)


@given(conv_problems())
def test_every_element_is_the_reference_s_on_integers(p):
    x, w, _, g = p.arrays(integers=True)
    dx, dw = both(p, x, w, g)
    np.testing.assert_array_equal(dx, reference.conv2d_input_grad(g, w, p.x_shape, p.spec))
    np.testing.assert_array_equal(dw, reference.conv2d_weight_grad(g, x, p.w_shape, p.spec))


@large
@dtypes
def test_large_ones_are_exact_on_integers(name, dtype):
    p = LARGE[name]._replace(dtype=dtype)
    x, w, _, g = p.arrays(integers=True)
    dx, dw = both(p, x, w, g)
    wide = [a.astype(np.float64) for a in (x, w, g)]
    np.testing.assert_array_equal(
        dx, numpy_backend.conv2d_input_grad(wide[2], wide[1], p.x_shape, p.spec)
    )
    np.testing.assert_array_equal(
        dw, numpy_backend.conv2d_weight_grad(wide[2], wide[0], p.w_shape, p.spec)
    )


@given(conv_problems())
def test_every_element_is_within_its_bound(p):
    x, w, _, g = p.arrays()
    dx, dw = both(p, x, w, g)
    steps = conv2d_input_grad_roundings(g, w, p.x_shape, p.spec)
    exact = reference.conv2d_input_grad(
        g.astype(np.float64), w.astype(np.float64), p.x_shape, p.spec
    )
    assert (np.abs(dx - exact) <= steps.bound(p.dtype) + steps.bound(np.float64)).all()
    steps = conv2d_weight_grad_roundings(g, x, p.w_shape, p.spec)
    exact = reference.conv2d_weight_grad(
        g.astype(np.float64), x.astype(np.float64), p.w_shape, p.spec
    )
    assert (np.abs(dw - exact) <= steps.bound(p.dtype) + steps.bound(np.float64)).all()


numba = needs("numba")


@numba
@given(conv_problems())
@pytest.mark.fma
def test_numba_gives_the_same_bits(p):
    x, w, _, g = p.arrays()
    dx, dw = both(p, x, w, g)
    same_bits(dx, numba_backend.conv2d_input_grad(g, w, p.x_shape, p.spec))
    same_bits(dw, numba_backend.conv2d_weight_grad(g, x, p.w_shape, p.spec))


@pytest.mark.newest
@numba
@large
@dtypes
@pytest.mark.fma
def test_numba_gives_the_same_bits_on_large_ones(name, dtype):
    p = LARGE[name]._replace(dtype=dtype)
    x, w, _, g = p.arrays()
    dx, dw = both(p, x, w, g)
    same_bits(dx, numba_backend.conv2d_input_grad(g, w, p.x_shape, p.spec))
    same_bits(dw, numba_backend.conv2d_weight_grad(g, x, p.w_shape, p.spec))


# Maps of several blocks: rows of a block in several images, rows of several blocks.
BLOCKED = {
    "pointwise": problem((9, 3, 7, 7), (2, 3, 1, 1)),
    "pointwise, wide": problem((2, 1, 2, 800), (3, 1, 1, 1)),
    "pointwise, stride 2": problem((2, 2, 41, 40), (3, 2, 1, 1), stride=2),
    "dense": problem((2, 17, 13, 27), (1, 17, 3, 2), padding=((1, 1), (0, 1))),
    "dense, one row": problem((2, 2, 1, 500), (2, 2, 1, 3), padding=(0, 1)),
    "stem, wide": problem((1, 3, 4, 830), (2, 3, 3, 3), stride=(2, 1), padding=1),
    "grouped": problem((3, 4, 15, 15), (2, 2, 3, 3), padding=1, groups=2),
    "depthwise": problem((3, 3, 14, 15), (3, 1, 3, 3), padding=1, groups=3),
    "depthwise, wide": problem((1, 2, 3, 900), (2, 1, 3, 3), padding=1, groups=2),
    "depthwise, wide, stride 2": problem(
        (1, 2, 4, 1603), (2, 1, 5, 5), stride=2, padding=2, groups=2
    ),
    "depthwise, wide, dilated": problem(
        (1, 2, 3, 900), (2, 1, 2, 3), dilation=2, padding=2, groups=2
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BLOCKED)
@dtypes
@pytest.mark.fma
def test_a_weight_gradient_is_added_in_the_order_of_the_rule(name, dtype):
    p = BLOCKED[name]._replace(dtype=dtype)
    x, w, _, g = p.arrays()
    dw = of(p, "weight_grad")(g, x, p.w_shape, p.spec)
    cout, cin = len(w) // p.spec.groups, w.shape[1]
    for o, i, a, b in np.ndindex(*w.shape):
        expected = weight(g[:, o], x[:, o // cout * cin + i], a, b, p.spec)
        same_bits(dw[o, i, a, b].reshape(()), np.asarray(expected))


@given(
    st.sampled_from((3, 5)), st.integers(2, 36), st.tuples(*[st.integers(1, 21)] * 2),
    st.tuples(*[st.tuples(*[st.integers(0, 7)] * 2)] * 2), st.sampled_from((FLOAT32, FLOAT64)),
)  # fmt: skip
def test_at_stride_2_one_sweep_gives_the_bits_of_four_remainders(k, channels, size, pads, dtype):
    """Any pads: maps of which pairs of positions lack one, or some or all of their taps."""
    assume(all(n + sum(pad) >= k for n, pad in zip(size, pads, strict=True)))
    p = problem((2, channels, *size), (channels, 1, k, k), dtype,
                stride=2, padding=pads, groups=channels)  # fmt: skip
    _, w, _, g = p.arrays()
    g = layout.channels_last(g)
    swept, parted = (layout.empty_channels_last(p.x_shape, p.dtype) for _ in range(2))
    call = cython.bind_input_grad(g, w, swept, p.spec)
    assert isinstance(call, core.DepthwiseInputGradCall)
    swept[...] = parted[...] = np.nan
    call.run(2)
    weights = core.DepthwiseWeights
    for part in dense_gradients.bind_remainders(weights, g, w, parted, p.spec):
        part.run()
    same_bits(swept, parted)


@large
@dtypes
def test_threads_change_no_bit(name, dtype):
    p = LARGE[name]._replace(dtype=dtype)
    x, w, _, g = p.arrays()
    expected = both(p, x, w, g, threads=1)
    for n in (2, 3, 4):
        for got, alone in zip(both(p, x, w, g, threads=n), expected, strict=True):
            same_bits(got, alone)


@large
@dtypes
@pytest.mark.skipif("avx512" not in levels(), reason="this CPU cannot run avx512")
def test_avx2_and_avx512_give_the_same_bits(name, dtype):
    p = LARGE[name]._replace(dtype=dtype)
    x, w, _, g = p.arrays()
    with at_level("avx512"):
        expected = both(p, x, w, g)
    with at_level("avx2"):
        narrow = both(p, x, w, g)
    for got, wide in zip(narrow, expected, strict=True):
        same_bits(got, wide)


@large
@pytest.mark.skipif("baseline" not in levels(), reason="this CPU cannot run baseline")
def test_the_baseline_is_exact_on_integers(name):
    p = LARGE[name]
    x, w, _, g = p.arrays(integers=True)
    expected = both(p, x, w, g)
    with at_level("baseline"):
        narrow = both(p, x, w, g)
    for got, wide in zip(narrow, expected, strict=True):
        np.testing.assert_array_equal(got, wide)


@pytest.mark.parametrize("order", LAYOUTS)
@given(conv_problems())
def test_memory_layout_changes_no_bit(order, p):
    x, w, _, g = p.arrays()
    dx, dw = both(p, x, w, g)
    x, w, g = (laid_out(a, order) for a in (x, w, g))
    for got, expected in zip(both(p, x, w, g), (dx, dw), strict=True):
        same_bits(got, expected)


@given(conv_problems())
def test_an_input_gradient_does_not_depend_on_the_rest_of_the_batch(p):
    p = p._replace(x_shape=(max(p.x_shape[0], 2), *p.x_shape[1:]))
    _, w, _, g = p.arrays()
    dx = of(p, "input_grad")(g, w, p.x_shape, p.spec)
    alone = of(p, "input_grad")(g[1:2], w, (1, *p.x_shape[1:]), p.spec)
    same_bits(alone, dx[1:2])


@given(conv_problems(), st.integers(0, 2**16))
def test_padding_is_skipped_not_multiplied(p, seed):
    """An infinity reaches what its taps reach and nothing else, for 0 times it is NaN."""
    x, w, _, g = p.arrays()
    assume(x.size and g.size)
    x.flat[seed % x.size] = g.flat[seed % g.size] = np.inf
    dx, dw = both(p, x, w, g)
    with np.errstate(invalid="ignore"):
        same_beyond_numbers(dx, reference.conv2d_input_grad(g, w, p.x_shape, p.spec))
        same_beyond_numbers(dw, reference.conv2d_weight_grad(g, x, p.w_shape, p.spec))


def same_beyond_numbers(got, expected):
    """Infinities and NaN in the same places."""
    got, expected = (np.where(np.isfinite(a), 0, a) for a in (got, expected))
    np.testing.assert_array_equal(got, expected)


def test_the_result_is_new_and_nothing_else_is_written():
    p = LARGE["dense 3x3, stride 2"]
    x, w, _, g = p.arrays()
    before = [a.copy() for a in (x, w, g)]
    dx, dw = both(p, x, w, g)
    for array, copy in zip((x, w, g), before, strict=True):
        same_bits(array, copy)
        assert not np.shares_memory(array, dx)
        assert not np.shares_memory(array, dw)
    assert dx.transpose(0, 2, 3, 1).flags.c_contiguous
    assert dw.flags.c_contiguous


def test_a_bound_call_writes_its_whole_result_every_time():
    """Also where no tap reaches: a buffer may have been used for something else since."""
    p = LARGE["pointwise, stride 2"]
    x, w, _, g = p.arrays()
    expected_dx, expected_dw = both(p, x, w, g)
    dx, dw = layout.empty_channels_last(p.x_shape, p.dtype), np.empty(p.w_shape, p.dtype)
    g, x = layout.channels_last(g), layout.channels_last(x)
    calls = (
        cython.bind_input_grad(g, w, dx, p.spec),
        cython.bind_weight_grad(g, x, dw, p.spec),
    )
    for _ in range(2):
        dx[...], dw[...] = np.nan, np.nan
        for call in calls:
            call.run(2)
        same_bits(dx, expected_dx)
        same_bits(dw, expected_dw)


@pytest.mark.parametrize(
    ("x_shape", "w_shape", "window"),
    [
        ((2, 3, 4, 5), (4, 3, 1, 1), {}),
        ((1, 3, 5, 4), (3, 1, 3, 3), {"stride": 2, "padding": 1, "groups": 3}),
        ((1, 2, 5, 6), (3, 2, 3, 2), {"stride": (2, 1), "padding": ((1, 0), (0, 1))}),
        ((1, 4, 5, 4), (6, 2, 2, 2), {"dilation": 2, "groups": 2}),
    ],
)
def test_derivatives_agree_with_differences_to_second_order(x_shape, w_shape, window):
    rng = np.random.default_rng(3)
    x, w = rng.normal(size=x_shape), rng.normal(size=w_shape)
    with mg.backend("cython"):
        mg.check_grads(lambda x, w: mg.conv2d(x, w, **window), x, w, order=2)


@pytest.mark.parametrize("dtype", [FLOAT32, FLOAT64], ids=str)
def test_a_remainder_of_one_tap_is_no_line_unless_it_begins_with_the_map(dtype):
    """Pads (1, -1) keep a map's size, and its rows are not one line all the same."""
    cases = [
        ((1, 1, 2, 2), (1, 1, 1, 2), {"stride": (1, 2), "padding": ((0, 0), (1, 0))}),
        ((1, 1, 4, 1), (1, 1, 2, 1), {"stride": 2, "padding": (1, 0), "dilation": (3, 1)}),
        ((1, 4, 6, 5), (6, 2, 1, 2), {"stride": (1, 2), "padding": ((0, 0), (1, 0)), "groups": 2}),
    ]
    for x_shape, w_shape, window in cases:
        p = problem(x_shape, w_shape, dtype, **window)
        x, w, _, g = p.arrays(integers=True)
        for got, expected in zip(both(p, x, w, g), (
            reference.conv2d_input_grad(g, w, p.x_shape, p.spec),
            reference.conv2d_weight_grad(g, x, p.w_shape, p.spec),
        ), strict=True):  # fmt: skip
            np.testing.assert_array_equal(got, expected)


# A batch of maps that no cache holds, of which tiles fetch what comes next; one of them alone fits.
DISTANT = {
    "pointwise": problem((4, 16, 229, 230), (17, 16, 1, 1)),
    "pointwise, stride 2": problem((4, 16, 229, 230), (5, 16, 1, 1), stride=2),
    "dense 1x3": problem((4, 16, 229, 230), (16, 16, 1, 3), padding=(0, 1)),
    "depthwise 3x3": problem((4, 17, 229, 230), (17, 1, 3, 3), padding=1, groups=17),
    "depthwise 5x5": problem((4, 17, 229, 230), (17, 1, 5, 5), padding=2, groups=17),
    "depthwise 3x3, stride 2": problem(
        (4, 17, 229, 230), (17, 1, 3, 3), stride=2, padding=1, groups=17
    ),
}  # fmt: skip


@pytest.mark.newest
@pytest.mark.parametrize("name", DISTANT)
@pytest.mark.parametrize("threads", [1, 3])
def test_maps_from_memory_give_the_bits_of_each_alone(name, threads):
    p = DISTANT[name]
    x, w, _, g = p.arrays()
    forward = getattr(cython, f"{classify(p.spec, p.w_shape)}_conv2d")
    y = forward(x, w, None, p.spec, threads=threads)
    dx = of(p, "input_grad")(g, w, p.x_shape, p.spec, threads=threads)
    for n in range(len(x)):
        one = slice(n, n + 1)
        same_bits(y[one], forward(x[one], w, None, p.spec))
        alone = of(p, "input_grad")(g[one], w, (1, *p.x_shape[1:]), p.spec)
        same_bits(dx[one], alone)
