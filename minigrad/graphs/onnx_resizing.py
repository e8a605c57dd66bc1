"""What ONNX's Resize and Upsample mean: every mode, coordinate rule and rounding.

Sizes and scales are known when the network is built; each axis is then a table of taps
(``minigrad.sampling``), and the map is resampled two axes at a time.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np

from minigrad import ops
from minigrad.errors import ShapeError
from minigrad.formats.numbers import Array
from minigrad.graphs.attributes import Attributes
from minigrad.graphs.onnx_shapes import numbers_of, place_of
from minigrad.ops.resampling import resample
from minigrad.sampling import COORDINATES, ROUNDINGS, Resizing, Taps, kept, resize_taps
from minigrad.tensor import Tensor, require_room

__all__ = ["resize", "upsample"]

Made = Callable[..., Tensor]
POLICIES = ("stretch", "not_larger", "not_smaller")


class Words(NamedTuple):
    """What a node says beside how an axis is resized."""

    how: Resizing
    axes: tuple[int, ...] | None
    policy: str
    outside: float


def upsample(a: Attributes) -> Made:
    """Upsample, and Resize before opset 11: pixels at p / scale, rounded down."""
    mode = a.word("mode", "nearest", "nearest", "linear", "bilinear")
    how = Resizing("nearest" if mode == "nearest" else "linear", "asymmetric", "floor")
    words = Words(how, None, "stretch", 0.0)
    return partial(_upsample, words, a.reals("scales") if a.opset < 9 else None)


def _upsample(
    words: Words, scales: Sequence[float] | None, x: Tensor, given: Array | None = None
) -> Tensor:
    factors = scales if given is None else np.reshape(given, -1).tolist()
    return _resize(words, x, None, np.array(factors or ()), None)


def resize(a: Attributes) -> Made:
    """Resize."""
    if a.opset < 11:
        return upsample(a)
    how = Resizing(
        a.word("mode", "nearest", "nearest", "linear", "cubic"),
        a.word("coordinate_transformation_mode", "half_pixel", *COORDINATES),
        a.word("nearest_mode", "round_prefer_floor", *ROUNDINGS),
        a.real("cubic_coeff_a", -0.75),
        bool(a.only("exclude_outside", 0, 0, 1)),
        bool(a.only("antialias", 0, 0, 1)),
    )
    policy = a.word("keep_aspect_ratio_policy", "stretch", *POLICIES)
    return partial(
        _resize, Words(how, a.integers("axes"), policy, a.real("extrapolation_value", 0.0))
    )


def _resize(
    words: Words, x: Tensor, region: Array | None = None, by: Array | None = None,
    to: Array | None = None,
) -> Tensor:  # fmt: skip
    said = range(x.ndim) if words.axes is None else words.axes
    axes = [place_of(axis, x.ndim, "Resize") for axis in said]
    sizes, scales = _sizes(words.policy, [x.shape[k] for k in axes], by, to)
    full = list(x.shape)
    for axis, size in zip(axes, sizes, strict=True):
        full[axis] = size
    require_room("Resize", tuple(full), x.dtype)
    found: dict[int, Taps] = {}
    beyond = np.zeros((1,) * x.ndim, bool)
    for k, (axis, size, scale) in enumerate(zip(axes, sizes, scales, strict=True)):
        how = words.how
        if region is not None and region.size == 2 * len(axes):
            start, end = (float(v) for v in np.reshape(region, (2, -1))[:, k])
            how = how._replace(start=start, end=end)
        if x.shape[axis] == 0 or size < 1:
            raise ShapeError(f"Resize: {x.shape} to {tuple(full)} is empty")
        found[axis], outside = resize_taps(x.shape[axis], size, scale, how)
        edge = np.isin(np.arange(size), outside)
        beyond = beyond | edge.reshape([-1 if j == axis else 1 for j in range(x.ndim)])
    y = _resampled(x, {axis: taps for axis, taps in found.items() if not taps.is_identity})
    return ops.where(beyond, words.outside, y) if beyond.any() else y


def _sizes(
    policy: str, old: Sequence[int], by: Array | None, to: Array | None
) -> tuple[list[int], list[float]]:
    """The new sizes, and the scale of each."""
    if to is not None and to.size:
        sizes = list(numbers_of(to))
        scales = [m / n if n else 1.0 for n, m in zip(old, sizes, strict=False)]
        if policy != "stretch" and len(scales) == len(old):
            scale = (min if policy == "not_larger" else max)(scales)
            scales, sizes = [scale] * len(old), [math.floor(scale * n + 0.5) for n in old]
    else:
        scales = [] if by is None else [float(v) for v in np.reshape(by, -1)]
        if any(not 0 < s < 1e6 for s in scales):
            raise ShapeError(f"Resize: scales {tuple(scales)[:8]} are not all above 0")
        sizes = [math.floor(n * s) for n, s in zip(old, scales, strict=False)]
    if len(sizes) != len(old):
        raise ShapeError(f"Resize: {len(sizes)} sizes or scales for {len(old)} axes")
    return sizes, scales


def _resampled(x: Tensor, found: dict[int, Taps]) -> Tensor:
    """x with the taps of each axis; rows and columns of maps together."""
    if not found:
        return x
    if x.ndim == 4 and set(found) <= {2, 3}:
        rows, columns = (found.get(k) or kept(x.shape[k]) for k in (2, 3))
        return resample(x, rows, columns)
    for axis, taps in sorted(found.items(), reverse=True):
        before, after = x.shape[:axis], x.shape[axis + 1 :]
        inner = math.prod(after)
        lines = ops.reshape(x, math.prod(before), 1, x.shape[axis], inner)
        y = resample(lines, taps, kept(inner))
        x = ops.reshape(y, (*before, taps.length, *after))
    return x
