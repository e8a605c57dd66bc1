"""Every compiled step of training is within its bound, at the very values it was given.

A recorded step is a primitive, and the judge holds what eager mode makes of it against
float64, forward and backward.  The compiled steps are run one after the other beside it: each
value that both have must have the same bits at the moment when it was made, so that what was
judged is what runs.
"""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from block_networks import BLOCKS, CLASSES
from needs import needs

import minigrad as mg
from minigrad import nn
from minigrad.engine.graph import Constant, Value
from minigrad.engine.stepping import Compiled
from minigrad.engine.tape import carry_out, record_step
from minigrad.tensor import PRIMITIVES

pytestmark = needs("cython")
SHAPE = (3, 3, 25, 21)
ROUNDED = 2.0**-23  # of a sum that is kept in float64 and rounded once
MEASURED = {"row", "running", "noise", "max_pool2d_where", "batch_norm_statistics"}


class Judge:
    """The recorded steps on the compiled core, each held to its bound.

    ``spoil`` is a factor on gradients of weights, for the negative control.
    """

    def __init__(self, recording, x, cotangent, spoil=1.0):
        self.judged, self.spoil = Counter(), spoil
        self.values = {0: x, recording.cotangent.number: cotangent}
        self.values |= {k: t.array.copy() for k, t in recording.leaves.items()}
        self.rng = np.random.default_rng(0)

    def get(self, ref):
        if isinstance(ref, Constant):
            return ref.array
        return None if ref is None else self.values[ref.number]

    def steps(self, graph):
        for step in graph.steps.values():
            self.step(step)

    def step(self, step):
        """What a step makes, judged."""
        if step.op == "given":
            return
        inputs = [self.get(ref) for ref in step.inputs]
        y = carry_out(step, self.get, self.rng)
        if step.op == "conv2d_weight_grad":
            y = y * y.dtype.type(self.spoil)
        if step.op == "batch_norm_statistics":
            self.statistics(y, inputs[0])
        elif step.op in PRIMITIVES:
            params = {k: self.get(v) if isinstance(v, Value) else v for k, v in step.params.items()}
            verdict = mg.verify.judge_step(step.op, y, inputs, params)
            # A sum that is 0 but for rounding tells nothing, and so is not called right.
            assert not verdict.failing, f"{step.op} of {step.layer}: {verdict.worst} of its bound"
        else:
            assert step.op in MEASURED
        self.values[step.number] = y
        self.judged[step.op] += 1

    def statistics(self, y, x):
        """Mean and variance, against float64."""
        wide = x.astype(np.float64)
        exact = wide.mean((0, 2, 3)), wide.var((0, 2, 3))
        slack = 1e-12 * np.abs(wide).max() ** 2
        for got, right in zip(y, exact, strict=True):
            assert (np.abs(got - right) <= ROUNDED * np.abs(right) + slack).all()


def recorded(build):
    model = build()
    nn.init.initialize(model, rng=np.random.default_rng(5))
    leaves = [*model.parameters(), *model.buffers()]
    return record_step(model, leaves, SHAPE, np.float32)


def given():
    rng = np.random.default_rng(1)
    x = rng.standard_normal(SHAPE, np.float32)
    return x, rng.standard_normal((SHAPE[0], CLASSES), np.float32)


def compiled_values(recording, x, cotangent, threads, recompute):
    """(number, value) of each step of the compiled one, just after it ran."""
    compiled = Compiled(recording, recompute)
    compiled.rng = np.random.default_rng(0)
    compiled.values[0][...] = x
    for number, step in compiled.graph.steps.items():
        if number == recording.cotangent.number:
            compiled.values[number][...] = cotangent
        elif step.op != "given" and number not in compiled.viewed:
            for call, _ in compiled._calls(step):
                call.run(threads)
        yield number, compiled.values[number]


@pytest.mark.parametrize("build", BLOCKS)
@pytest.mark.parametrize("recompute", [False, True])
def test_each_compiled_step_of_training_is_within_its_bound(build, recompute):
    recording = recorded(build)
    x, cotangent = given()
    with mg.backend("cython"):
        judge = Judge(recording, x, cotangent)
        judge.steps(recording.graph)
    judged, values = judge.judged, judge.values
    several = ("conv2d_input_grad", "conv2d_weight_grad", "batch_norm_train_dx")
    assert min(judged[op] for op in several) > 8
    assert judged["linear"] == 3
    compared = 0
    for number, got in compiled_values(recording, x, cotangent, 2, recompute):
        if number in values:
            expected = values[number]
            got = got[: len(expected)] if got.shape != expected.shape else got
            assert np.array_equal(got, expected), recording.graph.steps[number].op
            compared += 1
    assert compared > 0.5 * len(values)


def test_an_error_of_a_ten_thousandth_is_over_the_bound():
    recording = recorded(BLOCKS[0])
    judge = Judge(recording, *given(), spoil=1.0001)
    with pytest.raises(AssertionError, match="conv2d_weight_grad of .* of its bound"):
        judge.steps(recording.graph)
