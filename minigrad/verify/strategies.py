"""Random convolutions and pools, for property tests with hypothesis (its one import here).

A drawn problem is small: at most ``max_terms`` terms of T, so that the reference can
follow.  Weight lies on the edges: axes of 0, 1 and 2 pixels, one image, no channels, windows
that leave a remainder after their last stride, sizes around a register or a tile, pads and
dilations that differ in every direction.  Shrinking leads to one 1x1 convolution of one pixel.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from hypothesis import strategies as st

from minigrad.errors import ShapeError
from minigrad.geometry import ConvSpec, Pads, Pair, conv_output_shape, same_padding, span
from minigrad.kernels.contract import Array, PoolWindow
from minigrad.tensor import Shape
from minigrad.verify.testing import Case, cases

__all__ = [
    "DTYPES",
    "LAYOUTS",
    "VALUES",
    "ConvProblem",
    "calls",
    "conv_problems",
    "filled",
    "laid_out",
    "pool_windows",
]

MAX_TERMS = 20_000
DTYPES: tuple[np.dtype[Any], ...] = (np.dtype(np.float32), np.dtype(np.float64))

VALUES = ("normal", "spread", "cancelling", "sparse", "large", "small")
"""How hard the numbers are that ``filled`` draws."""


def filled(rng: np.random.Generator, shape: Shape, dtype: np.dtype[Any], values: str) -> Array:
    """Random numbers of a kind that VALUES names; no product of two of them overflows.

    ``spread`` has many magnitudes, ``cancelling`` has each number twice with either sign,
    ``sparse`` is 0 but for a few; products of ``small`` numbers are subnormal.
    """
    x = rng.normal(size=shape)
    largest, least = (float(v) for v in (np.finfo(dtype).maxexp, np.finfo(dtype).minexp))
    if values == "spread":
        x *= 2.0 ** rng.integers(-20, 20, shape)
    if values == "cancelling":
        flat = x.reshape(math.prod(shape))
        half = flat.size // 2
        flat[half : 2 * half] = -flat[:half] * (1 + 2.0**-18 * rng.normal(size=half))
    if values == "sparse":
        x *= 1000 * (rng.random(shape) < 0.1)
    if values == "large":
        x *= 2.0 ** (0.4 * largest)
    if values == "small":
        x *= 2.0 ** (0.53 * least)
    return np.asarray(x, dtype)


class ConvProblem(NamedTuple):
    """The shapes of one convolution, its dtype, and a seed for the values."""

    x_shape: Shape
    w_shape: Shape
    spec: ConvSpec
    dtype: np.dtype[Any]
    seed: int
    values: str = "normal"

    @property
    def y_shape(self) -> Shape:
        """(N, Cout, Ho, Wo)."""
        return conv_output_shape(self.x_shape, self.w_shape, self.spec)

    def arrays(self, integers: bool = False) -> tuple[Array, Array, Array, Array]:
        """x, w, bias, g: of the kind ``values``, or small integers, whose sums are exact."""
        rng = np.random.default_rng(self.seed)
        shapes = self.x_shape, self.w_shape, self.w_shape[:1], self.y_shape
        x, w, bias, g = (
            np.asarray(rng.integers(-4, 5, s), self.dtype)
            if integers
            else filled(rng, s, self.dtype, self.values)
            for s in shapes
        )
        return x, w, bias, g


@st.composite
def conv_problems(draw: st.DrawFn, max_terms: int = MAX_TERMS) -> ConvProblem:
    """A ConvProblem of any kind that ``classify`` knows."""
    tiny = draw(st.booleans())
    height, width, inner, outer = draw(_tiny_extents() if tiny else _extents())
    groups = draw(st.sampled_from([1, 1, 1, 2, 3, 5]))
    if draw(st.integers(0, 2)) == 2:  # depthwise: as many groups as channels
        groups, inner, outer = max(inner * groups, 1), 1, 1
    size = height, width
    kernel, spec = draw(_windows(size, tiny))
    spec = spec._replace(groups=groups)
    w_shape = (groups * outer, inner, *kernel)
    try:
        _, _, ho, wo = conv_output_shape((1, groups * inner, *size), w_shape, spec)
    except ShapeError:  # the window does not fit: pad until it does
        spec = spec._replace(padding=_covering(kernel, spec.dilation))
        _, _, ho, wo = conv_output_shape((1, groups * inner, *size), w_shape, spec)
    terms = ho * wo * math.prod(w_shape)
    if terms > max_terms:  # the same window over fewer channels
        spec, inner, outer = spec._replace(groups=1), min(inner, 1), min(outer, 1)
        w_shape, terms = (outer, inner, *kernel), ho * wo * inner * outer * math.prod(kernel)
    batch = min(draw(st.sampled_from([1, 1, 1, 2, 3, 0])), max(max_terms // max(terms, 1), 1))
    dtype, seed = draw(st.sampled_from(DTYPES)), draw(st.integers(0, 2**16))
    x_shape = (batch, spec.groups * inner, *size)
    return ConvProblem(x_shape, w_shape, spec, dtype, seed, draw(st.sampled_from(VALUES)))


TILES = (13, 14, 15, 16, 17, 24, 31, 32, 33, 48, 49, 63, 64, 65)
"""Extents around the registers and the tiles of the compiled kernels."""


@st.composite
def _extents(draw: st.DrawFn) -> tuple[int, int, int, int]:
    """(H, W, channels in, channels out) of a group; where one is as wide as a tile, the others
    are small."""
    pixels = st.one_of(st.integers(1, 3), st.integers(3, 12), st.integers(0, 9))
    channels = st.sampled_from([1, 2, 3, 4, 1, 2, 3, 4, 0])
    extents = [draw(pixels), draw(pixels), draw(channels), draw(channels)]
    if draw(st.integers(0, 3)) == 3:
        extents = [min(n, 3) for n in extents]
        extents[draw(st.integers(0, 3))] = draw(st.sampled_from(TILES))
    height, width, inner, outer = extents
    return height, width, inner, outer


@st.composite
def _windows(draw: st.DrawFn, size: Pair, tiny: bool) -> tuple[Pair, ConvSpec]:
    """A kernel and how it moves; on a tiny map often along one axis alone."""
    kernel = draw(st.one_of(st.just((1, 1)), st.just((3, 3)), _pairs(1, 5)))
    stride, dilation = draw(_pairs(1, 4)), draw(_pairs(1, 3))
    if not tiny:
        return kernel, ConvSpec(stride, draw(_pads(size, kernel, stride, dilation)), dilation)
    kernel, pads = draw(_pairs(1, 3)), draw(st.tuples(_pairs(0, 3), _pairs(0, 3)))
    still = draw(st.sampled_from([(), (), (0,), (1,)]))  # the axes along which nothing happens
    kernel, stride, dilation = (
        (1 if 0 in still else v[0], 1 if 1 in still else v[1]) for v in (kernel, stride, dilation)
    )
    pads = ((0, 0) if 0 in still else pads[0], (0, 0) if 1 in still else pads[1])
    return kernel, ConvSpec(stride, pads, dilation)


def _tiny_extents() -> st.SearchStrategy[tuple[int, int, int, int]]:
    """Of maps on which every window meets a border."""
    pixels, channels = st.integers(1, 4), st.sampled_from([1, 2, 3])
    return st.tuples(pixels, pixels, channels, channels)


def _pairs(least: int, most: int) -> st.SearchStrategy[Pair]:
    return st.tuples(st.integers(least, most), st.integers(least, most))


def _pads(size: Pair, kernel: Pair, stride: Pair, dilation: Pair) -> st.SearchStrategy[Pads]:
    """None, TensorFlow's SAME, or four numbers of their own."""
    rows, cols = (same_padding(*each) for each in zip(size, kernel, stride, dilation, strict=True))
    return st.one_of(
        st.just(((0, 0), (0, 0))), st.just((rows, cols)), st.tuples(_pairs(0, 4), _pairs(0, 4)),
        st.tuples(_pairs(0, 1), _pairs(0, 1)),
    )  # fmt: skip


def _covering(kernel: Pair, dilation: Pair) -> Pads:
    rows, cols = (span(k, d) for k, d in zip(kernel, dilation, strict=True))
    return (rows, rows), (cols, cols)


@st.composite
def pool_windows(draw: st.DrawFn, dilated: bool = True) -> tuple[Shape, PoolWindow]:
    """An input's shape and a window that touches it everywhere.

    With ``ceil_mode`` the last window may overhang, and so may a single one that is larger
    than its map by less than a stride.
    """
    ceil = draw(st.booleans())
    axes = [draw(_pool_axes(dilated, ceil)) for _ in (0, 1)]
    size, kernel, stride, pads, dilation = zip(*axes, strict=True)
    window = PoolWindow(kernel, stride, pads, dilation, ceil)
    batch, channels = draw(st.integers(0, 2)), draw(st.sampled_from([1, 2, 3, 17, 0]))
    return (batch, channels, *size), window


@st.composite
def _pool_axes(draw: st.DrawFn, dilated: bool, ceil: bool) -> tuple[int, int, int, Pair, int]:
    """(size, kernel, stride, pads, dilation) of one axis."""
    kernel, stride = draw(st.integers(1, 4)), draw(st.integers(1, 4))
    dilation = draw(st.integers(1, 2)) if dilated else 1
    pads = draw(_pairs(0, kernel // 2 if dilation == 1 else 0))
    reach = span(kernel, dilation)
    overhang = min(stride, reach - pads[0] - 1) - 1 if ceil and dilation == 1 else 0
    least = max(reach - sum(pads) - max(overhang, 0), 1)
    return draw(st.integers(least, reach + 6)), kernel, stride, pads, dilation


LAYOUTS = (
    "C", "channels last", "every second", "reversed", "backwards", "read-only", "unaligned",
)  # fmt: skip
"""What a kernel must take without noticing."""


def laid_out(array: Array, layout: str) -> Array:
    """The same values, placed in memory as ``layout`` (one of LAYOUTS) says."""
    if layout == "channels last" and array.ndim == 4:
        array = np.ascontiguousarray(array.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    if layout == "every second" and array.ndim:
        wide = np.zeros((*array.shape[:-1], 2 * array.shape[-1]), array.dtype)
        array, wide[..., ::2] = wide[..., ::2], array
    if layout == "reversed" and array.ndim:
        array = np.ascontiguousarray(array[::-1])[::-1]
    if layout == "backwards" and array.ndim:
        array = np.ascontiguousarray(array[..., ::-1])[..., ::-1]
    if layout == "read-only":
        array = array.copy()
        array.flags.writeable = False
    if layout == "unaligned":
        memory = np.zeros(array.nbytes + 1, np.uint8)[1:]
        placed = memory.view(array.dtype).reshape(array.shape)
        placed[...] = array
        array = placed
    return array


def calls(op: str, **how: Any) -> st.SearchStrategy[Case]:
    """A case of an operation with values of any seed, to be computed and handed to its judge.

    Parameters
    ----------
    op : str
        "conv2d", "linear", ...
    **how
        dtype, accumulator, layout, algorithm and functions, as in ``examine``.

    Returns
    -------
    strategy of Case

    Examples
    --------
    ::

        @given(calls("conv2d", layout="NHWC"))
        def test_my_convolution(case):
            assert not case.judge(my_convolution(*case.inputs, **case.words))
    """
    count = len(cases(op, **how))
    return st.builds(
        lambda k, seed: cases(op, seed=seed, **how)[k],
        st.integers(0, count - 1),
        st.integers(0, 2**16),
    )
