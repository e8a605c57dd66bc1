"""The compiled convolutions against a plain sum of products in float64.

Every level that this CPU can run is tested in one process: each is a module of its own.
"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from needs import needs

from minigrad.errors import BackendError, ShapeError
from minigrad.geometry import ConvSpec, conv_output_shape
from minigrad.kernels import cython
from minigrad.kernels.cython._convolution import bind_conv2d, pack
from minigrad.kernels.cython.core import level as at_level
from minigrad.kernels.cython.core import levels
from minigrad.kernels.cython.layout import channels_last

pytestmark = needs("cython")
LEVELS = levels()
FMA_LEVELS = tuple(level for level in LEVELS if level != "baseline")
KINDS = ("pointwise", "dense", "depthwise", "general")
SIZES = st.one_of(st.integers(0, 12), st.sampled_from([13, 14, 15, 28, 29, 31, 56, 57, 70]))
CHANNELS = st.sampled_from([1, 2, 3, 5, 8, 16, 17, 24, 33, 40, 48])


@pytest.fixture(params=LEVELS)
def level(request):
    with at_level(request.param):
        yield request.param


class Case:
    """Shapes of one convolution, and arrays for them."""

    def __init__(self, kind, batch, cin, cout, size, kernel, stride, padding, dilation, groups):
        self.kind, self.spec = kind, ConvSpec(stride, padding, dilation, groups)
        self.x_shape = (batch, cin, *size)
        self.w_shape = (cout, cin // groups, *kernel)

    def __repr__(self):
        return f"{self.kind} x{self.x_shape} w{self.w_shape} {self.spec}"

    def arrays(self, dtype, seed=0, integers=False):
        r = np.random.default_rng(seed)

        def draw(shape):
            return (r.integers(-4, 5, shape) if integers else r.standard_normal(shape)).astype(
                dtype
            )

        return draw(self.x_shape), draw(self.w_shape), draw(self.w_shape[:1])

    def run(self, x, w, bias, **options):
        return getattr(cython, f"{self.kind}_conv2d")(x, w, bias, self.spec, **options)


@st.composite
def cases(draw, kinds=KINDS):
    kind, batch = draw(st.sampled_from(kinds)), draw(st.integers(0, 3))
    size, cin, cout = (draw(SIZES), draw(SIZES)), draw(CHANNELS), draw(CHANNELS)
    stride = (draw(st.integers(1, 3)), draw(st.integers(1, 3)))
    if kind == "pointwise":
        return Case(kind, batch, cin, cout, size, (1, 1), stride, ((0, 0), (0, 0)), (1, 1), 1)
    kernel = draw(st.sampled_from([(3, 3), (5, 5), (3, 1), (1, 3), (2, 4), (7, 7)]))
    dilation = draw(st.sampled_from([(1, 1), (1, 1), (2, 1), (1, 2), (3, 3)]))
    pads = tuple((draw(st.integers(0, k)), draw(st.integers(0, k))) for k in kernel)
    padding = tuple(
        (before, after + max(0, d * (k - 1) + 1 - n - before - after) if n else after)
        for (before, after), k, d, n in zip(pads, kernel, dilation, size, strict=True)
    )
    groups = {"dense": 1, "depthwise": cin, "general": draw(st.sampled_from([2, 3]))}[kind]
    if kind == "general":
        cin, cout = cin * groups, cout * groups
    if kind == "depthwise":
        cout = cin
    return Case(kind, batch, cin, cout, size, kernel, stride, padding, dilation, groups)


def plain(x, w, spec):
    """T in float64 (or any dtype given), one window position and tap at a time."""
    n, _, height, width = x.shape
    cout, per_group, kh, kw = w.shape
    y = np.zeros(conv_output_shape(x.shape, w.shape, spec), x.dtype)
    group_of = np.arange(cout) // max(cout // spec.groups, 1)
    for p, q in np.ndindex(y.shape[2:]):
        for a, b in np.ndindex(kh, kw):
            h = p * spec.stride[0] - spec.padding[0][0] + a * spec.dilation[0]
            v = q * spec.stride[1] - spec.padding[1][0] + b * spec.dilation[1]
            if 0 <= h < height and 0 <= v < width:
                pixel = x[:, :, h, v].reshape(n, spec.groups, per_group)[:, group_of]
                y[:, :, p, q] += (pixel * w[:, :, a, b]).sum(-1)
    return y


def bound(x, w, bias, spec):
    """(n + c) u / (1 - (n + c) u) (T(|x|, |w|) + |bias|), n products and two roundings each."""
    u = np.finfo(x.dtype).eps / 2
    n = 2 * w[0].size + 2
    gamma = n * u / (1 - n * u)
    sizes = plain(np.abs(x).astype(float), np.abs(w).astype(float), spec)
    return gamma * (sizes + np.abs(bias.astype(float))[:, None, None])


@pytest.mark.parametrize("level", LEVELS)
@given(case=cases(), dtype=st.sampled_from([np.float32, np.float64]), threads=st.integers(1, 3))
def test_every_element_is_within_its_own_bound(level, case, dtype, threads):
    x, w, bias = case.arrays(dtype)
    wide = np.longdouble if dtype is np.float64 else np.float64
    with at_level(level):
        y = case.run(x, w, bias, threads=threads)
    exact = plain(x.astype(wide), w.astype(wide), case.spec) + bias.astype(wide)[:, None, None]
    assert y.dtype == dtype
    assert (np.abs(y - exact) <= bound(x, w, bias, case.spec)).all()


@pytest.mark.parametrize("level", LEVELS)
@given(case=cases(), dtype=st.sampled_from([np.float32, np.float64]))
def test_small_integers_come_out_exactly(level, case, dtype):
    x, w, bias = case.arrays(dtype, integers=True)
    with at_level(level):
        y = case.run(x, w, bias)
    np.testing.assert_array_equal(y, plain(x, w, case.spec) + bias[:, None, None])


@given(case=cases(), dtype=st.sampled_from([np.float32, np.float64]))
def test_every_level_with_fma_has_the_same_bits(case, dtype):
    x, w, bias = case.arrays(dtype)
    results = []
    for level in FMA_LEVELS:
        with at_level(level):
            results.append(case.run(x, w, bias, activation="hardswish", threads=2))
    for other in results[1:]:
        assert other.tobytes() == results[0].tobytes()


@given(case=cases(), threads=st.integers(2, 4))
def test_threads_do_not_change_a_bit(case, threads):
    x, w, bias = case.arrays(np.float32)
    one = case.run(x, w, bias, threads=1)
    assert case.run(x, w, bias, threads=threads).tobytes() == one.tobytes()


@given(case=cases(), batch=st.integers(1, 5))
def test_an_image_has_the_same_bits_alone_and_anywhere_in_a_batch(case, batch):
    case.x_shape = (batch, *case.x_shape[1:])
    x, w, bias = case.arrays(np.float32)
    together = case.run(x, w, bias)
    for n in range(batch):
        assert case.run(x[n : n + 1], w, bias).tobytes() == together[n : n + 1].tobytes()


def layouts(x):
    """The same numbers, lying in memory in other ways."""
    yield "channels-last", np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    wide = np.zeros((*x.shape[:3], 2 * x.shape[3]), x.dtype)
    wide[..., ::2] = x
    yield "every second column", wide[..., ::2]
    yield "backwards", x[:, :, ::-1].copy()[:, :, ::-1]
    yield "channels-last with a gap", _gap(x)
    frozen = x.copy()
    frozen.flags.writeable = False
    yield "read-only", frozen
    raw = np.zeros(x.nbytes + 1, np.uint8)
    odd = raw[1:].view(x.dtype) if x.size == 0 else np.frombuffer(raw, x.dtype, x.size, 1)
    raw[1:] = np.frombuffer(x.tobytes(), np.uint8)
    yield "unaligned", odd.reshape(x.shape)


def _gap(x):
    n, c, h, w = x.shape
    memory = np.zeros((n, h + 1, w + 2, c), x.dtype)
    memory[:, :h, :w] = x.transpose(0, 2, 3, 1)
    return memory[:, :h, :w].transpose(0, 3, 1, 2)


@given(case=cases(), dtype=st.sampled_from([np.float32, np.float64]))
def test_memory_layout_does_not_change_a_bit(case, dtype):
    x, w, bias = case.arrays(dtype)
    expected = case.run(x, w, bias)
    for name, same in layouts(x):
        assert case.run(same, w, bias).tobytes() == expected.tobytes(), name
    for name, same in layouts(w):
        assert case.run(x, same, bias).tobytes() == expected.tobytes(), name


@given(case=cases())
def test_packed_weights_give_the_same_bits_again_and_again(case):
    x, w, bias = case.arrays(np.float32)
    packed = pack(w, case.spec)
    for _ in range(2):
        assert case.run(x, packed, bias).tobytes() == case.run(x, w, bias).tobytes()


ACTIVATIONS = (None, "relu", "relu6", "hardsigmoid", "hardswish", "sigmoid", "silu", "tanh")


@pytest.mark.parametrize("activation", ACTIVATIONS)
@given(case=cases(), dtype=st.sampled_from([np.float32, np.float64]))
def test_fused_is_unfused_to_the_bit(activation, case, dtype):
    x, w, bias = case.arrays(dtype)
    r = np.random.default_rng(1)
    residual = r.standard_normal(conv_output_shape(x.shape, w.shape, case.spec)).astype(dtype)
    gate = r.random((*x.shape[:2], 1, 1)).astype(dtype)
    t = case.run(x * gate, w, bias)
    plainly = (getattr(cython, activation)(t) if activation else t) + residual
    fused = case.run(x, w, bias, activation=activation, residual=residual, gate=gate)
    np.testing.assert_array_equal(fused, plainly)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("kind", KINDS)
def test_nan_and_infinity_reach_every_output_that_reads_them(level, kind, activation):
    groups = {"depthwise": 6, "general": 2}.get(kind, 1)
    kernel = (1, 1) if kind == "pointwise" else (3, 3)
    pads = ((0, 0), (0, 0)) if kind == "pointwise" else ((1, 1), (1, 1))
    case = Case(kind, 1, 6, 6, (9, 9), kernel, (1, 1), pads, (1, 1), groups)
    x, w, bias = case.arrays(np.float32)
    x[0, :, 4, 4] = np.nan
    y = case.run(x, np.abs(w), bias, activation=activation)
    reads = np.zeros((9, 9), bool)
    reach = kernel[0] // 2
    reads[4 - reach : 5 + reach, 4 - reach : 5 + reach] = True
    assert (np.isnan(y) == reads).all()


@pytest.mark.parametrize("kind", ["dense", "depthwise", "general"])
def test_taps_on_padding_are_skipped_not_multiplied_by_zero(level, kind):
    case = Case(
        kind, 1, 4, 4, (5, 5), (3, 3), (1, 1), ((1, 1), (1, 1)), (1, 1),
        {"dense": 1, "depthwise": 4, "general": 2}[kind],
    )  # fmt: skip
    x, w, bias = case.arrays(np.float32)
    w[:, :, 0, :] = np.inf
    assert np.isfinite(case.run(x, w, bias)[:, :, 0]).all()


@given(case=cases(), threads=st.integers(1, 3))
def test_nothing_is_written_outside_the_output(case, threads):
    x, w, bias = case.arrays(np.float32)
    n, c, h, v = conv_output_shape(x.shape, w.shape, case.spec)
    guard = np.float32(-777.25)
    memory = np.full((n + 2, h + 2, v + 2, c + 3), guard)
    y = memory[1:-1, 1:-1, 1:-1, 1 : c + 1].transpose(0, 3, 1, 2)
    expected = case.run(x, w, bias)
    if y.size:
        packed = pack(w, case.spec)
        x = channels_last(x)
        bind_conv2d(x, packed, y, bias).run(threads)
    assert y.tobytes() == expected.tobytes()
    y[...] = guard
    assert (memory == guard).all()


def test_errors_name_what_does_not_fit():
    case = Case("dense", 1, 4, 4, (5, 5), (3, 3), (1, 1), ((1, 1), (1, 1)), (1, 1), 1)
    x, w, bias = case.arrays(np.float32)
    with pytest.raises(ShapeError, match="residual"):
        case.run(x, w, bias, residual=x[:, :3])
    with pytest.raises(ShapeError, match="gate"):
        case.run(x, w, bias, gate=np.ones((1, 3), np.float32))
    with pytest.raises(BackendError, match="activation"):
        case.run(x, w, bias, activation="swoosh")
    with pytest.raises(ShapeError, match="packed for"):
        case.run(x, pack(w, case.spec._replace(stride=(2, 2))), bias)
