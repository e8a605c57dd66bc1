"""What ONNX's operators on shapes mean for computed values.

Where a later opset turned an attribute into an input, that input is a constant here: the network
has one shape for each shape of its input.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise

import numpy as np

from minigrad import ops
from minigrad.errors import ShapeError
from minigrad.formats.numbers import Array
from minigrad.graphs.attributes import Attributes, UnreadNode
from minigrad.tensor import Tensor

__all__ = [
    "concat", "flatten", "gather", "numbers_of", "pad", "place_of", "places", "reshape", "resize",
    "slices", "split", "squeeze", "transpose", "unsqueeze",
]  # fmt: skip

Made = Callable[..., Tensor]
Several = Callable[..., list[Tensor]]


def numbers_of(values: Array | Sequence[int]) -> tuple[int, ...]:
    """The integers of an array of any shape."""
    return tuple(int(v) for v in np.reshape(values, -1).tolist())


def place_of(axis: int, ndim: int, operator: str) -> int:
    """The axis, from 0 on."""
    if not -ndim <= axis < ndim:
        raise ShapeError(f"{operator}: axis {axis} is out of range for {ndim} axes")
    return axis % ndim


def concat(a: Attributes) -> Made:
    """Concat."""
    return partial(_concat, a.integer("axis", 1))


def _concat(axis: int, *xs: Tensor) -> Tensor:
    return ops.concat(xs, axis) if len(xs) > 1 else xs[0]


def reshape(a: Attributes) -> Made:
    """Reshape: a length of 0 is the input's, unless ``allowzero`` says otherwise."""
    return partial(_reshape, bool(a.only("allowzero", 0, 0, 1)))


def _reshape(zero: bool, x: Tensor, shape: Array) -> Tensor:
    lengths = numbers_of(shape)
    if not zero and any(n == 0 and i >= x.ndim for i, n in enumerate(lengths)):
        raise ShapeError(f"Reshape: the length 0 at an axis that x of shape {x.shape} has not")
    full = (x.shape[i] if n == 0 and not zero else n for i, n in enumerate(lengths))
    return ops.reshape(x, tuple(full))


def flatten(a: Attributes) -> Made:
    """Flatten into a matrix."""
    return partial(_flatten, a.integer("axis", 1))


def _flatten(axis: int, x: Tensor) -> Tensor:
    if not -x.ndim <= axis <= x.ndim:
        raise ShapeError(f"Flatten: axis {axis} is out of range for shape {x.shape}")
    rows = 1
    for n in x.shape[: axis if axis >= 0 else axis + x.ndim]:
        rows *= n
    return ops.reshape(x, rows, x.size // rows if rows else 0)


def squeeze(a: Attributes) -> Made:
    """Squeeze."""
    return partial(_squeeze, a.integers("axes") if a.opset < 13 else None)


def _squeeze(axes: Sequence[int] | None, x: Tensor, given: Array | None = None) -> Tensor:
    chosen = axes if given is None else numbers_of(given)
    if chosen is None:
        chosen = [i for i, n in enumerate(x.shape) if n == 1]
    gone = {place_of(i, x.ndim, "Squeeze") for i in chosen}
    if any(x.shape[i] != 1 for i in gone):
        raise ShapeError(f"Squeeze: axes {tuple(sorted(gone))} of shape {x.shape} are not all 1")
    return ops.reshape(x, tuple(n for i, n in enumerate(x.shape) if i not in gone))


def unsqueeze(a: Attributes) -> Made:
    """Unsqueeze."""
    return partial(_unsqueeze, a.integers("axes") if a.opset < 13 else None)


def _unsqueeze(axes: Sequence[int] | None, x: Tensor, given: Array | None = None) -> Tensor:
    chosen = (axes or ()) if given is None else numbers_of(given)
    ndim = x.ndim + len(chosen)
    new = {place_of(i, ndim, "Unsqueeze") for i in chosen}
    if len(new) < len(chosen):
        raise ShapeError(f"Unsqueeze: axes {tuple(chosen)} name an axis twice")
    old = iter(x.shape)
    return ops.reshape(x, tuple(1 if i in new else next(old) for i in range(ndim)))


def transpose(a: Attributes) -> Made:
    """Transpose."""
    return partial(_transpose, a.integers("perm"))


def _transpose(order: Sequence[int] | None, x: Tensor) -> Tensor:
    return ops.permute(x, tuple(range(x.ndim))[::-1] if order is None else order)


def pad(a: Attributes) -> Made:
    """Pad by a constant; negative pads cut."""
    a.word("mode", "constant", "constant")
    old = a.opset < 11
    pads, value = (a.integers("pads"), a.real("value", 0.0)) if old else (None, 0.0)
    if old and pads is None:
        raise UnreadNode("it has no attribute pads")
    return partial(_pad, pads, value)


def _pad(
    pads: Sequence[int] | None,
    value: float,
    x: Tensor,
    given: Array | None = None,
    filled: Array | None = None,
    axes: Array | None = None,
) -> Tensor:
    numbers = numbers_of(() if given is None else given) if pads is None else pads
    chosen = [
        place_of(i, x.ndim, "Pad") for i in (range(x.ndim) if axes is None else numbers_of(axes))
    ]
    if len(numbers) != 2 * len(chosen):
        raise ShapeError(f"Pad: {len(numbers)} pads for {len(chosen)} axes of shape {x.shape}")
    value = value if filled is None or not filled.size else float(filled.reshape(-1)[0])
    around = [(0, 0)] * x.ndim
    for i, axis in enumerate(chosen):
        around[axis] = numbers[i], numbers[i + len(chosen)]
    if min(numbers, default=0) < 0:
        ends = zip(around, x.shape, strict=True)
        x = x[tuple(slice(max(-b, 0), n - max(-e, 0)) for (b, e), n in ends)]
    return ops.pad(x, [(max(b, 0), max(e, 0)) for b, e in around], value)


def slices(a: Attributes) -> Made:
    """Slice."""
    old = a.opset < 10
    starts, ends, axes = (a.integers(n) if old else None for n in ("starts", "ends", "axes"))
    return partial(_slice, (starts, ends, axes))


def places(
    x_shape: Sequence[int], starts: Sequence[int], ends: Sequence[int],
    axes: Sequence[int] | None, steps: Sequence[int] | None,
) -> tuple[slice, ...]:  # fmt: skip
    """The slices of a Slice node, as NumPy has them."""
    axes = range(len(starts)) if axes is None else axes
    steps = [1] * len(starts) if steps is None else steps
    if not len(starts) == len(ends) == len(axes) == len(steps) or 0 in steps:
        raise ShapeError("Slice: starts, ends, axes and steps do not belong together")
    index = [slice(None)] * len(x_shape)
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        at = place_of(axis, len(x_shape), "Slice")
        below = step < 0 and end < -x_shape[at]  # before the first, where -1 would be the last
        index[at] = slice(start, None if below else end, step)
    return tuple(index)


def _slice(old: tuple[Sequence[int] | None, ...], x: Tensor, *given: Array | None) -> Tensor:
    starts, ends, axes, steps = (
        was if new is None else numbers_of(new)
        for was, new in zip((*old, None), (*given, *[None] * 4), strict=False)
    )
    return x[places(x.shape, starts or (), ends or (), axes, steps)]


def split(a: Attributes) -> Several:
    """Split."""
    sizes = a.integers("split") if a.opset < 13 else None
    parts = a.integer("num_outputs", len(a.node.outputs))
    if parts != len(a.node.outputs):
        raise a.wrong("num_outputs", f"{parts}, and it has {len(a.node.outputs)} outputs")
    return partial(_split, a.integer("axis", 0), parts, sizes)


def _split(
    axis: int, parts: int, sizes: Sequence[int] | None, x: Tensor, given: Array | None = None
) -> list[Tensor]:
    axis = place_of(axis, x.ndim, "Split")
    lengths = sizes if given is None else numbers_of(given)
    if lengths is None:
        each = -(-x.shape[axis] // parts)
        lengths = [max(0, min(each, x.shape[axis] - i * each)) for i in range(parts)]
    if sum(lengths) != x.shape[axis] or len(lengths) != parts or min(lengths) < 0:
        raise ShapeError(f"Split: axis {axis} of {x.shape} into {parts} parts of {tuple(lengths)}")
    ends = [sum(lengths[:i]) for i in range(parts + 1)]
    return [x[_at(axis, slice(start, end))] for start, end in pairwise(ends)]


def _at(axis: int, place: slice | int) -> tuple[slice | int, ...]:
    """The index of a place on one axis."""
    return (*[slice(None)] * axis, place)


def gather(a: Attributes) -> Made:
    """Gather of one index, which takes away its axis, or of a list of them."""
    return partial(_gather, a.integer("axis", 0))


def _gather(axis: int, x: Tensor, at: Array) -> Tensor:
    axis = place_of(axis, x.ndim, "Gather")
    if at.ndim == 0:
        return x[_at(axis, int(at))]
    if at.ndim != 1 or not at.size:
        raise ShapeError(f"Gather: computed values by indices of shape {at.shape} are not read")
    return ops.stack([x[_at(axis, int(i))] for i in at], axis)


def resize(a: Attributes) -> Made:
    """Resize and Upsample, nearest by whole factors, where every rule repeats the pixels."""
    mode = a.text("mode", "nearest")
    if mode != "nearest":
        raise UnreadNode(f"its attribute mode is {mode[:20]!r}, and 'nearest' is read")
    rules = ("half_pixel", "asymmetric", "pytorch_half_pixel", "half_pixel_symmetric")
    place = a.word("coordinate_transformation_mode", "half_pixel", *rules)
    near = a.word("nearest_mode", "round_prefer_floor", "round_prefer_floor", "round_prefer_ceil",
                  "floor")  # fmt: skip
    if a.opset >= 11 and place == "asymmetric" and near != "floor":
        raise a.wrong("nearest_mode", f"{near} with asymmetric, and floor is read")
    if a.opset >= 11 and place != "asymmetric" and near == "floor":
        raise a.wrong("nearest_mode", f"floor with {place}, and asymmetric is read")
    a.without("cubic_coeff_a", "exclude_outside", "extrapolation_value")
    a.only("antialias", 0, 0)
    if a.integers("axes") is not None:
        raise UnreadNode("its attribute axes is not read")
    a.word("keep_aspect_ratio_policy", "stretch", "stretch")
    return partial(_resize, a.reals("scales"), a.opset >= 11)


def _resize(
    scales: Sequence[float] | None, with_region: bool, x: Tensor, *given: Array | None
) -> Tensor:
    by, to = [*(given[1:] if with_region else given), None, None][:2]
    if to is not None and to.size:
        sizes = numbers_of(to)
    else:
        found = scales or (() if by is None else by.reshape(-1).tolist())
        sizes = tuple(int(n * f) for n, f in zip(x.shape, found, strict=False))
    if len(sizes) != x.ndim or not all(
        n and m and m % n == 0 for m, n in zip(sizes, x.shape, strict=True)
    ):
        raise ShapeError(f"Resize: {x.shape} to {sizes} is by no whole factors, which are read")
    return _repeated(x, [m // n for m, n in zip(sizes, x.shape, strict=True)])


def _repeated(x: Tensor, factors: Sequence[int]) -> Tensor:
    """Each element several times, axis by axis."""
    apart = [n for m in x.shape for n in (m, 1)]
    wide = [n for m, f in zip(x.shape, factors, strict=True) for n in (m, f)]
    shape = tuple(m * f for m, f in zip(x.shape, factors, strict=True))
    return ops.reshape(ops.broadcast_to(ops.reshape(x, apart), wide), shape)
