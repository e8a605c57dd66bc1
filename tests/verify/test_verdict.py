"""The judge says yes to every right evaluation and no to the nearest wrong ones."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from minigrad.errors import DtypeError, ShapeError
from minigrad.verify import judge


def pixel(dtype: type = np.float32) -> tuple[np.ndarray, np.ndarray]:
    """One pixel of five channels that cancel, so that the order of the sum shows."""
    x = np.array([1e4, 1.0, -1e4, 1e-4, 3.0], dtype).reshape(1, 5, 1, 1)
    return x, np.ones((1, 5, 1, 1), dtype)


@pytest.mark.parametrize("order", list(permutations(range(5))))
def test_every_order_of_a_sum_is_right(order: tuple[int, ...]) -> None:
    x, w = pixel()
    y = np.float32(0)
    for k in order:
        y = np.float32(y + x[0, k, 0, 0])
    verdict = judge("conv2d", np.full((1, 1, 1, 1), y), x, w)
    assert verdict.within
    assert 0 <= verdict.worst <= 1


def test_a_term_left_out_is_wrong_and_its_place_is_told() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(1, 8, 3, 3)).astype(np.float32)
    w = rng.normal(size=(2, 8, 1, 1)).astype(np.float32)
    y = np.einsum("nchw,oc->nohw", x, w[:, :, 0, 0])
    assert judge("conv2d", y, x, w)
    y[0, 1, 2, 0] -= x[0, 3, 2, 0] * w[1, 3, 0, 0]
    verdict = judge("conv2d", y, x, w)
    assert not verdict
    assert (verdict.worst > 1, verdict.where) == (True, (0, 1, 2, 0))


def test_what_is_exact_must_be_exact() -> None:
    x = np.float32([-1.0, 2.0])
    verdict = judge("relu", np.float32([0, 2]), x)
    assert (verdict.decision, verdict.worst, verdict.failing) == ("right", 0.0, 0)
    off = np.nextafter(np.float32(2), np.float32(3))
    verdict = judge("relu", np.float32([0, off]), x)
    assert (verdict.decision, verdict.worst, verdict.where) == ("wrong", np.inf, (1,))
    assert (verdict.expected, verdict.got, verdict.ulps) == (2.0, float(off), 1.0)


@pytest.mark.parametrize(
    ("y", "right"), [([np.nan, np.inf], True), ([0, np.inf], False), ([np.nan, 3e38], False)]
)
def test_what_is_not_finite_must_be_the_same(y: list[float], right: bool) -> None:
    x = np.float32([np.nan, np.inf])
    assert judge("relu", np.float32(y), x).within is right


def test_nothing_is_within_nothing() -> None:
    assert judge("relu", np.zeros((0, 3), np.float32), np.zeros((0, 3), np.float32)).within


def test_questions_that_make_no_sense_are_refused() -> None:
    x, w = pixel()
    with pytest.raises(ShapeError, match=r"gives an array of shape \(1, 1, 1, 1\), got \(1,\)"):
        judge("conv2d", np.zeros(1, np.float32), x, w)
    with pytest.raises(DtypeError, match="y is float64, but x is float32"):
        judge("conv2d", np.zeros((1, 1, 1, 1)), x, w)


LARGEST = float(np.finfo(np.float32).max)


def sum_of(terms: list[float], y: float) -> bool:
    """The verdict on y as the sum of float32 terms."""
    x = np.float32(terms)
    return judge("sum", np.float32(y), x).within


@pytest.mark.parametrize(("y", "right"), [(np.inf, True), (LARGEST, False), (-np.inf, False)])
def test_a_product_beyond_the_largest_number_is_infinite(y: float, right: bool) -> None:
    assert judge("mul", np.float32([y]), np.float32([3e38]), np.float32([10])).within is right


def test_infinity_is_wrong_where_no_order_overflows() -> None:
    assert not judge("mul", np.float32([np.inf]), np.float32([3e37]), np.float32([10]))
    assert not sum_of([1e38, 1e38, -1e38], np.inf)
    assert not sum_of([1.0, np.nextafter(np.float32(1), np.float32(0))], np.nan)


@pytest.mark.parametrize(("y", "right"), [(3e38, True), (np.inf, True), (-np.inf, False),
                                          (np.nan, False), (2e38, False)])  # fmt: skip
def test_a_sum_may_overflow_in_some_orders(y: float, right: bool) -> None:
    """3e38 + 3e38 - 3e38: infinite from the left, 3e38 from the right."""
    assert sum_of([3e38, 3e38, -3e38], y) is right


@pytest.mark.parametrize("y", [0, np.inf, -np.inf, np.nan])
def test_where_both_directions_overflow_their_sum_may_be_anything_but_a_wrong_number(
    y: float,
) -> None:
    terms = [3e38, 3e38, -3e38, -3e38]
    assert sum_of(terms, y)
    assert not sum_of(terms, 2e38)


@given(arrays(np.float32, st.integers(1, 9), elements=st.floats(width=32, allow_nan=False,
              allow_infinity=False)), st.randoms())  # fmt: skip
def test_every_order_of_a_sum_of_any_finite_numbers_is_right(x: np.ndarray, random: Any) -> None:
    order = list(range(len(x)))
    random.shuffle(order)
    y = np.float32(0)
    with np.errstate(over="ignore", invalid="ignore"):
        for k in order:
            y = np.float32(y + x[k])
    assert judge("sum", np.asarray(y), x).decision != "wrong"


@given(*[st.floats(width=32, allow_nan=False, allow_infinity=False)] * 2)
def test_every_product_and_quotient_of_finite_numbers_is_right(a: float, b: float) -> None:
    x = [np.float32([a]), np.float32([b])]
    with np.errstate(over="ignore", under="ignore"):
        assert judge("mul", x[0] * x[1], *x).decision != "wrong"
        assert b == 0 or judge("div", x[0] / x[1], *x).decision != "wrong"


def test_what_is_beyond_float64_is_not_judged() -> None:
    x = np.array([1e308, 1e308, -1e308])
    for y in (1e308, np.inf):
        assert judge("sum", np.asarray(y), x).decision != "wrong"
