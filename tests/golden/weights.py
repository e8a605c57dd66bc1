"""Weights and inputs from a formula, the same on every machine and in every NumPy.

The numbers of an array are those of the SplitMix64 generator (Steele, Lea & Flood, 2014),
seeded with the array's place in its state dict, as 53-bit fractions in [0, 1).
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod, sqrt

import numpy as np


def fractions(seed: int, shape: Sequence[int]) -> np.ndarray:
    """Uniform numbers in [0, 1), float64."""
    count = np.arange(1, prod(shape) + 1, dtype=np.uint64)
    with np.errstate(over="ignore"):
        start = np.uint64(seed + 1) * np.uint64(0xD1B54A32D192ED03)
        z = start + count * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z ^= z >> np.uint64(31)
    return ((z >> np.uint64(11)) * 2.0**-53).reshape(shape)


def values(seed: int, name: str, shape: Sequence[int]) -> np.ndarray:
    """Plausible values of one array of a trained network: maps keep about their size."""
    u = fractions(seed, shape)
    if len(shape) > 1:
        return (2 * u - 1) * sqrt(3 / prod(shape[1:]))
    if name.endswith(("running_var", "weight")):
        return u + 0.5
    return u - 0.5


def state(keys: Sequence[tuple[str, Sequence[int]]]) -> dict[str, np.ndarray]:
    """Every array of a state dict, from its names and shapes in order."""
    return {name: values(i, name, shape) for i, (name, shape) in enumerate(keys)}


def image(size: int, batch: int = 1) -> np.ndarray:
    """A batch of pixels between -1 and 1."""
    return 2 * fractions(10_000_019, (batch, 3, size, size)) - 1
