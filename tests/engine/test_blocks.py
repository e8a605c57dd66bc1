"""Recognising blocks: which chains become one step, which do not and why, and what it saves."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import minigrad as mg
from minigrad.engine import Plan, interpret
from minigrad.engine.bind import has_kernel
from minigrad.engine.blocks import recognise
from minigrad.engine.execute import Execution
from minigrad.engine.fuse import rewrite
from minigrad.engine.graph import Block
from minigrad.engine.schedule import schedule
from minigrad.engine.trace import trace

FAMILIES = (
    "mobilenet_v2", "efficientnet_lite0", "efficientnet_b0", "mobilenet_v3_large", "mnasnet_a1",
    "squeezenext_1_0_23", "squeezenext_1_0_23v5", "squeezenext_1_0_g_23",
)  # fmt: skip


@pytest.fixture(scope="module")
def compiled() -> None:
    reason = mg.kernels.unavailable("cython")
    if reason:
        pytest.skip(f"no compiled core: {reason}")


def plan_of(name: str, shape: tuple[int, ...] = (1, 3, 224, 224)) -> Plan:
    return mg.compile(mg.models.create(name, rng=0).eval(), shape)


def blocks(plan: Plan) -> dict[str, Any]:
    return {s.layer: s for s in plan.graph.steps.values() if isinstance(s, Block)}


def conv(rng: Any, cout: int, cin: int, k: int = 1) -> mg.Tensor:
    return mg.Tensor(rng.normal(size=(cout, cin, k, k)))


def recognised(model: Any) -> tuple[list[str], list[Any]]:
    graph, _ = rewrite(trace(model, (1, 4, 16, 16), np.float64))
    after, notes = recognise(graph)
    x = np.random.default_rng(1).normal(size=(1, 4, 16, 16))
    with mg.backend("numpy"):
        for a, b in zip(interpret(graph, x), interpret(after, x), strict=True):
            assert np.array_equal(a, b)
    return [step.op for step in after.steps.values()], notes


RNG = np.random.default_rng(0)
EXPAND, WINDOW, PROJECT = conv(RNG, 24, 4), conv(RNG, 24, 1, 3), conv(RNG, 4, 24)


def test_expand_depthwise_project_and_residual_are_one_step() -> None:
    def model(x: mg.Tensor) -> mg.Tensor:
        y = mg.relu6(mg.conv2d(x, EXPAND))
        y = mg.relu6(mg.conv2d(y, WINDOW, padding=1, groups=24))
        return mg.conv2d(y, PROJECT) + x

    assert recognised(model)[0] == ["inverted_residual"]


def test_an_inner_map_that_is_read_twice_keeps_its_maker_outside() -> None:
    def model(x: mg.Tensor) -> Any:
        y = mg.relu6(mg.conv2d(x, EXPAND))
        return [mg.conv2d(mg.conv2d(y, WINDOW, padding=1, groups=24), PROJECT), y]

    assert recognised(model)[0] == ["conv2d", "inverted_residual"]


def test_an_output_in_the_middle_is_still_there() -> None:
    def model(x: mg.Tensor) -> Any:
        y = mg.conv2d(mg.conv2d(x, EXPAND), WINDOW, padding=1, groups=24)
        return [mg.conv2d(y, PROJECT), y]

    ops, _ = recognised(model)
    assert ops == ["expand_depthwise", "conv2d"]


def test_a_block_of_large_weights_stays_apart_and_a_note_says_why() -> None:
    wide = 6000
    w1, w2, w3 = conv(RNG, wide, 4), conv(RNG, wide, 1, 3), conv(RNG, 4, wide)

    def model(x: mg.Tensor) -> mg.Tensor:
        x = mg.conv2d(x, conv(RNG, 4, 4, 3), stride=8, padding=1)
        return mg.conv2d(mg.conv2d(mg.conv2d(x, w1), w2, padding=1, groups=wide), w3)

    ops, notes = recognised(model)
    assert ops == ["conv2d"] * 4
    assert [n.why for n in notes] == [
        "its weights are larger than the maps inside it, and would be read for every few rows"
    ]


def test_every_early_block_of_mobilenet_v2_streams_and_the_stem_with_the_first() -> None:
    found = blocks(plan_of("mobilenet_v2"))
    assert list(found)[:3] == ["stem + blocks.0.0", "blocks.1.0", "blocks.1.1"]
    assert {s.op for s in found.values()} == {"inverted_residual"}
    assert [len(s.parts) for s in found.values()] == [3] * len(found)


def test_squeeze_and_excitation_splits_a_block_in_two() -> None:
    found = blocks(plan_of("efficientnet_b0"))
    assert {s.op for s in found.values()} == {"expand_depthwise"}
    assert "blocks.1.0" in found


@pytest.mark.parametrize(
    ("name", "shortcuts"), [("squeezenext_1_0_23", [6, 5]), ("squeezenext_1_0_23v5", [6, 5])]
)
def test_a_squeezenext_block_is_one_step_with_its_shortcut(name: str, shortcuts: list[int]) -> None:
    found = blocks(plan_of(name))
    assert {s.op for s in found.values()} == {"stem_pool", "squeezenext"}
    assert [len(found[f"blocks.0.{k}"].parts) for k in (0, 1)] == shortcuts


def test_the_arena_of_mobilenet_v2_is_below_the_papers_bound() -> None:
    """Section 5 of the paper: 2450 KiB; and the rows of the blocks are counted beside it."""
    plan = plan_of("mobilenet_v2")
    assert plan.arena_bytes < 2450 * 1024
    assert plan.arena_bytes + plan.scratch_bytes < 3 * 1024**2
    assert "rows of streamed blocks" in str(plan)


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.usefixtures("compiled")
def test_streamed_and_unfused_plans_have_the_same_bits(name: str) -> None:
    shape = (2, 3, 97, 97)
    plan = plan_of(name, shape)
    x = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    expected = np.empty(plan.graph.outputs[0].shape, np.float32)
    Execution(schedule(plan.unfused, has_kernel))(x, 1, [expected])
    assert blocks(plan)
    for threads in (1, 2, 3):
        assert np.array_equal(plan(x, threads=threads), expected)


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.usefixtures("compiled")
def test_every_family_runs_as_one_call_of_the_core(name: str) -> None:
    plan = plan_of(name, (1, 3, 64, 64))
    assert all(has_kernel(step) for step in plan.graph.steps.values())


@pytest.mark.usefixtures("compiled")
def test_the_scratch_of_a_plan_is_what_it_says() -> None:
    plan = plan_of("efficientnet_b0", (1, 3, 96, 96))
    plan(np.zeros((1, 3, 96, 96), np.float32), threads=2)
    assert plan._execution is not None
    [workspace] = plan._execution._free
    assert workspace.scratch.lane_bytes == plan.scratch_bytes
    assert workspace.scratch.lanes == 2


def test_intermediates_show_the_maps_that_streaming_never_writes() -> None:
    plan = plan_of("mobilenet_v2", (1, 3, 32, 32))
    x = np.random.default_rng(0).normal(size=(1, 3, 32, 32)).astype(np.float32)
    names = [s.last_layer for s in plan.unfused.steps.values()]
    assert set(plan.intermediates(x)) == set(names)
    assert len(plan.unfused.steps) > len(plan.graph.steps)
