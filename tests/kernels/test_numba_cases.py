"""Every row of the case table on the Numba engine: its gradients, and its bits."""

from __future__ import annotations

import numpy as np
import pytest
from needs import needs

import minigrad as mg
from minigrad.tensor import evaluate, interpreting
from minigrad.verify.cases import CASES

pytestmark = needs("numba")
compiled = needs("cython")

TABLE = [case for row in CASES.values() for case in row]
each_case = pytest.mark.parametrize("case", TABLE, ids=str)
each_third_case = pytest.mark.parametrize(
    "case",
    [pytest.param(case, marks=pytest.mark.full if k % 3 else ()) for k, case in enumerate(TABLE)],
    ids=str,
)
each_dtype = pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])


@pytest.mark.newest
@each_third_case
def test_gradients_to_second_order(case):
    with mg.backend("numba"):
        mg.check_grads(case, *case.arrays(), order=2)


@compiled
@each_dtype
@each_case
@pytest.mark.fma
def test_each_step_forward_and_backward_has_the_bits_of_the_core(case, dtype):
    """Each primitive that runs is run again on the other backend, from the same inputs."""

    def both(op, inputs, params):
        y = evaluate(op, inputs, params)
        with mg.backend("cython"):
            other = evaluate(op, inputs, params)
        assert y.array.dtype == other.array.dtype
        assert y.array.tobytes() == other.array.tobytes(), op.name
        return y

    with mg.backend("numba"), interpreting(both):
        y = case(*case.tensors(dtype=dtype, requires_grad=True))
        y.backward(np.linspace(-1, 1, y.size, dtype=dtype).reshape(y.shape))
