"""The checker: it passes the right, catches the wrong, and says when it cannot tell."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minigrad as mg
from minigrad.errors import DtypeError
from minigrad.gradcheck import GradientError, ridders
from minigrad.tensor import Primitive

pytestmark = pytest.mark.usefixtures("double")


def wrong(slope, order=1):
    """y = x^3 with the rule ``slope``, which is right at another order or not at all."""

    def cube(x):
        return x * x * x

    cube = Primitive(cube, register=False)
    cube.vjp("x", "")(slope)
    return cube


def test_ridders_knows_the_slope_and_how_well():
    for f, slope in ((np.exp, 1.0), (np.sin, 1.0), (lambda t: 1 / (1 - t), 1.0), (np.cosh, 0.0)):
        value, error, _ = ridders(f, 0.1)
        assert abs(value - slope) <= 10 * error
        assert error < 1e-9


def test_ridders_admits_a_kink():
    assert ridders(lambda t: abs(t - 1e-3), 1e-2).error > 1e-3


@pytest.mark.parametrize("factor", [1.01, 0.99, -1.0, 0.0, 1.001])
def test_a_wrong_factor_is_found(factor):
    cube = wrong(lambda g, x: g * x * x * (3 * factor))
    with pytest.raises(GradientError, match="the rules say"):
        mg.check_grads(cube, [0.5, -1.0], order=1)


def test_a_rule_that_is_right_but_cannot_be_differentiated_right_is_found_at_order_two():
    """x² taken out of the graph: the value is right, its derivative is lost."""
    cube = wrong(lambda g, x: g * (x * x * 3).detach())
    mg.check_grads(cube, [0.5, -1.0], order=1)
    with pytest.raises(GradientError, match=r"^x̄\[0\] of .*the rules say"):
        mg.check_grads(cube, [0.5, -1.0], order=2)


def test_one_wrong_entry_is_found_by_the_direction():
    def slope(g, x):
        nudge = np.ones(x.shape)
        nudge[1] = 1.01
        return g * x * x * 3 * mg.from_numpy(nudge)

    with pytest.raises(GradientError):
        mg.check_grads(wrong(slope), [0.5, -1.0, 0.7, 1.1], order=1)


def test_entries_exchanged_are_found():
    """The sum over all entries would be right."""

    def slope(g, x):
        return (g * x * x * 3)[::-1]

    with pytest.raises(GradientError):
        mg.check_grads(wrong(slope), [0.5, -1.0, 0.7], order=1)


def test_nan_is_no_gradient():
    with pytest.raises(GradientError, match="nan"):
        mg.check_grads(wrong(lambda g, x: g * np.nan), [0.5], order=1)


@pytest.mark.parametrize(
    ("f", "kink"),
    [
        (mg.relu, 0.0), (mg.absolute, 0.0), (mg.relu6, 6.0), (mg.hardswish, -3.0),
        (lambda x: mg.clamp(x, -1, 2), 2.0), (lambda x: mg.maximum(x, 0.5), 0.5),
        (lambda x: mg.relu(x) + x * x * x, 0.0), (lambda x: mg.max(mg.concat([x, -x])), 0.0),
    ],
)  # fmt: skip
def test_a_kink_at_the_point_is_called_so(f, kink):
    """Also where the differences agree with the rule, as for |x| at 0."""
    with pytest.raises(GradientError, match="has a kink at this point, where its slope goes from"):
        mg.check_grads(f, [kink], order=1)
    mg.check_grads(f, [kink + 0.5], order=1)


@given(st.sampled_from(["exp", "tanh", "silu", "sigmoid"]), st.floats(-3, 3))
def test_a_smooth_function_has_no_kink(name, x):
    """Also where its second derivative vanishes."""
    mg.check_grads(getattr(mg, name), [x], order=1)


def test_a_kink_within_the_step_proves_nothing():
    with pytest.raises(GradientError, match=r"too uncertain|the rules say"):
        mg.check_grads(mg.relu, [1e-3], order=1)
    mg.check_grads(mg.relu, [0.5, -0.5])


def test_float32_proves_nothing():
    with pytest.raises(DtypeError, match="works in float64, got float32"):
        mg.check_grads(mg.exp, np.ones(2, np.float32))


def test_every_input_is_checked():
    def product(a, b):
        return a * b

    product = Primitive(product, register=False)
    product.vjp("a", "")(lambda g, b: g * b)
    product.vjp("b", "")(lambda g, a: g * a * 1.01)
    with pytest.raises(GradientError, match="input 1"):
        mg.check_grads(product, [2.0], [3.0], order=1)


def test_empty_inputs_have_nothing_to_check():
    mg.check_grads(mg.exp, np.ones((0, 3)))


def test_it_does_not_touch_its_inputs():
    x = np.array([0.5, 1.0])
    mg.check_grads(mg.exp, x)
    assert x.tolist() == [0.5, 1.0]
