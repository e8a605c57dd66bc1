"""The judge says yes to every right evaluation and no to the nearest wrong ones."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest

from minigrad.errors import DtypeError, ShapeError
from minigrad.geometry import ConvSpec
from minigrad.verify import judge

HOW = {"spec": ConvSpec()}


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
    verdict = judge("conv2d", np.full((1, 1, 1, 1), y), [x, w], HOW)
    assert verdict.within
    assert 0 <= verdict.worst <= 1


def test_a_term_left_out_is_wrong_and_its_place_is_told() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(1, 8, 3, 3)).astype(np.float32)
    w = rng.normal(size=(2, 8, 1, 1)).astype(np.float32)
    y = np.einsum("nchw,oc->nohw", x, w[:, :, 0, 0])
    assert judge("conv2d", y, [x, w], HOW)
    y[0, 1, 2, 0] -= x[0, 3, 2, 0] * w[1, 3, 0, 0]
    verdict = judge("conv2d", y, [x, w], HOW)
    assert not verdict
    assert (verdict.worst > 1, verdict.where) == (True, (0, 1, 2, 0))


def test_what_is_exact_must_be_exact() -> None:
    x = np.float32([-1.0, 2.0])
    assert judge("relu", np.float32([0, 2]), [x]) == (True, 0.0, (0,))
    off = np.nextafter(np.float32(2), np.float32(3))
    assert judge("relu", np.float32([0, off]), [x]) == (False, np.inf, (1,))


@pytest.mark.parametrize(
    ("y", "right"), [([np.nan, np.inf], True), ([0, np.inf], False), ([np.nan, 3e38], False)]
)
def test_what_is_not_finite_must_be_the_same(y: list[float], right: bool) -> None:
    x = np.float32([np.nan, np.inf])
    assert judge("relu", np.float32(y), [x]).within is right


def test_nothing_is_within_nothing() -> None:
    assert judge("relu", np.zeros((0, 3), np.float32), [np.zeros((0, 3), np.float32)]).within


def test_questions_that_make_no_sense_are_refused() -> None:
    x, w = pixel()
    with pytest.raises(ShapeError, match=r"gives an array of shape \(1, 1, 1, 1\), got \(1,\)"):
        judge("conv2d", np.zeros(1, np.float32), [x, w], HOW)
    with pytest.raises(DtypeError, match="y is float64, but input 0 is float32"):
        judge("conv2d", np.zeros((1, 1, 1, 1)), [x, w], HOW)
