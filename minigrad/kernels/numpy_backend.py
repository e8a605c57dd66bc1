"""Every function of the contract in NumPy: a convolution is a sum over taps.

For one tap (a, b) the positions p, q whose input position lies inside the map form a
rectangle of outputs R, and a rectangle S of inputs of the same size (strided).  With W
the matrix w[:, :, a, b] of a group, T falls into one matrix product per tap:

    conv2d              y[R]   += W   x[S]
    conv2d_input_grad   dx[S]  += W^T g[R]
    conv2d_weight_grad  dW      = g[R] x[S]^T   summed over images

No im2col, no bounds test, taps on padding never touched.  The products go to BLAS, so
this backend is held to the error bound, not to the bits.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from minigrad.geometry import ConvSpec, valid_range
from minigrad.kernels.contract import (
    Array,
    PoolWindow,
    check_conv2d,
    check_input_grad,
    check_weight_grad,
    one_dtype,
)
from minigrad.kernels.numpy_functions import *  # noqa: F403
from minigrad.kernels.numpy_functions import constant

UNAVAILABLE: str | None = None


class Tap(NamedTuple):
    """One kernel position: where it is, the outputs it reaches, the inputs they read."""

    a: int
    b: int
    outputs: tuple[slice, slice]
    inputs: tuple[slice, slice]


def taps(
    size: Sequence[int], out: Sequence[int], kernel: Sequence[int], spec: ConvSpec | PoolWindow
) -> Iterator[Tap]:
    """Every tap that reaches at least one input position, row by row."""
    axes = [
        [
            _axis(k, *valid_range(size[i], out[i], k, spec.stride[i], spec.padding[i][0],
                                  spec.dilation[i]), spec, i)
            for k in range(kernel[i])
        ]
        for i in (0, 1)
    ]  # fmt: skip
    for a, (rows, from_rows) in enumerate(axes[0]):
        for b, (cols, from_cols) in enumerate(axes[1]):
            if rows.stop > rows.start and cols.stop > cols.start:
                yield Tap(a, b, (rows, cols), (from_rows, from_cols))


def _axis(
    tap: int, first: int, last: int, spec: ConvSpec | PoolWindow, i: int
) -> tuple[slice, slice]:
    stride, offset = spec.stride[i], tap * spec.dilation[i] - spec.padding[i][0]
    start = first * stride + offset
    return slice(first, last), slice(start, start + (last - first) * stride, stride)


def _grouped(x: Array, groups: int) -> Array:
    """(N, C, h, w) as (N, G, C/G, h w)."""
    n, c, h, w = x.shape
    return x.reshape(n, groups, c // groups, h * w)


def _matrices(w: Array, groups: int) -> Array:
    """(Cout, Cin/G, kh, kw) as (kh, kw, G, Cout/G, Cin/G), each matrix contiguous."""
    cout, cin, kh, kw = w.shape
    grouped = w.reshape(groups, cout // groups, cin, kh, kw)
    return np.ascontiguousarray(grouped.transpose(3, 4, 0, 1, 2))


def conv2d(x: Array, w: Array, bias: Array | None, spec: ConvSpec) -> Array:
    """y[n,o] = bias[o] + sum over taps and channels; see the contract."""
    shape = check_conv2d(x, w, bias, spec)
    y = np.zeros(shape, x.dtype)
    if bias is not None:
        y += bias[:, None, None]
    matrices = _matrices(w, spec.groups)
    for tap in taps(x.shape[2:], shape[2:], w.shape[2:], spec):
        part = y[:, :, tap.outputs[0], tap.outputs[1]]
        seen = _grouped(x[:, :, tap.inputs[0], tap.inputs[1]], spec.groups)
        part += (matrices[tap.a, tap.b] @ seen).reshape(part.shape)
    return y


def conv2d_input_grad(g: Array, w: Array, x_shape: Sequence[int], spec: ConvSpec) -> Array:
    """dx[S] = the sum over taps of W^T g[R]; see the contract."""
    check_input_grad(g, w, x_shape, spec)
    dx = np.zeros(tuple(x_shape), g.dtype)
    matrices = _matrices(w, spec.groups).swapaxes(-1, -2)
    for tap in taps(x_shape[2:], g.shape[2:], w.shape[2:], spec):
        part = dx[:, :, tap.inputs[0], tap.inputs[1]]
        seen = _grouped(g[:, :, tap.outputs[0], tap.outputs[1]], spec.groups)
        part += (matrices[tap.a, tap.b] @ seen).reshape(part.shape)
    return dx


def conv2d_weight_grad(g: Array, x: Array, w_shape: Sequence[int], spec: ConvSpec) -> Array:
    """dW = the sum over images of g[R] x[S]^T, tap by tap; see the contract."""
    check_weight_grad(g, x, w_shape, spec)
    dw = np.zeros(tuple(w_shape), g.dtype)
    for tap in taps(x.shape[2:], g.shape[2:], w_shape[2:], spec):
        left = _grouped(g[:, :, tap.outputs[0], tap.outputs[1]], spec.groups)
        right = _grouped(x[:, :, tap.inputs[0], tap.inputs[1]], spec.groups)
        products = (left @ right.swapaxes(-1, -2)).sum(axis=0)
        dw[:, :, tap.a, tap.b] = products.reshape(w_shape[0], w_shape[1])
    return dw


def depthwise_conv2d(x: Array, w: Array, bias: Array | None, spec: ConvSpec) -> Array:
    """The general function with 1x1 matrices: W x is a product per channel."""
    shape = check_conv2d(x, w, bias, spec)
    y = np.zeros(shape, x.dtype)
    if bias is not None:
        y += bias[:, None, None]
    for tap in taps(x.shape[2:], shape[2:], w.shape[2:], spec):
        weight = w[:, 0, tap.a, tap.b][:, None, None]
        y[:, :, tap.outputs[0], tap.outputs[1]] += x[:, :, tap.inputs[0], tap.inputs[1]] * weight
    return y


def depthwise_conv2d_input_grad(
    g: Array, w: Array, x_shape: Sequence[int], spec: ConvSpec
) -> Array:
    """dx[S] = the sum over taps of w[a,b] g[R], channel by channel."""
    check_input_grad(g, w, x_shape, spec)
    dx = np.zeros(tuple(x_shape), g.dtype)
    for tap in taps(x_shape[2:], g.shape[2:], w.shape[2:], spec):
        weight = w[:, 0, tap.a, tap.b][:, None, None]
        dx[:, :, tap.inputs[0], tap.inputs[1]] += g[:, :, tap.outputs[0], tap.outputs[1]] * weight
    return dx


def depthwise_conv2d_weight_grad(
    g: Array, x: Array, w_shape: Sequence[int], spec: ConvSpec
) -> Array:
    """dw[c,a,b] = <g[R], x[S]> over images and pixels, channel by channel."""
    check_weight_grad(g, x, w_shape, spec)
    dw = np.zeros(tuple(w_shape), g.dtype)
    for tap in taps(x.shape[2:], g.shape[2:], w_shape[2:], spec):
        left = g[:, :, tap.outputs[0], tap.outputs[1]]
        right = x[:, :, tap.inputs[0], tap.inputs[1]]
        dw[:, 0, tap.a, tap.b] = np.einsum("nchw,nchw->c", left, right)
    return dw


def linear(x: Array, w: Array, bias: Array | None) -> Array:
    """y = x w^T + bias, x (N, I), w (O, I)."""
    one_dtype("linear", x=x, w=w, bias=bias)
    y: Array = x @ w.T
    return y if bias is None else y + bias


def sum(x: Array, axes: tuple[int, ...], keepdims: bool) -> Array:
    """The sum over ``axes``."""
    y = np.asarray(np.sum(x, axis=axes, keepdims=True))
    return y if keepdims else y.squeeze(axes)


def batch_norm(x: Array, mean: Array, var: Array, gamma: Array, beta: Array, eps: float) -> Array:
    """y = (x - mean) gamma / sqrt(var + eps) + beta, per channel of axis 1."""
    shape = (-1,) + (1,) * (x.ndim - 2)
    scale = gamma / np.sqrt(var + np.asarray(eps, var.dtype))
    y: Array = (x - mean.reshape(shape)) * scale.reshape(shape) + beta.reshape(shape)
    return y


def _over_channels(v: Array, x: Array) -> Array:
    """(C,) against (N, C, ...)."""
    return v.reshape(-1, *(1,) * (x.ndim - 2))


def batch_norm_statistics(x: Array) -> tuple[Array, Array]:
    """The mean and the biased variance of each channel of a batch."""
    axes = (0, *range(2, x.ndim))
    count = constant(x, x.size // x.shape[1])
    mean = x.sum(axis=axes) / count
    centred = x - _over_channels(mean, x)
    return mean, (centred * centred).sum(axis=axes) / count


def batch_norm_sums(g: Array, x: Array, mean: Array, var: Array, eps: float) -> tuple[Array, Array]:
    """sum g and sum g x^ of each channel, x^ = (x - mean) / sqrt(var + eps)."""
    axes = (0, *range(2, x.ndim))
    r = 1 / np.sqrt(var + constant(x, eps))
    xhat = (x - _over_channels(mean, x)) * _over_channels(r, x)
    return g.sum(axis=axes), (g * xhat).sum(axis=axes)


def batch_norm_input_grad(
    g: Array, x: Array, mean: Array, var: Array, gamma: Array, eps: float
) -> Array:
    """dx = gamma r ((g - mean(g)) - x^ mean(g x^))."""
    count = constant(x, x.size // x.shape[1])
    a, b = (_over_channels(t / count, x) for t in batch_norm_sums(g, x, mean, var, eps))
    r = 1 / np.sqrt(var + constant(x, eps))
    xhat = (x - _over_channels(mean, x)) * _over_channels(r, x)
    y: Array = _over_channels(gamma * r, x) * ((g - a) - xhat * b)
    return y


def max_pool2d(x: Array, window: PoolWindow) -> tuple[Array, Array]:
    """The maximum of each window, and h W + v of the first; NaN is above all."""
    shape = window.output_shape(x.shape)
    y, index = np.full(shape, -np.inf, x.dtype), np.full(shape, -1, np.intp)
    flat = np.arange(x.shape[2] * x.shape[3], dtype=np.intp).reshape(x.shape[2:])
    for tap in taps(x.shape[2:], shape[2:], window.kernel, window):
        seen = x[:, :, tap.inputs[0], tap.inputs[1]]
        best, where = (a[:, :, tap.outputs[0], tap.outputs[1]] for a in (y, index))
        better = (seen > best) | (where < 0) | (np.isnan(seen) & ~np.isnan(best))
        np.copyto(best, seen, where=better)
        np.copyto(where, flat[tap.inputs], where=better)
    return y, index


def max_pool2d_gather(x: Array, index: Array) -> Array:
    """y[n,c,p,q] = x[n,c] at index[n,c,p,q]: a max pool whose choices are made."""
    n, c = x.shape[:2]
    maps, at = (a.reshape(n, c, a.shape[2] * a.shape[3]) for a in (x, index))
    picked = np.take_along_axis(maps, at, axis=2)
    return picked.reshape(index.shape)


def max_pool2d_input_grad(g: Array, index: Array, x_shape: Sequence[int]) -> Array:
    """The transpose of the gather: dx[n,c] at index[n,c,p,q] += g[n,c,p,q], in order of p, q."""
    planes, size = x_shape[0] * x_shape[1], x_shape[2] * x_shape[3]
    dx = np.zeros(planes * size, g.dtype)
    at = index.reshape(planes, index.shape[2] * index.shape[3]) + size * np.arange(planes)[:, None]
    np.add.at(dx, at.ravel(), g.ravel())
    return dx.reshape(tuple(x_shape))


def _divisor(x_shape: Sequence[int], window: PoolWindow, count_include_pad: bool) -> Array:
    """How many positions each window counts: the outer product of rows and columns."""
    counts = []
    for i in (0, 1):
        out, before, after = window.output_shape(x_shape)[2 + i], *window.padding[i]
        start = np.arange(out) * window.stride[i] - before
        stop = np.minimum(start + window.kernel[i], x_shape[2 + i] + after)
        if not count_include_pad:
            start, stop = np.maximum(start, 0), np.minimum(stop, x_shape[2 + i])
        counts.append(stop - start)
    return np.multiply.outer(counts[0], counts[1])


def avg_pool2d(x: Array, window: PoolWindow, count_include_pad: bool = True) -> Array:
    """The sum of each window over the number of positions it counts."""
    y = np.zeros(window.output_shape(x.shape), x.dtype)
    for tap in taps(x.shape[2:], y.shape[2:], window.kernel, window):
        y[:, :, tap.outputs[0], tap.outputs[1]] += x[:, :, tap.inputs[0], tap.inputs[1]]
    mean: Array = y / _divisor(x.shape, window, count_include_pad).astype(x.dtype)
    return mean


def avg_pool2d_input_grad(
    g: Array, x_shape: Sequence[int], window: PoolWindow, count_include_pad: bool = True
) -> Array:
    """The transpose of avg_pool2d: every position gets g over the count of each window."""
    dx = np.zeros(tuple(x_shape), g.dtype)
    share = g / _divisor(x_shape, window, count_include_pad).astype(g.dtype)
    for tap in taps(x_shape[2:], g.shape[2:], window.kernel, window):
        dx[:, :, tap.inputs[0], tap.inputs[1]] += share[:, :, tap.outputs[0], tap.outputs[1]]
    return dx


def global_avg_pool(x: Array) -> Array:
    """The mean over each map: (N, C, H, W) to (N, C, 1, 1)."""
    total: Array = x.sum(axis=(2, 3), keepdims=True)
    y: Array = total / np.asarray(x.shape[2] * x.shape[3], x.dtype)
    return y
