"""Every formula that ``curves`` says it covers passes; a detour passes where it is asked for."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from minigrad.errors import MinigradError
from minigrad.kernels.contract import Array
from minigrad.verify import examine, judge

Formula = Callable[[Array], Array]
ONE, TWO, THREE, SIX, HALF = (np.float16(v) for v in (1, 2, 3, 6, 0.5))  # take the other dtype
DTYPES = ("float16", "float32", "float64")


def sixth(x: Array) -> Array:
    return ONE / x.dtype.type(6)


def naive(x: Array) -> Array:
    return ONE / (ONE + np.exp(-x))


def stable(x: Array) -> Array:
    e = np.exp(-np.abs(x))
    return np.where(x < 0, e * (ONE / (ONE + e)), ONE / (ONE + e))


def shifted(x: Array) -> Array:
    return np.exp(x - x.max(axis=-1, keepdims=True))


def hard(x: Array) -> Array:
    return np.clip(x * sixth(x) + HALF, 0, 1)


FORMULAS: dict[str, list[Formula]] = {
    "sigmoid": [naive, stable],
    "silu": [lambda x: x * naive(x), lambda x: x / (ONE + np.exp(-x)), lambda x: x * stable(x)],
    "tanh": [np.tanh],
    "hardsigmoid": [
        hard,
        lambda x: np.clip(x + THREE, 0, 6) / SIX,
        lambda x: np.clip(x + THREE, 0, 6) * sixth(x),
        lambda x: np.clip(x / SIX + HALF, 0, 1),
    ],
    "hardswish": [
        lambda x: x * hard(x),
        lambda x: x * np.clip(x + THREE, 0, 6) / SIX,
        lambda x: x * sixth(x) * np.clip(x + THREE, 0, 6),
        lambda x: x * (np.clip(x + THREE, 0, 6) / SIX),
    ],
    "softmax": [
        lambda x: shifted(x) / shifted(x).sum(axis=-1, keepdims=True),
        lambda x: shifted(x) * (ONE / shifted(x).sum(axis=-1, keepdims=True)),
    ],
    "log_softmax": [
        lambda x: x - x.max(axis=-1, keepdims=True)
        - np.log(shifted(x).sum(axis=-1, keepdims=True)),
    ],
}  # fmt: skip
SLOPES: dict[str, list[Callable[[Array, Array], Array]]] = {
    "sigmoid": [lambda d, x: d * stable(x) * (ONE - stable(x))],
    "silu": [
        lambda d, x: d * stable(x) * (ONE + x * (ONE - stable(x))),
        lambda d, x: d * stable(x) + d * x * stable(x) * (ONE - stable(x)),
    ],
    "tanh": [
        lambda d, x: d * (ONE - np.tanh(x) * np.tanh(x)),
        lambda d, x: d * ((ONE - np.tanh(x)) * (ONE + np.tanh(x))),
    ],
    "hardsigmoid": [lambda d, x: np.where(np.abs(x) < 3, d * sixth(x), 0).astype(x.dtype)],
    "hardswish": [
        lambda d, x: d * np.where(np.abs(x) < 3, x * (ONE / x.dtype.type(3)) + HALF, x > 0)
        .astype(x.dtype),
        lambda d, x: d * hard(x) + d * np.where(np.abs(x) < 3, x * sixth(x), 0).astype(x.dtype),
    ],
}  # fmt: skip
DETOURS: dict[str, Formula] = {
    "sigmoid": lambda x: HALF + HALF * np.tanh(HALF * x),
    "silu": lambda x: x * (HALF + HALF * np.tanh(HALF * x)),
    "tanh": lambda x: TWO * stable(TWO * x) - ONE,
}
CALLS = [(op, k) for op, formulas in FORMULAS.items() for k in range(len(formulas))]


def values(dtype: str, rows: int = 40) -> Array:
    """Everywhere that a formula of the table changes: near 0, kinks, where e^x ends."""
    rng = np.random.default_rng(0)
    far = {"float16": 9.0, "float32": 86.0, "float64": 700.0}[dtype]
    parts = [
        rng.normal(size=400),
        rng.uniform(-4, 4, 400),
        rng.uniform(-far, far, 400),
        rng.choice([-3, 3], 200) * (1 + rng.uniform(-4, 4, 200) * np.finfo(dtype).eps),
        rng.choice([-1, 1], 200) * 10.0 ** rng.uniform(-4, 0, 200),
    ]
    return np.concatenate(parts).reshape(rows, -1).astype(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("op", "k"), CALLS)
def test_a_formula_of_the_list_is_right(op: str, k: int, dtype: str) -> None:
    x = values(dtype)
    with np.errstate(all="ignore"):
        y = FORMULAS[op][k](x)
    assert y.dtype == x.dtype
    verdict = judge(op, y, x, accumulator=dtype)
    assert verdict.decision == "right", str(verdict)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("op", "k"), [(op, k) for op, found in SLOPES.items() for k in
                                       range(len(found))])  # fmt: skip
def test_a_slope_of_the_list_is_right(op: str, k: int, dtype: str) -> None:
    x = values(dtype)
    x = x[np.abs(np.abs(x) - 3) > 0.01][None]
    dy = np.random.default_rng(1).normal(size=x.shape).astype(dtype)
    with np.errstate(all="ignore"):
        dx = SLOPES[op][k](dy, x)
    verdict = judge(op, dx, x, accumulator=dtype, wrt="x", cotangent=dy)
    assert verdict.decision == "right", str(verdict)


@pytest.mark.parametrize("op", DETOURS)
def test_a_detour_is_wrong_unless_it_is_asked_for_and_then_the_verdict_names_it(op: str) -> None:
    x = np.linspace(-20, 20, 801, dtype=np.float32)[None]
    y = DETOURS[op](x)
    assert judge(op, y, x).decision == "wrong"
    verdict = judge(op, y, x, functions="absolute")
    assert verdict.decision == "right", str(verdict)
    assert "logistic function and tanh from each other" in str(verdict)
    off = (y * np.float32(1 + 1e-4)).astype(np.float32)
    assert judge(op, off, x, functions="absolute").decision == "wrong"


def test_what_follows_no_formula_is_wrong_by_a_few_roundings() -> None:
    x = np.linspace(-4, 4, 1001, dtype=np.float32)[None]
    u = np.float32(2**-24)
    for op, off in (("hardsigmoid", 8), ("hardswish", 10), ("sigmoid", 44), ("tanh", 20)):
        exact = FORMULAS[op][0](x.astype(np.float64))
        y = (exact * (1 + off * np.float64(u))).astype(np.float32)
        assert judge(op, y, x).decision == "wrong", op


@pytest.mark.parametrize("x", [-90.0, -1000.0])
def test_a_quotient_whose_divisor_overflows_is_zero(x: float) -> None:
    at = np.array([[1.0, x]], np.float32)
    with np.errstate(over="ignore"):
        assert judge("sigmoid", naive(at), at).decision == "right"
        assert judge("silu", at * naive(at), at).decision == "right"
    late = np.array([[1.0, -80.0]], np.float32)
    assert (
        judge("sigmoid", np.array([[naive(late)[0, 0], 0]], np.float32), late).decision == "wrong"
    )


def test_neither_of_the_two_words() -> None:
    with pytest.raises(MinigradError, match="'relative' or 'absolute', not 'fast'"):
        judge("tanh", np.ones((1, 1)), np.ones((1, 1)), functions="fast")


@pytest.mark.parametrize("dtype", DTYPES)
def test_softmax_without_the_maximum_is_caught_where_it_overflows(dtype: str) -> None:
    def bare(x: Array) -> Array:
        return np.exp(x) / np.exp(x).sum(axis=-1, keepdims=True)

    report = examine(bare, "softmax", dtype=dtype, accumulator=dtype)
    assert {o.trial.fill for o in report.failures} == {"far apart"}
    assert "never written" not in report.failures[0].fault
    assert examine(FORMULAS["softmax"][0], "softmax", dtype=dtype, accumulator=dtype).passed
