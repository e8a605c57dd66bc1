"""Long sums: what ops add up is as exact as their result's dtype allows, or nearly."""

from __future__ import annotations

import math

import numpy as np
import pytest

import minigrad as mg
from minigrad.kernels import BACKENDS, unavailable
from minigrad.kernels.contract import INNER
from minigrad.verify.bounds import gamma

AVAILABLE = [name for name in BACKENDS if not unavailable(name)]
N = 300_000
KINDS = {
    "a constant": lambda rng, n: np.full(n, 0.1),
    "a large mean": lambda rng, n: rng.normal(1000, 1, n),
    "positive": lambda rng, n: np.abs(rng.normal(size=n)),
    "ordinary": lambda rng, n: rng.normal(1, 1, n),
}
each_kind = pytest.mark.parametrize("kind", KINDS)


def drawn(kind, n=N):
    return KINDS[kind](np.random.default_rng(0), n).astype(np.float32)


@each_kind
def test_means_and_variances_are_good_to_two_roundings(kind):
    x = drawn(kind)
    exact = x.astype(np.float64)
    t = mg.Tensor(x)
    assert abs(t.mean().item() - exact.mean()) <= 2 * np.spacing(np.float32(abs(exact.mean())))
    variance = exact.var(ddof=1)
    allowed = 1e-6 * variance + np.spacing(np.float32(exact.mean())) ** 2
    assert abs(t.var().item() - variance) <= allowed


@each_kind
@pytest.mark.parametrize("shapes", [((2, N), (N, 2)), ((2, 1, N), (2, N, 1)), ((N,), (N,))])
def test_long_products_are_cut_as_linears_are(kind, shapes):
    values = drawn(kind, 4 * N)
    a = values[: int(np.prod(shapes[0]))].reshape(shapes[0])
    b = values[: int(np.prod(shapes[1]))].reshape(shapes[1])
    exact = a.astype(np.float64) @ b.astype(np.float64)
    y = (mg.Tensor(a) @ mg.Tensor(b)).numpy()
    size = np.abs(a).astype(np.float64) @ np.abs(b).astype(np.float64)
    assert np.all(np.abs(y - exact) <= gamma(INNER + 3, np.float32) * size)


def test_a_stack_has_the_bits_of_its_matrices_where_sums_are_long():
    a, b = (drawn("ordinary", 6 * 5000).reshape(s) for s in ((2, 3, 5000), (2, 5000, 3)))
    stacked = (mg.Tensor(a) @ mg.Tensor(b)).numpy()
    alone = [(mg.Tensor(a[k]) @ mg.Tensor(b[k])).numpy() for k in range(2)]
    assert np.array_equal(stacked, np.stack(alone))


def test_losses_over_many_rows():
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(N // 10, 10)).astype(np.float32)
    labels = rng.integers(0, 10, N // 10)
    z = scores.astype(np.float64)
    exact = np.mean(np.log(np.exp(z).sum(axis=1)) - z[np.arange(len(z)), labels])
    t = mg.Tensor(scores)
    assert mg.cross_entropy(t, labels).item() == pytest.approx(exact, rel=3e-7)
    assert mg.mse_loss(t, 0.5).item() == pytest.approx(np.mean((z - 0.5) ** 2), rel=3e-7)


@pytest.mark.parametrize("backend", AVAILABLE)
def test_many_windows_with_one_maximum_add_up_to_a_rounding(backend):
    """601 windows of 600 pixels, all with the same maximum: one chain of float32 is far off."""
    x = np.zeros((1, 1, 1, 1200), np.float32)
    x[..., 600] = 1
    with mg.backend(backend):
        t = mg.Tensor(x, requires_grad=True)
        y = mg.max_pool2d(t, (1, 600), stride=1)
        g = np.full(y.shape, 0.1, np.float32)
        y.backward(g)
    covered = y.numpy() == 1
    exact = np.float32(math.fsum(g[covered].tolist()))
    assert covered.sum() > 256
    assert t.grad.numpy()[0, 0, 0, 600] == exact
    assert np.add.accumulate(g[covered])[-1] != exact
