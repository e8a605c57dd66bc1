"""Nothing at all, odd memory, and damaged files: the Numba engine gives right numbers."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from needs import needs

from minigrad.geometry import conv_output_shape, conv_spec
from minigrad.kernels import numba as numba_backend
from minigrad.kernels import numpy as numpy_backend
from minigrad.kernels.contract import PoolWindow
from minigrad.verify.strategies import LAYOUTS, laid_out

pytestmark = needs("numba")

DTYPES = (np.float32, np.float64)


def strided(array, layout):
    """``laid_out``, and steps of zero along the last axis."""
    if layout == "repeated":
        return np.broadcast_to(array[..., :1], array.shape)
    return laid_out(array, layout)


layouts = st.sampled_from([*LAYOUTS, "repeated"])


def close(got, expected):
    assert (got.shape, got.dtype) == (expected.shape, expected.dtype)
    tolerance = 1e-4 if got.dtype == np.float32 else 1e-12
    np.testing.assert_allclose(got, expected, tolerance, tolerance)


@given(st.data())
def test_convolutions_of_nothing_and_of_odd_memory(data):
    """Channels, maps and batches of size 0, in any memory, as NumPy has them."""
    size = st.sampled_from([0, 1, 2, 3, 17])
    groups = data.draw(st.sampled_from([1, 1, 2, 3]))
    inner, outer = data.draw(st.sampled_from([0, 1, 3, 17])), data.draw(size)
    kernel = data.draw(st.sampled_from([(1, 1), (3, 3), (1, 2), (7, 2)]))
    x_shape = (data.draw(st.integers(0, 2)), groups * inner, data.draw(size), data.draw(size))
    w_shape = (groups * outer, inner, *kernel)
    spec = conv_spec(x_shape, w_shape, data.draw(st.integers(1, 2)), kernel, 1, groups)
    rng, dtype = np.random.default_rng(3), data.draw(st.sampled_from(DTYPES))

    def draw(shape):
        return strided(rng.standard_normal(shape).astype(dtype), data.draw(layouts))

    y_shape = conv_output_shape(x_shape, w_shape, spec)
    x, w, bias, g = map(draw, (x_shape, w_shape, w_shape[:1], y_shape))
    expected = numpy_backend.conv2d(x, w, bias, spec)
    close(numba_backend.conv2d(x, w, bias, spec), expected)
    for function, args in (
        ("conv2d_input_grad", (g, w, x_shape, spec)),
        ("conv2d_weight_grad", (g, x, w_shape, spec)),
    ):
        expected = getattr(numpy_backend, function)(*args)
        close(getattr(numba_backend, function)(*args), expected)


@pytest.mark.parametrize(
    ("kernel", "before", "after"), [(3, 3, 3), (3, 0, 4), (3, 5, 0), (5, 5, 6)]
)
def test_windows_that_lie_wholly_on_padding(kernel, before, after):
    """Their pixels have no taps at all."""
    x_shape, w_shape = (1, 3, 1, 7), (3, 1, 1, kernel)
    spec = conv_spec(x_shape, w_shape, 1, ((0, 0), (before, after)), 1, 3)
    rng = np.random.default_rng(5)
    x, g = (rng.integers(-4, 5, s).astype(np.float32)
            for s in (x_shape, conv_output_shape(x_shape, w_shape, spec)))  # fmt: skip
    got = numba_backend.conv2d_weight_grad(g, x, w_shape, spec)
    np.testing.assert_array_equal(got, numpy_backend.conv2d_weight_grad(g, x, w_shape, spec))


@given(st.data())
def test_linear_of_nothing_and_of_odd_memory(data):
    n, inputs, outputs = (data.draw(st.sampled_from([0, 1, 3, 40])) for _ in range(3))
    rng = np.random.default_rng(4)
    x, w, bias = (
        strided(rng.standard_normal(shape), data.draw(layouts))
        for shape in ((n, inputs), (outputs, inputs), (outputs,))
    )
    close(numba_backend.linear(x, w, bias), x @ w.T + bias)


@given(st.data())
def test_sums_and_norms_of_nothing_and_of_odd_memory(data):
    """Each call has the bits of the same call on a plain copy of its arrays."""
    size = st.sampled_from([0, 1, 3, 17])
    shape = tuple(data.draw(size) for _ in range(4))
    rng, dtype = np.random.default_rng(5), data.draw(st.sampled_from(DTYPES))

    def draw(shape):
        return strided(1 + rng.random(shape).astype(dtype), data.draw(layouts))

    x, g, mean, var, gamma = map(draw, (shape, shape, *[shape[1:2]] * 3))
    axes = tuple(sorted(data.draw(st.sets(st.integers(0, 3)))))
    calls = [
        ("sum", (x,), (axes, False)),
        ("softmax", (x,), ()),
        ("log_softmax_input_grad", (g, x), ()),
        ("silu", (x,), ()),
        ("tanh_input_grad", (g, x), ()),
        ("batch_norm", (x, mean, var, gamma, gamma), (1e-3,)),
        ("batch_norm_sums", (g, x, mean, var), (1e-3,)),
    ]
    if 0 not in shape:
        window = PoolWindow((2, 2), (1, 2), ((1, 1), (0, 1)))
        calls += [
            ("batch_norm_statistics", (x,), ()),
            ("batch_norm_input_grad", (g, x, mean, var, gamma), (1e-3,)),
            ("global_avg_pool", (x,), ()),
            ("max_pool2d", (x,), (window,)),
            ("avg_pool2d", (x,), (window, False)),
        ]
    for name, arrays, rest in calls:
        function = getattr(numba_backend, name)
        got, expected = function(*arrays, *rest), function(*map(np.array, arrays), *rest)
        got, expected = (v if isinstance(v, tuple) else (v,) for v in (got, expected))
        for one, other in zip(got, expected, strict=True):
            np.testing.assert_array_equal(one, other, err_msg=name)
    np.testing.assert_allclose(numba_backend.sum(x, axes, True), x.sum(axes, keepdims=True), 1e-4)


RELU = """
import warnings, sys, numpy as np
warnings.simplefilter("always")
from minigrad.kernels import numba as numba_backend
x = np.arange(-40, 40, dtype=np.float32)
with warnings.catch_warnings(record=True) as caught:
    assert (numba_backend.relu(x) == np.maximum(x, 0)).all()
    assert (numba_backend.relu6(x) == x.clip(0, 6)).all()
print(sum("damaged" in str(w.message) for w in caught))
"""


def _cached_run(directory):
    env = os.environ | {"NUMBA_CACHE_DIR": str(directory)}
    done = subprocess.run(
        [sys.executable, "-c", RELU], env=env, capture_output=True, text=True, check=True
    )
    return int(done.stdout)


def _damage(file: Path, how: str) -> None:
    data = file.read_bytes()
    middle = len(data) // 2
    file.write_bytes({
        "empty": b"",
        "cut": data[:middle],
        "changed": data[:middle] + bytes([data[middle] ^ 255]) + data[middle + 1 :],
    }[how])  # fmt: skip


@pytest.mark.parametrize("how", ["empty", "cut", "changed"])
def test_a_damaged_cache_is_written_anew_with_one_warning(tmp_path, how):
    assert _cached_run(tmp_path) == 0
    files = list(tmp_path.rglob("*.minigrad"))
    assert len(files) == 2
    for file in files:
        _damage(file, how)
    assert _cached_run(tmp_path) == 1
    assert _cached_run(tmp_path) == 0
