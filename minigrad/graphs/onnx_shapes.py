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
from minigrad.ops.ranking import on_axis
from minigrad.ops.resampling import take
from minigrad.sampling import check_count
from minigrad.tensor import Tensor, require_room

__all__ = [
    "concat", "depth_to_space", "expand", "flatten", "gather", "gather_elements", "numbers_of",
    "pad", "place_of", "places", "reshape", "slices", "space_to_depth", "split", "squeeze", "tile",
    "transpose", "unsqueeze",
]  # fmt: skip

Made = Callable[..., Tensor]
Several = Callable[..., list[Tensor]]


def numbers_of(values: Array | Sequence[int]) -> tuple[int, ...]:
    """The integers of an array of any shape."""
    flat = np.reshape(values, -1)
    if flat.dtype.kind == "f" and not np.isfinite(flat).all():
        raise ShapeError("sizes and places are integers, not NaN or infinity")
    return tuple(int(v) for v in flat.tolist())


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


MODES = ("constant", "reflect", "edge", "wrap")


def pad(a: Attributes) -> Made:
    """Pad by a constant, or by the map's own pixels; negative pads cut."""
    mode = a.word("mode", "constant", *MODES)
    old = a.opset < 11
    pads, value = (a.integers("pads"), a.real("value", 0.0)) if old else (None, 0.0)
    if old and pads is None:
        raise UnreadNode("it has no attribute pads")
    return partial(_pad, mode, pads, value)


def _pad(
    mode: str,
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
    if any(n + min(b, 0) + min(e, 0) < 0 for (b, e), n in zip(around, x.shape, strict=True)):
        raise ShapeError(f"Pad: {tuple(around)} cut more than there is of {x.shape}")
    if min(numbers, default=0) < 0:
        ends = zip(around, x.shape, strict=True)
        x = x[tuple(slice(max(-b, 0), n - max(-e, 0)) for (b, e), n in ends)]
    positive = [(max(b, 0), max(e, 0)) for b, e in around]
    if mode == "constant":
        return ops.pad(x, positive, value)
    for axis, (before, after) in enumerate(positive):
        if before or after:
            x = take(x, _around(mode, x, axis, before, after), axis)
    return x


def _around(mode: str, x: Tensor, axis: int, before: int, after: int) -> Sequence[int]:
    """The places of an axis that a padded one takes."""
    n = x.shape[axis]
    require_room("Pad", (*x.shape[:axis], n + before + after, *x.shape[axis + 1 :]), x.dtype)
    if n == 0:
        raise ShapeError(f"Pad: axis {axis} of shape {x.shape} has no element to repeat")
    check_count(n + before + after)
    at = np.arange(-before, n + after)
    if mode == "edge":
        at = np.clip(at, 0, n - 1)
    elif mode == "wrap":
        at = at % n
    elif n > 1:
        at = np.abs((at + n - 1) % (2 * n - 2) - (n - 1))
    else:
        at = at * 0
    return numbers_of(at)


def expand(x: Tensor, shape: Array) -> Tensor:
    """Expand: both shapes broadcast."""
    try:
        full = np.broadcast_shapes(x.shape, numbers_of(shape))
    except ValueError:
        raise ShapeError(f"Expand: {x.shape} does not broadcast to {numbers_of(shape)}") from None
    return ops.broadcast_to(x, full)


def tile(x: Tensor, repeats: Array) -> Tensor:
    """Tile: the whole tensor several times along each axis."""
    counts = numbers_of(repeats)
    if len(counts) != x.ndim or min(counts, default=1) < 0:
        raise ShapeError(f"Tile: {counts} for the axes of {x.shape}")
    require_room("Tile", tuple(n * k for n, k in zip(x.shape, counts, strict=True)), x.dtype)
    for axis, count in enumerate(counts):
        if count == 0:
            x = x[_at(axis, slice(0, 0))]
        elif count > 1:
            shape = (*x.shape[:axis], 1, *x.shape[axis:])
            wide = (*x.shape[:axis], count, *x.shape[axis:])
            joined = (*x.shape[:axis], count * x.shape[axis], *x.shape[axis + 1 :])
            x = ops.reshape(ops.broadcast_to(ops.reshape(x, shape), wide), joined)
    return x


def depth_to_space(a: Attributes) -> Made:
    """DepthToSpace."""
    order = a.word("mode", "DCR", "DCR", "CRD")
    return partial(_by_blocks, ops.depth_to_space, a.integer("blocksize", 0), order)


def space_to_depth(a: Attributes) -> Made:
    """SpaceToDepth."""
    order = a.word("mode", "DCR", "DCR", "CRD")
    return partial(_by_blocks, ops.space_to_depth, a.integer("blocksize", 0), order)


def _by_blocks(
    function: Callable[[Tensor, int, str], Tensor], block: int, order: str, x: Tensor
) -> Tensor:
    return function(x, block, order)


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
    """Gather by one index, which takes away its axis, or by several."""
    return partial(_gather, a.integer("axis", 0))


def _gather(axis: int, x: Tensor, at: Array | Tensor) -> Tensor:
    axis = place_of(axis, x.ndim, "Gather")
    before, after = x.shape[:axis], x.shape[axis + 1 :]
    full = (*before, *at.shape, *after)
    if isinstance(at, Tensor):
        lines = ops.reshape(x, int(np.prod(before)), x.shape[axis], int(np.prod(after)))
        places = ops.broadcast_to(
            ops.reshape(_wrapped(at, x.shape[axis]), 1, -1, 1),
            (lines.shape[0], at.size, lines.shape[2]),
        )
        return ops.reshape(ops.take_along(lines, places, 1), full)
    if at.ndim == 0:
        return x[_at(axis, int(at))]
    n, given = x.shape[axis], np.array(numbers_of(at), np.float64)
    chosen = on_axis("Gather", np.where(given < 0, given + n, given), n).tolist()
    require_room("Gather", full, x.dtype)
    if not chosen:
        return ops.reshape(x[_at(axis, slice(0, 0))], full)
    return ops.reshape(take(x, chosen, axis), full)


def _wrapped(at: Tensor, n: int) -> Tensor:
    """Places that are counted from the end, from the front."""
    return at + n * ops.compare(at, 0.0, "<")


def gather_elements(a: Attributes) -> Made:
    """GatherElements."""
    return partial(_gather_elements, a.integer("axis", 0))


def _gather_elements(axis: int, x: Tensor, at: Tensor) -> Tensor:
    axis = place_of(axis, x.ndim, "GatherElements")
    if at.ndim != x.ndim or any(
        m > n for k, (m, n) in enumerate(zip(at.shape, x.shape, strict=True)) if k != axis
    ):
        raise ShapeError(f"GatherElements: indices of shape {at.shape} for x of {x.shape}")
    part = x[tuple(slice(None) if k == axis else slice(n) for k, n in enumerate(at.shape))]
    return ops.take_along(part, _wrapped(at, x.shape[axis]), axis)
