"""A gate writes over the map that it scales where nothing else needs it: with the same bits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from needs import needs

import minigrad as mg
from minigrad.engine import interpret

pytestmark = needs("cython")
RNG = np.random.default_rng(0)
C = 40


def weights(*shape: int) -> mg.Tensor:
    return mg.Tensor(RNG.normal(size=shape).astype(np.float32))


SCALE, DEEP, POINT = weights(C, C, 1, 1), weights(C, 1, 3, 3), weights(C, C, 1, 1)


def gated(x: mg.Tensor) -> mg.Tensor:
    """A pointwise convolution of x times one number a channel."""
    s = mg.sigmoid(mg.conv2d(mg.global_avg_pool(x), SCALE))
    return mg.conv2d(x * mg.broadcast_to(s, x.shape), POINT)


def deep(x: mg.Tensor) -> mg.Tensor:
    return mg.silu(mg.conv2d(x, DEEP, None, 1, 1, 1, C))


NETWORKS: dict[str, tuple[Callable[[mg.Tensor], Any], bool]] = {
    "nothing else": (lambda x: gated(deep(x)), True),
    "several in a row": (lambda x: gated(deep(gated(deep(x)) + x)), True),
    "the input": (lambda x: gated(x), False),
    "an output": (lambda x: (lambda m: [m, gated(m)])(deep(x)), False),
    "a residual": (lambda x: (lambda m: gated(m) + m)(deep(x)), False),
    "a later step": (lambda x: (lambda m: deep(gated(m)) + m)(deep(x)), False),
    "the same under another shape": (
        lambda x: (lambda m: [gated(m), m.reshape(m.shape[0], -1)])(deep(x)),
        False,
    ),
}


def spending(plan: mg.Plan) -> list[bool]:
    """Of every gate of a plan whether it may write over its map."""
    (lane,) = plan._bound()._take().lanes
    return [lane.spends(s) for s in lane.graph.steps.values() if s.epilogue.gate is not None]


@pytest.mark.parametrize("needed_by", NETWORKS)
@pytest.mark.parametrize("side", [7, 20])
def test_a_map_is_spent_on_its_gate_unless_somebody_needs_it(needed_by: str, side: int) -> None:
    model, spent = NETWORKS[needed_by]
    x = RNG.normal(size=(3, C, side, side)).astype(np.float32)
    kept = x.copy()
    one = mg.compile(model, (1, *x.shape[1:]))
    one(x[:1])
    assert set(spending(one)) == {spent}
    plan = mg.compile(model, x.shape)
    with mg.backend("cython"):
        expected = interpret(plan.unfused, x)
    for turn in (x, np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)):
        for threads in (1, 2, 3, 2):
            for y, z in zip(plan.outputs(turn, threads), expected, strict=True):
                assert np.array_equal(y, z)
        assert np.array_equal(turn, kept)


def test_intermediates_are_what_a_gate_reads_and_not_what_it_leaves() -> None:
    model = mg.models.create("efficientnet_b0", rng=0, num_classes=5).eval()
    plan = mg.compile(model, (1, 3, 64, 64))
    x = RNG.normal(size=(1, 3, 64, 64)).astype(np.float32)
    before, seen, again = plan(x), plan.intermediates(x), plan(x)
    assert np.array_equal(before, again)
    with mg.backend("cython"):
        (expected,) = interpret(plan.unfused._replace(outputs=(made(plan, "blocks.3.1.dw"),)), x)
    assert np.array_equal(seen["blocks.3.1.dw"], expected)


def made(plan: mg.Plan, layer: str) -> Any:
    return next(s.output for s in plan.unfused.steps.values() if s.last_layer == layer)
