"""The Numba engine gives the bits that the contract of design promises, no matter who asks.

The oracle below is the definition in loops, each step one fused multiply-add of the C
library: another implementation, in the stated order.  Equal bits leave no room for a wrong
tap, a wrong order, or a sum cut in two.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import itertools
import multiprocessing
import os
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from needs import needs

from minigrad.geometry import conv_output_shape, conv_spec, valid_range
from minigrad.kernels import backend, classify, find
from minigrad.kernels import numba as numba_backend
from minigrad.kernels import numpy as numpy_backend
from minigrad.threads import threads

pytestmark = needs("numba")

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


def fma32(a, b, c):
    """a b + c for float32 arrays, rounded once.

    The product is exact in float64.  The sum is rounded to odd there (its last bit says that
    something was cut off), after which rounding to float32 is what rounding once would be.
    """
    a, b, c = (np.asarray(v, np.float64) for v in (a, b, c))
    product = a * b
    total = product + c
    part = total - product
    error = (product - (total - part)) + (c - part)
    even = (total.view(np.int64) & 1) == 0
    toward = np.where(error > 0, np.inf, -np.inf)
    return np.where((error != 0) & even, np.nextafter(total, toward), total).astype(np.float32)


def quick_conv2d(x, w, bias, spec):
    """The forward sum in float32: all outputs at once, tap after tap."""
    (top, _), (left, _) = spec.padding
    n, cout, ho, wo = conv_output_shape(x.shape, w.shape, spec)
    y = np.zeros((n, cout, ho, wo), np.float32) + bias[:, None, None]
    per_group = cout // spec.groups
    for a, b, i in itertools.product(*map(range, (*w.shape[2:], w.shape[1]))):
        p0, p1 = valid_range(x.shape[2], ho, a, spec.stride[0], top, spec.dilation[0])
        q0, q1 = valid_range(x.shape[3], wo, b, spec.stride[1], left, spec.dilation[1])
        h, v = p0 * spec.stride[0] - top + a * spec.dilation[0], q0 * spec.stride[1] - left
        v += b * spec.dilation[1]
        rows = slice(h, h + (p1 - p0 - 1) * spec.stride[0] + 1, spec.stride[0])
        cols = slice(v, v + (q1 - q0 - 1) * spec.stride[1] + 1, spec.stride[1])
        read = np.repeat(x[:, i :: w.shape[1], rows, cols], per_group, axis=1)
        place = (..., slice(p0, p1), slice(q0, q1))
        y[place] = fma32(read, w[:, i, a, b][:, None, None], y[place])
    return y


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


KINDS = ["pointwise", "depthwise", "dense", "general"]


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data())
def test_forward_has_the_bits_of_the_definition(kind, data):
    x, w, bias, spec = data.draw(convolutions(kind))
    same_bits(numba_backend.conv2d(x, w, bias, spec), exact_conv2d(x, w, bias, spec))


@pytest.mark.newest
@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data())
def test_input_grad_has_the_bits_of_the_definition(kind, data):
    x, w, _, spec = data.draw(convolutions(kind))
    g = _values(np.random.default_rng(5), conv_output_shape(x.shape, w.shape, spec), x.dtype)
    got = numba_backend.conv2d_input_grad(g, w, x.shape, spec)
    same_bits(got, exact_input_grad(g, w, x.shape, spec))


@pytest.mark.newest
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
    return _layer(dtype, n, c, c, (h, w), k, stride, padding, groups=c)


def _layer(dtype, n, cin, cout, size, k, stride=1, padding=0, groups=1, dilation=1):
    rng = np.random.default_rng(7)
    kernel = k if isinstance(k, tuple) else (k, k)
    x = _values(rng, (n, cin, *size), dtype)
    weight = _values(rng, (cout, cin // groups, *kernel), dtype)
    spec = conv_spec(x.shape, weight.shape, stride, padding, dilation, groups)
    return x, weight, _values(rng, (cout,), dtype), spec


def _sizes(n, cin, cout, size, k, stride=1, **rest):
    return {"n": n, "cin": cin, "cout": cout, "size": size, "k": k, "stride": stride} | rest


# Sizes at which tiles are whole, cut, and several; strips begin, repeat and end.
LAYERS = {
    "pointwise": _sizes(2, 21, 75, (9, 11), 1),
    "pointwise s2": _sizes(1, 40, 48, (9, 8), 1, stride=2),
    "depthwise": _sizes(2, 33, 33, (7, 31), 3, padding=1, groups=33),
    "depthwise s2": _sizes(1, 16, 16, (12, 57), 3, 2, padding=((0, 1), (0, 1)), groups=16),
    "depthwise 5": _sizes(1, 40, 40, (8, 28), 5, padding=2, groups=40),
    "depthwise 5 s2": _sizes(1, 24, 24, (9, 29), 5, 2, padding=2, groups=24),
    "depthwise dilated": _sizes(1, 17, 17, (9, 9), 3, padding=2, groups=17, dilation=2),
    "dense": _sizes(1, 5, 50, (9, 16), 3, padding=1),
    "dense s2": _sizes(2, 3, 32, (15, 15), 3, 2, padding=1),
    "dense 1x3": _sizes(1, 16, 20, (6, 19), (1, 3), padding=(0, 1)),
    "general": _sizes(1, 12, 60, (7, 8), 3, padding=1, groups=3),
}


@pytest.mark.newest
@pytest.mark.parametrize("name", LAYERS)
def test_whole_tiles_have_the_bits_of_the_definition(name):
    x, w, bias, spec = _layer(np.float32, **LAYERS[name])
    same_bits(numba_backend.conv2d(x, w, bias, spec), quick_conv2d(x, w, bias, spec))


def test_the_quick_oracle_is_the_c_library_s():
    x, w, bias, spec = _depthwise(np.float32, n=1, c=2, h=6, w=5)
    same_bits(quick_conv2d(x, w, bias, spec), exact_conv2d(x, w, bias, spec))


def _all_three(x, w, bias, spec):
    g = _values(np.random.default_rng(3), conv_output_shape(x.shape, w.shape, spec), x.dtype)
    return (
        numba_backend.conv2d(x, w, bias, spec),
        numba_backend.conv2d_input_grad(g, w, x.shape, spec),
        numba_backend.conv2d_weight_grad(g, x, w.shape, spec),
    )


@pytest.mark.newest
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", LAYERS)
def test_all_three_are_one_trilinear_form_exactly_on_integers(name, dtype):
    """<T(x, w), g> = <x, T*(w, g)> = <w, T*(x, g)>, with no rounding anywhere."""
    x, w, _, spec = _layer(dtype, **LAYERS[name])
    x, w = np.rint(3 * x), np.rint(3 * w)
    g = np.rint(
        3 * _values(np.random.default_rng(3), conv_output_shape(x.shape, w.shape, spec), dtype)
    )
    form = np.vdot(numba_backend.conv2d(x, w, None, spec).astype(np.float64), g)
    assert form != 0
    assert np.vdot(numba_backend.conv2d_input_grad(g, w, x.shape, spec).astype(float), x) == form
    assert np.vdot(numba_backend.conv2d_weight_grad(g, x, w.shape, spec).astype(float), w) == form


@pytest.mark.parametrize("name", LAYERS)
def test_each_element_is_within_the_bound(name):
    """|got - exact| <= gamma_(terms) T(|.|, |.|), the exact value taken in float64."""
    x, w, bias, spec = _layer(np.float32, **LAYERS[name])
    g = _values(np.random.default_rng(3), conv_output_shape(x.shape, w.shape, spec), x.dtype)
    calls = {
        "conv2d": (w[0].size + 1, (x, w, bias)),
        "conv2d_input_grad": (w.size // w.shape[1], (g, w, x.shape)),
        "conv2d_weight_grad": (g.size // g.shape[1], (g, x, w.shape)),
    }
    for function, (terms, arguments) in calls.items():
        exact, size = (
            getattr(numpy_backend, function)(
                *(change(a) if isinstance(a, np.ndarray) else a for a in arguments), spec
            )
            for change in (np.float64, lambda a: np.abs(a.astype(np.float64)))
        )
        unit = terms * 2.0**-24
        got = getattr(numba_backend, function)(*arguments, spec)
        assert (np.abs(got - exact) <= 1.01 * unit / (1 - unit) * size + 1e-300).all(), function


compiled = needs("cython")


def both_compiled_backends_agree(x, w, bias, spec):
    g = _values(np.random.default_rng(3), conv_output_shape(x.shape, w.shape, spec), x.dtype)
    for function, arguments in {
        "conv2d": (x, w, bias),
        "conv2d_input_grad": (g, w, x.shape),
        "conv2d_weight_grad": (g, x, w.shape),
    }.items():
        with backend("cython", strict=True):
            other = find(function, classify(spec, w.shape))
        same_bits(getattr(numba_backend, function)(*arguments, spec), other.call(*arguments, spec))


@compiled
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.fma
def test_the_compiled_backends_agree_to_the_bit_on_layers(name, dtype):
    both_compiled_backends_agree(*_layer(dtype, **LAYERS[name]))


@pytest.mark.newest
@compiled
@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data())
@pytest.mark.fma
def test_the_compiled_backends_agree_to_the_bit(kind, data):
    both_compiled_backends_agree(*data.draw(convolutions(kind)))


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
@pytest.mark.parametrize("name", LAYERS)
def test_threads_and_batch_change_no_bit(name, dtype):
    x, w, bias, spec = _layer(dtype, **LAYERS[name] | {"n": 3})
    with threads(1):
        expected = _all_three(x, w, bias, spec)
    for n in (2, 3, 4):
        with threads(n):
            for got, one in zip(_all_three(x, w, bias, spec), expected, strict=True):
                same_bits(got, one)
    for i in range(3):
        same_bits(numba_backend.conv2d(x[i : i + 1], w, bias, spec), expected[0][i : i + 1])


ELSEWHERE = """
import hashlib, sys, warnings
import numpy as np
from minigrad.kernels import backend, classify, cython, find
from minigrad.kernels import numba as numba_backend
from minigrad.kernels import numpy as numpy_backend
from minigrad.kernels.numba import _launch as launch
from minigrad.geometry import conv_spec
from minigrad.threads import threads

assert {condition}, "the subprocess does not run what it is for"
digest, said = hashlib.sha256(), []
for dtype in (np.float32, np.float64):
    for cin, cout, k, stride, groups in [(21, 75, 1, 1, 1), (5, 50, 3, 2, 1), (33, 33, 5, 1, 33)]:
        rng = np.random.default_rng(0)
        x = rng.standard_normal((2, cin, 15, 16)).astype(dtype)
        w = rng.standard_normal((cout, cin // groups, k, k)).astype(dtype)
        spec = conv_spec(x.shape, w.shape, stride, 0 if k == 1 else k // 2, 1, groups)
        with threads({threads}), warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            y = numba_backend.conv2d(x, w, None, spec)
            for a in (
                y,
                numba_backend.conv2d_input_grad(y, w, x.shape, spec),
                numba_backend.conv2d_weight_grad(y, x, w.shape, spec),
            ):
                digest.update(np.ascontiguousarray(a).tobytes())
        said += told
assert {after}, said
print(digest.hexdigest())
"""


def elsewhere(condition="True", after="not said", threads=1, **environment):
    """The digest of a few results, as another process computes them."""
    source = ELSEWHERE.format(condition=condition, after=after, threads=threads)
    done = subprocess.run(
        [sys.executable, "-c", source],
        env=os.environ | environment,
        cwd=Path(numba_backend.__file__).parents[3],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def usual():
    return elsewhere()


@pytest.mark.newest
def test_four_threads_change_no_bit(usual):
    assert elsewhere(threads=4, NUMBA_NUM_THREADS="4") == usual


def test_narrower_vectors_change_no_bit(usual):
    assert elsewhere("launch.vector_bytes() == 32", MINIGRAD_ISA="avx2") == usual


def test_threads_of_our_own_change_no_bit_and_the_slow_layer_is_named_once(usual):
    once = "len(said) == 1 and 'workqueue' in str(said[0].message)"
    assert elsewhere(after=once, threads=2, NUMBA_THREADING_LAYER="workqueue") == usual


def test_a_machine_without_a_place_for_the_cache_compiles_anyway(usual, tmp_path):
    """Numba finds no locator: neither beside the file nor in the user's folder."""
    condition = (
        "[setattr(numba_caching.CacheImpl, '_locator_classes', []) for numba_caching in "
        "[__import__('numba.core.caching', fromlist=['x'])]]"
    )
    assert elsewhere(condition) == usual


def test_a_forked_child_computes_the_same():
    x, w, bias, spec = _depthwise(np.float32)
    with threads(2):
        expected = numba_backend.conv2d(x, w, bias, spec)
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore", DeprecationWarning
            )  # Python's own, on fork with threads
            with multiprocessing.get_context("fork").Pool(1) as pool:
                got = pool.apply_async(numba_backend.conv2d, (x, w, bias, spec)).get(timeout=60)
    same_bits(got, expected)


def test_an_empty_batch_gives_an_empty_result():
    x, w, bias, spec = _depthwise(np.float32, n=0)
    assert numba_backend.conv2d(x, w, bias, spec).shape == (0, 19, 13, 11)


def test_the_result_is_channels_last_and_of_the_contract_s_shape():
    x, w, bias, spec = _depthwise(np.float64, stride=2)
    y = numba_backend.conv2d(x, w, bias, spec)
    assert y.shape == conv_output_shape(x.shape, w.shape, spec)
    assert y.transpose(0, 2, 3, 1).flags.c_contiguous
