"""Every row of the case table: its gradients, its shapes, its dtype, and its error."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

import minigrad as mg
from minigrad.kernels import unavailable
from minigrad.tensor import PRIMITIVES, evaluate, interpreting
from minigrad.verify.bounds import gamma, step_bound
from minigrad.verify.cases import CASES

TABLE = [case for row in CASES.values() for case in row]
DTYPES = (np.float32, np.float64)

each_case = pytest.mark.parametrize("case", TABLE, ids=str)
BACKENDS = [name for name in ("reference", "numpy", "cython") if not unavailable(name)]
each_backend = pytest.mark.parametrize("backend", BACKENDS)  # numba: tests/kernels
# Derivatives are composed by the same rules on each: the slow one waits for --full.
each_fast_backend = pytest.mark.parametrize(
    "backend",
    [pytest.param(b, marks=pytest.mark.full if b == "reference" else ()) for b in BACKENDS],
)
each_dtype = pytest.mark.parametrize("dtype", DTYPES, ids=["float32", "float64"])


def watched(case, dtype, look):
    """Run a case forward and backward, and show ``look`` each primitive that runs."""

    def interpreter(op, inputs, params):
        y = evaluate(op, inputs, params)
        look(op, inputs, params, y)
        return y

    with interpreting(interpreter):
        y = case(*case.tensors(dtype=dtype, requires_grad=True))
        y.backward(np.linspace(-1, 1, y.size, dtype=dtype).reshape(y.shape))
    return y


def test_every_primitive_has_a_row():
    assert set(CASES) == set(PRIMITIVES)


def test_labels_are_names():
    assert max(Counter(map(str, TABLE)).values()) == 1


@each_case
def test_a_case_reaches_the_primitive_of_its_row(case):
    seen = set()
    watched(case, np.float64, lambda op, *_: seen.add(op.name))
    assert case.primitive in seen


@pytest.mark.newest
@each_fast_backend
@each_case
def test_gradients_to_second_order(case, backend):
    with mg.backend(backend):
        mg.check_grads(case, *case.arrays(), order=2)


@each_case
def test_shape_rules_say_what_forward_and_backward_give(case):
    def look(op, inputs, params, y):
        shapes = [None if x is None else x.shape for x in inputs]
        assert op.shape_rule(*shapes, **params) == y.shape, op.name

    watched(case, np.float64, look)


@each_backend
@each_dtype
@each_case
def test_no_step_changes_the_dtype(case, dtype, backend):
    def look(op, inputs, params, y):
        assert type(y.array) is np.ndarray
        assert y.dtype == dtype, op.name

    with mg.backend(backend):
        watched(case, dtype, look)


@each_dtype
@each_case
def test_rules_are_transposes(case, dtype):
    """<u, J v> from jvp and <J^T u, v> from vjp are one number."""
    rng = np.random.default_rng(1)
    xs = case.arrays(dtype=dtype)
    vs = [rng.integers(-3, 4, x.shape).astype(dtype) for x in xs]
    y, pushed = mg.jvp(case, xs, vs)
    u = rng.integers(-3, 4, y.shape).astype(dtype)
    pulled = mg.vjp(case, *xs)[1](u)
    left = np.sum(u * pushed.numpy(), dtype=np.float64)
    products = [g.numpy().astype(np.float64) * v for g, v in zip(pulled, vs, strict=True)]
    size = sum(np.abs(p).sum() for p in products) + np.abs(u * pushed.numpy()).sum()
    # No path through a case and its rules has as many as 300 roundings.
    assert abs(left - sum(p.sum() for p in products)) <= gamma(300, dtype) * size


@each_backend
@each_dtype
@each_case
def test_each_step_is_within_its_bound(case, dtype, backend):
    """Each step again in float64 NumPy, from the very inputs that it had."""

    def look(op, inputs, params, y):
        arrays = [None if x is None else x.array for x in inputs]
        with mg.backend("numpy"):
            exact = op.forward(*map(widened, arrays), **{k: widened(v) for k, v in params.items()})
        exact = exact[0] if isinstance(exact, tuple) else exact
        allowed = step_bound(op.name, arrays, params, exact, dtype)
        assert np.all(np.abs(y.array - exact) <= allowed), op.name

    with mg.backend(backend):
        watched(case, dtype, look)


def widened(value):
    """A float array in float64; everything else as it is."""
    if isinstance(value, np.ndarray) and value.dtype == np.float32:
        return value.astype(np.float64)
    return value


@pytest.mark.parametrize("layout", ["transposed", "reversed"])
@each_case
def test_the_order_of_memory_does_not_matter(case, layout):
    arrays = case.arrays()
    place = {"transposed": np.asfortranarray, "reversed": lambda a: a[::-1].copy()[::-1]}[layout]
    placed = [place(a) if a.ndim else a for a in arrays]
    one, two = (case(*map(mg.from_numpy, xs)).numpy() for xs in (arrays, placed))
    assert np.all(np.abs(one - two) <= gamma(300, np.float64) * np.abs(one).max())
