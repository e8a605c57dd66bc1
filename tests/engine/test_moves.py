"""Steps that move numbers or join two arrays are compiled, with the bits of their meaning."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from needs import needs

import minigrad as mg
from minigrad import nn
from minigrad.engine import bind, moves
from minigrad.engine.bind import has_kernel
from minigrad.ops.resampling import take

pytestmark = needs("cython")
SHAPES = ((2, 3, 4, 5), (1, 17, 3, 2), (3, 1, 5, 4), (2, 33, 1, 1), (1, 5, 1, 7), (2, 7), (3, 4, 5))
rng = np.random.default_rng(3)


def special(shape, dtype):
    """Numbers of which some are NaN, infinite, 0 and -0."""
    x = rng.normal(size=shape).astype(dtype)
    x.flat[::7] = [np.nan, np.inf, -np.inf, 0.0, -0.0][len(shape) % 5]
    return x


def constant(shape, dtype):
    return mg.from_numpy(rng.normal(size=shape).astype(dtype))


def channels(x):
    """A shape of one number for each channel."""
    return (x.shape[1],) + (1,) * (x.ndim - 2)


MOVES = {
    "concat of itself": lambda x: mg.concat([x, 2 * x, x], 1),
    "concat with a constant": lambda x: mg.concat([x, constant(x.shape, x.dtype)], -1),
    "concat of images": lambda x: mg.concat([x, x], 0),
    "axes reversed": lambda x: x.T,
    "axes turned": lambda x: mg.permute(x, *range(1, x.ndim), 0),
    "slices": lambda x: x[:, ::-1][..., 1:] if x.shape[-1] > 1 else x[::-1],
    "an index": lambda x: x[0],
    "broadcast": lambda x: mg.broadcast_to(mg.mean(x, -1, keepdims=True), x.shape),
    "clone": lambda x: x.clone() * 2,
    "flattened": lambda x: mg.flatten(x, 1),
    "to a map": lambda x: mg.reshape(x, 1, -1, 1, x.shape[0]),
    "padded": lambda x: mg.pad(x, [(0, 1), (2, 0)] + [(1, 1)] * (x.ndim - 2), -2.5),
    "taken": lambda x: take(x, [0, *range(x.shape[-1])], x.ndim - 1),
}
JOINS = {
    "both whole": lambda f, x: f(x, x * 3),
    "a constant": lambda f, x: f(x, constant(x.shape, x.dtype)),
    "a constant first": lambda f, x: f(constant(x.shape, x.dtype), x),
    "channels": lambda f, x: f(x, constant(channels(x), x.dtype)),
    "channels first": lambda f, x: f(constant(channels(x), x.dtype), x),
    "a row": lambda f, x: f(x, constant(x.shape[-1:], x.dtype)),
    "images": lambda f, x: f(x, constant((x.shape[0],) + (1,) * (x.ndim - 1), x.dtype)),
    "a number": lambda f, x: f(x, 1.5),
    "itself": lambda f, x: f(x, x),
}
PAIRS = (mg.add, mg.sub, mg.mul, mg.div, mg.maximum, mg.minimum)


def test_every_step_that_moves_is_bound_by_the_file_of_moves():
    assert set(bind.MOVES) == set(moves.MOVES)


def check(model, shape, dtype):
    x = special(shape, dtype)
    with np.errstate(all="ignore"):
        plan = mg.compile(model, shape, dtype=dtype, fold=False)
        steps = plan.graph.steps.values()
        loose = [step.op for step in steps if not has_kernel(step) and step.op != "sum"]
        got, meant = plan(x, threads=2), model(mg.from_numpy(x)).numpy()
    assert got.shape == meant.shape
    np.testing.assert_array_equal(got, meant)
    assert np.array_equal(np.signbit(got), np.signbit(meant)) or np.isnan(meant).any()
    return loose


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("move", MOVES)
def test_a_move_is_compiled_and_moves_every_bit(move, shape, dtype):
    loose = check(fixed(MOVES[move]), shape, dtype)
    assert loose == [] or (move == "to a map" and loose == ["reshape"])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("join", JOINS)
def test_two_arrays_are_joined_as_numpy_joins_them(join, shape, dtype):
    for f in PAIRS:
        assert check(fixed(lambda x, f=f: JOINS[join](f, x)), shape, dtype) == []


def fixed(model):
    """The model with the same random constants in every call."""

    def call(x):
        global rng
        rng = np.random.default_rng(5)
        return model(x)

    return call


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", [s for s in SHAPES if len(s) > 1], ids=str)
def test_leaks_are_compiled(shape, dtype):
    slopes = constant(shape[1:2], dtype)
    assert check(lambda x: mg.prelu(x, slopes), shape, dtype) == []
    assert check(lambda x: mg.leaky_relu(x, 0.3), shape, dtype) == []


@given(st.data())
def test_a_resized_map_has_the_bits_of_numpy(data):
    shape = tuple(data.draw(st.integers(1, n)) for n in (2, 20, 6, 7))
    words = {
        "size": [data.draw(st.integers(1, 9)) for _ in range(2)],
        "mode": data.draw(st.sampled_from(["nearest", "linear", "cubic"])),
        "coordinates": data.draw(st.sampled_from(["half_pixel", "align_corners", "asymmetric"])),
        "antialias": data.draw(st.booleans()),
    }
    dtype = data.draw(st.sampled_from(["float32", "float64"]))
    x = rng.normal(size=shape).astype(dtype)
    plan = mg.compile(lambda x: mg.resize(x, **words), shape, dtype=dtype)
    assert [step.op for step in plan.graph.steps.values() if not has_kernel(step)] == []
    np.testing.assert_array_equal(plan(x, threads=2), mg.resize(mg.from_numpy(x), **words).numpy())


class Rows(nn.Module):
    """Numbers of each pixel side by side, of a map or of a convolution of it."""

    def __init__(self, conv):
        self.conv = nn.Conv2d(4, 6, 1) if conv else nn.Identity()

    def forward(self, x):
        y = self.conv(x)
        n, c, h, w = y.shape
        line = mg.permute(mg.reshape(y, n, c, 1, h * w), 0, 2, 3, 1)
        return mg.reshape(line, n, h * w * c // 2, 2)


@pytest.mark.parametrize("conv", [True, False])
@pytest.mark.parametrize("last", [True, False])
def test_the_numbers_of_pixels_side_by_side_are_not_moved(conv, last):
    model, rng = Rows(conv).eval(), np.random.default_rng(0)
    x = rng.standard_normal((2, 4, 3, 5)).astype(np.float32)
    if last:
        x = np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    plan = mg.compile(model, x.shape, fold=False)
    expected = model(mg.Tensor(x)).numpy()
    assert np.array_equal(plan(x), expected)
    assert np.array_equal(plan(x + 1), model(mg.Tensor(x + 1)).numpy()), "and again"
    assert str(plan).count("the same memory") == 3
