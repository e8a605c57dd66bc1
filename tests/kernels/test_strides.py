"""Every function of the compiled core on memory of every kind: the bits of a plain array."""

from __future__ import annotations

import numpy as np
import pytest
from needs import needs
from numpy.lib.stride_tricks import as_strided

from minigrad.geometry import ConvSpec, conv_output_shape
from minigrad.kernels import backend, classify, find
from minigrad.kernels.contract import PoolWindow

pytestmark = needs("cython")

WINDOW = PoolWindow((3, 2), (2, 1), ((1, 1), (0, 1)))
X = (2, 5, 6, 7)
# x, w, stride, pad, dilation, groups: every kind, one channel, maps of width 1.
CONVOLUTIONS = [
    ((2, 5, 6, 7), (4, 5, 1, 1), 1, 0, 1, 1), ((2, 17, 6, 7), (33, 17, 3, 3), 2, 1, 1, 1),
    ((1, 4, 5, 1), (4, 4, 1, 1), 1, 0, 1, 1), ((2, 1, 5, 6), (3, 1, 1, 1), 1, 0, 1, 1),
    ((2, 6, 5, 1), (4, 3, 3, 1), 1, 1, 2, 2), ((2, 20, 7, 6), (20, 1, 3, 3), 1, 1, 1, 20),
    ((2, 20, 7, 6), (20, 1, 5, 5), 2, 2, 1, 20), ((2, 3, 7, 6), (8, 3, 3, 3), 1, 1, 1, 1),
]  # fmt: skip
SUMMED = ((0,), (1,), (2,), (3,), (0, 2, 3), (2, 3), (0, 1), (1, 3), (0, 1, 2, 3))


def lying(a):
    """a's values, or such as a's shape allows, where a user may have them."""
    for axis in range(a.ndim):
        if a.shape[axis] > 1:
            yield np.broadcast_to(np.take(a, [0], axis=axis), a.shape)
    if a.ndim == 4:
        pixels = np.ascontiguousarray(a.transpose(0, 2, 3, 1))
        yield a[:, ::-1, ::-1, ::-1]
        yield pixels[:, ::-1, ::-1].transpose(0, 3, 1, 2)
        yield as_strided(pixels, a.shape, (0, a.itemsize, 0, 0))
        wide = np.zeros((*pixels.shape[:3], a.shape[1] + 3), a.dtype)
        wide[..., 1:-2] = pixels
        yield wide[..., 1:-2].transpose(0, 3, 1, 2)
    raw = np.zeros(a.nbytes + 1, np.uint8)
    unaligned = raw[1:].view(a.dtype).reshape(a.shape)
    unaligned[...] = a
    yield unaligned
    yield np.asfortranarray(a)


def calls(dtype):
    """(function, arrays): every function of the contract."""
    rng = np.random.default_rng(0)

    def n(*shape):
        return rng.normal(size=shape).astype(dtype)

    for x_shape, w_shape, stride, pad, dilation, groups in CONVOLUTIONS:
        spec = ConvSpec((stride, stride), ((pad, pad), (pad, pad)), (dilation, dilation), groups)
        forward, dx, dw = (
            find(f"conv2d{part}", classify(spec, w_shape)).call
            for part in ("", "_input_grad", "_weight_grad")
        )
        y_shape = conv_output_shape(x_shape, w_shape, spec)
        yield (
            lambda x, w, b, f=forward, s=spec: f(x, w, b, s),
            (n(*x_shape), n(*w_shape), n(w_shape[0])),
        )
        yield lambda g, w, f=dx, s=spec, at=x_shape: f(g, w, at, s), (n(*y_shape), n(*w_shape))
        yield lambda g, x, f=dw, s=spec, at=w_shape: f(g, x, at, s), (n(*y_shape), n(*x_shape))
    x, vectors = n(*X), [n(5), n(5) ** 2, n(5), n(5)]
    for name, arrays in (
        ("batch_norm", (x, *vectors)), ("batch_norm_sums", (n(*X), x, *vectors[:2])),
        ("batch_norm_input_grad", (n(*X), x, *vectors[:3])),
    ):  # fmt: skip
        function = find(name).call
        yield lambda *a, f=function: f(*a, 0.1), arrays
    for name in (
        "batch_norm_statistics",
        "relu",
        "exp",
        "softmax",
        "log_softmax",
        "global_avg_pool",
    ):
        yield find(name).call, (x,)
    for name in ("relu", "silu", "softmax", "log_softmax"):
        yield find(f"{name}_input_grad").call, (n(*X), x)
    for axes in SUMMED:
        yield lambda x, axes=axes: find("sum").call(x, axes, False), (x,)
    yield find("linear").call, (n(7, 30), n(9, 30), n(9))
    g, index = n(*WINDOW.output_shape(X)), find("max_pool2d").call(x, WINDOW)[1]
    yield lambda x: find("max_pool2d").call(x, WINDOW), (x,)
    yield lambda x: find("avg_pool2d").call(x, WINDOW, False), (x,)
    yield lambda g: find("avg_pool2d_input_grad").call(g, X, WINDOW, True), (g,)
    yield lambda g: find("max_pool2d_input_grad").call(g, index, X), (g,)
    yield lambda x: find("max_pool2d_gather").call(x, index), (x,)


def bits(result):
    parts = result if isinstance(result, tuple) else (result,)
    return [(part.shape, part.dtype, part.tobytes()) for part in parts]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_memory_of_every_kind_gives_the_bits_of_a_plain_array(dtype):
    with backend("cython", strict=True):
        for function, arrays in calls(dtype):
            for place in range(len(arrays)):
                for odd in lying(arrays[place]):
                    given = [*arrays[:place], odd, *arrays[place + 1 :]]
                    plain = [np.array(a, order="C") for a in given]
                    assert bits(function(*given)) == bits(function(*plain))
