"""An arena: no two values that live at once overlap, and none lies outside."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

import minigrad as mg
from minigrad.engine.memory import ALIGNMENT, Life, aligned, live_peak, parts, place


def lives_of(intervals: list[tuple[int, int, int]]) -> dict[int, Life]:
    return {k: Life(size, a, a + length) for k, (size, a, length) in enumerate(intervals)}


intervals = st.lists(
    st.tuples(st.integers(0, 1000), st.integers(0, 12), st.integers(0, 6)), max_size=20
)


@given(intervals)
def test_values_that_live_at_once_do_not_overlap(drawn: list[tuple[int, int, int]]) -> None:
    lives = lives_of(drawn)
    offsets, size = place(lives)
    for i, a in lives.items():
        assert offsets[i] % ALIGNMENT == 0
        assert offsets[i] + a.size <= size
        for j, b in lives.items():
            if i < j and a.first <= b.last and b.first <= a.last:
                ends = offsets[i] + aligned(a.size), offsets[j] + aligned(b.size)
                assert ends[0] <= offsets[j] or ends[1] <= offsets[i]


@given(intervals)
def test_the_arena_is_at_least_what_lives_at_once(drawn: list[tuple[int, int, int]]) -> None:
    lives = lives_of(drawn)
    assert place(lives)[1] >= live_peak(lives)


def test_a_chain_needs_only_its_two_largest_neighbours() -> None:
    sizes = [64, 640, 128, 1280, 64]
    lives = {k: Life(s, k, k + 1) for k, s in enumerate(sizes)}
    assert place(lives)[1] == live_peak(lives) == 1280 + 128


@st.composite
def slices(draw, size, steps=(1, 2, 3)):
    """A slice of an axis that takes something."""
    start = draw(st.integers(0, size - 1))
    return slice(start, draw(st.integers(start + 1, size)), draw(st.sampled_from(steps)))


@given(st.data())
def test_slices_are_read_where_they_lie(data):
    """Whatever the slice and its readers: the bits are those of a call, and nothing is copied."""
    n, c, h, w = (data.draw(st.integers(1, most)) for most in (3, 20, 7, 7))
    index = (
        slice(None), data.draw(slices(c, (1,))), data.draw(slices(h)), data.draw(slices(w))
    )[: data.draw(st.integers(2, 4))]  # fmt: skip
    rng = np.random.default_rng(0)
    taken = len(range(*index[1].indices(c)))
    kinds = ((5, 1, 1), (taken, 3, taken), (3, 3, 1))
    weights = [
        mg.from_numpy(rng.normal(size=(o, taken // g, k, k)).astype("f4")) for o, k, g in kinds
    ]
    readers = data.draw(st.lists(st.integers(0, 3), min_size=1, max_size=3))

    def read(v, k):
        if k == 3:
            return mg.concat([v, v], 1)
        return mg.relu6(mg.conv2d(v, weights[k], None, 1, kinds[k][1] // 2, 1, kinds[k][2]))

    def model(x):
        v = mg.relu(x)[index]
        return [read(v, k) for k in readers]

    x = rng.normal(size=(n, c, h, w)).astype("f4")
    plan = mg.compile(model, x.shape)
    with mg.backend("cython"):
        for y, called in zip(plan.outputs(x, threads=2), model(mg.from_numpy(x)), strict=True):
            np.testing.assert_array_equal(y, called.numpy())
    sliced = [s.number for s in plan.graph.steps.values() if s.op == "getitem"]
    assert sliced
    assert all(number in parts(plan.graph) for number in sliced)


def test_a_slice_that_others_read_or_of_an_input_or_an_output_is_copied():
    models = (
        lambda x: mg.relu(x)[:, 1:] * 2.0,
        lambda x: mg.relu(x)[:, 1:],
        lambda x: mg.relu(x)[:, ::2].sum(),
        lambda x: mg.concat([x[:, 1:], x[:, 1:]], 1),
        lambda x: [y := mg.relu(x), mg.concat([y[:, 1:], y[:, 1:]], 1)],
    )
    for model in models:
        assert not parts(mg.compile(model, (1, 4, 3, 3)).graph)


def test_a_chain_of_split_and_joined_maps_keeps_its_bits():
    """Memory is used again while slices of it are still to be read."""
    rng = np.random.default_rng(3)
    w = [mg.from_numpy(rng.normal(size=(8, 8, 1, 1)).astype("f4") / 3) for _ in range(5)]

    def model(x):
        x = mg.relu(x)
        for one in w:
            first, second = x[:, :8], x[:, 8:]
            made = mg.relu6(mg.conv2d(mg.relu6(mg.conv2d(second, one)), one) + second)
            x = mg.concat([made, first], 1)
        return mg.conv2d(x[:, 4:12, 1:], w[0])

    x = rng.normal(size=(2, 16, 6, 5)).astype("f4")
    plan = mg.compile(model, x.shape)
    with mg.backend("cython"):
        np.testing.assert_array_equal(plan(x), model(mg.from_numpy(x)).numpy())
    copied = {s.number for s in plan.graph.steps.values() if s.op == "getitem"}
    assert copied <= set(parts(plan.graph))
