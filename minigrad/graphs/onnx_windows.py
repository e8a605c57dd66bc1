"""What ONNX's operators on windows mean: convolutions, their transposes, and pools.

A pad is (before, ..., after, ...) in the file, and ((top, bottom), (left, right)) here.  Maps of
one axis, (N, C, L), are computed as (N, C, 1, L).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np

from minigrad import ops
from minigrad.errors import ShapeError
from minigrad.geometry import Pads, resolve_padding
from minigrad.graphs.attributes import Attributes, UnreadNode
from minigrad.kernels.contract import PoolWindow
from minigrad.ops.transposed import transposed as spread
from minigrad.tensor import Array, Tensor, tensor

__all__ = [
    "average_pool", "convolution", "global_average_pool", "global_max_pool", "max_pool",
    "transposed",
]  # fmt: skip

Made = Callable[..., Tensor]
Pair = tuple[int, int]
LONGEST = 1 << 20  # pixels of an axis with its pads
RULES = ("NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER")


class Window(NamedTuple):
    """The window of a node; ``lines`` says that its maps have one axis."""

    lines: bool
    kernel: Pair | None
    stride: Pair
    dilation: Pair
    pads: Pads
    rule: str

    def padding(self, x: Tensor, kernel: Pair) -> Pads:
        """The pads for maps of x's size."""
        if not self.rule.startswith("SAME"):
            return self.pads
        size = (x.shape[2], x.shape[3])
        pads = resolve_padding("same", size, kernel, self.stride, self.dilation)
        if self.rule == "SAME_UPPER":
            return pads
        (top, bottom), (left, right) = pads
        return (bottom, top), (right, left)


def _window(a: Attributes) -> Window:
    rule = a.text("auto_pad", "NOTSET")
    if rule not in RULES:
        raise a.wrong("auto_pad", "of no known rule")
    kernel, strides = a.integers("kernel_shape"), a.integers("strides")
    dilations, pads = a.integers("dilations"), a.integers("pads")
    given = next((len(v) for v in (kernel, strides, dilations) if v is not None), 2)
    axes = given if pads is None else len(pads) // 2
    if axes not in (1, 2):
        raise UnreadNode(f"its windows have {axes} axes, and 1 or 2 are read")
    if pads is not None and min(pads, default=0) < 0:
        raise a.wrong("pads", "negative somewhere")
    return Window(
        axes == 1,
        None if kernel is None else _pair(a, "kernel_shape", kernel, axes),
        _pair(a, "strides", strides or (1,) * axes, axes),
        _pair(a, "dilations", dilations or (1,) * axes, axes),
        _pads(a, (0,) * 2 * axes if pads is None or rule != "NOTSET" else pads, axes),
        rule,
    )


def _pair(a: Attributes, name: str, values: tuple[int, ...], axes: int) -> Pair:
    if len(values) != axes or min(values) < 1:
        raise a.wrong(name, f"not {axes} positive integers")
    return (1, values[0]) if axes == 1 else (values[0], values[1])


def _pads(a: Attributes, pads: tuple[int, ...], axes: int) -> Pads:
    if len(pads) != 2 * axes:
        raise a.wrong("pads", f"not {2 * axes} integers")
    if axes == 1:
        return (0, 0), (pads[0], pads[1])
    return (pads[0], pads[2]), (pads[1], pads[3])


def _as_map(x: Tensor, lines: bool) -> Tensor:
    """x with an axis of height 1, if it has none."""
    if x.ndim != (3 if lines else 4):
        raise ShapeError(f"x must have {3 if lines else 4} axes, got {x.shape}")
    return ops.unsqueeze(x, 2) if lines else x


def _as_line(y: Tensor, lines: bool) -> Tensor:
    return ops.squeeze(y, 2) if lines else y


def convolution(a: Attributes) -> Made:
    """Conv."""
    return partial(_convolve, _window(a), a.integer("group", 1))


def _convolve(
    window: Window, groups: int, x: Tensor, w: Tensor, bias: Tensor | None = None
) -> Tensor:
    lines = window.lines or (x.ndim == 3 and window.kernel is None)
    x, w = _as_map(x, lines), _as_map(w, lines)
    kernel = (w.shape[2], w.shape[3])
    if window.kernel not in (None, kernel):
        raise ShapeError(f"kernel_shape is {window.kernel}, and the weights are {w.shape}")
    pads = window.padding(x, kernel)
    y = ops.conv2d(x, w, bias, window.stride, pads, window.dilation, groups)
    return _as_line(y, lines)


class Transposition(NamedTuple):
    """A ConvTranspose: its window, and what it says of the output's size."""

    window: Window
    groups: int
    more: tuple[int, ...]
    size: tuple[int, ...] | None


def transposed(a: Attributes) -> Made:
    """ConvTranspose, for an output of the size that follows or is given."""
    window = _window(a)
    axes = 1 if window.lines else 2
    more = a.integers("output_padding") or (0,) * axes
    if len(more) != axes or min(more) < 0:
        raise a.wrong("output_padding", f"not {axes} integers from 0")
    size = a.integers("output_shape")
    if size is not None and (len(size) < axes or min(size) < 1):
        raise a.wrong("output_shape", f"not {axes} positive integers")
    lead = (0,) * (2 - axes)
    full = None if size is None else (*(1,) * (2 - axes), *size[-axes:])
    return partial(_transpose, Transposition(window, a.integer("group", 1), (*lead, *more), full))


def _transpose(how: Transposition, x: Tensor, w: Tensor, bias: Tensor | None = None) -> Tensor:
    window = how.window
    lines = window.lines or (x.ndim == 3 and window.kernel is None)
    x, w = _as_map(x, lines), _as_map(w, lines)
    whole = [
        s * (n - 1) + extra + d * (k - 1) + 1
        for s, n, extra, d, k in zip(
            window.stride, x.shape[2:], how.more, window.dilation, w.shape[2:], strict=True
        )
    ]
    pads: Sequence[Pair] = window.pads
    size = how.size
    if window.rule.startswith("SAME") and size is None:
        size = tuple(n * s for n, s in zip(x.shape[2:], window.stride, strict=True))
    if size is None:
        size = tuple(n - sum(p) for n, p in zip(whole, pads, strict=True))
    else:
        pads = tuple(_cut(n - m, window.rule) for n, m in zip(whole, size, strict=True))
    y = spread(x, w, bias, window.stride, (pads[0], pads[1]), window.dilation, how.groups,
               (size[0], size[1]))  # fmt: skip
    return _as_line(y, lines)


def _cut(total: int, rule: str) -> Pair:
    """Pads of a sum; SAME_UPPER cuts the odd pixel behind, the others in front."""
    less = total // 2
    return (less, total - less) if rule == "SAME_UPPER" else (total - less, less)


def max_pool(a: Attributes) -> Made:
    """MaxPool, without the places of the maxima."""
    a.only("storage_order", 0, 0, *((1,) if len(a.node.outputs) < 2 else ()))
    ceil = bool(a.only("ceil_mode", 0, 0, 1))
    return partial(_max_pool, _pool_window(a), ceil)


def _pool_window(a: Attributes) -> Window:
    window = _window(a)
    if window.kernel is None:
        raise UnreadNode("it has no attribute kernel_shape")
    return window


def _max_pool(window: Window, ceil: bool, x: Tensor) -> Tensor:
    x, kernel = _as_map(x, window.lines), window.kernel or (1, 1)
    pads = window.padding(x, kernel)
    y = ops.max_pool2d(x, kernel, window.stride, pads, window.dilation, ceil)
    return _as_line(y, window.lines)


def average_pool(a: Attributes) -> Made:
    """AveragePool."""
    ceil = bool(a.only("ceil_mode", 0, 0, 1))
    counts = bool(a.only("count_include_pad", 0, 0, 1))
    window = _pool_window(a)
    return partial(_average_pool, window, ceil, counts)


def _average_pool(window: Window, ceil: bool, counts: bool, x: Tensor) -> Tensor:
    x, kernel = _as_map(x, window.lines), window.kernel or (1, 1)
    pads = window.padding(x, kernel)
    if window.dilation == (1, 1):
        y = ops.avg_pool2d(x, kernel, window.stride, pads, ceil, counts)
    else:
        y = _dilated_average(window, kernel, pads, ceil, counts, x)
    return _as_line(y, window.lines)


def _dilated_average(
    window: Window, kernel: Pair, pads: Pads, ceil: bool, counts: bool, x: Tensor
) -> Tensor:
    """The mean of a window with gaps: a depthwise convolution with ones, over how many count."""
    sizes = PoolWindow(kernel, window.stride, pads, window.dilation, ceil).output_shape(x.shape)
    axes = zip(x.shape[2:], sizes[2:], kernel, window.stride, window.dilation, pads, strict=True)
    rows, columns = (_counted(counts, *axis) for axis in axes)
    taps = tensor(np.ones((x.shape[1], 1, *kernel)), dtype=x.dtype)
    wide = (rows.pads, columns.pads)
    y = ops.conv2d(x, taps, None, window.stride, wide, window.dilation, x.shape[1])
    return y * tensor(1 / np.multiply.outer(rows.numbers, columns.numbers), dtype=x.dtype)


class Counted(NamedTuple):
    """How many pixels each window counts along one axis, and the pads that reach the last."""

    numbers: Array
    pads: Pair


def _counted(with_pads: bool, n: int, m: int, k: int, s: int, d: int, pads: Pair) -> Counted:
    before, after = pads
    reach = s * (m - 1) + d * (k - 1) + 1
    if max(reach, before + n + after) > LONGEST:
        raise ShapeError(f"AveragePool: an axis of {n} with pads {pads} is longer than is read")
    inside = np.zeros(max(reach, before + n + after))
    first, last = (0, before + n + after) if with_pads else (before, before + n)
    inside[first:last] = 1
    count = sum(inside[a * d : a * d + s * (m - 1) + 1 : s] for a in range(k))
    return Counted(np.asarray(count), (before, max(reach - before - n, after)))


def global_max_pool(x: Tensor) -> Tensor:
    """GlobalMaxPool."""
    return ops.max(x, axis=range(2, x.ndim), keepdims=True)


def global_average_pool(a: Attributes) -> Made:
    """GlobalAveragePool."""
    return _mean


def _mean(x: Tensor) -> Tensor:
    return ops.global_avg_pool(x) if x.ndim == 4 else x.mean(axis=range(2, x.ndim), keepdims=True)
