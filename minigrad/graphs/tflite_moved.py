"""What TFLite's pools, reductions and moves mean on integers of 8 bits, as LiteRT rounds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from minigrad import ops
from minigrad.formats.numbers import Array
from minigrad.graphs import tflite_shapes as shapes
from minigrad.graphs.onnx_shapes import numbers_of
from minigrad.graphs.tflite_functions import reduce
from minigrad.graphs.tflite_integers import Integers, factor, integers_of
from minigrad.graphs.tflite_layout import axes_of, axis_of
from minigrad.graphs.tflite_operation import Operation
from minigrad.graphs.tflite_quantised import Made, Prepare, check_same, in_and_out
from minigrad.graphs.tflite_windows import Window, pool_of, sizes_of
from minigrad.graphs.tflite_windows import resize_bilinear as resize_in_floats
from minigrad.ops.fixed_point import round_away
from minigrad.ops.resampling import resample
from minigrad.sampling import Taps
from minigrad.tensor import Tensor, require_room

__all__ = [
    "average_pool", "concatenation", "max_pool", "pad", "places", "reduction", "resize_bilinear",
    "same",
]  # fmt: skip


def max_pool(o: Operation) -> Made:
    """MAX_POOL_2D."""
    check_same(o)
    y = integers_of(o, o.outputs[0]).held(*o.limits)
    return partial(_max_pool, *pool_of(o), y)


def _max_pool(size: tuple[int, int], window: Window, y: Integers, x: Tensor) -> Tensor:
    best = ops.max_pool2d(x, size, window[0], window[2])
    return ops.clamp(best, y.low, y.high)


def average_pool(o: Operation) -> Made:
    """AVERAGE_POOL_2D: the mean of q, rounded away from zero."""
    check_same(o)
    y = integers_of(o, o.outputs[0]).held(*o.limits)
    return partial(_average_pool, *pool_of(o), y)


def _average_pool(size: tuple[int, int], window: Window, y: Integers, x: Tensor) -> Tensor:
    mean = ops.avg_pool2d(x, size, window[0], window[2], count_include_pad=False)
    return round_away(mean, y.low, y.high, float(y.zero))


def reduction(of_mean: bool) -> Prepare:
    """MEAN or SUM over axes that are an input."""

    def prepare(o: Operation) -> Made:
        x, y = in_and_out(o)
        keep = o.flag("keep_dims")
        return partial(_reduced, of_mean, float(x.scale) / float(y.scale), y, keep)

    return prepare


def _reduced(
    of_mean: bool, scale: float, y: Integers, keep: bool, x: Tensor, axes: Array
) -> Tensor:
    total = reduce(ops.sum, keep, "MEAN", x, axes)
    count = 1
    for axis in axes_of(numbers_of(axes), x.ndim, "MEAN"):
        count *= x.shape[axis]
    to = factor(scale / max(count, 1) if of_mean else scale)
    return to.times(total, y.low, y.high)


def concatenation(o: Operation) -> Made:
    """CONCATENATION; what has another scale comes to that of the result."""
    y = integers_of(o, o.outputs[0])
    kinds = [integers_of(o, o.input_type(i)) for i in range(len(o.inputs))]
    same_scale = [x.scale == y.scale and x.zero == y.zero for x in kinds]
    scales = [None if one else float(x.scale / y.scale)
              for one, x in zip(same_scale, kinds, strict=True)]  # fmt: skip
    return partial(_concatenation, o.integer("axis"), scales, y.held(*o.limits))


def _concatenation(axis: int, scales: Sequence[float | None], y: Integers, *xs: Tensor) -> Tensor:
    along = axis_of(axis, xs[0].ndim, "CONCATENATION")
    moved = [x if s is None else round_away(x * s, y.low, y.high)
             for s, x in zip(scales, xs, strict=True)]  # fmt: skip
    return ops.concat(moved, along)


def pad(o: Operation) -> Made:
    """PAD and PADV2, with integers of one scale."""
    check_same(o)
    zero = integers_of(o, o.outputs[0]).zero
    return partial(_pad, float(zero))


def _pad(zero: float, x: Tensor, pads: Array, value: Array | None = None) -> Tensor:
    fill = 0.0 if value is None else float(value.reshape(-1)[0]) - zero
    return shapes.pad(x, pads, None, fill)


def same(prepare: Callable[[Operation], Callable[..., Tensor | list[Tensor]]]) -> Prepare:
    """An operator that moves integers of one scale."""

    def prepared(o: Operation) -> Made:
        check_same(o)
        return prepare(o)  # type: ignore[return-value]

    return prepared


def places(prepare: Prepare) -> Prepare:
    """ARG_MAX or ARG_MIN, whose result is no quantised value."""

    def prepared(o: Operation) -> Made:
        return partial(_places, prepare(o))

    return prepared


def _places(function: Made, x: Tensor, axis: Array) -> Tensor:
    return function(x, axis).astype("float32")


def resize_bilinear(o: Operation) -> Made:
    """RESIZE_BILINEAR; of int8 with 10 bits for where a pixel lies, of uint8 in floats."""
    check_same(o)
    y = integers_of(o, o.outputs[0])
    if o.outputs[0].dtype == "uint8":
        return partial(_resize_floats, resize_in_floats(o), y)
    return partial(_resize, o.flag("align_corners"), o.flag("half_pixel_centers"), y)


def _resize(corners: bool, half: bool, y: Integers, x: Tensor, size: Array) -> Tensor:
    sizes = sizes_of(x, size)
    require_room("RESIZE_BILINEAR", (*x.shape[:2], *sizes), x.dtype)
    rows, columns = (
        fixed_taps(n, m, corners, half) for n, m in zip(x.shape[2:], sizes, strict=True)
    )
    return round_away(resample(x, rows, columns), y.low, y.high, float(y.zero))


def _resize_floats(function: Made, y: Integers, x: Tensor, size: Array) -> Tensor:
    return round_away(function(x, size), y.low, y.high, float(y.zero))


def fixed_taps(n: int, m: int, corners: bool, half: bool) -> Taps:
    """Two pixels for each, with weights that are multiples of 1/1024."""
    moves = corners and m > 1
    scale = ((1024 * (n - 1) + (m - 1) // 2) // (m - 1)) if moves else (1024 * n + m // 2) // m
    pixels, weights = [], []
    for p in range(m):
        at = p * scale + (scale // 2 - 512 if half else 0)
        first = min(max(at // 1024, 0), n - 1) if at >= 0 else 0
        pixels.append((first, min(max((at + 1023) // 1024, 0), n - 1)))
        weights.append((1 - (at - 1024 * first) / 1024, (at - 1024 * first) / 1024))
    return Taps(n, tuple(pixels), tuple(weights))
