"""Our own compiled kernels are within the bound that counts the depth of a sum, not its length."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from needs import needs

import minigrad as mg
from minigrad.geometry import ConvSpec
from minigrad.kernels.contract import CHAIN, INNER, PIXELS
from minigrad.tensor import PRIMITIVES, Primitive, Tensor, evaluate, interpreting
from minigrad.verify.bounds import step_bound
from minigrad.verify.cases import CASES
from minigrad.verify.own import own_bound
from minigrad.verify.verdict import widened

BACKENDS = [pytest.param(name, marks=needs(name)) for name in ("cython", "numba")]


def share(op: str, inputs: Sequence[Any], params: dict[str, Any], y: Any) -> float:
    """The largest part of its own bound that y uses."""
    wide = [None if x is None else x.astype(np.float64) for x in inputs]
    with mg.backend("numpy"):
        result = PRIMITIVES[op].forward(*wide, **widened(params))
    exact = np.asarray(result[0] if isinstance(result, tuple) else result)
    allowed = own_bound(op, inputs, params, exact, y.dtype)
    assert np.all(allowed <= step_bound(op, inputs, params, exact, y.dtype))
    off = np.abs(y - exact)
    return float(
        np.max(np.where(off == 0, 0, off / np.where(allowed > 0, allowed, 1e-300)), initial=0)
    )


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("primitive", CASES)
def test_every_case_is_within_the_bound_of_our_own(
    primitive: str, dtype: Any, backend: str
) -> None:
    def held(op: Primitive, inputs: Sequence[Tensor | None], params: dict[str, Any]) -> Tensor:
        y = evaluate(op, inputs, params)
        arrays = [None if x is None else x.array for x in inputs]
        assert share(op.name, arrays, params, y.array) <= 1, op.name
        return y

    for case in CASES[primitive]:
        with mg.backend(backend), interpreting(held), mg.no_grad():
            case(*case.tensors(dtype=dtype))


def long_sums(dtype: Any) -> dict[str, tuple[list[Any], dict[str, Any]]]:
    rng = np.random.default_rng(0)

    def draw(*shape: int, around: float = 0.0) -> Any:
        return (around + rng.normal(size=shape)).astype(dtype)

    spec = ConvSpec(padding=((1, 1), (1, 1)))
    return {
        "sum": ([draw(3, 2, 91, 97, around=1000)], {"axes": (0, 2, 3), "keepdims": False}),
        "global_avg_pool": ([draw(1, 3, 200, 301, around=-100)], {}),
        "conv2d_weight_grad": (
            [draw(2, 3, 61, 67), draw(2, 2, 61, 67, around=2)],
            {"w_shape": (3, 2, 3, 3), "spec": spec},
        ),
        "linear": ([draw(2, 3 * INNER + 5), draw(3, 3 * INNER + 5)], {}),
        "softmax_input_grad": ([draw(2, 9001), np.abs(draw(2, 9001)) / 9001], {}),
    }


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("op", long_sums(np.float32))
def test_a_long_sum_is_within_a_bound_that_does_not_grow_with_it(
    op: str, dtype: Any, backend: str
) -> None:
    inputs, params = long_sums(dtype)[op]
    with mg.backend(backend):
        y = PRIMITIVES[op].forward(*inputs, **params)
    assert share(op, inputs, params, y) <= 1


def test_the_bound_of_our_own_does_not_grow_and_the_judges_does() -> None:
    def bounds(n: int, dtype: Any) -> tuple[float, float]:
        x = np.ones((n,), dtype)
        call = ("sum", [x], {"axes": (0,), "keepdims": False}, np.float64(n), dtype)
        return float(own_bound(*call)) / n, float(step_bound(*call)) / n

    for dtype in (np.float32, np.float64):
        (own, any_order), (own_long, any_order_long) = bounds(1000, dtype), bounds(1_000_000, dtype)
        assert own_long < 3 * own + 2**-53 * 1_000_000
        assert any_order_long > 500 * any_order
    assert (CHAIN, PIXELS, INNER) == (256, 392, 4096)
