"""Every step of both passes is within its bound of float64, from the very inputs that it had.

What is judged is what the compiled step computes: the values that end in parameters, buffers
and outputs are compared to the bit with its own (test_compiled holds it for whole runs).
"""

from __future__ import annotations

import numpy as np
import pytest

import minigrad as mg
from minigrad.engine.graph import Value
from minigrad.engine.stepping import Interpreted
from minigrad.engine.tape import carry_out
from minigrad.kernels import cython
from minigrad.training.compiled import compile_training
from minigrad.verify.own import own_bound
from minigrad.verify.theorem import gamma

SHAPE = (3, 3, 9, 8)
compiled = pytest.mark.skipif(
    cython.UNAVAILABLE is not None, reason=cython.UNAVAILABLE or "the core is there"
)


def wide(x):
    return x.astype(np.float64) if x is not None and x.dtype == np.float32 else x


def statistics_bound(x):
    """A mean divides a sum of n; a variance sums squares of x - mean, each with two roundings
    of its own and the mean's error in it."""
    n, axes = x.shape[0] * x.shape[2] * x.shape[3], (0, 2, 3)
    spread = np.abs(x) + np.abs(x).mean(axis=axes, keepdims=True)
    sizes = np.abs(x).mean(axis=axes), (spread * spread).mean(axis=axes)
    return gamma(n + 4, np.float32) * np.stack(sizes)


def running_bound(kept, batch, momentum, factor):
    """(1 - m) kept + m factor batch: two products each, and a sum."""
    size = (1 - momentum) * np.abs(kept) + momentum * factor * np.abs(batch)
    return gamma(5, np.float32) * size + np.finfo(np.float32).smallest_subnormal


def allowed(step, inputs, params, exact):
    if step.op == "batch_norm_statistics":
        return statistics_bound(*inputs)
    if step.op == "running":
        return running_bound(*inputs, **params)
    if step.op == "row":
        return 0.0
    return own_bound(step.op, inputs, params, exact, np.float32)


class Judged(Interpreted):
    """Carries out every step, and judges it."""

    def __init__(self, recording):
        super().__init__(recording)
        self.shares = {}

    def _run(self, steps, threads, rng):
        super()._run(steps, threads, rng)
        for step in steps:
            if step.op not in ("given", "noise"):
                self.judge(step)

    def judge(self, step):
        exact = carry_out(step, lambda ref: wide(self._get(ref)))
        params = {k: self._get(v) if isinstance(v, Value) else v for k, v in step.params.items()}
        bound = allowed(step, [wide(self._get(ref)) for ref in step.inputs], params, exact)
        off = np.abs(self.values[step.number] - exact)
        used = np.where(off == 0, 0.0, off / np.maximum(bound, 1e-300)).max(initial=0.0)
        self.shares[step.op] = max(self.shares.get(step.op, 0.0), used)


def judged(recording):
    runner = Judged(recording)
    runner.last = dict.fromkeys(runner.last, -1)  # nothing is forgotten after its last reader
    return runner


@compiled
@pytest.mark.parametrize("name", ["inverted_residual_small", "squeezenext_small"])
def test_every_step_of_both_passes_is_within_its_bound(name):
    model = mg.models.create(name, num_classes=7, rng=5).train()
    optimizer = mg.optim.SGD(model.parameters(), 0.1)
    step = compile_training(model, mg.cross_entropy, optimizer, SHAPE)
    before = {key: value.copy() for key, value in model.state_dict().items()}
    x = np.random.default_rng(1).standard_normal(SHAPE, np.float32)
    cotangents = []

    def loss(z):
        cotangents.append(mg.grad(lambda t: mg.cross_entropy(t, np.arange(3)))(z).numpy())
        return mg.cross_entropy(z, np.arange(3))

    _, output = step.gradients(x, loss, np.random.default_rng(3))
    output = output.copy()
    own = [p.grad.numpy().copy() for p, _ in step.recording.gradients]
    buffers = [b.numpy().copy() for b in model.buffers()]
    model.load_state_dict(before)
    runner = judged(step.recording)
    assert np.array_equal(runner.forward(x, 1, np.random.default_rng(3)), output)
    assert all(map(np.array_equal, runner.backward(cotangents[0], 1), own))
    assert all(map(np.array_equal, (b.numpy() for b in model.buffers()), buffers))
    assert {"conv2d_weight_grad", "conv2d_input_grad", "batch_norm_train_dx"} <= set(runner.shares)
    assert 0 < max(runner.shares.values()) <= 1, runner.shares
