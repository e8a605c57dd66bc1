"""What ONNX's operators on windows mean: convolutions, their transposes, and pools.

A pad is (before, ..., after, ...) in the file, and ((top, bottom), (left, right)) here.  Maps of
one axis, (N, C, L), are computed as (N, C, 1, L).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from minigrad import ops
from minigrad.errors import ShapeError
from minigrad.geometry import ConvSpec, Pads, conv_output_shape, resolve_padding
from minigrad.graphs.attributes import Attributes, UnreadNode
from minigrad.tensor import Tensor

__all__ = ["average_pool", "convolution", "global_average_pool", "max_pool", "transposed"]

Made = Callable[..., Tensor]
Pair = tuple[int, int]
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


def transposed(a: Attributes) -> Made:
    """ConvTranspose: the input gradient of a convolution."""
    window, groups = _window(a), a.integer("group", 1)
    if window.rule.startswith("SAME"):
        raise a.wrong("auto_pad", f"{window.rule}, and NOTSET or VALID is read")
    if window.lines:
        raise UnreadNode("its windows have 1 axis, and 2 are read")
    more, size = a.integers("output_padding"), a.integers("output_shape")
    if size is not None:
        raise UnreadNode("its attribute output_shape is not read")
    if more is not None and (len(more) != 2 or min(more) < 0):
        raise a.wrong("output_padding", "not 2 integers from 0")
    return partial(_transpose, window, groups, (0, 0) if more is None else (more[0], more[1]))


def _transpose(
    window: Window, groups: int, more: Pair, x: Tensor, w: Tensor, bias: Tensor | None = None
) -> Tensor:
    """y = the input gradient for maps of s (n - 1) + more + d (k - 1) + 1 - pads pixels."""
    x, w = _as_map(x, False), _as_map(w, False)
    height, width = (
        s * (n - 1) + extra + d * (k - 1) + 1 - before - after
        for s, n, extra, d, k, (before, after) in zip(
            window.stride, x.shape[2:], more, window.dilation, w.shape[2:], window.pads, strict=True
        )
    )
    shape = (x.shape[0], w.shape[1] * groups, height, width)
    spec = ConvSpec(window.stride, window.pads, window.dilation, groups)
    if min(shape[2:]) < 1 or conv_output_shape(shape, w.shape, spec) != x.shape:
        raise ShapeError(f"ConvTranspose of x {x.shape} with w {w.shape} has no output")
    y = ops.conv2d_input_grad(x, w, shape, spec)
    return y if bias is None else y + ops.reshape(bias, 1, -1, 1, 1)


def max_pool(a: Attributes) -> Made:
    """MaxPool, without the places of the maxima."""
    a.only("storage_order", 0, 0)
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
    if window.dilation != (1, 1):
        raise a.wrong("dilations", f"{window.dilation}, and 1 is read")
    return partial(_average_pool, window, ceil, counts)


def _average_pool(window: Window, ceil: bool, counts: bool, x: Tensor) -> Tensor:
    x, kernel = _as_map(x, window.lines), window.kernel or (1, 1)
    pads = window.padding(x, kernel)
    y = ops.avg_pool2d(x, kernel, window.stride, pads, ceil, counts)
    return _as_line(y, window.lines)


def global_average_pool(a: Attributes) -> Made:
    """GlobalAveragePool."""
    return _mean


def _mean(x: Tensor) -> Tensor:
    return ops.global_avg_pool(x) if x.ndim == 4 else x.mean(axis=range(2, x.ndim), keepdims=True)
