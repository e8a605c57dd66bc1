"""What the wrong elements of an array have in common, in a few words.

A kernel's bug has a shape: the last columns of a tile, the border, one channel, one group, a
factor.  ``pattern`` looks for the simplest one that explains the elements that fail.
"""

from __future__ import annotations

import math

import numpy as np

from minigrad.tensor import Array

__all__ = ["pattern"]

AXES = {
    4: ("image", "channel", "row", "column"),
    2: ("row", "column"),
    1: ("element",),
}
SIDES = ("first", "last")
MOST = 0.9


def pattern(y: Array, exact: Array, wrong: Array, groups: int = 1) -> str:
    """The pattern of the failing elements.

    Parameters
    ----------
    y, exact : array
        The judged and the exact values, images as (N, C, H, W).
    wrong : array of bool
        Which elements fail.
    groups : int
        Of the channels, if the operation has groups.

    Returns
    -------
    str

    Examples
    --------
    >>> y = np.ones((1, 2, 3, 4))
    >>> y[..., -1] = 0
    >>> pattern(y, np.ones(y.shape), y == 0)
    'the last column, zero'
    """
    if not wrong.any():
        return ""
    values = _values(y, exact, wrong)
    places = _places(wrong, groups) if wrong.ndim in AXES else ""
    if wrong.all():
        return f"every element{values}"
    if not places:
        places = "nearly every element" if wrong.mean() > MOST else "no pattern of places"
    return f"{places}{values}"


def _values(y: Array, exact: Array, wrong: Array) -> str:
    """What the values have in common: NaN, 0, a factor, an offset."""
    got, expected = np.asarray(y, np.float64)[wrong], exact[wrong]
    if np.isnan(got).all():
        return ", NaN (overflowed, or never written?)"
    if not np.isfinite(got).all() or got.size < 2:
        return ""
    if not got.any():
        return ", zero"
    with np.errstate(all="ignore"):
        ratio, offset = got / expected, got - expected
    if _constant(ratio - 1, 0.02):
        return f", off by the factor {_factor(float(np.median(ratio)))}"
    return f", off by {np.median(offset):.6g}" if _constant(offset) else ""


def _factor(value: float) -> str:
    """With three digits of its distance from 1."""
    return f"{value:.{max(6, 3 - math.floor(math.log10(abs(value - 1))))}g}"


def _constant(values: Array, within: float = 1e-3) -> bool:
    middle = np.median(values)
    return bool(np.all(np.isfinite(values)) and np.ptp(values) <= within * abs(middle) > 0)


def _places(wrong: Array, groups: int) -> str:
    """Which indices of which axes fail, if they fill at least half of what these name."""
    border = _border(wrong)
    if border:
        return border
    named, filled = [], wrong
    for axis, name in enumerate(AXES[wrong.ndim]):
        hit = np.flatnonzero(wrong.any(axis=tuple(k for k in range(wrong.ndim) if k != axis)))
        filled = np.take(filled, hit, axis=axis)
        if len(hit) < wrong.shape[axis]:
            named.append(_indices(hit, wrong.shape[axis], name, groups))
    return ", ".join(named) if named and filled.mean() >= 0.5 else ""


def _border(wrong: Array) -> str:
    """Elements of the outermost rows and columns only, on at least two sides."""
    if wrong.ndim != 4 or min(wrong.shape[2:]) < 3 or wrong[:, :, 1:-1, 1:-1].any():
        return ""
    rows = [side for side, k in zip(SIDES, (0, -1), strict=True) if wrong[:, :, k, 1:-1].any()]
    columns = [side for side, k in zip(SIDES, (0, -1), strict=True) if wrong[:, :, 1:-1, k].any()]
    sides = [f"{side} row" for side in rows] + [f"{side} column" for side in columns]
    return f"the border ({', '.join(sides)})" if len(sides) > 1 else ""


def _indices(hit: Array, size: int, name: str, groups: int) -> str:
    """A few indices in words."""
    for rule in (_group, _end, _every):
        words = rule(hit, size, name, groups)
        if words:
            return words
    if len(hit) == 1:
        return f"{name} {hit[0]}"
    if np.array_equal(hit, np.arange(hit[0], hit[-1] + 1)):
        return f"{name}s {hit[0]} to {hit[-1]}"
    listed = ", ".join(map(str, hit[:6]))
    return f"{name}s {listed}{f' and {len(hit) - 6} more' if len(hit) > 6 else ''}"


def _group(hit: Array, size: int, name: str, groups: int) -> str:
    each = size // groups
    first = int(hit[0]) // max(each, 1)
    if name != "channel" or groups in (1, size) or size % groups:
        return ""
    whole = np.arange(first * each, (first + 1) * each)
    return (
        f"group {first} (channels {whole[0]} to {whole[-1]})" if np.array_equal(hit, whole) else ""
    )


def _end(hit: Array, size: int, name: str, _: int) -> str:
    if name not in ("row", "column") or len(hit) == size:
        return ""
    if np.array_equal(hit, np.arange(len(hit))):
        return f"the first {name}" if len(hit) == 1 else f"the first {len(hit)} {name}s"
    if np.array_equal(hit, np.arange(size - len(hit), size)):
        return f"the last {name}" if len(hit) == 1 else f"the last {len(hit)} {name}s"
    return ""


def _every(hit: Array, size: int, name: str, _: int) -> str:
    if len(hit) < 3:
        return ""
    step = int(hit[1] - hit[0])
    if step > 1 and np.array_equal(hit, np.arange(hit[0], size, step)):
        return f"every {step}th {name} from {hit[0]}"
    return ""
