"""What overflows is infinite, what is undefined is NaN, in silence: here a warning is an error."""

from __future__ import annotations

import numpy as np
import pytest

import minigrad as mg
from minigrad.kernels import BACKENDS, unavailable
from minigrad.kernels.tables import FUNCTIONS_OF_ONE

DTYPES = [np.float32, np.float64]
AVAILABLE = [name for name in BACKENDS if not unavailable(name)]
OF_ONE = {f.name: getattr(mg, f.name) for f in FUNCTIONS_OF_ONE} | {
    "sqrt": mg.sqrt, "square": lambda x: x**2, "inverse": lambda x: x**-1, "negative": lambda x: -x,
    "softmax": mg.softmax, "log_softmax": mg.log_softmax, "sum": mg.sum, "mean": mg.mean,
    "scaled": lambda x: x * 1e10, "moved": lambda x: x + 3e38, "halved": lambda x: x / 1e-10,
}  # fmt: skip
OF_TWO = {
    "add": mg.add, "sub": mg.sub, "mul": mg.mul, "div": mg.div, "pow": lambda a, b: a**b,
    "maximum": mg.maximum, "matmul": lambda a, b: mg.matmul(a.reshape(1, -1), b.reshape(-1, 1)),
    "batched matmul": lambda a, b: mg.matmul(a.reshape(1, 1, -1), b.reshape(1, -1, 1)),
    "linear": lambda a, b: mg.linear(a.reshape(1, -1), b.reshape(1, -1)),
}  # fmt: skip


def extremes(dtype):
    """Numbers at which arithmetic overflows, underflows or has no answer."""
    info = np.finfo(dtype)
    edges = [0.0, -0.0, 1.0, -1.0, 1000.0, -1000.0, np.inf, -np.inf, np.nan]
    edges += [info.max, -info.max, info.tiny, info.smallest_subnormal, float(info.max) ** 0.5]
    return np.array(edges, dtype)


def forward_and_back(f, *arrays):
    y = f(*(mg.Tensor(a, requires_grad=True) for a in arrays))
    y.backward(np.full(y.shape, np.finfo(y.dtype).max, y.dtype))
    return y.numpy()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("backend", AVAILABLE)
@pytest.mark.parametrize("name", OF_ONE)
def test_a_function_of_one_number_never_warns(name, backend, dtype):
    with mg.backend(backend):
        forward_and_back(OF_ONE[name], extremes(dtype))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("backend", AVAILABLE)
@pytest.mark.parametrize("name", OF_TWO)
def test_a_function_of_two_numbers_never_warns(name, backend, dtype):
    a, b = np.meshgrid(extremes(dtype), extremes(dtype))
    with mg.backend(backend):
        forward_and_back(OF_TWO[name], a.reshape(-1), b.reshape(-1))


@pytest.mark.parametrize("backend", AVAILABLE)
def test_layers_never_warn(backend):
    x = np.full((2, 3, 4, 4), 3e38, np.float32)
    w, one = np.full((3, 3, 1, 1), 3e38, np.float32), np.ones(3, np.float32)
    with mg.backend(backend):
        forward_and_back(mg.conv2d, x, w)
        forward_and_back(lambda x: mg.avg_pool2d(x, 2), x)
        forward_and_back(lambda x: mg.max_pool2d(x, 3, stride=1), x)
        forward_and_back(mg.global_avg_pool, x)
        forward_and_back(mg.batch_norm, x, one, -one, one, one)
        running = mg.Tensor(one * x[0, 0, 0, 0]), mg.Tensor(one * x[0, 0, 0, 0])
        forward_and_back(lambda x: mg.batch_norm(x, *running, training=True), x)


@pytest.mark.parametrize("backend", AVAILABLE)
def test_the_answers_are_those_of_ieee_754(backend):
    with mg.backend(backend):
        assert mg.exp(mg.Tensor([1000.0])).numpy()[0] == np.inf
        assert (mg.Tensor([3e38, -3e38]) * 10).numpy().tolist() == [np.inf, -np.inf]
        assert (mg.Tensor([3e38]) + 3e38).numpy()[0] == np.inf
        assert np.isnan((mg.Tensor([np.inf]) - np.inf).numpy()[0])
        assert mg.Tensor(np.array([1e300])).astype(np.float32).numpy()[0] == np.inf


def test_the_callers_own_settings_stay():
    with np.errstate(over="raise"):
        mg.exp(mg.Tensor([1000.0]) * 3e38)
        assert np.geterr()["over"] == "raise"
