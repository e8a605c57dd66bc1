"""What is made for a concatenation or a weave is written into its place, with the same bits."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from needs import needs

import minigrad as mg
from minigrad.engine.memory import lives, parts, placement

pytestmark = needs("cython")


def weights(rng, *shape):
    return mg.from_numpy(rng.normal(size=shape).astype("f4"))


def check(model, shape):
    """The plan's bits are those of a call, for several batches and threads; the parts placed."""
    plan = mg.compile(model, shape)
    for count in (1, 2, shape[0]):
        x = np.random.default_rng(2).normal(size=(count, *shape[1:])).astype("f4")
        plan = mg.compile(model, x.shape)
        for threads in (1, 2):
            got = plan.outputs(x, threads=threads)
            meant = model(mg.from_numpy(x))
            for y, z in zip(got, meant if isinstance(meant, list) else [meant], strict=True):
                np.testing.assert_array_equal(y, z.numpy())
    return len(parts(plan.graph))


@given(st.data())
def test_convolutions_write_into_a_concatenation(data):
    rng, c = np.random.default_rng(data.draw(st.integers(0, 99))), data.draw(st.integers(1, 20))
    kinds = data.draw(st.lists(st.sampled_from(["1x1", "3x3", "depthwise", "x"]), min_size=2,
                               max_size=4))  # fmt: skip
    widths = [data.draw(st.integers(1, 35)) for _ in kinds]
    made = {
        "1x1": [weights(rng, n, c, 1, 1) for n in widths],
        "3x3": [weights(rng, n, c, 3, 3) for n in widths],
        "depthwise": [weights(rng, c, 1, 3, 3) for _ in widths],
    }

    def model(x):
        branches = []
        for k, kind in enumerate(kinds):
            if kind == "x":
                branches.append(x)
                continue
            w = made[kind][k]
            y = mg.conv2d(x, w, None, 1, w.shape[2] // 2, 1, c if kind == "depthwise" else 1)
            branches.append(mg.relu(y) if k % 2 else y)
        return mg.concat(branches, 1) * 2

    shape = (3, c, data.draw(st.integers(1, 6)), data.draw(st.integers(1, 6)))
    assert check(model, shape) == sum(kind != "x" for kind in kinds)


@pytest.mark.parametrize("stride", [2, 3, (1, 2)])
@pytest.mark.parametrize("kernel", [2, 3, 4])
def test_phases_of_a_transposed_convolution_are_written_where_they_belong(stride, kernel):
    rng = np.random.default_rng(1)
    w, b = weights(rng, 5, 18, kernel, kernel), weights(rng, 18)
    check(lambda x: mg.relu(mg.conv_transpose2d(x, w, b, stride, 0, 0)), (3, 5, 4, 3))


def test_what_others_read_too_or_what_is_an_output_has_memory_of_its_own():
    rng = np.random.default_rng(1)
    w = weights(rng, 4, 4, 1, 1)

    def twice(x):
        y = mg.conv2d(x, w)
        return mg.concat([y, y], 1)

    def outside(x):
        y = mg.conv2d(x, w)
        return [mg.concat([y, x], 1), y]

    def among_images(x):
        return mg.concat([mg.conv2d(x, w), x], 0)

    for model in (twice, outside, among_images):
        assert check(model, (2, 4, 3, 3)) == 0


def test_the_whole_lives_from_its_first_part_on():
    rng = np.random.default_rng(1)
    first, second = weights(rng, 4, 4, 1, 1), weights(rng, 8, 4, 1, 1)
    graph = mg.compile(
        lambda x: mg.concat([mg.conv2d(x, first), mg.conv2d(x, second)], 1), (1, 4, 3, 3)
    ).graph
    (whole,) = {part.whole for part in parts(graph).values()}
    assert lives(graph)[whole].first == min(parts(graph))
    place = placement(graph)
    assert {place.offsets[number] for number in parts(graph)} == {place.offsets[whole]}
