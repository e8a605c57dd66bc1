"""The words of a call, spelled out for engines that want every number."""

from __future__ import annotations

import numpy as np

from minigrad.geometry import ConvSpec, conv_spec, pair, resolve_padding
from minigrad.kernels.contract import Array, PoolWindow
from minigrad.verify.geometries import Words

__all__ = ["Refused", "axes_of", "convolution", "padded", "window"]


class Refused(NotImplementedError):
    """A case that the engine does not have; ``examine`` counts those that are refused."""


def convolution(op: str, x: Array, w: Array, words: Words) -> ConvSpec:
    """Stride, pads, dilation and groups of conv2d or depthwise_conv2d."""
    groups = x.shape[1] if op == "depthwise_conv2d" else words.get("groups", 1)
    if not x.size:
        raise Refused("empty batch")
    return conv_spec(x.shape, w.shape, **{**words, "groups": groups})


def window(x: Array, words: Words) -> PoolWindow:
    """Kernel, stride, pads and rounding of a pool."""
    kernel = pair(words["kernel_size"], "kernel_size")
    stride = pair(words.get("stride") or kernel, "stride")
    pads = resolve_padding(words.get("padding", 0), (x.shape[2], x.shape[3]), kernel, stride)
    return PoolWindow(kernel, stride, pads, (1, 1), words.get("ceil_mode", False))


def axes_of(x: Array, words: Words) -> tuple[int, ...]:
    """The axes of a reduction: all of them by default."""
    axis = words.get("axis")
    if axis is None:
        return tuple(range(x.ndim))
    return axis if isinstance(axis, tuple) else (axis,)


def padded(x: Array, spec: ConvSpec) -> Array:
    """x with zeros around it, for engines that know no one-sided padding."""
    return np.pad(x, ((0, 0), (0, 0), *spec.padding))
