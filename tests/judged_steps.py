"""A network is judged step by step, each from the very inputs that the judged run gave it.

A bound carried through fifty layers would be true and useless; a bound per step says of
every kernel, on real weights and a real photograph, whether its error is allowed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

import minigrad as mg
from minigrad.tensor import Primitive, Tensor, evaluate, interpreting


class Judge:
    """An interpreter that evaluates a step and holds it to its bound.

    ``spoil`` is added to every convolution, for the negative control.
    """

    def __init__(self, spoil: float = 0.0) -> None:
        self.spoil = spoil
        self.steps: Counter[str] = Counter()

    def __call__(
        self, op: Primitive, inputs: Sequence[Tensor | None], params: dict[str, Any]
    ) -> Tensor:
        y = evaluate(op, inputs, params)
        if op.name == "conv2d" and self.spoil:
            y = mg.from_numpy(y.array + np.float32(self.spoil))
        verdict = mg.verify.judge_step(
            op.name, y.array, [None if x is None else x.array for x in inputs], params
        )
        assert verdict, f"{op.name}: {verdict.worst} of its bound"
        self.steps[op.name] += 1
        return y


def judged(model: Any, x: Any, spoil: float = 0.0) -> Counter[str]:
    """How often each primitive ran, every time within its bound."""
    judge = Judge(spoil)
    with mg.no_grad(), interpreting(judge):
        model(mg.from_numpy(x))
    return judge.steps
