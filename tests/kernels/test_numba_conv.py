"""The Numba engine gives the bits that the contract of design promises, no matter who asks.

The oracle below is the definition in loops, each step one fused multiply-add of the C
library: another implementation, in the stated order.  Equal bits leave no room for a wrong
tap, a wrong order, or a sum cut in two.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minigrad.errors import DtypeError, ShapeError
from minigrad.geometry import ConvSpec, conv_output_shape, conv_spec
from minigrad.kernels import numba_backend
from minigrad.threads import threads

pytestmark = pytest.mark.skipif(
    numba_backend.UNAVAILABLE is not None, reason=str(numba_backend.UNAVAILABLE)
)

_libm = ctypes.CDLL(ctypes.util.find_library("m"))
_libm.fma.restype, _libm.fma.argtypes = ctypes.c_double, [ctypes.c_double] * 3
_libm.fmaf.restype, _libm.fmaf.argtypes = ctypes.c_float, [ctypes.c_float] * 3
FMA = {np.dtype(np.float32): _libm.fmaf, np.dtype(np.float64): _libm.fma}


def couplings(x_shape, w_shape, spec):
    """Every (n, o, p, q, a, b, i) of T and where it reads x: (channel, h, v)."""
    cout, cg, kh, kw = w_shape
    n, _, ho, wo = conv_output_shape(x_shape, w_shape, spec)
    (top, _), (left, _) = spec.padding
    for b, p, q in itertools.product(range(n), range(ho), range(wo)):
        for a, c in itertools.product(range(kh), range(kw)):
            h = p * spec.stride[0] - top + a * spec.dilation[0]
            v = q * spec.stride[1] - left + c * spec.dilation[1]
            if 0 <= h < x_shape[2] and 0 <= v < x_shape[3]:
                for o, i in itertools.product(range(cout), range(cg)):
                    channel = o // (cout // spec.groups) * cg + i
                    yield (b, o, p, q), (o, i, a, c), (b, channel, h, v)


def exact_conv2d(x, w, bias, spec):
    y = np.zeros(conv_output_shape(x.shape, w.shape, spec), x.dtype)
    if bias is not None:
        y += bias[:, None, None]
    fma = FMA[x.dtype]
    for out, weight, read in couplings(x.shape, w.shape, spec):
        y[out] = fma(x[read], w[weight], y[out])
    return y


def exact_input_grad(g, w, x_shape, spec):
    """For each element of dx the terms come in the order of the tap, then of o."""
    dx, fma = np.zeros(x_shape, g.dtype), FMA[g.dtype]
    terms = sorted(couplings(x_shape, w.shape, spec), key=lambda t: (t[1][2:], t[1][0]))
    for out, weight, read in terms:
        dx[read] = fma(g[out], w[weight], dx[read])
    return dx


def exact_weight_grad(g, x, w_shape, spec):
    """For each element of dw the terms come in the order of the pixel (n, p, q)."""
    dw, fma = np.zeros(w_shape, g.dtype), FMA[g.dtype]
    for out, weight, read in couplings(x.shape, w_shape, spec):
        dw[weight] = fma(g[out], x[read], dw[weight])
    return dw


@st.composite
def convolutions(draw, kind):
    """(x, w, bias, spec) of a kind, small, with general values."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    dtype = draw(st.sampled_from([np.float32, np.float64]))
    small = st.integers(1, 3)
    kernel = (1, 1) if kind == "pointwise" else (draw(small), draw(st.sampled_from([1, 2, 3, 5])))
    pads = st.tuples(st.integers(0, 2), st.integers(0, 2))
    padding = (0, 0) if kind == "pointwise" else (draw(pads), draw(pads))
    stride = draw(st.tuples(small, small))
    dilation = draw(st.tuples(st.integers(1, 2), st.integers(1, 2)))
    groups = {"depthwise": draw(st.sampled_from([2, 3, 5, 17, 33])), "general": 2}.get(kind, 1)
    cg = 1 if kind == "depthwise" else draw(st.sampled_from([1, 2, 3, 7]))
    og = 1 if kind == "depthwise" else draw(st.sampled_from([1, 2, 5, 17, 33]))
    least = [d * (k - 1) + 1 for k, d in zip(kernel, dilation, strict=True)]
    size = [draw(st.integers(k, k + 5)) for k in least]
    n = draw(st.integers(1, 2))
    x = _values(rng, (n, groups * cg, *size), dtype)
    w = _values(rng, (groups * og, cg, *kernel), dtype)
    bias = _values(rng, (groups * og,), dtype) if draw(st.booleans()) else None
    spec = conv_spec(x.shape, w.shape, stride, padding, dilation, groups)
    return x, w, bias, spec


def _values(rng, shape, dtype):
    return rng.standard_normal(shape).astype(dtype)


def same_bits(got, expected):
    assert got.dtype == expected.dtype
    assert got.shape == expected.shape
    kind = {4: np.uint32, 8: np.uint64}[got.itemsize]
    np.testing.assert_array_equal(
        np.ascontiguousarray(got).view(kind), np.ascontiguousarray(expected).view(kind)
    )


@pytest.mark.parametrize("kind", ["pointwise", "depthwise", "dense", "general"])
@given(data=st.data())
def test_forward_has_the_bits_of_the_definition(kind, data):
    x, w, bias, spec = data.draw(convolutions(kind))
    same_bits(numba_backend.conv2d(x, w, bias, spec), exact_conv2d(x, w, bias, spec))


KINDS = ["pointwise", "depthwise", "dense", "general"]


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data())
def test_input_grad_has_the_bits_of_the_definition(kind, data):
    x, w, _, spec = data.draw(convolutions(kind))
    g = _values(np.random.default_rng(5), conv_output_shape(x.shape, w.shape, spec), x.dtype)
    got = numba_backend.conv2d_input_grad(g, w, x.shape, spec)
    same_bits(got, exact_input_grad(g, w, x.shape, spec))


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data())
def test_weight_grad_has_the_bits_of_the_definition(kind, data):
    x, w, _, spec = data.draw(convolutions(kind))
    g = _values(np.random.default_rng(5), conv_output_shape(x.shape, w.shape, spec), x.dtype)
    got = numba_backend.conv2d_weight_grad(g, x, w.shape, spec)
    same_bits(got, exact_weight_grad(g, x, w.shape, spec))


def test_oracle_notices_another_order():
    """The negative control: the same taps, summed backwards, have other bits."""
    x, w, bias, spec = _depthwise(np.float32)
    flipped = exact_conv2d(x[:, :, ::-1, ::-1], w[:, :, ::-1, ::-1], bias, spec)[:, :, ::-1, ::-1]
    assert (flipped != exact_conv2d(x, w, bias, spec)).any()
    np.testing.assert_allclose(flipped, exact_conv2d(x, w, bias, spec), rtol=1e-4, atol=1e-5)


def _depthwise(dtype, n=2, c=19, h=13, w=11, k=3, stride=1, padding=1):
    rng = np.random.default_rng(7)
    x, weight = _values(rng, (n, c, h, w), dtype), _values(rng, (c, 1, k, k), dtype)
    spec = conv_spec(x.shape, weight.shape, stride, padding, 1, c)
    return x, weight, _values(rng, (c,), dtype), spec


LAYOUTS = {
    "channels last": lambda x: x.transpose(0, 2, 3, 1).copy().transpose(0, 3, 1, 2),
    "every second": lambda x: np.repeat(x, 2, axis=3)[..., ::2],
    "backwards": lambda x: x[:, ::-1].copy()[:, ::-1],
    "unaligned": lambda x: _unaligned(x),
    "read-only": lambda x: _read_only(x.copy()),
}


def _unaligned(x):
    raw = np.zeros(x.nbytes + 1, np.uint8)[1:].view(x.dtype).reshape(x.shape)
    raw[...] = x
    return raw


def _read_only(x):
    x.flags.writeable = False
    return x


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layout_changes_no_bit(layout):
    x, w, bias, spec = _depthwise(np.float32)
    expected = numba_backend.conv2d(x, w, bias, spec)
    change = LAYOUTS[layout]
    same_bits(numba_backend.conv2d(change(x), change(w), bias, spec), expected)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_threads_and_batch_change_no_bit(dtype):
    x, w, bias, spec = _depthwise(dtype, n=3)
    with threads(1):
        expected = numba_backend.conv2d(x, w, bias, spec)
    for n in (2, 3, 4):
        with threads(n):
            same_bits(numba_backend.conv2d(x, w, bias, spec), expected)
    for i in range(3):
        alone = numba_backend.conv2d(x[i : i + 1], w, bias, spec)
        same_bits(alone, expected[i : i + 1])


def test_an_empty_batch_gives_an_empty_result():
    x, w, bias, spec = _depthwise(np.float32, n=0)
    assert numba_backend.conv2d(x, w, bias, spec).shape == (0, 19, 13, 11)


def test_wrong_calls_get_the_errors_of_the_contract():
    x, w, bias, spec = _depthwise(np.float32)
    with pytest.raises(ShapeError, match="groups"):
        numba_backend.conv2d(x[:, 1:], w, bias, spec)
    with pytest.raises(DtypeError, match="bias is float64"):
        numba_backend.conv2d(x, w, bias.astype(np.float64), spec)


def test_the_result_is_channels_last_and_of_the_contract_s_shape():
    x, w, bias, spec = _depthwise(np.float64, stride=2)
    y = numba_backend.conv2d(x, w, bias, spec)
    assert y.shape == conv_output_shape(x.shape, w.shape, spec)
    assert y.transpose(0, 2, 3, 1).flags.c_contiguous
    assert isinstance(spec, ConvSpec)
