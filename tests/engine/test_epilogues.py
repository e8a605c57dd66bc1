"""What is fused into a convolution has the bits of the operations one after the other."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

import minigrad as mg
from minigrad.engine import interpret
from minigrad.engine.lift import NARROW

ACTIVATIONS = {
    "relu": lambda x, slope: mg.relu(x),
    "relu6": lambda x, slope: mg.relu6(x),
    "hardswish": lambda x, slope: mg.hardswish(x),
    "silu": lambda x, slope: mg.silu(x),
    "tanh": lambda x, slope: mg.tanh(x),
    "prelu": mg.prelu,
    "leaky_relu": lambda x, slope: mg.leaky_relu(x, 0.1),
}
ORDERS = {
    "alone": lambda act, y, x: act(y),
    "before the sum": lambda act, y, x: act(y) + x,
    "after the sum": lambda act, y, x: act(y + x),
}
EDGES = (np.nan, np.inf, -np.inf, -0.0, 0.0, 1e-41, -1e-41, 3e38)


@st.composite
def convolutions(draw):
    """(function of maps, its weights' arrays): one convolution and what follows it."""
    dtype = draw(st.sampled_from(["f4", "f8"]))
    channels = draw(st.sampled_from([1, 2, 3, 8, 15, 16, 17, 48, 65]))
    groups = draw(st.sampled_from([1, channels]))
    kernel, dilation = draw(st.sampled_from([(1, 1), (3, 1), (5, 1), (3, 2)]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    w = rng.normal(size=(channels, channels // groups, kernel, kernel)).astype(dtype)
    bias, slope = rng.normal(size=(2, channels)).astype(dtype)
    slope[rng.integers(0, channels)] = draw(st.sampled_from(EDGES))
    arrays = [mg.from_numpy(v) for v in (w, bias, slope)]
    act = ACTIVATIONS[draw(st.sampled_from(sorted(ACTIVATIONS)))]
    order = ORDERS[draw(st.sampled_from(sorted(ORDERS)))]
    with_bias, pad = draw(st.booleans()), kernel // 2 * dilation

    def model(x):
        b = arrays[1] if with_bias else None
        y = mg.conv2d(x, arrays[0], b, 1, pad, dilation, groups)
        return order(lambda v: act(v, arrays[2]), y, x)

    shape = (draw(st.integers(1, 3)), channels, draw(st.integers(1, 9)), draw(st.integers(1, 9)))
    x = rng.normal(size=shape).astype(dtype)
    x.reshape(-1)[rng.integers(0, x.size, 3)] = draw(st.sampled_from(EDGES))
    return model, x


@given(convolutions(), st.sampled_from([1, 2]))
def test_a_fused_convolution_has_the_bits_of_its_parts(case, threads):
    model, x = case
    plan = mg.compile(model, x.shape, dtype=x.dtype)
    if x.shape[1] > NARROW:
        assert [step.op for step in plan.graph.steps.values()] == ["conv2d"]
    with mg.backend("cython"), np.errstate(all="ignore"):
        y = model(mg.from_numpy(x)).numpy()
        (meant,) = interpret(plan.unfused, x)
    np.testing.assert_array_equal(plan(x, threads=threads), y)
    np.testing.assert_array_equal(meant, y)


def test_a_leak_inside_of_a_block_that_streams():
    rng = np.random.default_rng(0)
    shapes = ((48, 16, 1, 1), (48, 1, 3, 3), (16, 48, 1, 1))
    expand, depthwise, project = (mg.from_numpy(rng.normal(size=s).astype("f4")) for s in shapes)
    slope = mg.from_numpy(rng.normal(size=48).astype("f4"))

    def model(x):
        y = mg.prelu(mg.conv2d(x, expand), slope)
        y = mg.prelu(mg.conv2d(y, depthwise, None, 1, 1, 1, 48), slope)
        return mg.relu(mg.conv2d(y, project) + x)

    x = rng.normal(size=(2, 16, 20, 21)).astype("f4")
    plan = mg.compile(model, x.shape)
    assert [step.op for step in plan.graph.steps.values()] == ["inverted_residual"]
    with mg.backend("cython"):
        np.testing.assert_array_equal(plan(x), model(mg.from_numpy(x)).numpy())
