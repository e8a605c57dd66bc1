"""Plans as a reference: each step within its own bound, for every family and any block.

A plan's step is a primitive with others fused around it.  The judge takes it apart again,
holds every part to its bound at the very values it was given, and goes on with what the
compiled core gave; at the end it must have the bits of the plan, so that what was judged is
what runs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from needs import needs

import minigrad as mg
from minigrad.engine.graph import Constant, Step
from minigrad.nn import FusedMBConv, InvertedResidual, Module, SqueezeNeXtBlock
from minigrad.tensor import PRIMITIVES

pytestmark = needs("cython")
FAMILIES = (
    "mobilenet_v2", "mobilenet_v3_large", "mobilenet_v3_small_minimalistic", "mnasnet_a1",
    "mnasnet_b1", "efficientnet_b0", "efficientnet_lite0", "efficientnet_v2_b0",
    "squeezenext_1_0_23", "squeezenext_1_0_23v5", "squeezenext_1_0_g_23",
)  # fmt: skip


class Judge:
    """Evaluates primitives on the compiled core and holds each to its bound.

    ``spoil`` is a factor on the results of convolutions, for the negative control.
    """

    def __init__(self, spoil: float = 1.0) -> None:
        self.judged: Counter[str] = Counter()
        self.spoil = spoil

    def __call__(self, op: str, inputs: Sequence[Any], params: dict[str, Any]) -> Any:
        with mg.backend("cython"):
            y = forward(op, inputs, params)
        if op == "conv2d":
            y = y * y.dtype.type(self.spoil)
        verdict = mg.verify.judge_step(op, y, inputs, params)
        assert verdict, f"{op}: {verdict.worst} of its bound"
        self.judged[op] += 1
        return y

    def step(self, step: Step, get: Any) -> Any:
        """What ``interpret.perform`` means by a step, in its parts."""
        inputs = [get(ref) for ref in step.inputs]
        epilogue = step.epilogue
        if epilogue.gate:
            inputs[0] = self("mul", [inputs[0], get(epilogue.gate)], {})
        y = self(step.op, inputs, dict(step.params))
        for op, others in epilogue.after():
            y = self(op, [y, *map(get, others)], {})
        return y


def forward(op: str, inputs: Sequence[Any], params: dict[str, Any]) -> Any:
    """The first output of a primitive: max pooling has a second, its places."""
    result = PRIMITIVES[op].forward(*inputs, **params)
    return result[0] if isinstance(result, tuple) else result


def judge(plan: Any, x: Any, spoil: float = 1.0) -> Counter[str]:
    """Judge every step of a plan, and that the judged values are the plan's."""
    held, values = Judge(spoil), {0: x}
    for number, step in plan.unfused.steps.items():
        values[number] = held.step(
            step, lambda r: r.array if isinstance(r, Constant) else r and values[r.number]
        )
    (output,) = plan.unfused.outputs
    for threads in (1, 2):
        assert np.array_equal(plan(x, threads), values[output.number]), f"{threads} threads"
    return held.judged


def lived_in(model: Module, seed: int, dtype: Any = np.float32) -> Module:
    """The model with statistics and scales as training might have left them."""
    rng = np.random.default_rng(seed)

    def value(name: str, array: Any) -> Any:
        if name.endswith(("running_var", "norm.weight", "bn.weight")):
            return rng.uniform(0.5, 1.5, array.shape)
        if name.endswith(("running_mean", "bias")):
            return rng.normal(size=array.shape) / 4
        return array

    state = model.state_dict()
    state = {k: np.asarray(value(k, v), v.dtype) for k, v in state.items()}
    model.load_state_dict(state)
    return model.eval().to(dtype)


def draw_x(seed: int, shape: Sequence[int], dtype: Any = np.float32) -> Any:
    return np.random.default_rng(seed).normal(size=shape).astype(dtype)


@pytest.mark.newest
@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("side", [65, pytest.param(96, marks=pytest.mark.full)])
def test_each_step_of_a_plan_is_within_its_bound(name: str, side: int) -> None:
    model = lived_in(mg.models.create(name, rng=0, num_classes=11), 1)
    x = draw_x(2, (2, 3, side, side))
    judged = judge(mg.compile(model, x.shape), x)
    assert judged["conv2d"] > 20
    assert judged["linear"]


def test_an_error_of_a_ten_thousandth_is_over_the_bound() -> None:
    model = lived_in(mg.models.create("mobilenet_v2_0_35", rng=0), 1)
    x = draw_x(2, (1, 3, 33, 33))
    with pytest.raises(AssertionError, match="conv2d: .* of its bound"):
        judge(mg.compile(model, x.shape), x, spoil=1.0001)


ACTIVATIONS = st.sampled_from(("relu", "relu6", "hardswish", "silu"))
SIDES = st.integers(1, 23)
DTYPES = st.sampled_from((np.float32, np.float64))


@st.composite
def inverted_residuals(draw: st.DrawFn) -> tuple[Module, int]:
    cin = draw(st.sampled_from((1, 3, 8, 16, 24, 33)))
    block = InvertedResidual(
        cin,
        draw(st.sampled_from((cin, 1, 5, 24, 40))),
        draw(st.sampled_from((1, 2, 3, 6))),
        draw(st.sampled_from((3, 5))),
        draw(st.sampled_from((1, 2))),
        draw(st.sampled_from((1, 2))),
        se_ratio=draw(st.sampled_from((0.0, 0.25))),
        se_activation=draw(ACTIVATIONS),
        se_gate=draw(st.sampled_from(("sigmoid", "hardsigmoid"))),
        activation=draw(ACTIVATIONS),
        padding=draw(st.sampled_from(("symmetric", "same"))),
    )
    return block, cin


@st.composite
def fused_blocks(draw: st.DrawFn) -> tuple[Module, int]:
    cin, stride = draw(st.sampled_from((3, 8, 17))), draw(st.sampled_from((1, 2)))
    cout, ratio = draw(st.sampled_from((cin, 24))), draw(st.sampled_from((1, 2, 4)))
    return FusedMBConv(cin, cout, ratio, stride=stride, activation=draw(ACTIVATIONS)), cin


@st.composite
def squeezenext_blocks(draw: st.DrawFn) -> tuple[Module, int]:
    cin, cout = draw(st.sampled_from((8, 16, 24))), draw(st.sampled_from((8, 16, 24, 64)))
    block = SqueezeNeXtBlock(
        cin,
        cout,
        draw(st.sampled_from((1, 2))),
        order=draw(st.sampled_from(("3x1", "1x3"))),
        transition=draw(st.sampled_from(("parallel", "serial"))),
        groups=draw(st.sampled_from((1, 2))),
        pre_add_relu=draw(st.booleans()),
        bias=draw(st.booleans()),
    )
    return block, cin


@given(
    st.one_of(inverted_residuals(), fused_blocks(), squeezenext_blocks()),
    st.integers(1, 3), SIDES, SIDES, DTYPES, st.integers(0, 2**31),
)  # fmt: skip
def test_any_block_is_within_its_bounds_and_has_its_bits(
    drawn: tuple[Module, int], n: int, h: int, w: int, dtype: Any, seed: int
) -> None:
    """Odd sizes included; without folding, also the bits of eager evaluation."""
    block, cin = drawn
    block = lived_in(block, seed, dtype)
    x = draw_x(seed, (n, cin, h, w), dtype)
    judge(mg.compile(block, x.shape, dtype=dtype), x)
    with mg.backend("cython"), mg.no_grad():
        expected = block(mg.Tensor(x)).numpy()
    unfolded = mg.compile(block, x.shape, dtype=dtype, fold=False)
    assert np.array_equal(unfolded(x), expected)
    one = mg.compile(block, (1, *x.shape[1:]), dtype=dtype, fold=False)
    for k in range(n):
        assert np.array_equal(one(x[k : k + 1])[0], expected[k]), f"position {k}"
