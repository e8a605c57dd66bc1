"""The arithmetic of windows, against counting."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minigrad.errors import ShapeError
from minigrad.geometry import (
    ConvSpec,
    conv_output_shape,
    conv_spec,
    output_size,
    pair,
    resolve_padding,
    same_padding,
    valid_range,
)

sizes = st.integers(1, 40)
kernels, strides, dilations = st.integers(1, 7), st.integers(1, 5), st.integers(1, 4)
pads = st.tuples(st.integers(0, 9), st.integers(0, 9))


def fits(size, kernel, pads, dilation):
    return size + sum(pads) >= dilation * (kernel - 1) + 1


@given(sizes, kernels, strides, pads, dilations)
def test_output_size_counts_the_windows_that_fit(size, kernel, stride, pads, dilation):
    reach = dilation * (kernel - 1)
    starts = range(-pads[0], size + pads[1] - reach, stride)
    if fits(size, kernel, pads, dilation):
        assert output_size(size, kernel, stride, pads, dilation) == len(starts)
    else:
        with pytest.raises(ShapeError, match="does not fit an input"):
            output_size(size, kernel, stride, pads, dilation)


@given(sizes, kernels, strides, pads, dilations)
def test_ceil_mode_counts_every_window_that_overhangs_by_less_than_a_stride(
    size, kernel, stride, pads, dilation
):
    """PyTorch's rule, for pads of at most half a window: those that begin behind do not count."""
    reach = dilation * (kernel - 1) + 1
    pads = tuple(min(p, reach // 2) for p in pads)
    end = size + pads[0] + pads[1]
    starts = [p * stride for p in range(end + 1)]
    counted = [p for p in starts if p + reach - end < stride and p < size + pads[0]]
    if counted:
        out = output_size(size, kernel, stride, pads, dilation, ceil_mode=True)
        assert out == len(counted)
    elif size:
        with pytest.raises(ShapeError, match="does not fit an input"):
            output_size(size, kernel, stride, pads, dilation, ceil_mode=True)


@given(sizes, kernels, strides, dilations)
def test_same_padding_is_tensorflows(size, kernel, stride, dilation):
    before, after = same_padding(size, kernel, stride, dilation)
    assert output_size(size, kernel, stride, (before, after), dilation) == -(-size // stride)
    assert after - before in (0, 1)
    if before + after:  # no more than needed: one less, and an output is lost
        short = (before, after - 1)
        fewer = fits(size, kernel, short, dilation)
        assert not fewer or output_size(size, kernel, stride, short, dilation) < -(-size // stride)


@given(st.integers(0, 40), kernels, strides, pads, dilations)
def test_valid_range_is_where_the_tap_lies_inside(size, kernel, stride, pads, dilation):
    out = output_size(size, kernel, stride, pads, dilation) if fits(
        size, kernel, pads, dilation
    ) else 3  # fmt: skip
    for tap in range(kernel):
        inside = [p for p in range(out) if 0 <= p * stride - pads[0] + tap * dilation < size]
        assert list(range(*valid_range(size, out, tap, stride, pads[0], dilation))) == inside


@pytest.mark.parametrize(
    ("padding", "expected"),
    [
        (1, ((1, 1), (1, 1))),
        (np.int64(1), ((1, 1), (1, 1))),
        ((1, 2), ((1, 1), (2, 2))),
        ([1, 2], ((1, 1), (2, 2))),
        (((0, 1), (2, 3)), ((0, 1), (2, 3))),
        ([[0, 1], [2, 3]], ((0, 1), (2, 3))),
        ("valid", ((0, 0), (0, 0))),
        ("same", ((0, 1), (1, 1))),
    ],
)
def test_every_form_of_padding(padding, expected):
    assert resolve_padding(padding, (6, 7), (3, 3), (2, 2)) == expected


@pytest.mark.parametrize(
    "padding",
    [-1, (1, -1), (1, 2, 3), "SAME", 1.5, None, ((1, 2), (3, -1)), ((1,), (2,)), (1.0, 1)],
)
def test_other_forms_are_refused(padding):
    with pytest.raises(ShapeError, match="padding must be"):
        resolve_padding(padding, (6, 7), (3, 3), (2, 2))


@pytest.mark.parametrize("stride", [0, -1, 1.5, (1, 2, 3), (0, 1), "2", None])
def test_strides_are_positive_integers(stride):
    with pytest.raises(ShapeError, match="stride must be an integer >= 1 or two of them"):
        pair(stride, "stride")


@pytest.mark.parametrize(
    ("x", "w", "how", "message"),
    [
        ((3, 8, 8), (4, 3, 3, 3), {}, r"x must be \(N, C, H, W\), got shape \(3, 8, 8\)"),
        ((1, 3, 8, 8), (4, 3, 3), {}, r"w must be \(Cout, Cin/groups, kh, kw\), got \(4, 3, 3\)"),
        ((1, 3, 8, 8), (4, 3, 0, 3), {}, "w must be"),
        ((1, 3, 8, 8), (4, 1, 3, 3), {}, r"takes 1 input channels, but x has shape \(1, 3, 8, 8\)"),
        ((1, 4, 8, 8), (6, 1, 3, 3), {"groups": 4}, "groups=4 must divide both Cin=4 and Cout=6"),
        ((1, 4, 8, 8), (4, 4, 3, 3), {"groups": 0}, "groups=0 must divide"),
    ],
)
def test_what_does_not_fit_is_named(x, w, how, message):
    with pytest.raises(ShapeError, match=message):
        conv_spec(x, w, **how)


def test_a_convolution_of_the_field():
    spec = conv_spec((2, 3, 224, 225), (32, 3, 3, 3), stride=2, padding="same")
    assert spec == ConvSpec((2, 2), ((0, 1), (1, 1)), (1, 1), 1)
    assert conv_output_shape((2, 3, 224, 225), (32, 3, 3, 3), spec) == (2, 32, 112, 113)
