"""Convolutions on arrays: from the arguments to a job that is only left to run.

This file turns NumPy arrays into what the kernels want (channels-last, contiguous) and their
results back; what depends on the shapes alone is decided once for each.

One trilinear form T(x, w, g) stands behind all three functions of a kind (see
``contract``).  Their order of summation:

    forward        y[n,o,p,q] starts from bias[o] (or +0) and adds w[o,i,a,b] x[n,i,h,v]
                   for (a, b, i) ascending;
    input grad     dx[n,i,h,v] starts from +0 and adds w[o,i,a,b] g[n,o,p,q]
                   for (a, b, o) ascending;
    weight grad    dw[o,i,a,b] adds g[n,o,p,q] x[n,i,h,v] for (n, p, q) ascending, from +0
                   in each block of pixels, and the blocks in two words.

Every step is one fused multiply-add; steps whose h, v (or p, q) lie outside the array
do not take place.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from minigrad.errors import ShapeError
from minigrad.geometry import ConvSpec, conv_output_shape
from minigrad.kernels.contract import INNER, Array, classify
from minigrad.kernels.numba._blocks import SumCall, WeightGrad
from minigrad.kernels.numba._launch import Job, empty
from minigrad.kernels.numba._segments import Axis, adjoint_segments, forward_segments
from minigrad.kernels.numba.dense import TapSum, dense_sum, packing
from minigrad.kernels.numba.dense_gradients import dense_weight_grad
from minigrad.kernels.numba.depthwise import depthwise_sum
from minigrad.kernels.numba.depthwise_gradients import depthwise_weight_grad
from minigrad.kernels.numba.layout import channels_last, pack_depthwise
from minigrad.threads import num_threads

__all__ = [
    "PackedWeights",
    "bind_conv2d",
    "bind_input_grad",
    "bind_weight_grad",
    "conv2d",
    "conv2d_input_grad",
    "conv2d_weight_grad",
    "empty_channels_last",
    "linear",
    "pack",
]


class PackedWeights(NamedTuple):
    """Weights in the order in which the forward kernels read them."""

    shape: tuple[int, ...]
    dtype: Any
    spec: ConvSpec
    panels: Array


def pack(w: Array, spec: ConvSpec) -> PackedWeights:
    """w, of shape (Cout, Cin/groups, kh, kw), packed once for many calls of ``conv2d``."""
    if classify(spec, w.shape) == "depthwise":
        panels = pack_depthwise(w)
    else:
        panels = packing(w.shape, w.dtype, spec.groups, False)[1](w)
    return PackedWeights(w.shape, w.dtype, spec, panels)


def empty_channels_last(shape: Sequence[int], dtype: Any) -> Array:
    """An uninitialised map of NCHW shape, its channels adjacent, on a cache line."""
    n, c, h, w = shape
    y: Array = empty((n, h, w, c), dtype).transpose(0, 3, 1, 2)
    return y


def bind_conv2d(x: Array, w: PackedWeights, y: Array, bias: Array | None = None) -> Job:
    """The call that writes conv2d(x, w, bias) to y, of which only ``run(threads)`` is left.

    x and y are channels-last; the call keeps the arrays, and reads x each time it is run.
    """
    forward = _forward(_sign(x), _sign(w), _sign(bias), w.spec)
    return forward.bind(_pixels(x), w.panels, bias, _pixels(y))


def bind_input_grad(g: Array, w: Array, dx: Array, spec: ConvSpec) -> Job:
    """The call that writes dT/dx to dx; g and dx are channels-last.

    The weights are read when the call is bound, g each time it is run.
    """
    back = _input_grad(_sign(g), _sign(w), dx.shape, spec)
    return back.bind(_pixels(g), back.pack(w), None, _pixels(dx))


def bind_weight_grad(g: Array, x: Array, dw: Array, spec: ConvSpec) -> SumCall:
    """The call that writes dT/dw to dw; g and x are channels-last.

    dw is C-contiguous or, if depthwise, a view of (kh, kw, C).
    """
    back = _weight_grad(_sign(g), _sign(x), dw.shape, spec)
    return back.bind(_pixels(g), _pixels(x), dw)


def conv2d(x: Array, w: Array | PackedWeights, bias: Array | None, spec: ConvSpec) -> Array:
    """y[n,o] = bias[o] + sum_{a,b,i} w[o,i,a,b] x[n, ch(o,i), p s - P + a d, q s' - P' + b d'].

    Depthwise has no sum over i; pointwise has no a and b: a product of matrices.
    """
    if isinstance(w, PackedWeights) and w.spec != spec:
        raise ShapeError(f"conv2d: w was packed for {w.spec}, and is used with {spec}")
    forward = _forward(_sign(x), _sign(w), _sign(bias), spec)
    y = empty_channels_last(_nchw(forward.shape), x.dtype)
    if y.size:
        panels = w.panels if isinstance(w, PackedWeights) else forward.pack(w)
        call = forward.bind(channels_last(x), panels, bias, _pixels(y))
        call.run(num_threads())
    return y


def conv2d_input_grad(g: Array, w: Array, x_shape: Sequence[int], spec: ConvSpec) -> Array:
    """dx[n,i,h,v] = sum_{a,b,o} w[o,i,a,b] g[n,o,p,q], over p, q with h = p s - P + a d, ...

    The forward sum, read from the other side: the same kernels, where each position of x
    has its own taps (every s-th of them, for a stride s).
    """
    back = _input_grad(_sign(g), _sign(w), tuple(x_shape), spec)
    dx = empty_channels_last(tuple(x_shape), g.dtype)
    if dx.size:
        call = back.bind(channels_last(g), back.pack(w), None, _pixels(dx))
        call.run(num_threads())
    return dx


def conv2d_weight_grad(g: Array, x: Array, w_shape: Sequence[int], spec: ConvSpec) -> Array:
    """dw[o,i,a,b] = sum_{n,p,q} g[n,o,p,q] x[n, ch(o,i), p s - P + a d, q s' - P' + b d']."""
    back = _weight_grad(_sign(g), _sign(x), tuple(w_shape), spec)
    dw = np.empty(tuple(w_shape), g.dtype)
    if classify(spec, w_shape) == "depthwise":  # as the sums lie
        dw = np.empty((*w_shape[2:], w_shape[0]), g.dtype).transpose(2, 0, 1)[:, None]
    back.bind(channels_last(g), channels_last(x), dw).run(num_threads())
    return dw


def linear(x: Array, w: Array, bias: Array | None) -> Array:
    """y[n,o] = bias[o] + sum_i x[n,i] w[o,i]: a pointwise convolution on maps of one pixel.

    More than INNER inputs are cut into blocks, which are added in two words.
    """
    blocks = [slice(k, k + INNER) for k in range(0, x.shape[1], INNER)]
    first, *others = blocks or [slice(0)]
    hi = _product(x[:, first], w[:, first], bias)
    if not others:
        return hi
    lo = np.zeros_like(hi)
    for block in others:
        b = _product(x[:, block], w[:, block], None)
        s = hi + b
        t = s - hi
        lo += (hi - (s - t)) + (b - t)
        hi = s
    both = hi + lo
    return np.where(np.isnan(lo), hi, both)


def _product(x: Array, w: Array, bias: Array | None) -> Array:
    # The batch is the width of one image, so that a tile can take several of its rows.
    image = np.ascontiguousarray(x).T[None, :, None, :]
    y: Array = conv2d(image, w[:, :, None, None], bias, ConvSpec())[0, :, 0, :].T
    return y


# What follows prepares, once for each shape, what does not depend on the numbers.

Shape = tuple[int, ...]
Signature = tuple[Shape, "np.dtype[np.generic]"]


def _sign(array: Array | PackedWeights | None) -> Any:
    return None if array is None else (array.shape, array.dtype)


def _pixels(x: Array) -> Array:
    """The (N, H, W, C) array behind a channels-last map."""
    pixels: Array = x.transpose(0, 2, 3, 1)
    if not (pixels.flags.c_contiguous and x.flags.aligned):
        raise ValueError(f"a bound map must be channels-last, this one has strides {x.strides}")
    return pixels


@functools.lru_cache(maxsize=512)
def _forward(x: Signature, w: Signature, bias: Signature | None, spec: ConvSpec) -> TapSum:
    out = conv_output_shape(x[0], w[0], spec)
    return _sum(x, out, w, (x[0], w[0], out), spec, adjoint=False)


@functools.lru_cache(maxsize=512)
def _input_grad(g: Signature, w: Signature, x_shape: Shape, spec: ConvSpec) -> TapSum:
    return _sum(g, x_shape, w, (x_shape, w[0], g[0]), spec, adjoint=True)


def _sum(
    source: Signature, out: Shape, w: Signature, shapes: tuple[Shape, Shape, Shape],
    spec: ConvSpec, adjoint: bool,
) -> TapSum:  # fmt: skip
    """The sum over taps that gives ``out`` from ``source``."""
    segments = adjoint_segments if adjoint else forward_segments
    axes = _axes(*shapes, spec)
    rows, cols = (segments(axis) for axis in axes)
    reads, writes = _last(source[0]), _last(out)
    if classify(spec, w[0]) == "depthwise":
        return depthwise_sum(reads, w[0][2:], writes, rows, cols, axes[1], adjoint, w[1])
    return dense_sum(reads, w[0], writes, rows, cols, spec.groups, adjoint, w[1])


@functools.lru_cache(maxsize=512)
def _weight_grad(g: Signature, x: Signature, w_shape: Shape, spec: ConvSpec) -> WeightGrad:
    rows, cols = _axes(x[0], w_shape, g[0], spec)
    if classify(spec, w_shape) == "depthwise":
        return depthwise_weight_grad(_last(x[0]), _last(g[0]), rows, cols, x[1])
    return dense_weight_grad(_last(x[0]), w_shape, _last(g[0]), rows, cols, spec.groups, x[1])


def _last(shape: Shape) -> Shape:
    n, c, h, w = shape
    return n, h, w, c


def _nchw(shape: Shape) -> Shape:
    n, h, w, c = shape
    return n, c, h, w


def _axes(x: Shape, w: Shape, y: Shape, spec: ConvSpec) -> tuple[Axis, Axis]:
    s, d, pads = spec.stride, spec.dilation, spec.padding
    return (
        Axis(x[2], y[2], w[2], s[0], pads[0][0], d[0]),
        Axis(x[3], y[3], w[3], s[1], pads[1][0], d[1]),
    )
