"""The arithmetic of resizing along one axis: which pixels, with which weights.

An output pixel p lies at h of the input, which is n pixels long and becomes m, scale s = m / n
unless another one is given:

    half_pixel              h = (p + 1/2) / s - 1/2           pixels are squares (PyTorch)
    half_pixel_symmetric    the same, moved so that the middle stays the middle
    pytorch_half_pixel      the same, but h = 0 where m = 1
    tf_half_pixel_for_nn    h = (p + 1/2) / s                 (TFLite, nearest)
    align_corners           h = p (n - 1) / (s n - 1)         the first and last pixels stay
    asymmetric              h = p / s
    tf_crop_and_resize      a stretch from ``start`` to ``end`` of the input

and takes the nearest pixel, or the pixels i around with the weights K(i - h),

    linear    K(t) = 1 - |t|                                   for |t| < 1, else 0
    cubic     K(t) = (a + 2) |t|^3 - (a + 3) t^2 + 1           for |t| <= 1,
                     a |t|^3 - 5 a t^2 + 8 a |t| - 4 a         for |t| < 2, else 0,

those beyond an edge being the edge's pixel.  With ``antialias`` and s < 1 the kernel is K(s t),
its weights made to sum to 1.  The words and formulas are those of ONNX's Resize.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import NamedTuple

from minigrad.errors import ShapeError

__all__ = [
    "COORDINATES",
    "MODES",
    "ROUNDINGS",
    "Resizing",
    "Taps",
    "check_count",
    "kept",
    "picked",
    "resize_taps",
]

MODES = ("nearest", "linear", "cubic")
COORDINATES = (
    "half_pixel", "half_pixel_symmetric", "pytorch_half_pixel", "tf_half_pixel_for_nn",
    "align_corners", "asymmetric", "tf_crop_and_resize",
)  # fmt: skip
ROUNDINGS: dict[str, Callable[[float], int]] = {
    "round_prefer_floor": lambda h: math.ceil(h - 0.5),
    "round_prefer_ceil": lambda h: math.floor(h + 0.5),
    "floor": math.floor,
    "ceil": math.ceil,
}


MOST = 1 << 18  # taps of a table


class Taps(NamedTuple):
    """A linear map along one axis: y[p] = sum_t weights[p][t] x[pixels[p][t]].

    Attributes
    ----------
    size : int
        Of the input.
    pixels : tuple of tuple of int
        None of them stands for y = x.
    weights : tuple of tuple of float
        Of the shape of ``pixels``.
    """

    size: int
    pixels: tuple[tuple[int, ...], ...]
    weights: tuple[tuple[float, ...], ...]

    @property
    def is_identity(self) -> bool:
        """Whether y = x."""
        return not self.pixels

    @property
    def is_selection(self) -> bool:
        """Whether every y is one x."""
        return all(w == (1.0,) for w in self.weights)

    @property
    def length(self) -> int:
        """Of the output."""
        return len(self.pixels) or self.size

    def written_out(self) -> Taps:
        """The same map, with pixels in any case."""
        if self.pixels:
            return self
        every = tuple((i,) for i in range(self.size))
        return Taps(self.size, every, ((1.0,),) * self.size)


def kept(size: int) -> Taps:
    """y = x."""
    return Taps(size, (), ())


def check_count(count: float) -> None:
    """Raise if a table would have more taps than any map needs."""
    if count > MOST:
        raise ShapeError(f"a map is resized by at most {MOST:,} taps an axis, not {count:,.0f}")


def picked(size: int, index: Sequence[int]) -> Taps:
    """y[p] = x[index[p]].

    >>> picked(3, [0, 2])
    Taps(size=3, pixels=((0,), (2,)), weights=((1.0,), (1.0,)))
    """
    check_count(len(index))
    pixels = tuple((int(i),) for i in index)
    if not pixels or (len(pixels) == size and all(i == p for i, (p,) in enumerate(pixels))):
        return kept(size)
    return Taps(size, pixels, ((1.0,),) * len(pixels))


class Resizing(NamedTuple):
    """How one axis is resized; the words of ``resize_taps``."""

    mode: str = "nearest"
    coordinates: str = "half_pixel"
    rounding: str = "round_prefer_floor"
    cubic: float = -0.75
    exclude_outside: bool = False
    antialias: bool = False
    start: float = 0.0
    end: float = 1.0


def place(p: int, n: int, m: int, scale: float, how: Resizing) -> float:
    """Where the output pixel p lies among the input's."""
    rule, wide = how.coordinates, m if abs(scale * n - m) < 1e-6 * m else scale * n
    if rule == "align_corners":
        return p * (n - 1) / (wide - 1) if wide != 1 else 0.0
    if rule == "asymmetric":
        return p / scale
    if rule == "tf_crop_and_resize":
        if m == 1:
            return 0.5 * (how.start + how.end) * (n - 1)
        return how.start * (n - 1) + p * (how.end - how.start) * (n - 1) / (wide - 1)
    if rule == "tf_half_pixel_for_nn":
        return (p + 0.5) / scale
    if rule == "pytorch_half_pixel" and m == 1:
        return 0.0
    moved = n / 2 * (1 - m / (scale * n)) if rule == "half_pixel_symmetric" else 0.0
    return moved + (p + 0.5) / scale - 0.5


def _kernel(how: Resizing, t: float) -> float:
    t, a = abs(t), how.cubic
    if how.mode == "linear":
        return max(1 - t, 0.0)
    if t <= 1:
        return ((a + 2) * t - (a + 3)) * t * t + 1
    return ((a * t - 5 * a) * t + 8 * a) * t - 4 * a if t < 2 else 0.0


def _around(h: float, n: int, scale: float, how: Resizing) -> tuple[list[int], list[float]]:
    """The pixels around h, and their weights."""
    narrow = min(scale, 1.0) if how.antialias else 1.0
    reach = 1 if how.mode == "linear" else 2
    first = math.floor(-reach / narrow) + 1
    base = math.ceil(h) - 1  # the pixel on the left, also where h is one
    pixels = [base + k for k in range(first, 2 - first)]
    weights = [_kernel(how, narrow * (i - h)) for i in pixels]
    if how.exclude_outside:
        weights = [w if 0 <= i < n else 0.0 for i, w in zip(pixels, weights, strict=True)]
    if how.exclude_outside or narrow < 1:
        total = sum(weights)
        if not total:
            raise ShapeError(f"resize: no pixel of {n} lies near {h:.6g}: the scale is no size's")
        weights = [w / total for w in weights]
    return [min(max(i, 0), n - 1) for i in pixels], weights


@lru_cache(maxsize=256)
def resize_taps(n: int, m: int, scale: float, how: Resizing) -> tuple[Taps, tuple[int, ...]]:
    """The taps that make n pixels m, and the output pixels that lie outside of the input.

    Parameters
    ----------
    n, m : int
        At least 1.
    scale : float
        Above 0.
    how : Resizing

    Returns
    -------
    taps : Taps
    outside : tuple of int
        Those of tf_crop_and_resize that have no pixel; empty for the other rules.

    Examples
    --------
    >>> resize_taps(2, 4, 2.0, Resizing("linear"))[0].weights
    ((0.25, 0.75), (0.75, 0.25), (0.25, 0.75), (0.75, 0.25))
    """
    narrow = min(scale, 1.0) if how.antialias else 1.0
    check_count(m * (1 if how.mode == "nearest" else 4 / narrow))
    places = [place(p, n, m, scale, how) for p in range(m)]
    crops = how.coordinates == "tf_crop_and_resize"
    outside = tuple(p for p, h in enumerate(places) if crops and not 0 <= h <= n - 1)
    if narrow == 1 and n == m and all(h == p for p, h in enumerate(places)):
        return kept(n), ()
    if how.mode == "nearest":
        near = (ROUNDINGS[how.rounding](h) for h in places)
        return picked(n, [min(max(i, 0), n - 1) for i in near]), outside
    found = [_around(h, n, scale, how) for h in places]
    index, weight = tuple(tuple(i) for i, _ in found), tuple(tuple(w) for _, w in found)
    return Taps(n, index, weight), outside
