"""Plans that keep their batch norms (``fold=False``): the bits of eager mode, without Python."""

from __future__ import annotations

import numpy as np
import pytest
from needs import needs

import minigrad as mg
from minigrad import nn
from minigrad.engine.bind import has_kernel

pytestmark = needs("cython")
SHAPES = ((1, 1, 1, 1), (2, 3, 5, 7), (9, 16, 4, 4), (1, 17, 3, 2), (5, 33, 9, 8), (3, 200, 2, 3))
OTHERS = ((4, 5), (2, 3, 4), (2, 3, 2, 2, 2), (0, 3, 2, 2), (2, 3, 0, 2))


class Norm(nn.Module):
    """x normalised by statistics and with parameters that are all different."""

    def __init__(self, channels: int, dtype: str) -> None:
        super().__init__()
        mean, var, gamma, beta = np.random.default_rng(channels).normal(size=(4, channels))
        self.mean, self.var = nn.Buffer(mean.astype(dtype)), nn.Buffer(abs(var).astype(dtype))
        self.gamma, self.beta = nn.Buffer(gamma.astype(dtype)), nn.Buffer(beta.astype(dtype))

    def forward(self, x):
        return mg.batch_norm(x, self.mean, self.var, self.gamma, self.beta, eps=1e-3)


def orders(x):
    """x in C order and, if it is a map, channels-last."""
    yield np.ascontiguousarray(x)
    if x.ndim == 4:
        yield np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)


def check(model, shape, dtype):
    """All bits; the steps that are not compiled."""
    plan = mg.compile(model.eval(), shape, dtype=dtype, fold=False)
    values = np.random.default_rng(1).normal(size=shape).astype(dtype)
    for x in orders(values):
        expected = model(mg.from_numpy(x)).numpy()
        for threads in (1, 2):
            np.testing.assert_array_equal(plan(x, threads=threads), expected)
    return [step.op for step in plan.graph.steps.values() if not has_kernel(step)]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_a_norm_alone_and_between_others_is_compiled_and_has_eager_bits(shape, dtype):
    c = shape[1]
    norm = Norm(c, dtype)
    assert check(norm, shape, dtype) == []
    conv = nn.Conv2d(c, c, 1).to(np.dtype(dtype).type)
    assert check(nn.Sequential(norm, conv, norm, nn.ReLU(), norm).eval(), shape, dtype) == []


@pytest.mark.parametrize("shape", OTHERS, ids=str)
def test_a_norm_of_no_map_has_eager_bits(shape):
    assert check(Norm(shape[1], "float32"), shape, "float32") == (
        [] if shape == (4, 5) else ["batch_norm_eval"]
    )


def test_statistics_that_are_no_numbers_give_what_they_give_in_eager_mode():
    norm = Norm(4, "float32")
    with mg.no_grad():
        norm.var.copy_(mg.tensor([-1.0, np.inf, np.nan, 0.0]))
    with np.errstate(all="ignore"):
        check(norm, (2, 4, 3, 3), "float32")


def test_a_norm_by_what_the_network_computes_is_not_compiled():
    """Its mean is no constant: the kernel is given numbers once."""

    class Own(nn.Module):
        def forward(self, x):
            mean = mg.mean(x, (0, 2, 3))
            ones = mg.ones(3)
            return mg.batch_norm(x, mean, ones, ones, ones)

    assert "batch_norm_eval" in check(Own(), (2, 3, 4, 5), "float32")


def test_a_network_evaluated_after_an_epoch_is_compiled_as_a_whole(tmp_path):
    model = mg.models.create("squeezenext_small", rng=0).eval()
    assert check(model, (3, 3, 28, 28), "float32") == []
    plan = mg.compile(model, (3, 3, 28, 28), fold=False)
    plan.save(tmp_path / "net.plan")
    x = np.random.default_rng(2).normal(size=(3, 3, 28, 28)).astype(np.float32)
    np.testing.assert_array_equal(mg.load_plan(tmp_path / "net.plan")(x), plan(x))
