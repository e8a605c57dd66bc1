"""Convolutions of parts that are the same at every pixel: two convolutions, one at one pixel."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

import minigrad as mg

FLATTENERS = {
    "broadcast": lambda v, size: mg.broadcast_to(v, (*v.shape[:2], *size)),
    "linear": lambda v, size: mg.resize(v, size, "linear", "align_corners"),
    "nearest": lambda v, size: mg.resize(v, size),
    "cubic": lambda v, size: mg.resize(v, size, "cubic"),
}


def parts_of(x, kinds, flatten):
    """Maps of three channels from x: f for a flat one, m for a map."""
    pooled = x.mean((2, 3), keepdims=True)
    for k, kind in enumerate(kinds, 1):
        yield flatten(k * pooled, x.shape[2:]) if kind == "f" else mg.tanh(x * k)


def network(kinds, flatten, seed=0, activation=mg.relu, norm=False):
    rng = np.random.default_rng(seed)
    arrays = [mg.from_numpy(rng.normal(size=s)) for s in ((7, 3 * len(kinds), 1, 1), 7, 7, 7)]
    w, bias, gamma, beta = arrays

    def model(x):
        y = mg.conv2d(mg.concat(list(parts_of(x, kinds, flatten)), 1), w, bias)
        one = mg.from_numpy(np.ones(7))
        return activation(mg.batch_norm(y, beta, one, gamma, beta) if norm else y)

    return model


@given(
    st.text("fm", min_size=2, max_size=5), st.sampled_from(sorted(FLATTENERS)), st.booleans(),
    st.integers(1, 3), st.integers(1, 5), st.integers(1, 5), st.integers(0, 99),
)  # fmt: skip
def test_the_values_are_those_of_one_convolution(kinds, how, norm, n, h, w, seed):
    model = network(kinds, FLATTENERS[how], seed, norm=norm)
    x = np.random.default_rng(seed).normal(size=(n, 3, h, w))
    plan = mg.compile(model, x.shape, dtype=np.float64)
    y = model(mg.from_numpy(x)).numpy()
    np.testing.assert_allclose(plan(x), y, rtol=1e-10, atol=1e-10)
    np.testing.assert_array_equal(mg.compile(model, x.shape, dtype="f8", fold=False)(x), y)
    applied = [note.applied for note in plan.notes if note.rule == "fold flat parts"]
    mixed = {"f", "m"} == set(kinds)
    if how == "broadcast" or how == "nearest":
        assert applied == [True] * (mixed and h * w > 1)
    for k in range(n):  # whatever the batch
        alone = mg.compile(model, (1, *x.shape[1:]), dtype=np.float64)
        np.testing.assert_array_equal(alone(x[k : k + 1]), plan(x)[k : k + 1])


def test_the_small_one_is_added_before_the_activation():
    plan = mg.compile(network("mf", FLATTENERS["broadcast"]), (1, 3, 8, 8), dtype="f8")
    last = list(plan.graph.steps.values())[-1]
    assert (last.op, last.epilogue.activation, last.epilogue.last) == ("conv2d", "relu", True)
    assert not any(step.op == "concat" for step in plan.graph.steps.values())


def test_all_shapes_share_the_cut_weights():
    plan = mg.compile(network("fmm", FLATTENERS["nearest"]), dtype=np.float64)
    for size in (4, 6):
        plan(np.ones((1, 3, size, size)))
    assert len(plan._recipe.weights.packed) == 2
