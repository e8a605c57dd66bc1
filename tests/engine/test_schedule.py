"""A batch image by image: the same bits as alone, in memory that does not grow with it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from needs import needs

import minigrad as mg
from minigrad.engine import fuse, interpret
from minigrad.engine.bind import has_kernel
from minigrad.engine.graph import Graph
from minigrad.engine.memory import placement
from minigrad.engine.schedule import GROUP, even_groups, schedule, with_batch
from minigrad.engine.trace import trace
from minigrad.nn.parameter import shapes_only
from minigrad.sizes import size_text

needs_core = needs("cython")
FAMILIES = (
    "mobilenet_v2_0_35",
    "squeezenext_1_0_23",
    "squeezenext_1_0_23v5",
    "mobilenet_v3_small",
    "mnasnet_small",
    "efficientnet_lite0",
    "efficientnet_v2_b0",
)


def images(n: int, side: int = 33) -> Any:
    return np.random.default_rng(n).normal(size=(n, 3, side, side)).astype(np.float32)


def recorded(name: str, batch: int) -> Graph:
    """The steps of a network whose weights take no memory, folded or not."""
    with shapes_only():
        model = mg.models.create(name).eval()
        traced = trace(model, (batch, 3, 64, 64), np.float32)
        return fuse.rewrite(traced, fold=lambda w, b, norm, eps, room: (w, norm[0]))[0]


def alike(a: Graph, b: Graph) -> bool:
    """Whether two graphs have the same steps, whatever the values of their constants."""
    assert list(a.steps) == list(b.steps)
    return all(
        (s.op, s.shape, s.params, s.reads()) == (t.op, t.shape, t.params, t.reads())
        for s, t in zip(a.steps.values(), b.steps.values(), strict=True)
    )


@given(st.integers(1, 300))
def test_groups_are_small_and_as_equal_as_can_be(batch: int) -> None:
    groups = even_groups(batch)
    assert sum(groups) == batch
    assert max(groups) <= GROUP
    assert max(groups) - min(groups) <= 1
    assert len(groups) == -(-batch // GROUP)


@pytest.mark.parametrize("name", FAMILIES)
def test_a_graph_for_another_batch_is_what_recording_it_would_give(name: str) -> None:
    three = recorded(name, 3)
    for batch in (1, 5):
        other = with_batch(three, batch)
        assert other is not None
        assert alike(other, recorded(name, batch))


@pytest.mark.newest
@pytest.mark.parametrize("name", mg.models.names())
def test_every_step_of_every_network_has_a_kernel(name: str) -> None:
    graph = recorded(name, 1)
    assert [s.layer for s in graph.steps.values() if not has_kernel(s)] == []


@pytest.mark.newest
@needs_core
@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("batch", [2, 9])
def test_every_image_has_the_bits_it_has_alone(name: str, batch: int) -> None:
    model = mg.models.create(name, rng=0).eval()
    x = images(batch)
    alone = mg.compile(model, (1, *x.shape[1:]))
    expected = np.concatenate([alone(x[n : n + 1], threads=1) for n in range(batch)])
    plan = mg.compile(model, x.shape)
    for threads in (1, 2, 3, 5):
        assert np.array_equal(plan(x, threads=threads), expected)


@needs_core
def test_the_memory_order_of_the_batch_does_not_matter() -> None:
    model = mg.models.create("mobilenet_v2_0_35", rng=0).eval()
    x = images(3)
    plan = mg.compile(model, x.shape)
    expected = plan(x)
    last = np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    backwards = np.ascontiguousarray(x[::-1, :, ::-1])[::-1, :, ::-1]
    shifted = np.frombuffer(b"." + x.tobytes(), np.uint8)[1:].view(np.float32).reshape(x.shape)
    for same in (last, backwards, shifted):
        assert np.array_equal(plan(same), expected)


@needs_core
def test_memory_does_not_grow_with_the_batch() -> None:
    model = mg.models.create("mobilenet_v2_0_35", rng=0).eval()
    plans = {n: mg.compile(model, (n, 3, 64, 64)) for n in (1, GROUP, 4 * GROUP)}
    assert plans[4 * GROUP].arena_bytes == plans[GROUP].arena_bytes
    assert plans[GROUP].arena_bytes < GROUP * plans[1].arena_bytes
    assert "image by image up to" in str(plans[GROUP])


def net(*layers: Callable[[mg.Tensor], mg.Tensor]) -> Callable[[mg.Tensor], mg.Tensor]:
    def model(x: mg.Tensor) -> mg.Tensor:
        for layer in layers:
            x = layer(x)
        return x

    return model


def conv(cin: int, cout: int, size: int = 3, seed: int = 0, **options: Any) -> Any:
    w = np.random.default_rng(seed).normal(size=(cout, cin, size, size)).astype(np.float32)
    return lambda x: mg.conv2d(x, mg.Tensor(w), **options)


MIXED: dict[str, Callable[[mg.Tensor], mg.Tensor]] = {
    "a mean over the batch": net(conv(3, 8), lambda x: x - x.sum((0,), keepdims=True), mg.relu),
    "the batch turned about": net(conv(3, 8), lambda x: x.transpose(0, 1)),
    "weights that are computed": net(lambda x: mg.conv2d(x, mg.relu(x)[:, :, :3, :3]), mg.relu),
    "images as channels": net(lambda x: x.reshape(1, -1, 9, 9), mg.relu),
}
PARTED: dict[str, Callable[[mg.Tensor], mg.Tensor]] = {
    "a step without a kernel": net(conv(3, 8), lambda x: x + x, conv(8, 4, 1), mg.relu),
    "from the start": net(lambda x: x * x, conv(3, 8)),
    "a mean of windows": net(conv(3, 8), lambda x: mg.avg_pool2d(x, 3, 2, 1), mg.hardswish),
    "another shape": net(lambda x: x.reshape(x.shape[0], -1), lambda x: x.reshape(-1, 3, 9, 9)),
}


@needs_core
@pytest.mark.parametrize("name", [*MIXED, *PARTED])
@pytest.mark.parametrize("batch", [1, 2, 2 * GROUP + 1])
def test_any_model_means_what_its_interpreter_says(name: str, batch: int) -> None:
    model = (MIXED | PARTED)[name]
    x = images(batch, 9)
    plan = mg.compile(model, x.shape)
    assert len(plan.schedule.groups) == (1 if name in MIXED else len(even_groups(batch)))
    with mg.backend("cython"):
        assert np.array_equal(plan(x, threads=2), interpret(plan.graph, x)[0])


def test_nothing_without_a_kernel_stands_in_the_part_that_runs_image_by_image() -> None:
    graph = trace(PARTED["a step without a kernel"], (4, 3, 9, 9), np.float32)
    head = schedule(graph, lambda step: step.op != "add").head.graph
    assert [step.op for step in head.steps.values()] == ["conv2d"]


def test_a_reshape_in_place_lies_where_its_input_lies() -> None:
    model = net(mg.global_avg_pool, lambda x: x.reshape(-1, 3), lambda x: x.reshape(-1, 3, 1, 1))
    graph = trace(model, (2, 3, 9, 9), np.float32)
    offsets = placement(graph).offsets
    mean, flat, back = graph.steps
    assert offsets[mean] == offsets[flat] == offsets[back]


@needs_core
@given(st.data())
def test_a_stem_streams_through_its_pool_with_the_bits_of_both(data: st.DataObject) -> None:
    draw = data.draw
    channels = draw(st.sampled_from([1, 15, 16, 33, 64, 65]))
    kernel, stride, pad = draw(st.integers(1, 3)), draw(st.integers(1, 3)), draw(st.integers(0, 1))
    window = {"padding": min(pad, kernel // 2), "ceil_mode": draw(st.booleans())}
    side = draw(st.integers(9, 40))
    model = net(conv(3, channels, 3, padding=1, stride=draw(st.integers(1, 2))), mg.relu,
                lambda x: mg.max_pool2d(x, kernel, stride, **window))  # fmt: skip
    x = images(2, side)
    x[0, 0, side // 2, 3] = np.nan
    plan = mg.compile(model, x.shape)
    assert [step.op for step in plan.graph.steps.values()] == ["stem_pool"]
    with mg.backend("cython"):
        expected = interpret(plan.unfused, x)[0]
    for threads in (1, 3):
        assert np.array_equal(plan(x, threads=threads), expected, equal_nan=True)


@needs_core
def test_a_profile_says_of_each_step_what_it_did() -> None:
    model = mg.models.create("efficientnet_lite0", rng=0).eval()
    x = images(3, 64)
    plan = mg.compile(model, x.shape)
    profile = plan.profile(x, repeats=2)
    assert [row["step"] for row in profile.rows] == [0, *plan.graph.steps]
    for row in profile.rows:
        assert {"layer", "kernel", "shape", "macs", "bytes", "us", "percent_of_peak"} <= set(row)
        work = row["macs"] > 0
        assert (row["us"] > 0 and row["bytes"] > 0 and row["percent_of_peak"] > 0) or not work


@pytest.mark.parametrize("batch", [1, 8])
def test_a_plan_fits_two_screens_and_states_the_papers_bound(batch: int) -> None:
    model = mg.models.create("mobilenet_v2", rng=0).eval()
    plan = mg.compile(model, (batch, 3, 224, 224))
    lines = str(plan).splitlines()
    assert len(lines) <= 100
    assert max(map(len, lines)) <= 120
    # |x| + |y| of the first block, 32 and 16 maps of 112 x 112, and two maps of one channel
    bound = 4 * 112 * 112 * (32 + 16 + 2)
    assert f"{size_text(bound)} is the bound of" in " ".join(" ".join(lines).split())
    assert plan.arena_bytes < bound or batch > 1
    blocks = [note for note in plan.notes if note.rule == "inverted residual"]
    assert len(blocks) == 17
    assert all(note.why for note in blocks)
    assert ("image by image" in str(plan)) == (batch > 1)
