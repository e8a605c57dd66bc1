"""What both compiled engines promise alike: batch norm and pools have NumPy's bits.

These leave no choice of order, so they need no other compiled engine beside them.  Every level
of the core that this CPU runs is tried, and Numba.
"""

from __future__ import annotations

from contextlib import ExitStack, contextmanager

import numpy as np
import pytest
from drawing import SEEDS, THREADS, batches, pools, same_bits
from hypothesis import given
from hypothesis import strategies as st

from minigrad.errors import ShapeError
from minigrad.kernels import cython
from minigrad.kernels import numba as numba_backend
from minigrad.kernels import numpy as numpy_backend
from minigrad.kernels.contract import PoolWindow
from minigrad.kernels.cython.core import level, levels
from minigrad.threads import threads

ENGINES = [
    *(levels() if cython.UNAVAILABLE is None else ()),
    *(["numba"] if numba_backend.UNAVAILABLE is None else ()),
] or [pytest.param("none", marks=pytest.mark.skip(reason=str(cython.UNAVAILABLE)))]
each_engine = pytest.mark.parametrize("engine", ENGINES)
EPS = 1e-5


@contextmanager
def running(engine, workers=2):
    """The backend of an engine, on so many threads."""
    with ExitStack() as stack:
        stack.enter_context(threads(workers))
        if engine == "numba":
            yield numba_backend
        else:
            stack.enter_context(level(engine))
            yield cython


@each_engine
@given(batches(least=0), THREADS)
def test_batch_norm_is_numpys_operations_one_by_one(engine, case, workers):
    _, *arguments = case
    with running(engine, workers) as backend:
        got = backend.batch_norm(*arguments, EPS)
    same_bits(got, numpy_backend.batch_norm(*arguments, EPS))


@each_engine
@given(pools(), THREADS, st.booleans())
def test_max_pool_finds_numpys_maxima(engine, case, workers, flaws):
    x, window, layout = case
    x = np.round(x)  # ties
    if flaws:
        x.flat[::3], x.flat[1::7], x.flat[2::11] = np.nan, -np.inf, np.inf
    y, index = numpy_backend.max_pool2d(x, window)
    with running(engine, workers) as backend:
        got, places = backend.max_pool2d(layout(x), window)
    same_bits(got, y)
    np.testing.assert_array_equal(places, index)
    assert places.dtype == np.int64


@each_engine
@given(pools(), THREADS, SEEDS)
def test_a_chosen_maximum_is_gathered_and_scattered_in_order(engine, case, workers, seed):
    x, window, layout = case
    shape, pixels = window.output_shape(x.shape), x.shape[2] * x.shape[3]
    rng = np.random.default_rng(seed)
    index = rng.integers(0, min(pixels, 3), shape)  # few places, so that many meet
    g = rng.standard_normal(shape).astype(x.dtype)
    with running(engine, workers) as backend:
        gathered = backend.max_pool2d_gather(layout(x), index)
        dx = backend.max_pool2d_input_grad(layout(g), index, x.shape)
    same_bits(gathered, numpy_backend.max_pool2d_gather(x, index))
    same_bits(dx, numpy_backend.max_pool2d_input_grad(g, index, x.shape))


@each_engine
@given(pools(), THREADS, st.booleans())
def test_avg_pool_adds_numpys_taps_in_their_order(engine, case, workers, count_include_pad):
    x, window, layout = case
    if (numpy_backend.pooling.divisor(x.shape, window, count_include_pad) < 1).any():
        return  # a mean of nothing
    y = numpy_backend.avg_pool2d(x, window, count_include_pad)
    with running(engine, workers) as backend:
        got = backend.avg_pool2d(layout(x), window, count_include_pad)
        dx = backend.avg_pool2d_input_grad(layout(y), x.shape, window, count_include_pad)
    same_bits(got, y)
    same_bits(dx, numpy_backend.avg_pool2d_input_grad(y, x.shape, window, count_include_pad))


@each_engine
def test_a_window_wholly_on_padding_has_no_maximum(engine):
    window = PoolWindow((1, 1), (1, 1), ((1, 0), (0, 0)))
    with running(engine) as backend:
        y, index = backend.max_pool2d(np.ones((1, 3, 1, 1)), window)
    assert y[0, :, 0, 0].tolist() == [-np.inf] * 3
    assert index[0, :, 0, 0].tolist() == [-1] * 3


@each_engine
@pytest.mark.parametrize("wrong", [-1, 12, 2**40])
def test_an_index_outside_of_the_map_is_refused(engine, wrong):
    x, index = np.ones((1, 2, 3, 4)), np.zeros((1, 2, 2, 2), np.int64)
    index[0, 1, 1, 1] = wrong
    with running(engine) as backend:
        with pytest.raises(ShapeError, match="outside of the map"):
            backend.max_pool2d_gather(x, index)
        with pytest.raises(ShapeError, match="outside of the map"):
            backend.max_pool2d_input_grad(np.ones((1, 2, 2, 2)), index, x.shape)
