"""An arena: no two values that live at once overlap, and none lies outside."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from minigrad.engine.memory import ALIGNMENT, Life, aligned, live_peak, place


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
