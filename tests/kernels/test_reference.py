"""The definition in loops, held against the textbook: pad, cut out every window, multiply."""

from __future__ import annotations

from itertools import groupby

import numpy as np
import pytest
from hypothesis import given, settings

from minigrad.geometry import ConvSpec
from minigrad.kernels import reference
from minigrad.kernels.contract import CONV_FUNCTIONS, FUNCTIONS, PoolWindow
from minigrad.verify.strategies import conv_problems, pool_windows

thorough = settings(max_examples=4 * settings().max_examples)


def windows_of(x, kernel, spec, value=0):
    """[n, c, p, q, a, b]: the window at p, q of x with ``value`` around it."""
    pads = ((0, 0), (0, 0), *spec.padding)
    padded = np.pad(x, pads, constant_values=value)
    reach = [d * (k - 1) + 1 for k, d in zip(kernel, spec.dilation, strict=True)]
    seen = np.lib.stride_tricks.sliding_window_view(padded, reach, axis=(2, 3))
    (sh, sw), (dh, dw) = spec.stride, spec.dilation
    return seen[:, :, ::sh, ::sw, ::dh, ::dw]


def textbook_conv2d(x, w, bias, spec):
    groups, cout = spec.groups, w.shape[0]
    seen = windows_of(x, w.shape[2:], spec)
    n, _, ho, wo = seen.shape[:4]
    seen = seen.reshape(n, groups, -1, ho, wo, *w.shape[2:])
    wide = w.reshape(groups, cout // groups, *w.shape[1:])
    y = np.einsum("ngipqab,goiab->ngopq", seen, wide).reshape(n, cout, ho, wo)
    return y + bias[:, None, None]


@thorough
@given(conv_problems(max_terms=4000))
def test_conv2d_is_the_textbooks(problem):
    x, w, bias, _ = problem.arrays(integers=True)
    if 0 in (*problem.y_shape, *problem.x_shape):
        assert reference.conv2d(x, w, bias, problem.spec).shape == problem.y_shape
    else:
        expected = textbook_conv2d(x, w, bias, problem.spec)
        assert np.array_equal(reference.conv2d(x, w, bias, problem.spec), expected)


@thorough
@given(conv_problems(max_terms=4000))
def test_the_three_functions_are_one_trilinear_form(problem):
    """<conv2d(x, w), g> = <x, input_grad(g, w)> = <w, weight_grad(g, x)>, on integers exactly."""
    x, w, _, g = problem.arrays(integers=True)
    spec = problem.spec
    t = np.sum(reference.conv2d(x, w, None, spec) * g)
    assert np.sum(reference.conv2d_input_grad(g, w, x.shape, spec) * x) == t
    assert np.sum(reference.conv2d_weight_grad(g, x, w.shape, spec) * w) == t


@given(conv_problems(max_terms=2000))
def test_terms_come_by_kernel_row_column_channel(problem):
    terms = reference.terms(problem.x_shape, problem.w_shape, problem.spec)
    cout, cin, kh, kw = problem.w_shape
    for _, group in groupby(terms, key=lambda term: term[0]):
        weights = [np.unravel_index(at_w, (cout, cin, kh, kw)) for _, _, at_w in group]
        order = [(a, b, i) for _, i, a, b in weights]
        assert order == sorted(order)


def test_the_reference_is_complete():
    assert [f for f in (*CONV_FUNCTIONS, *FUNCTIONS) if not hasattr(reference, f)] == []


def test_a_worked_example():
    """The picture of every introduction: a 3x3 image, a 2x2 filter."""
    x = np.arange(9.0).reshape(1, 1, 3, 3)
    w = np.array([[[[1.0, 2.0], [3.0, 4.0]]]])
    y = reference.conv2d(x, w, np.array([100.0]), ConvSpec())
    assert y.tolist() == [[[[127, 137], [157, 167]]]]  # 0 + 2 + 9 + 16 + 100 = 127
    g = np.ones((1, 1, 2, 2))
    assert reference.conv2d_input_grad(g, w, x.shape, ConvSpec()).tolist() == [
        [[[1, 3, 2], [4, 10, 6], [3, 7, 4]]]
    ]
    assert reference.conv2d_weight_grad(g, x, w.shape, ConvSpec()).tolist() == [
        [[[8, 12], [20, 24]]]
    ]


def test_padding_is_left_out_not_multiplied():
    """0 times inf would be NaN."""
    w = np.full((1, 1, 3, 3), np.inf)
    w[0, 0, 1, 1] = 2.0
    y = reference.conv2d(np.ones((1, 1, 1, 1)), w, None, ConvSpec(padding=((1, 1), (1, 1))))
    assert y.tolist() == [[[[2.0]]]]


def test_sums_are_kept_in_float64():
    """1 + 2^-24 twice: float32 alone would stay at 1."""
    x = np.array([1, 2.0**-24, 2.0**-24], np.float32).reshape(1, 3, 1, 1)
    y = reference.conv2d(x, np.ones((1, 3, 1, 1), np.float32), None, ConvSpec())
    assert y.dtype == np.float32
    assert y.item() == 1 + 2.0**-23


def covering(shape, window):
    """The window with its pads so wide that each of its positions lies inside of them."""
    pads = tuple(
        (before, (out - 1) * step + d * (k - 1) + 1 - size - before)
        for out, size, k, step, (before, _), d in zip(
            window.output_shape(shape)[2:], shape[2:], *window[:4], strict=True
        )
    )
    return window._replace(padding=tuple((b, max(a, 0)) for b, a in pads))


def windows_in(x, window, value=0):
    """``windows_of`` for a window that may overhang; [n, c, p, q, a, b]."""
    ho, wo = window.output_shape(x.shape)[2:]
    return windows_of(x, window.kernel, covering(x.shape, window), value)[:, :, :ho, :wo]


@thorough
@given(pool_windows())
def test_max_pool2d_is_the_textbooks(drawn):
    shape, window = drawn
    x = np.random.default_rng(0).integers(-3, 3, shape).astype(float)
    y, index = reference.max_pool2d(x, window)
    seen = windows_in(x, window, -np.inf)
    assert np.array_equal(y, seen.max(axis=(4, 5)))
    places = np.arange(np.prod(shape[2:])).reshape(1, 1, *shape[2:])
    where = windows_in(places, window, -1)  # the first maximum in row-major order
    flat = seen.reshape(*index.shape, np.prod(window.kernel))
    where = np.broadcast_to(where.reshape(1, 1, *index.shape[2:], flat.shape[-1]), flat.shape)
    first = np.take_along_axis(where, flat.argmax(axis=-1)[..., None], axis=-1)
    assert np.array_equal(index, first[..., 0])


@thorough
@given(pool_windows(dilated=False))
def test_avg_pool2d_is_the_textbooks(drawn):
    """What lies beyond the pads counts in no mean."""
    shape, window = drawn
    x = np.random.default_rng(0).integers(-3, 3, shape).astype(float)
    total = windows_in(x, window).sum(axis=(4, 5))
    inside = windows_in(np.ones(shape), window).sum(axis=(4, 5))
    wide = np.ones(
        (*shape[:2], *(n + sum(p) for n, p in zip(shape[2:], window.padding, strict=True)))
    )
    unpadded = window._replace(padding=((0, 0), (0, 0)))
    reach = covering(shape, window).padding
    after = [max(r[1] - p[1], 0) for r, p in zip(reach, window.padding, strict=True)]
    padded = windows_of(
        wide, window.kernel, unpadded._replace(padding=tuple((0, n) for n in after))
    )
    padded = padded[:, :, : total.shape[2], : total.shape[3]].sum(axis=(4, 5))
    assert np.array_equal(reference.avg_pool2d(x, window), total / padded)
    assert np.array_equal(reference.avg_pool2d(x, window, False), total / inside)


def test_ceil_mode_keeps_a_window_that_overhangs_and_drops_one_that_begins_in_the_pad():
    x = np.arange(1.0, 6.0).reshape(1, 1, 1, 5)
    overhanging = PoolWindow((1, 2), (1, 2), ceil_mode=True)
    assert reference.max_pool2d(x, overhanging)[0].ravel().tolist() == [2, 4, 5]
    assert reference.avg_pool2d(x, overhanging).ravel().tolist() == [1.5, 3.5, 5]
    padded = PoolWindow((1, 2), (1, 2), padding=((0, 0), (1, 1)), ceil_mode=True)
    assert reference.max_pool2d(x, padded)[0].ravel().tolist() == [1, 3, 5]
    # The window at 4 overhangs by one beyond the pad, which does not count: (4 + 5 + 0) / 3.
    wide = PoolWindow((1, 4), (1, 3), padding=((0, 0), (0, 1)), ceil_mode=True)
    assert reference.avg_pool2d(x, wide).ravel().tolist() == [2.5, 3.0]


@pytest.mark.parametrize("nan_at", range(4))
def test_nan_is_above_everything(nan_at):
    x = np.array([1.0, np.inf, -np.inf, 2.0])
    x[nan_at] = np.nan
    y, index = reference.max_pool2d(x.reshape(1, 1, 2, 2), PoolWindow((2, 2), (2, 2)))
    assert np.isnan(y.item())
    assert index.item() == nan_at
