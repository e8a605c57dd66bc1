"""Arguments are checked once, where a function is dispatched: one error for all backends."""

from __future__ import annotations

import numpy as np
import pytest

from minigrad import kernels
from minigrad.arguments import LARGEST
from minigrad.errors import DtypeError, ShapeError
from minigrad.geometry import ConvSpec
from minigrad.kernels import BACKENDS, backend, classify, find
from minigrad.kernels.contract import CONV_FUNCTIONS, FUNCTIONS, KINDS, PoolWindow

X, V = np.ones((2, 3, 4, 4)), np.ones(3)
W = np.ones((6, 3, 3, 3))
G = np.ones((2, 6, 2, 2))
WINDOW = PoolWindow((2, 2), (2, 2))
INDEX = np.zeros((2, 3, 2, 2), np.int64)
HALF, SINGLE = (np.ones(X.shape, dtype) for dtype in (np.float16, np.float32))
WRONG = {
    "conv2d": [
        (X[:, 1:], W, None, ConvSpec()), (X[0], W, None, ConvSpec()), (X, W, V, ConvSpec()),
        (SINGLE, W, None, ConvSpec()), (X, W, None, ConvSpec(groups=2)),
        (X[:, :, 2:], W, None, ConvSpec()), (X, W, None, ConvSpec((0, 1))),
        (X, W, None, ConvSpec((2**63, 1))), (X, W, None, ConvSpec(dilation=(1, 2**64))),
        (X, W, None, ConvSpec((1, 1), ((0, 2**62), (0, 0)))), (X, W, None, ConvSpec(groups=0)),
        (X, W, None, ConvSpec((1, 1), ((-1, 1), (0, 0)))), (X, W[..., :0], None, ConvSpec()),
    ],
    "conv2d_input_grad": [
        (G[:, :, 1:], W, X.shape, ConvSpec()), (G, W, X.shape[1:], ConvSpec()),
        (G.astype(np.float32), W, X.shape, ConvSpec()), (G, W, X.shape, ConvSpec((2**40, 2))),
    ],
    "conv2d_weight_grad": [
        (G[1:], X, W.shape, ConvSpec()), (G, X, W.shape[:3], ConvSpec()),
        (G, SINGLE, W.shape, ConvSpec()),
    ],
    "sum": [(X, (4,), False), (X, (0, 0), False), (X, (1, -3), False), (HALF, (0,), False)],
    "linear": [
        (X[0, 0], np.ones((2, 5)), None), (X, W, None), (X[0, 0], np.ones((3, 4)), np.ones(4)),
        (SINGLE[0, 0], np.ones((3, 4)), None),
    ],
    "softmax": [(np.float64(1) * np.ones(()),), (HALF,)],
    "log_softmax": [(np.ones(()),)],
    "softmax_input_grad": [(np.ones(()), np.ones(())), (X[1:], X), (SINGLE, X)],
    "log_softmax_input_grad": [(X[:, 1:], X)],
    "batch_norm": [(V, V, V, V, V, 0.1), (X, V, V, V, np.ones(4), 0.1), (SINGLE, V, V, V, V, 0.1)],
    "batch_norm_statistics": [(V,), (HALF,)],
    "batch_norm_sums": [(X[:1], X, V, V, 0.1), (SINGLE, X, V, V, 0.1), (X, X, V, X, 0.1)],
    "batch_norm_input_grad": [(X, X, V, V, np.ones(1), 0.1), (X[1:], X, V, V, V, 0.1)],
    "max_pool2d": [
        (V, WINDOW), (X.astype(int), WINDOW), (X, WINDOW._replace(kernel=(5, 5))),
        (X, WINDOW._replace(stride=(2**63, 1))), (X, WINDOW._replace(kernel=(0, 1))),
        (np.broadcast_to(np.ones(1), (1, 1, 2**16, 2**15)), WINDOW),
    ],
    "max_pool2d_gather": [
        (X[:1], INDEX), (X[0], INDEX), (X, INDEX + 16), (X, INDEX - 1), (X, INDEX.astype(float)),
    ],
    "max_pool2d_input_grad": [
        (X, INDEX, X.shape), (X[:, :, :2, :2], INDEX, X.shape[1:]),
        (X[:, :, :2, :2], INDEX + 2**40, X.shape), (X[:, :, :2, :2], INDEX, (2, 3, 0, 4)),
    ],
    "avg_pool2d": [(X[0], WINDOW, True), (HALF, WINDOW, True)],
    "avg_pool2d_input_grad": [(X, X.shape, WINDOW, True), (SINGLE, X.shape[1:], WINDOW, True)],
    "global_avg_pool": [(X[0],), (HALF,)],
    **{
        name: [(HALF,)] if len(f.arguments) == 1 else [(X[1:], X), (SINGLE, X)]
        for name, f in FUNCTIONS.items()
        if f.arguments in (("x",), ("g", "x"), ("g", "y")) and "soft" not in name
        and name not in ("batch_norm_statistics", "global_avg_pool")
    },
}  # fmt: skip
USABLE = [name for name in BACKENDS if not kernels.unavailable(name)]


def test_every_function_has_wrong_calls():
    assert WRONG.keys() == FUNCTIONS.keys()


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_wrong_call_has_the_same_error_on_every_backend(function):
    for arguments in WRONG[function]:
        said = set()
        for name in USABLE:
            with backend(name), pytest.raises((ShapeError, DtypeError)) as caught:
                find(function).call(*arguments)
            said.add(f"{type(caught.value).__name__}: {caught.value}")
        assert len(said) == 1
        (sentence,) = said
        assert function in sentence or "window of" in sentence or "pool2d" in sentence
        assert "\n" not in sentence
        assert len(sentence) < 300


def test_numbers_that_a_kernel_can_count_with_are_allowed():
    spec = ConvSpec((LARGEST, LARGEST), ((0, 0), (0, 0)), (1, 1), 1)
    for name in USABLE:
        with backend(name):
            y = find("conv2d", classify(spec, W.shape)).call(X, W, None, spec)
        np.testing.assert_array_equal(y, np.full((2, 6, 1, 1), 27.0))


def test_every_function_is_served_for_every_kind():
    for name in USABLE:
        served = kernels.backends(name)
        assert len(served) == len(KINDS) * len(CONV_FUNCTIONS) + len(FUNCTIONS) - len(
            CONV_FUNCTIONS
        )
        assert set(served.values()) == {name}
