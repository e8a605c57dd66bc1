"""Plans of networks with several inputs have the bits of a call, and say what does not fit."""

from __future__ import annotations

import pickle
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minigrad as mg
from minigrad.errors import ArgumentError, DtypeError, GraphError, ShapeError

W = mg.from_numpy(np.random.default_rng(0).normal(size=(4, 3, 3, 3)).astype("f4"))
A, B = (2, 3, 4, 5), (2, 4, 1, 1)


def model(a, b):
    return mg.relu(mg.conv2d(a, mg.astype(W, a.dtype), None, 1, 1)) * b


class Named:
    """A model that says what its inputs are called, as a file does."""

    def __init__(self):
        self.inputs = {"image": A, "factor": B}

    def __call__(self, image, factor):
        return [model(image, factor), factor]


def arrays(*shapes, dtype="f4"):
    rng = np.random.default_rng(1)
    return [rng.normal(size=shape).astype(dtype) for shape in shapes]


@given(
    st.lists(st.lists(st.integers(0, 4), max_size=4).map(tuple), min_size=1, max_size=4),
    st.sampled_from(["f4", "f8"]),
)
def test_any_shapes_go_in_and_come_out(shapes, dtype):
    xs = arrays(*shapes, dtype=dtype)
    plan = mg.compile(lambda *vs: [v + v for v in vs], shapes, dtype=dtype)
    for y, x in zip(plan.outputs([np.array(x, order="F") for x in xs]), xs, strict=True):
        np.testing.assert_array_equal(y, x + x)


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_a_plan_has_the_bits_of_a_call(dtype):
    a, b = arrays(A, B, dtype=dtype)
    plan = mg.compile(model, [A, B], dtype=dtype)
    with mg.backend("cython"):
        y = model(mg.from_numpy(a), mg.from_numpy(b)).numpy()
    for again in (plan, pickle.loads(pickle.dumps(plan))):
        np.testing.assert_array_equal(again([a, b], threads=2), y)
        np.testing.assert_array_equal(
            again((mg.from_numpy(a), b.tolist() if dtype == "f8" else b)), y
        )
    assert y in plan.intermediates([a, b])[""]
    assert "'input 2' (2, 4, 1, 1)" in str(plan)
    assert "\n" not in repr(plan)


def test_inputs_go_by_order_or_by_name():
    a, b = arrays(A, B)
    plans = mg.compile(Named(), [A, B]), mg.compile(Named(), {"factor": B, "image": A})
    made = [plan(given)[0] for plan in plans for given in ([a, b], {"factor": b, "image": a})]
    assert all(np.array_equal(y, made[0]) for y in made)
    assert "'factor' (2, 4, 1, 1)" in repr(plans[1])


CALLS = {
    "takes a list of 2 inputs ('image', 'factor'), or by names, got 1": lambda a, b: [a],
    "takes a list of 2 inputs ('image', 'factor'), or by names, got None": lambda a, b: None,
    "the inputs are 'image', 'factor', got 'image'": lambda a, b: {"image": a},
    "takes 'factor' of shape (2, 4, 1, 1), got (2, 3, 4, 5)": lambda a, b: [a, a],
    "takes 'image' in float32, got float64": lambda a, b: [a.astype("f8"), b],
    "takes 'image' (2, 3, 4, 5), 'factor' (2, 4, 1, 1), got what is no array":
        lambda a, b: [[[1], [2, 3]], b],
}  # fmt: skip


@pytest.mark.parametrize("told", CALLS)
def test_what_a_plan_cannot_take_is_told(told):
    plan = mg.compile(Named(), [A, B])
    with pytest.raises((ArgumentError, ShapeError, DtypeError), match=re.escape(told)):
        plan(CALLS[told](*arrays(A, B)))


SHAPES = {
    "has the inputs 'image', 'factor': give compile a shape for each": (GraphError, None),
    "the inputs 'image', 'factor': give": (GraphError, A),
    "takes a list of 2 inputs ('image', 'factor'), or by names, got 3": (ArgumentError, [A, B, B]),
    "the inputs are 'image', 'factor', got 'x'": (ArgumentError, {"x": A}),
    "shape must be the sizes of the input": (ShapeError, [A, (2, -1)]),
}


@pytest.mark.parametrize("told", SHAPES)
def test_shapes_that_do_not_fit_are_told(told):
    error, shape = SHAPES[told]
    with pytest.raises(error, match=re.escape(told)):
        mg.compile(Named(), shape)


def test_what_takes_one_input_alone_is_told(tmp_path):
    with pytest.raises(ArgumentError, match="layout"):
        mg.compile(model, [A, B], layout="NHWC")
    with pytest.raises(ArgumentError, match="have no names"):
        mg.compile(model, {"a": A, "b": B})
    mg.compile(model, [A, B]).save(tmp_path / "net.plan")
    with pytest.raises(ArgumentError, match="the plan of several inputs, and has their shapes"):
        mg.load_plan(tmp_path / "net.plan", any_shape=True)
