"""Random convolutions and pools, for property tests with hypothesis (its one import here).

A drawn problem is small: at most ``max_terms`` terms of T, so that the reference can
follow.  Sizes, strides, pads (asymmetric, and more than the window), dilations, groups and
empty batches come as they may; shrinking leads to one 1x1 convolution of one pixel.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from hypothesis import assume
from hypothesis import strategies as st

from minigrad.errors import ShapeError
from minigrad.geometry import ConvSpec, Pads, Pair, conv_output_shape, same_padding, span
from minigrad.kernels.contract import Array, PoolWindow
from minigrad.tensor import Shape

__all__ = ["ConvProblem", "conv_problems", "laid_out", "pool_windows"]

MAX_TERMS = 20_000
DTYPES: tuple[np.dtype[Any], ...] = (np.dtype(np.float32), np.dtype(np.float64))


class ConvProblem(NamedTuple):
    """The shapes of one convolution, its dtype, and a seed for the values."""

    x_shape: Shape
    w_shape: Shape
    spec: ConvSpec
    dtype: np.dtype[Any]
    seed: int

    @property
    def y_shape(self) -> Shape:
        """(N, Cout, Ho, Wo)."""
        return conv_output_shape(self.x_shape, self.w_shape, self.spec)

    def arrays(self, integers: bool = False) -> tuple[Array, Array, Array, Array]:
        """x, w, bias, g: normal, or small integers, whose sums of products are exact."""
        rng = np.random.default_rng(self.seed)
        shapes = self.x_shape, self.w_shape, self.w_shape[:1], self.y_shape
        drawn = (rng.integers(-4, 5, s) if integers else rng.normal(size=s) for s in shapes)
        x, w, bias, g = (np.asarray(a, self.dtype) for a in drawn)
        return x, w, bias, g


@st.composite
def conv_problems(draw: st.DrawFn, max_terms: int = MAX_TERMS) -> ConvProblem:
    """A ConvProblem of any kind that ``classify`` knows."""
    groups, cin, cout = draw(_channels())
    kernel = draw(st.one_of(st.just((1, 1)), st.just((3, 3)), _pairs(1, 5)))
    stride, dilation = draw(_pairs(1, 3)), draw(_pairs(1, 3))
    size = draw(st.one_of(_pairs(3, 12), _pairs(0, 9)))
    padding = draw(_pads(size, kernel, stride, dilation))
    spec = ConvSpec(stride, padding, dilation, groups)
    w_shape = (cout, cin // groups, *kernel)
    try:
        _, _, ho, wo = conv_output_shape((1, cin, *size), w_shape, spec)
    except ShapeError:  # the window does not fit: pad until it does
        spec = spec._replace(padding=_covering(kernel, dilation))
        _, _, ho, wo = conv_output_shape((1, cin, *size), w_shape, spec)
    terms = ho * wo * math.prod(w_shape)
    assume(terms <= max_terms)
    batch = draw(st.sampled_from([1, 2, 3, 0]))
    batch = min(batch, max_terms // max(terms, 1))
    dtype, seed = draw(st.sampled_from(DTYPES)), draw(st.integers(0, 2**16))
    return ConvProblem((batch, cin, *size), w_shape, spec, dtype, seed)


@st.composite
def _channels(draw: st.DrawFn) -> tuple[int, int, int]:
    """(groups, Cin, Cout): full, depthwise, or anything between."""
    groups = draw(st.sampled_from([1, 1, 2, 3, 5]))
    inner, outer = draw(st.integers(1, 4)), draw(st.integers(1, 4))
    if draw(st.booleans()):
        return groups, groups, groups
    return groups, groups * inner, groups * outer


def _pairs(least: int, most: int) -> st.SearchStrategy[Pair]:
    return st.tuples(st.integers(least, most), st.integers(least, most))


def _pads(size: Pair, kernel: Pair, stride: Pair, dilation: Pair) -> st.SearchStrategy[Pads]:
    """None, TensorFlow's SAME, or four numbers of their own."""
    rows, cols = (same_padding(*each) for each in zip(size, kernel, stride, dilation, strict=True))
    return st.one_of(
        st.just(((0, 0), (0, 0))), st.just((rows, cols)), st.tuples(_pairs(0, 4), _pairs(0, 4))
    )


def _covering(kernel: Pair, dilation: Pair) -> Pads:
    rows, cols = (span(k, d) for k, d in zip(kernel, dilation, strict=True))
    return (rows, rows), (cols, cols)


@st.composite
def pool_windows(draw: st.DrawFn, dilated: bool = True) -> tuple[Shape, PoolWindow]:
    """An input's shape and a window that touches it everywhere."""
    kernel, stride = draw(_pairs(1, 4)), draw(_pairs(1, 4))
    dilation = draw(_pairs(1, 2)) if dilated else (1, 1)
    both = list(zip(kernel, dilation, strict=True))
    rows, cols = (draw(_pairs(0, k // 2 if d == 1 else 0)) for k, d in both)
    size = tuple(span(k, d) + draw(st.integers(0, 6)) for k, d in both)
    window = PoolWindow(kernel, stride, (rows, cols), dilation, draw(st.booleans()))
    return (draw(st.integers(0, 2)), draw(st.integers(1, 3)), *size), window


LAYOUTS = ("C", "channels last", "every second", "reversed", "read-only", "unaligned")
"""What a kernel must take without noticing."""


def laid_out(array: Array, layout: str) -> Array:
    """The same values, placed in memory as ``layout`` (one of LAYOUTS) says."""
    if layout == "channels last" and array.ndim == 4:
        array = np.ascontiguousarray(array.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    if layout == "every second":
        wide = np.zeros((*array.shape[:-1], 2 * array.shape[-1]), array.dtype)
        array, wide[..., ::2] = wide[..., ::2], array
    if layout == "reversed":
        array = np.ascontiguousarray(array[::-1])[::-1]
    if layout == "read-only":
        array = array.copy()
        array.flags.writeable = False
    if layout == "unaligned":
        memory = np.zeros(array.nbytes + 1, np.uint8)[1:]
        placed = memory.view(array.dtype).reshape(array.shape)
        placed[...] = array
        array = placed
    return array
