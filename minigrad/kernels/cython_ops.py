"""Everything but convolution in the compiled core: the contract's other functions.

What each returns is fixed to the bit by the values and the shape of its arguments: not by
the number of threads, the memory order of the arrays, the other images of a batch, or the
registers of the CPU (given that it has an FMA).

**Sums** have an order that the shape alone decides; every sum starts from +0.

* In a sum that keeps the last axis of x, or the channels (axis 1) of a 4-D map, each output
  is one chain: its terms are added one after another in row-major order.  Only over the
  whole of a batch, axes (0, 2, 3), each image is summed by itself, and then the images.
* All other sums run along rows.  A row of up to 4096 numbers is 16 chains, chain c taking
  the numbers c, c + 16, c + 32, ...; the chains are added in pairs that lie 8, 4, 2 and 1
  apart.  A longer row is cut into blocks of 4096, and the row of their sums is summed in
  the same way.

A softmax sums its exponentials as a row.  A global average is the sum over axes (2, 3),
divided by H W.  linear is a pointwise convolution on a map of one pixel.

**Layout.**  Elementwise functions and batch_norm keep the memory order of x; pools return
channels-last maps, and convert what comes in another order once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from minigrad.errors import ShapeError
from minigrad.kernels import _ext
from minigrad.kernels.contract import Array, PoolWindow, one_dtype
from minigrad.threads import num_threads

__all__ = [
    "avg_pool2d",
    "avg_pool2d_input_grad",
    "batch_norm",
    "batch_norm_input_grad",
    "batch_norm_statistics",
    "batch_norm_sums",
    "exp",
    "global_avg_pool",
    "hardsigmoid",
    "hardswish",
    "linear",
    "log",
    "log_softmax",
    "max_pool2d",
    "max_pool2d_gather",
    "max_pool2d_input_grad",
    "max_pool2d_values",
    "relu",
    "relu6",
    "sigmoid",
    "silu",
    "softmax",
    "sum",
    "tanh",
]

core: Any = _ext.core

_FLOAT32, _FLOAT64 = np.dtype(np.float32), np.dtype(np.float64)

BLOCK = 4096  # the longest row that is summed in one piece (ext/reduce.pyx.tp)


def _regular(x: Array) -> bool:
    """Whether every number of x lies at a whole number of items from the first."""
    return x.flags.aligned and not any(step % x.itemsize for step in x.strides)


def _dense(x: Array) -> Array:
    """x itself if it lies in C order, otherwise a copy that does."""
    return x if x.flags.c_contiguous and x.flags.aligned else np.array(x, order="C")


def _pixels(x: Array) -> Array:
    """(N, C, H, W) in any memory order as (N, H, W, C) in C order, copied only if it must be."""
    y = x.transpose(0, 2, 3, 1)
    if y.flags.c_contiguous and x.flags.aligned:
        return y
    y = np.empty(y.shape, x.dtype)
    core.to_channels_last(x if _regular(x) else _dense(x), _nchw(y), num_threads())
    return y


def _nchw(y: Array) -> Array:
    return y.transpose(0, 3, 1, 2)


def _elementwise(name: str, formula: str) -> Callable[[Array], Array]:
    def function(x: Array) -> Array:
        if x.dtype is not _FLOAT32 and x.dtype is not _FLOAT64:
            one_dtype(name, x=x)
        y = np.empty_like(x)
        if x.strides != y.strides or not x.flags.aligned:  # gaps, repetitions, odd addresses
            x = x.copy(order="K")
            y = np.empty_like(x)
        core.elementwise(name, x, y, x.size, num_threads())
        return y

    function.__name__ = function.__qualname__ = name
    function.__doc__ = formula
    return function


relu = _elementwise("relu", "max(0, x); keeps NaN, and the sign of zero.")
relu6 = _elementwise("relu6", "min(6, max(0, x)).")
hardsigmoid = _elementwise("hardsigmoid", "relu6(x + 3) / 6, in these three operations.")
hardswish = _elementwise("hardswish", "(x relu6(x + 3)) / 6, in these operations; NaN at -inf.")
sigmoid = _elementwise("sigmoid", "1 / (1 + e^-x); within 2.4 ULP.")
silu = _elementwise("silu", "x / (1 + e^-x); within 3.0 ULP; NaN at -inf, as x sigmoid(x) is.")
tanh = _elementwise("tanh", "The hyperbolic tangent; within 2.6 ULP.")
exp = _elementwise("exp", "e^x; within 1.1 ULP, subnormal results included.")
log = _elementwise("log", "ln x; within 0.9 ULP; -inf at 0, NaN below.")


def softmax(x: Array) -> Array:
    """e^(x - m) / sum e^(x - m) along the last axis, m its maximum."""
    return _softmax("softmax", x, logarithm=False)


def log_softmax(x: Array) -> Array:
    """(x - m) - ln sum e^(x - m) along the last axis, m its maximum."""
    return _softmax("log_softmax", x, logarithm=True)


def _softmax(function: str, x: Array, logarithm: bool) -> Array:
    one_dtype(function, x=x)
    if x.ndim == 0:
        raise ShapeError(f"{function}: x must have an axis, got shape ()")
    x = _dense(x)
    y = np.empty_like(x)
    if x.size:
        rows = (-1, x.shape[-1])
        core.softmax(x.reshape(rows), y.reshape(rows), logarithm, num_threads())
    return y


def sum(x: Array, axes: Sequence[int], keepdims: bool) -> Array:
    """The sum over ``axes``, in the order that the module's docstring fixes."""
    one_dtype("sum", x=x)
    axes = tuple(sorted(a % x.ndim for a in axes))
    if not axes:
        return x.copy()
    if x.ndim == 4 and axes == (0, 2, 3):
        images = sum(x, (2, 3), keepdims)
        return sum(images, (0,), keepdims)
    kept = tuple(k for k in range(x.ndim) if k not in axes)
    in_columns = x.ndim - 1 in kept or (x.ndim == 4 and 1 in kept)
    y = (_column_sums if in_columns else _row_sums)(x, axes, kept)
    return np.expand_dims(y, axes) if keepdims else y


def _column_sums(x: Array, axes: tuple[int, ...], kept: tuple[int, ...]) -> Array:
    """One chain an output; lanes run across the kept axis whose numbers are neighbours."""
    inner = min(kept, key=lambda k: (x.shape[k] == 1, abs(x.strides[k])))
    if not _regular(x) or (x.strides[inner] != x.itemsize and x.shape[inner] > 1):
        inner = kept[-1] if kept[-1] == x.ndim - 1 else 1
        x = _nchw(_pixels(x)) if inner == 1 and x.ndim == 4 else _dense(x)
    outer = tuple(k for k in kept if k != inner)
    shape = [x.shape[k] for k in (*outer, inner)]
    y = np.empty(shape, x.dtype)
    if y.size:
        batch, length = math.prod(shape[:-1]), math.prod(x.shape[k] for k in axes)
        columns = x.transpose(*outer, *axes, inner).reshape(batch, length, shape[-1])
        core.column_sums(columns, y.reshape(batch, shape[-1]), num_threads())
    back: Array = y.transpose([(*outer, inner).index(k) for k in kept])
    return back


def _row_sums(x: Array, axes: tuple[int, ...], kept: tuple[int, ...]) -> Array:
    """16 chains an output, block by block."""
    shape = [x.shape[k] for k in kept]
    length = math.prod(x.shape[k] for k in axes)
    rows = _dense(x.transpose(*kept, *axes)).reshape(math.prod(shape), length)
    while True:
        blocks = max(math.ceil(rows.shape[1] / BLOCK), 1)
        y = np.empty((rows.shape[0], blocks), x.dtype)
        if y.size:
            core.block_sums(rows, y, num_threads())
        if blocks == 1:
            return y.reshape(shape)
        rows = y


def global_avg_pool(x: Array) -> Array:
    """The mean of each map: the sum over axes (2, 3), divided by H W."""
    _check_map("global_avg_pool", x)
    one_dtype("global_avg_pool", x=x)
    n, c, h, w = x.shape
    y = np.empty((n, c), x.dtype)
    if y.size:
        core.column_sums(_pixels(x).reshape(n, h * w, c), y, num_threads())
        y /= x.dtype.type(h * w)
    return y.reshape(n, c, 1, 1)


def linear(x: Array, w: Array, bias: Array | None) -> Array:
    """y[n,o] = bias[o] + sum_i x[n,i] w[o,i], i ascending, one FMA each."""
    one_dtype("linear", x=x, w=w, bias=bias)
    if x.ndim != 2 or w.ndim != 2 or x.shape[1] != w.shape[1]:
        raise ShapeError(f"linear: x (N, I) = {x.shape} and w (O, I) = {w.shape} do not fit")
    if bias is not None and bias.shape != w.shape[:1]:
        raise ShapeError(f"linear: bias must be ({w.shape[0]},), got {bias.shape}")
    y = np.empty((x.shape[0], w.shape[0]), x.dtype)
    if y.size:
        if not (w.T.flags.c_contiguous and w.flags.aligned):
            w = _dense(w)
        core.linear(_dense(x), w, None if bias is None else _dense(bias), y, num_threads())
    return y


def batch_norm(x: Array, mean: Array, var: Array, gamma: Array, beta: Array, eps: float) -> Array:
    """y = (x - mean) scale + beta, scale = gamma / sqrt(var + eps): every operation rounded."""
    one_dtype("batch_norm", x=x, mean=mean, var=var, gamma=gamma, beta=beta)
    _check_vectors("batch_norm", x, mean=mean, var=var, gamma=gamma, beta=beta)
    scale = gamma / np.sqrt(var + x.dtype.type(eps))
    vectors = [_dense(v) for v in (mean, scale, beta)]
    nchw = x.flags.c_contiguous and x.flags.aligned
    lying = x if nchw else _channels_to_end(x)
    inner = math.prod(x.shape[2:]) if nchw else 1
    y = np.empty_like(lying)
    if x.size:
        core.normalize(lying, *vectors, y, x.size // x.shape[1] // inner, inner, num_threads())
    return y if nchw else np.moveaxis(y, -1, 1)


def _check_vectors(function: str, x: Array, **vectors: Array) -> None:
    if x.ndim < 2:
        raise ShapeError(f"{function}: x must be (N, C, ...), got shape {x.shape}")
    for name, v in vectors.items():
        if v.shape != (x.shape[1],):
            raise ShapeError(f"{function}: {name} must be ({x.shape[1]},), got {v.shape}")


def _channels_to_end(x: Array) -> Array:
    """(N, C, ...) as (N, ..., C) in C order."""
    return _pixels(x) if x.ndim == 4 else _dense(np.moveaxis(x, 1, -1))


def batch_norm_statistics(x: Array) -> tuple[Array, Array]:
    """The mean and the biased variance of each channel of a batch x (N, C, ...).

    mean = sum x / m, then var = sum (x - mean)^2 / m, with m = N H W; each sum is one chain
    an image, and then the images in order.
    """
    one_dtype("batch_norm_statistics", x=x)
    _check_vectors("batch_norm_statistics", x)
    pixels = _images(x)
    count = x.dtype.type(pixels.shape[0] * pixels.shape[1])
    y = np.empty((pixels.shape[0], pixels.shape[2]), x.dtype)
    core.column_sums(pixels, y, num_threads())
    mean = np.asarray(sum(y, (0,), False) / count)
    core.square_sums(pixels, mean, y, num_threads())
    return mean, np.asarray(sum(y, (0,), False) / count)


def _images(x: Array) -> Array:
    """(N, C, ...) as (N, pixels, C) in C order."""
    last = _channels_to_end(x)
    return last.reshape(x.shape[0], math.prod(x.shape[2:]), x.shape[1])


def batch_norm_sums(g: Array, x: Array, mean: Array, var: Array, eps: float) -> tuple[Array, Array]:
    """sum g and sum g x̂ a channel, x̂ = (x - mean) / sqrt(var + eps): β̄ and γ̄ of a batch."""
    one_dtype("batch_norm_sums", g=g, x=x, mean=mean, var=var)
    _check_vectors("batch_norm_sums", x, mean=mean, var=var)
    _check_same("batch_norm_sums", g, x)
    r = 1 / np.sqrt(var + x.dtype.type(eps))
    pixels = _images(x)
    y = np.empty((2, pixels.shape[0], pixels.shape[2]), x.dtype)
    core.product_sums(pixels, _images(g), _dense(mean), r, y[0], y[1], num_threads())
    return sum(y[0], (0,), False), sum(y[1], (0,), False)


def batch_norm_input_grad(
    g: Array, x: Array, mean: Array, var: Array, gamma: Array, eps: float
) -> Array:
    """dx = gamma r ((g - mean(g)) - x̂ mean(g x̂)), r = 1 / sqrt(var + eps), x̂ = (x - mean) r.

    ``mean`` and ``var`` are the batch's own; see ``batch_norm_statistics``.
    """
    totals = batch_norm_sums(g, x, mean, var, eps)
    _check_vectors("batch_norm_input_grad", x, gamma=gamma)
    one_dtype("batch_norm_input_grad", x=x, gamma=gamma)
    count = x.dtype.type(x.size // max(x.shape[1], 1))
    r = 1 / np.sqrt(var + x.dtype.type(eps))
    a, b = (np.asarray(t / count) for t in totals)
    pixels = _channels_to_end(x)
    y = np.empty_like(pixels)
    vectors = (_dense(mean), r, gamma * r, a, b)
    rows = pixels.size // max(x.shape[1], 1)
    core.normalize_gradient(_channels_to_end(g), pixels, *vectors, y, rows, num_threads())
    return np.moveaxis(y, -1, 1)


def _check_same(function: str, g: Array, x: Array) -> None:
    if g.shape != x.shape:
        raise ShapeError(f"{function}: g must have x's shape {x.shape}, got {g.shape}")


def _check_map(function: str, x: Array) -> None:
    if x.ndim != 4:
        raise ShapeError(f"{function}: x must be (N, C, H, W), got shape {x.shape}")


def max_pool2d(x: Array, window: PoolWindow) -> tuple[Array, Array]:
    """The maximum of each window, and h W + v of the first; NaN is above all."""
    if x.ndim == 4 and x.shape[2] * x.shape[3] >= 2**31:
        raise ShapeError(f"max_pool2d: a map of {x.shape[2:]} has too many positions to number")
    index = np.empty(_last(window.output_shape(x.shape)), np.int64)
    return max_pool2d_values(x, window, index), _nchw(index)


def max_pool2d_values(x: Array, window: PoolWindow, index: Array | None = None) -> Array:
    """The maxima of ``max_pool2d`` alone; ``index``, (N, Ho, Wo, C), takes where they lie."""
    one_dtype("max_pool2d", x=x)
    y = np.empty(_last(window.output_shape(x.shape)), x.dtype)
    if y.size:
        core.Windows(_pixels(x), y, index, window).max(num_threads())
    return _nchw(y)


def _last(shape: tuple[int, int, int, int]) -> tuple[int, int, int, int]:
    n, c, h, w = shape
    return n, h, w, c


def max_pool2d_gather(x: Array, index: Array) -> Array:
    """y[n,c,p,q] = x[n,c] at index[n,c,p,q]."""
    one_dtype("max_pool2d_gather", x=x)
    places = _places("max_pool2d_gather", index, x.shape)
    y = np.empty(places.shape, x.dtype)
    if y.size and not core.Windows(_pixels(x), y, places).gather(num_threads()):
        raise ShapeError(f"max_pool2d_gather: an index lies outside of the map {x.shape[2:]}")
    return _nchw(y)


def max_pool2d_input_grad(g: Array, index: Array, x_shape: Sequence[int]) -> Array:
    """dx[n,c] at index[n,c,p,q] += g[n,c,p,q], in order of p, q."""
    one_dtype("max_pool2d_input_grad", g=g)
    places = _places("max_pool2d_input_grad", index, x_shape)
    _check_same("max_pool2d_input_grad", g, index)
    n, c, h, w = x_shape
    dx = np.zeros((n, h, w, c), g.dtype)
    if g.size and not core.Windows(dx, _pixels(g), places).scatter(num_threads()):
        raise ShapeError(f"max_pool2d_input_grad: an index lies outside of the map {(h, w)}")
    return _nchw(dx)


def _places(function: str, index: Array, x_shape: Sequence[int]) -> Array:
    """``index`` as (N, Ho, Wo, C) in C order."""
    if index.ndim != 4 or len(x_shape) != 4 or index.shape[:2] != tuple(x_shape[:2]):
        raise ShapeError(f"{function}: index {index.shape} does not fit a map {tuple(x_shape)}")
    return np.ascontiguousarray(index.transpose(0, 2, 3, 1), dtype=np.int64)


def avg_pool2d(x: Array, window: PoolWindow, count_include_pad: bool = True) -> Array:
    """The sum of each window, row by row, over the number of positions it counts."""
    one_dtype("avg_pool2d", x=x)
    y = np.empty(_last(window.output_shape(x.shape)), x.dtype)
    if y.size:
        core.Windows(_pixels(x), y, None, window, count_include_pad).avg(num_threads())
    return _nchw(y)


def avg_pool2d_input_grad(
    g: Array, x_shape: Sequence[int], window: PoolWindow, count_include_pad: bool = True
) -> Array:
    """dx[h,v] = the sum of g / count over the windows that cover h, v, by taps ascending."""
    one_dtype("avg_pool2d_input_grad", g=g)
    expected = window.output_shape(x_shape)
    if g.shape != expected:
        raise ShapeError(f"avg_pool2d_input_grad: g must be {expected}, got {g.shape}")
    n, c, h, w = x_shape
    dx = np.empty((n, h, w, c), g.dtype)
    if dx.size:
        core.Windows(dx, _pixels(g), None, window, count_include_pad).avg_gradient(num_threads())
    return _nchw(dx)
