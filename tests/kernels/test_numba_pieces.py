"""A long job of Numba's is run in pieces: the same bits, and Ctrl-C ends it between two of them."""

from __future__ import annotations

import signal
import threading

import numpy as np
import pytest
from needs import needs

import minigrad as mg
from minigrad.geometry import ConvSpec
from minigrad.kernels import classify, find
from minigrad.kernels.contract import PoolWindow
from minigrad.threads import threads

pytestmark = needs("numba")  # the tests that need it ask for ``launch``
THREADS = [1, 2]


@pytest.fixture
def launch(monkeypatch):
    """``_launch`` with every job called long, its pieces as short as they can be."""
    from minigrad.kernels.numba import _launch

    monkeypatch.setattr(_launch, "_LONG", 0)
    monkeypatch.setattr(_launch, "_PIECE", 0.0)
    return _launch


def functions():
    """{name: a call}, of every sort of job, each of several tasks."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2, 24, 17, 19)).astype(np.float32)
    g, w = x[:, ::-1].copy(), rng.standard_normal((40, 24, 3, 3)).astype(np.float32)
    by_channel, dense = ConvSpec(groups=24), ConvSpec()
    y, window = rng.standard_normal((2, 40, 15, 17)).astype(np.float32), PoolWindow((2, 2), (1, 1))

    def call(function, *args, kind=None):
        return lambda: find(function, kind).call(*args)

    yield "dense", call("conv2d", x, w, None, dense, kind=classify(dense, w.shape))
    yield "depthwise", call("conv2d", x, w[:24, :1], None, by_channel, kind="depthwise")
    yield "dense weights", call("conv2d_weight_grad", y, x, w.shape, dense, kind="dense")
    yield (
        "depthwise weights",
        call("conv2d_weight_grad", g, x, (24, 1, 1, 1), by_channel, kind="depthwise"),
    )
    yield "columns", call("sum", x, (0, 2, 3), False)
    yield "rows", call("sum", x, (1, 2, 3), False)
    yield "exp", call("exp", x)
    yield "mean pool", call("avg_pool2d", x, window, True)
    yield "statistics", call("batch_norm_statistics", x)


CALLS = dict(functions())


@pytest.mark.parametrize("workers", THREADS)
@pytest.mark.parametrize("name", CALLS)
def test_pieces_have_the_bits_of_the_whole(name, workers, monkeypatch):
    from minigrad.kernels.numba import _launch

    with mg.backend("numba", strict=True), threads(workers):
        whole = CALLS[name]()
        monkeypatch.setattr(_launch, "_LONG", 0)
        monkeypatch.setattr(_launch, "_PIECE", 0.0)
        pieces = CALLS[name]()
    for a, b in zip(np.atleast_1d(whole), np.atleast_1d(pieces), strict=True):
        assert np.array_equal(a, b)


@pytest.mark.skipif(not hasattr(signal, "raise_signal"), reason="needs raise_signal")
@pytest.mark.parametrize("workers", THREADS)
@pytest.mark.parametrize("name", ["dense", "depthwise", "dense weights", "mean pool"])
def test_ctrl_c_ends_a_job_after_the_piece_in_which_it_came(name, workers, launch, monkeypatch):
    assert threading.current_thread() is threading.main_thread()
    done, whole = [], launch.Job._launch

    def interrupted(job, first, last, workers):
        whole(job, first, last, workers)
        if last - first < job.tasks:
            done.append((last, job.tasks))
            signal.raise_signal(signal.SIGINT)

    with mg.backend("numba", strict=True), threads(workers):
        expected = CALLS[name]()
        monkeypatch.setattr(launch.Job, "_launch", interrupted)
        before = signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            with pytest.raises(KeyboardInterrupt):
                CALLS[name]()
        finally:
            signal.signal(signal.SIGINT, before)
        monkeypatch.setattr(launch.Job, "_launch", whole)
        assert len(done) == 1
        assert done[0][0] < done[0][1]
        assert np.array_equal(CALLS[name](), expected)
