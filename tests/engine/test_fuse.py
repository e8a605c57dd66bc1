"""Rewrites: each keeps the meaning, and says why where it does not apply."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import minigrad as mg
from minigrad.engine import interpret
from minigrad.engine.fuse import rewrite
from minigrad.engine.graph import Constant, Note
from minigrad.engine.trace import trace

RNG = np.random.default_rng(0)
X = RNG.normal(size=(2, 4, 5, 5))
W = mg.Tensor(RNG.normal(size=(4, 4, 1, 1)))


def both(model, x=X):
    """(ops before, ops after, notes), after asserting that the outputs agree."""
    graph = trace(model, x.shape, x.dtype)
    after, notes = rewrite(graph)
    with mg.backend("numpy"):
        before_y, after_y = interpret(graph, x)[0], interpret(after, x)[0]
    np.testing.assert_allclose(after_y, before_y, rtol=1e-12, atol=1e-12)
    return ([s.op for s in graph.steps.values()], [s.op for s in after.steps.values()], notes)


def norm(x: mg.Tensor) -> mg.Tensor:
    mean, var, gamma, beta = (mg.Tensor(np.linspace(1, 2, 4) + k) for k in range(4))
    return mg.batch_norm(x, mean, var, gamma, beta)


def why(notes: list[Note], rule: str) -> list[str]:
    return [n.why for n in notes if n.rule == rule and not n.applied]


def test_batch_norm_activation_and_residual_move_into_the_convolution() -> None:
    _, after, notes = both(lambda x: mg.relu6(norm(mg.conv2d(x, W))) + x)
    assert after == ["conv2d"]
    assert [n.rule for n in notes if n.applied] == [
        "fold batch norm", "fuse activation", "fuse residual",
    ]  # fmt: skip


def test_a_number_for_each_channel_moves_into_the_convolution_before_and_behind_the_norm() -> None:
    scale = mg.Tensor(np.linspace(0.5, 2, 4).reshape(1, 4, 1, 1))
    _, after, notes = both(lambda x: norm(mg.conv2d(x, W) * scale) * 3.0 + scale)
    assert after == ["conv2d"]
    applied = [n.rule for n in notes if n.applied]
    assert applied == ["fold affine", "fold batch norm", "fold affine", "fold affine"]


def test_a_residual_before_the_activation_stays_before_it() -> None:
    _, after, notes = both(lambda x: mg.relu(mg.conv2d(x, W) + x))
    assert after == ["conv2d"]
    assert why(notes, "fuse activation") == ["it does not follow a convolution"]
    assert why(notes, "drop relu") == ["its input may be negative"]
    assert [n.rule for n in notes if n.applied] == ["fuse residual", "fuse last activation"]


def test_of_two_activations_around_a_sum_the_first_is_fused() -> None:
    _, after, notes = both(lambda x: mg.silu(mg.relu(mg.conv2d(x, W)) + x))
    assert after == ["conv2d", "silu"]
    assert why(notes, "fuse last activation")[0].startswith("the convolution has an activation")


SLOPES = mg.Tensor(np.linspace(-1, 2, 4))
LEAKS = {
    "prelu": lambda x: mg.prelu(x, SLOPES),
    "leaky_relu": lambda x: mg.leaky_relu(x, 0.1),
}


@pytest.mark.parametrize("leak", LEAKS.values(), ids=LEAKS)
def test_a_leak_moves_into_the_convolution(leak) -> None:
    assert both(lambda x: leak(mg.conv2d(x, W)))[1] == ["conv2d"]
    assert both(lambda x: leak(mg.conv2d(x, W)) + x)[1] == ["conv2d"]
    assert both(lambda x: leak(mg.conv2d(x, W) + x))[1] == ["conv2d"]
    assert both(lambda x: mg.prelu(mg.conv2d(x, W), x.mean((0, 2, 3))))[1][-1] == "prelu"


@pytest.mark.parametrize("inner", [None, mg.relu, mg.relu6])
@pytest.mark.parametrize("last", [mg.relu, mg.relu6])
def test_a_clamp_of_a_sum_is_the_last_part_of_the_convolution(inner: Any, last: Any) -> None:
    def model(x: mg.Tensor) -> mg.Tensor:
        y = mg.conv2d(x, W)
        return last((inner(y) if inner else y) + x)

    assert both(model)[1] == ["conv2d"]


def test_what_cannot_be_clamped_in_the_convolution_stays_a_step() -> None:
    def curve(x: mg.Tensor) -> mg.Tensor:
        return mg.relu(mg.silu(mg.conv2d(x, W)) + x)

    def again(x: mg.Tensor) -> Any:
        y = mg.conv2d(x, W) + x
        return [mg.relu(y), y]

    assert both(curve)[1] == ["conv2d", "relu"]
    assert both(again)[1] == ["conv2d", "relu"]


def test_a_relu_of_a_sum_of_relus_is_dropped() -> None:
    def model(x: mg.Tensor) -> mg.Tensor:
        a, b = mg.relu(mg.conv2d(x, W)), mg.relu(mg.conv2d(x, W))
        return mg.relu(a + b)

    assert both(model)[1] == ["conv2d", "conv2d"]


def test_a_relu_of_a_sum_with_a_linear_branch_is_kept() -> None:
    def model(x: mg.Tensor) -> mg.Tensor:
        return mg.relu(mg.relu(mg.conv2d(x, W)) + mg.conv2d(x, W))

    _, after, notes = both(model)
    assert after == ["conv2d", "conv2d"]
    assert "fuse last activation" in [n.rule for n in notes if n.applied]


def test_a_batch_norm_whose_convolution_is_read_twice_is_kept() -> None:
    def model(x: mg.Tensor) -> mg.Tensor:
        y = mg.conv2d(x, W)
        return norm(y) * y

    _, after, notes = both(model)
    assert "batch_norm_eval" in after
    assert why(notes, "fold batch norm") == [
        "the convolution's output is also read before the batch norm"
    ]


def test_the_gate_of_squeeze_and_excitation_moves_into_the_next_pointwise() -> None:
    def model(x: mg.Tensor) -> mg.Tensor:
        gate = mg.sigmoid(mg.conv2d(mg.global_avg_pool(x), W))
        return mg.conv2d(x * gate, W)

    assert both(model)[1] == ["global_avg_pool", "conv2d", "conv2d"]


def test_a_gate_before_another_kind_is_kept() -> None:
    w3 = mg.Tensor(RNG.normal(size=(4, 4, 3, 3)))

    def model(x: mg.Tensor) -> mg.Tensor:
        return mg.conv2d(x * mg.sigmoid(mg.global_avg_pool(x)), w3)

    _, after, notes = both(model)
    assert "mul" in after
    assert why(notes, "fuse gate") == ["only a pointwise convolution can scale its input"]


def test_an_output_that_is_also_read_keeps_its_value() -> None:
    def model(x: mg.Tensor) -> list[mg.Tensor]:
        y = mg.conv2d(x, W)
        return [y, mg.relu(y)]

    graph, _ = rewrite(trace(model, X.shape, X.dtype))
    with mg.backend("numpy"):
        y, z = interpret(graph, X)
    assert np.array_equal(z, np.maximum(y, 0))
    assert (y < 0).any()


def test_folding_twice_as_large_weights_is_seen() -> None:
    """A negative control: the comparison above can fail."""
    graph = trace(lambda x: norm(mg.conv2d(x, W)), X.shape, X.dtype)
    after, _ = rewrite(graph)
    [(number, step)] = after.steps.items()
    spoilt = (step.source, Constant(step.weights * 1.01), step.inputs[2])
    after.steps[number] = step._replace(inputs=spoilt)
    with mg.backend("numpy"), pytest.raises(AssertionError):
        np.testing.assert_allclose(
            interpret(after, X)[0], interpret(graph, X)[0], rtol=1e-12, atol=1e-12
        )


def test_a_long_function_of_a_narrow_map_stays_alone() -> None:
    """One channel would have a register for each pixel; a clamp costs nothing all the same."""
    narrow = mg.Tensor(RNG.normal(size=(1, 4, 1, 1)))
    _, after, notes = both(lambda x: mg.sigmoid(mg.conv2d(x, narrow)))
    assert after == ["conv2d", "sigmoid"]
    assert "whole registers" in why(notes, "fuse activation")[0]
    assert both(lambda x: mg.relu(mg.conv2d(x, narrow)))[1] == ["conv2d"]
