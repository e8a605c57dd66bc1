"""Points where a function is smooth, drawn for the cases of the table.

A domain is a function ``domain(rng, shapes) -> arrays`` that draws the float64 inputs of a case.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np

from minigrad.tensor import Array, Shape

Domain: TypeAlias = Callable[[np.random.Generator, Sequence[Shape]], list[Array]]


def normal(rng: np.random.Generator, shapes: Sequence[Shape]) -> list[Array]:
    """Of either sign, about 1."""
    return [rng.normal(size=s) for s in shapes]


def positive(rng: np.random.Generator, shapes: Sequence[Shape]) -> list[Array]:
    """From 1/2 to 2."""
    return [rng.uniform(0.5, 2, s) for s in shapes]


def nonzero(rng: np.random.Generator, shapes: Sequence[Shape]) -> list[Array]:
    """Of either sign, 1/2 to 2."""
    return [rng.uniform(0.5, 2, s) * rng.choice([-1.0, 1.0], s) for s in shapes]


def distinct(rng: np.random.Generator, shapes: Sequence[Shape]) -> list[Array]:
    """All different, by at least 0.1, also between inputs: no maximum has a rival near."""
    sizes = [int(np.prod(s)) for s in shapes]
    values = rng.permutation(sum(sizes)) * 0.1 - 0.05 * sum(sizes)
    pieces = np.split(values, np.cumsum(sizes)[:-1])
    return [p.reshape(s) for p, s in zip(pieces, shapes, strict=True)]


def across(*kinks: float) -> Domain:
    """Evenly over everything from 2 below the first kink to 2 above the last, none near one."""

    def domain(rng: np.random.Generator, shapes: Sequence[Shape]) -> list[Array]:
        drawn = []
        for shape in shapes:
            x = np.linspace(min(kinks) - 2, max(kinks) + 2, int(np.prod(shape)))
            for kink in kinks:
                x = np.where(np.abs(x - kink) < 0.05, kink + 0.1, x)
            drawn.append(rng.permutation(x).reshape(shape))
        return drawn

    return domain


def above_integers(rng: np.random.Generator, shapes: Sequence[Shape]) -> list[Array]:
    """A little above integers, so that no step of a step function is near."""
    return [rng.integers(-9, 10, s) + 0.3 for s in shapes]


def with_slopes(rng: np.random.Generator, shapes: Sequence[Shape]) -> list[Array]:
    """An x that is not near 0, and slopes."""
    return [*nonzero(rng, shapes[:1]), *normal(rng, shapes[1:])]


def beside(*kinks: float) -> Domain:
    """A cotangent, and an x that is near no kink."""

    def domain(rng: np.random.Generator, shapes: Sequence[Shape]) -> list[Array]:
        return [*normal(rng, shapes[:1]), *across(*kinks)(rng, shapes[1:])]

    return domain
