"""What TFLite's operators on shapes mean: of computed values, in floats or in integers.

Their axes and orders are the file's, so a value is seen in the file's order where it is given
another number of axes.  Shapes, indices and pads are known from the file and the input's shape.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise

from minigrad import ops
from minigrad.arguments import quoted
from minigrad.errors import ShapeError
from minigrad.formats.numbers import Array
from minigrad.graphs.onnx_shapes import numbers_of, place_of
from minigrad.graphs.tflite_layout import axis_of, carried, carried_sizes, in_file_order
from minigrad.graphs.tflite_operation import Operation
from minigrad.graphs.tflite_windows import active
from minigrad.ops.resampling import take
from minigrad.tensor import Tensor

__all__ = [
    "batch_to_space", "broadcast_to", "concatenation", "depth_to_space", "expand_dims", "gather",
    "mirror_pad", "pack", "pad", "places_of", "reshape", "reverse", "slices", "space_to_batch",
    "space_to_depth", "split", "split_v", "squeeze", "strided_slice", "tile", "transpose",
    "unpack",
]  # fmt: skip

Made = Callable[..., Tensor]
Several = Callable[..., list[Tensor]]
MOST_AXES = 32  # of NumPy 1.26
Places = tuple[slice | int | None, ...]


def reshape(o: Operation) -> Made:
    """RESHAPE: to the shape of its second input, or of its option."""
    known = len(o.inputs) < 2 or o.inputs[1] is None
    return partial(_reshape, o.integers("new_shape") if known else None)


def _reshape(option: Sequence[int] | None, x: Tensor, given: Array | None = None) -> Tensor:
    shape = numbers_of(given) if given is not None else option
    assert shape is not None
    if len(shape) > MOST_AXES:
        raise ShapeError(f"RESHAPE: to {len(shape):,} axes, and up to {MOST_AXES} are read")
    if x.ndim == 4 and len(shape) == 4 and _fits(shape, in_file_order(x).shape):
        return x
    return carried(ops.reshape(in_file_order(x), tuple(shape)))


def _fits(shape: Sequence[int], sizes: Sequence[int]) -> bool:
    """Whether a shape with at most one -1 says these sizes."""
    return shape.count(-1) <= 1 and all(n in (-1, m) for n, m in zip(shape, sizes, strict=True))


def squeeze(o: Operation) -> Made:
    """SQUEEZE: away with some axes of length 1, or all."""
    return partial(_squeeze, o.integers("squeeze_dims"))


def _squeeze(axes: Sequence[int], x: Tensor) -> Tensor:
    rows = in_file_order(x)
    gone = {place_of(i, x.ndim, "SQUEEZE") for i in axes}
    if any(rows.shape[i] != 1 for i in gone):
        raise ShapeError(f"SQUEEZE: axes {tuple(sorted(gone))} of {rows.shape} are not all 1")
    kept = (n for i, n in enumerate(rows.shape) if (i not in gone if axes else n != 1))
    return carried(ops.reshape(rows, tuple(kept)))


def expand_dims(x: Tensor, axis: Array) -> Tensor:
    """EXPAND_DIMS: a new axis of length 1."""
    (at,) = numbers_of(axis)
    at, rows = place_of(at, x.ndim + 1, "EXPAND_DIMS"), in_file_order(x)
    return carried(ops.reshape(rows, (*rows.shape[:at], 1, *rows.shape[at:])))


def transpose(x: Tensor, order: Array) -> Tensor:
    """TRANSPOSE; of a map one permutation, that of the axes as they are carried."""
    axes = numbers_of(order)
    if x.ndim != 4 or sorted(axes) != [0, 1, 2, 3]:
        return carried(ops.permute(x, axes))
    moved = tuple(axis_of(i, 4, "TRANSPOSE") for i in axes)
    full = carried_sizes(moved)
    return x if full == (0, 1, 2, 3) else ops.permute(x, full)


def pad(x: Tensor, pads: Array, value: Array | None = None, fill: float = 0.0) -> Tensor:
    """PAD and PADV2: around the map, by zeros or a value."""
    number = fill if value is None else float(value.reshape(-1)[0])
    return ops.pad(x, _pads(x, pads), number)


def _pads(x: Tensor, pads: Array) -> list[tuple[int, int]]:
    if pads.shape != (x.ndim, 2) or pads.min(initial=0) < 0:
        raise ShapeError(f"PAD: pads of shape {pads.shape} for x of {x.ndim} axes")
    pairs = [(int(before), int(after)) for before, after in pads]
    return list(carried_sizes(pairs))


def mirror_pad(o: Operation) -> Made:
    """MIRROR_PAD: the map is continued by its reflection, with or without the edge."""
    return partial(_mirror_pad, o.word("mode") == "SYMMETRIC")


def _mirror_pad(edge: bool, x: Tensor, pads: Array) -> Tensor:
    for axis, (before, after) in enumerate(_pads(x, pads)):
        n, skipped = x.shape[axis], 0 if edge else 1
        if max(before, after) > n - skipped:
            raise ShapeError(f"MIRROR_PAD: pads {(before, after)} of an axis of {n}")
        backwards = x[_at(axis, slice(None, None, -1))]
        start = backwards[_at(axis, slice(n - skipped - before, n - skipped))]
        end = backwards[_at(axis, slice(skipped, skipped + after))]
        parts = [part for part in (start, x, end) if part.shape[axis]]
        x = ops.concat(parts, axis) if len(parts) > 1 else x
    return x


def concatenation(o: Operation) -> Made:
    """CONCATENATION."""
    return partial(_concatenation, o.integer("axis"), o.activation)


def _concatenation(axis: int, activation: Callable[[Tensor], Tensor] | None, *xs: Tensor) -> Tensor:
    along = axis_of(axis, xs[0].ndim, "CONCATENATION")
    return active(activation, ops.concat(xs, along) if len(xs) > 1 else xs[0])


def pack(o: Operation) -> Made:
    """PACK: one after another along a new axis."""
    return partial(_pack, o.integer("axis"))


def _pack(axis: int, *xs: Tensor) -> Tensor:
    at = place_of(axis, xs[0].ndim + 1, "PACK")
    return carried(ops.stack([in_file_order(x) for x in xs], at))


def unpack(o: Operation) -> Several:
    """UNPACK: the parts of an axis, which goes."""
    return partial(_unpack, o.integer("axis"), len(o.outputs))


def _unpack(axis: int, parts: int, x: Tensor) -> list[Tensor]:
    rows = in_file_order(x)
    at = place_of(axis, x.ndim, "UNPACK")
    if rows.shape[at] != parts:
        raise ShapeError(f"UNPACK: axis {at} of {rows.shape} into {parts} parts")
    return [carried(rows[_at(at, i)]) for i in range(parts)]


def _at(axis: int, place: slice | int) -> Places:
    """The index of a place on one axis."""
    return (*[slice(None)] * axis, place)


def split(o: Operation) -> Several:
    """SPLIT: parts of one length."""
    return partial(_split, len(o.outputs))


def _split(parts: int, x: Tensor, axis: Array) -> list[Tensor]:
    (named,) = numbers_of(axis)
    along = axis_of(named, x.ndim, "SPLIT")
    each, rest = divmod(x.shape[along], parts)
    if rest:
        raise ShapeError(f"SPLIT: an axis of {x.shape[along]} into {parts} parts")
    return [x[_at(along, slice(i * each, (i + 1) * each))] for i in range(parts)]


def split_v(o: Operation) -> Several:
    """SPLIT_V: parts of given lengths, one of which may be left open by -1."""
    return partial(_split_v, len(o.outputs))


def _split_v(parts: int, x: Tensor, sizes: Array, axis: Array) -> list[Tensor]:
    (named,) = numbers_of(axis)
    along, lengths = axis_of(named, x.ndim, "SPLIT_V"), list(numbers_of(sizes))
    n = x.shape[along]
    if lengths.count(-1) == 1:
        lengths[lengths.index(-1)] = n - sum(lengths) - 1
    if sum(lengths) != n or len(lengths) != parts or min(lengths) < 0:
        raise ShapeError(f"SPLIT_V: an axis of {n} into {parts} parts of {quoted(tuple(lengths))}")
    ends = [sum(lengths[:i]) for i in range(parts + 1)]
    return [x[_at(along, slice(start, end))] for start, end in pairwise(ends)]


def slices(x: Tensor, begin: Array, size: Array) -> Tensor:
    """SLICE: from a place on each axis so many elements, -1 for all that follow."""
    starts, counts = numbers_of(begin), numbers_of(size)
    lengths = in_file_order(x).shape
    if not len(starts) == len(counts) == x.ndim:
        raise ShapeError(f"SLICE: {len(starts)} places for x of {x.ndim} axes")
    ends = [n if c == -1 else s + c for s, c, n in zip(starts, counts, lengths, strict=True)]
    if any(not 0 <= s <= e <= n for s, e, n in zip(starts, ends, lengths, strict=True)):
        raise ShapeError(f"SLICE: from {starts}, {counts} elements of {lengths}")
    return x[carried_sizes([slice(s, e) for s, e in zip(starts, ends, strict=True)])]


def strided_slice(o: Operation) -> Callable[..., Tensor]:
    """STRIDED_SLICE."""
    return partial(_strided_slice, masks_of(o))


def masks_of(o: Operation) -> tuple[int, ...]:
    """The masks of a STRIDED_SLICE: begin, end, ellipsis, new axis, shrink axis."""
    names = ("begin_mask", "end_mask", "ellipsis_mask", "new_axis_mask", "shrink_axis_mask")
    return (*(o.integer(name) for name in names), int(o.flag("offset")))


def _strided_slice(
    masks: Sequence[int], x: Tensor, begin: Array, end: Array, strides: Array
) -> Tensor:
    index = places_of(masks, begin, end, strides)
    if len(index) == x.ndim == 4 and all(isinstance(i, slice) for i in index):
        return x[carried_sizes(index)]
    return carried(in_file_order(x)[index])


def places_of(masks: Sequence[int], begin: Array, end: Array, strides: Array) -> Places:
    """The index of a STRIDED_SLICE, as NumPy has it."""
    starts, ends, steps = numbers_of(begin), numbers_of(end), numbers_of(strides)
    if not len(starts) == len(ends) == len(steps) or 0 in steps:
        raise ShapeError("STRIDED_SLICE: begin, end and strides do not belong together")
    if masks[2] or masks[5]:
        raise ShapeError("STRIDED_SLICE: an ellipsis or offsets are not read")
    index: list[slice | int | None] = []
    for i, (start, stop, step) in enumerate(zip(starts, ends, steps, strict=True)):
        first, last = (None if mask >> i & 1 else at
                       for mask, at in zip(masks, (start, stop), strict=False))  # fmt: skip
        if masks[3] >> i & 1:
            index.append(None)
        elif masks[4] >> i & 1:
            index.append(start)
        else:
            index.append(slice(first, last, step))
    return tuple(index)


def gather(o: Operation) -> Made:
    """GATHER of known places on one axis."""
    return partial(_gather, o.integer("axis"), o.integer("batch_dims"))


def _gather(axis: int, batch_axes: int, x: Tensor, at: Array) -> Tensor:
    if batch_axes:
        raise ShapeError("GATHER: batch_dims is not read")
    rows = in_file_order(x)
    along = place_of(axis, x.ndim, "GATHER")
    places = numbers_of(at)
    if any(not 0 <= i < rows.shape[along] for i in places):
        raise ShapeError(f"GATHER: a place outside axis {along} of {rows.shape}")
    if at.ndim == 1:
        return take(x, places, axis_of(axis, x.ndim, "GATHER"))
    shape = (*rows.shape[:along], *at.shape, *rows.shape[along + 1 :])
    return carried(ops.reshape(take(rows, places, along), shape))


def tile(x: Tensor, multiples: Array) -> Tensor:
    """TILE: the whole of x several times along each axis."""
    times = numbers_of(multiples)
    if len(times) != x.ndim or min(times, default=1) < 1:
        raise ShapeError(f"TILE: multiples {quoted(times)} for x of {x.ndim} axes")
    for axis, count in enumerate(carried_sizes(times)):
        if count > 1:
            lead, rest = x.shape[:axis], x.shape[axis:]
            wide = ops.broadcast_to(ops.reshape(x, (*lead, 1, *rest)), (*lead, count, *rest))
            x = ops.reshape(wide, (*lead, count * rest[0], *rest[1:]))
    return x


def broadcast_to(x: Tensor, shape: Array) -> Tensor:
    """BROADCAST_TO."""
    return carried(ops.broadcast_to(in_file_order(x), numbers_of(shape)))


def reverse(x: Tensor, axes: Array) -> Tensor:
    """REVERSE_V2: some axes backwards."""
    index = [slice(None)] * x.ndim
    for axis in numbers_of(axes):
        index[axis_of(axis, x.ndim, "REVERSE_V2")] = slice(None, None, -1)
    return x[tuple(index)]


def depth_to_space(o: Operation) -> Made:
    """DEPTH_TO_SPACE."""
    return partial(_depth_to_space, o.integer("block_size"))


def _depth_to_space(block: int, x: Tensor) -> Tensor:
    return ops.depth_to_space(x, block)


def space_to_depth(o: Operation) -> Made:
    """SPACE_TO_DEPTH."""
    return partial(_space_to_depth, o.integer("block_size"))


def _space_to_depth(block: int, x: Tensor) -> Tensor:
    return ops.space_to_depth(x, block)


def space_to_batch(x: Tensor, block: Array, pads: Array) -> Tensor:
    """SPACE_TO_BATCH_ND of maps: the pixels of each phase of a grid are an image of their own.

    y[(i b' + j) N + n, c, h, w] = x[n, c, h b + i, w b' + j], x with its pads.
    """
    (tall, wide), around = _blocks(x, block, pads)
    x = ops.pad(x, [(0, 0), (0, 0), *around])
    n, c, h, w = x.shape
    if h % tall or w % wide:
        raise ShapeError(f"SPACE_TO_BATCH_ND: {x.shape} in blocks of {(tall, wide)}")
    apart = ops.reshape(x, n, c, h // tall, tall, w // wide, wide)
    return ops.reshape(
        ops.permute(apart, 3, 5, 0, 1, 2, 4), tall * wide * n, c, h // tall, w // wide
    )


def batch_to_space(x: Tensor, block: Array, crops: Array) -> Tensor:
    """BATCH_TO_SPACE_ND of maps, the inverse of SPACE_TO_BATCH_ND, without the crops."""
    (tall, wide), ((top, bottom), (left, right)) = _blocks(x, block, crops)
    n, c, h, w = x.shape
    if n % (tall * wide):
        raise ShapeError(f"BATCH_TO_SPACE_ND: {n} images in blocks of {(tall, wide)}")
    apart = ops.permute(ops.reshape(x, tall, wide, n // (tall * wide), c, h, w), 2, 3, 4, 0, 5, 1)
    whole = ops.reshape(apart, n // (tall * wide), c, h * tall, w * wide)
    return whole[:, :, top : h * tall - bottom, left : w * wide - right]


def _blocks(
    x: Tensor, block: Array, pads: Array
) -> tuple[tuple[int, int], tuple[tuple[int, int], tuple[int, int]]]:
    sizes, around = numbers_of(block), numbers_of(pads)
    fits = x.ndim == 4 and len(sizes) == 2 and len(around) == 4
    if not fits or min(sizes) < 1 or min(around) < 0 or math.prod(sizes) > 1 << 20:
        raise ShapeError(
            f"blocks of {quoted(sizes)} with {quoted(around)} around, of {x.shape}: not read"
        )
    return (sizes[0], sizes[1]), ((around[0], around[1]), (around[2], around[3]))
