"""Operations that graphs of others are made of: definitions in loops, edges, ties."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minigrad as mg
from minigrad.errors import ArgumentError, ShapeError

rng = np.random.default_rng(6)
NAN = math.nan


def scattered(x, w, stride, pads, more, dilation, groups):
    """A transposed convolution by its definition: each pixel adds a window of weights."""
    full = [
        stride[i] * (x.shape[2 + i] - 1) + dilation[i] * (w.shape[2 + i] - 1) + 1 + more[i]
        for i in (0, 1)
    ]
    each, out = x.shape[1] // groups, w.shape[1]
    y = np.zeros((len(x), groups * out, *full))
    for n, c, p, q in np.ndindex(*x.shape):
        for o, a, b in np.ndindex(*w.shape[1:]):
            at = p * stride[0] + a * dilation[0], q * stride[1] + b * dilation[1]
            y[(n, c // each * out + o, *at)] += x[n, c, p, q] * w[c, o, a, b]
    (top, bottom), (left, right) = pads
    return y[:, :, top : full[0] - bottom, left : full[1] - right]


@given(st.data())
def test_a_transposed_convolution_is_its_definition(data):
    def pair(low, high):
        return tuple(data.draw(st.integers(low, high)) for _ in range(2))

    groups, each, out = (data.draw(st.integers(1, 2)) for _ in range(3))
    size, kernel, stride, dilation, more = (
        pair(1, 4),
        pair(1, 4),
        pair(1, 3),
        pair(1, 3),
        pair(0, 2),
    )
    room = [s * (n - 1) + d * (k - 1) + extra for s, n, d, k, extra in
            zip(stride, size, dilation, kernel, more, strict=True)]  # fmt: skip
    pads = []
    for most in room:
        before = data.draw(st.integers(0, min(most, 3)))
        pads.append((before, data.draw(st.integers(0, min(most - before, 3)))))
    x = rng.integers(-3, 4, (2, groups * each, *size)).astype("f8")
    w = rng.integers(-3, 4, (groups * each, out, *kernel)).astype("f8")
    bias = rng.integers(-3, 4, groups * out).astype("f8")
    y = mg.conv_transpose2d(*map(mg.from_numpy, (x, w, bias)), stride, pads, more, groups, dilation)
    expected = scattered(x, w, stride, pads, more, dilation, groups) + bias[:, None, None]
    np.testing.assert_array_equal(y.numpy(), expected)


SCOPE = (range(1, 4), range(1, 4), range(1, 4), range(1, 3), range(3))  # n, k, s, d, more


@pytest.mark.parametrize("axis", [0, 1])
def test_every_small_transposed_convolution_is_its_definition(axis):
    """Windows that lie wholly outside of x, before it and behind it, are among them."""

    def both(value, other):
        return (value, other)[:: 1 - 2 * axis]

    for n, k, s, d, more in itertools.product(*SCOPE):
        x = np.arange(1.0, n + 1).reshape(1, 1, *both(n, 1))
        w = np.arange(1.0, k + 1).reshape(1, 1, *both(k, 1)) * 10
        most = s * (n - 1) + d * (k - 1) + more
        for before, after in itertools.product(range(most + 1), repeat=2):
            if before + after > most:
                continue
            how = both(s, 1), both((before, after), (0, 0)), both(more, 0)
            y = mg.conv_transpose2d(mg.Tensor(x), mg.Tensor(w), None, *how, 1, both(d, 1)).numpy()
            expected = scattered(x, w, *how, both(d, 1), 1)
            assert np.array_equal(y, expected), (n, k, s, d, more, before, after)


def test_the_slope_of_a_leak_at_0_is_the_one_below():
    x = np.array([[-1.0, 0.0, 2.0]])
    assert mg.grad(lambda v: mg.leaky_relu(v, 0.25).sum())(x).tolist() == [[0.25, 0.25, 1]]
    slope = mg.grad(lambda s: mg.prelu(mg.from_numpy(x), s).sum())(np.array([0.5]))
    assert slope.tolist() == [-1]


def test_the_places_of_equals_are_in_order_and_nan_is_above_everything():
    x = mg.tensor([[1.0, 3.0, 3.0, NAN, 2.0]])
    assert mg.places(x, 4).tolist() == [[3, 1, 2, 4]]
    assert mg.places(x, 2, last=True).tolist() == [[3, 2]]
    assert mg.places(mg.tensor([2.0, 1.0, 1.0]), 3, largest=False).tolist() == [1, 2, 0]
    values, _ = mg.topk(mg.tensor([[4.0, 9.0], [5.0, 1.0]]), 1, 0)
    assert values.tolist() == [[5, 9]]
    for k in (-1, 6):
        with pytest.raises((ShapeError, ArgumentError)):
            mg.places(x, k)


@given(st.lists(st.floats(-1e3, 1e3, width=32), min_size=1), st.integers(1, 9), st.integers(0, 200))
def test_quantised_numbers_are_the_nearest_that_there_are(values, tenths, zero):
    scale, x = tenths / 8, np.array(values, "f4")
    q = mg.quantize(mg.from_numpy(x), scale, zero, 0, 255).numpy()
    assert np.array_equal(q, np.clip(np.rint(x / np.float32(scale)) + zero, 0, 255))
    back = mg.dequantize(mg.from_numpy(q), scale, zero).numpy()
    inside = (q > 0) & (q < 255)
    assert np.all(np.abs(back - x)[inside] <= scale * 0.5 * (1 + 1e-5))


def test_halves_are_rounded_to_the_even_neighbour():
    x = mg.tensor([0.5, 1.5, 2.5, -0.5, -1.5])
    assert mg.rounded(x).tolist() == [0, 2, 2, 0, -2]
    assert mg.rounded(x, "zero").tolist() == [0, 1, 2, 0, -1]
    assert mg.rounded(x, "sign").tolist() == [1, 1, 1, -1, -1]


@given(st.integers(1, 3), st.sampled_from(["DCR", "CRD"]), st.integers(1, 3))
def test_blocks_go_to_space_and_back(block, order, channels):
    x = np.arange(2 * channels * block**2 * 6.0).reshape(2, channels * block**2, 2, 3)
    y = mg.depth_to_space(mg.from_numpy(x), block, order)
    assert np.array_equal(mg.space_to_depth(y, block, order).numpy(), x)
    far = order == "DCR"
    for c, i, j in np.ndindex(channels, block, block):
        place = (i * block + j) * channels + c if far else (c * block + i) * block + j
        assert np.array_equal(y.numpy()[:, c, i::block, j::block], x[:, place])


def kept_by_definition(boxes, scores, most, iou, least):
    """Each box against all that are kept, best first."""
    kept = []
    for k in sorted(range(len(boxes)), key=lambda k: -scores[k]):
        y0, x0, y1, x1 = boxes[k]
        clear = scores[k] > least
        for other in kept:
            v0, u0, v1, u1 = boxes[other]
            shared = max(min(y1, v1) - max(y0, v0), 0) * max(min(x1, u1) - max(x0, u0), 0)
            both = (y1 - y0) * (x1 - x0) + (v1 - v0) * (u1 - u0) - shared
            clear = clear and not (both > 0 and shared / both > iou)
        if clear and len(kept) < most:
            kept.append(k)
    return kept


@given(st.data())
def test_boxes_are_suppressed_by_better_ones(data):
    count = data.draw(st.integers(0, 8))
    corner = st.integers(0, 6)
    boxes = np.zeros((count, 4), "f4")
    scores = np.array(data.draw(st.permutations(range(count))), "f4")
    for box in boxes:
        y, x = (sorted(data.draw(st.tuples(corner, corner))) for _ in range(2))
        box[:] = y[0], x[0], y[1], x[1]
    most, iou = data.draw(st.integers(0, 9)), data.draw(st.sampled_from([0.0, 0.3, 0.5, 1.0]))
    flipped = boxes[:, [2, 1, 0, 3]]  # the other two corners
    expected = [[0, 0, k] for k in kept_by_definition(boxes.tolist(), scores, most, iou, 1.0)]
    for given_boxes in (boxes, flipped):
        found = mg.non_max_suppression(
            mg.from_numpy(given_boxes[None]), mg.from_numpy(scores[None, None]), most, iou, 1.0
        )
        assert found.tolist() == expected
    low, high = boxes[:, 1::-1], boxes[:, :1:-1]
    centres = np.concatenate([(low + high) / 2, high - low], 1).astype("f4")
    again = mg.non_max_suppression(
        mg.from_numpy(centres[None]), mg.from_numpy(scores[None, None]), most, iou,
        1.0, centres=True,
    )  # fmt: skip
    assert again.tolist() == expected


@pytest.mark.parametrize(("count", "cells", "most"), [(65, 4, 100), (700, 60, 700), (700, 9, 30)])
def test_so_are_more_boxes_than_are_looked_at_at_once(count, cells, most):
    drawn = np.random.default_rng(count + most)
    low = drawn.integers(0, cells, (count, 2))
    boxes = np.concatenate([low, low + drawn.integers(0, 5, (count, 2))], 1).astype(np.float64)
    scores = drawn.integers(0, 9, count) / 8  # with ties
    found = mg.non_max_suppression(mg.Tensor(boxes[None]), mg.Tensor(scores[None, None]), most, 0.3)
    expected = kept_by_definition(boxes.tolist(), scores, most, 0.3, -1.0)
    assert found[:, 2].tolist() == expected
    assert len(found) == most or most > 64


def test_boxes_without_end_drop_none():
    endless = [[-np.inf, 0, np.inf, 1], [0, 0, 1e200, 1e200], [np.nan, 0, 1, 1]]
    boxes, scores = mg.Tensor(np.array([endless * 2])), mg.Tensor(np.ones((1, 1, 6)))
    assert mg.non_max_suppression(boxes, scores, 6, 0.0)[:, 2].tolist() == list(range(6))


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ({"mode": "linear"}, [1, 1.5, 2.5, 3]),
        ({"mode": "linear", "coordinates": "align_corners"}, [1, 5 / 3, 7 / 3, 3]),
        ({"mode": "linear", "coordinates": "asymmetric"}, [1, 2, 3, 3]),
        ({"coordinates": "asymmetric", "rounding": "floor"}, [1, 1, 3, 3]),
        ({"coordinates": "asymmetric", "rounding": "ceil"}, [1, 3, 3, 3]),
        ({"coordinates": "tf_half_pixel_for_nn", "rounding": "floor"}, [1, 1, 3, 3]),
        ({"coordinates": "align_corners", "rounding": "round_prefer_ceil"}, [1, 1, 3, 3]),
    ],
)
def test_two_pixels_become_four_by_each_rule(words, expected):
    for turned in (False, True):
        x, size = mg.tensor([[[[1.0, 3.0]]]]), (1, 4)
        if turned:
            x, size = mg.transpose(x, 2, 3), (4, 1)
        y = mg.resize(x, size, **words).numpy().reshape(-1)
        np.testing.assert_allclose(y, expected, rtol=1e-6)


@pytest.mark.parametrize("place", [-1.0, 3.0, 0.5, np.nan, np.inf])
def test_a_place_that_is_not_on_the_axis_is_named(place):
    x = mg.Tensor(np.arange(3.0))
    assert mg.take_along(x, mg.Tensor(np.array([2.0]))).item() == 2
    with pytest.raises(ShapeError, match=f"take_along: {place:g} is no place on an axis of 3"):
        mg.take_along(x, mg.Tensor(np.array([0.0, place])))
