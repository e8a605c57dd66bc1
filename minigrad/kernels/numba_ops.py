"""Everything but convolution in the Numba engine: the contract's other functions.

The rules are the compiled core's (``contract``): the order of every sum, and that nothing
but the values and the shape decides a bit.  This file checks the arguments and hands
channels-last arrays to the kernels in ``_numba``, which are imported when they are called.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from minigrad.errors import ShapeError
from minigrad.kernels._numba.windows import Axis
from minigrad.kernels.contract import Array, PoolWindow, check_like, one_dtype

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
    "hardsigmoid_input_grad",
    "hardswish",
    "hardswish_input_grad",
    "log",
    "log_softmax",
    "log_softmax_input_grad",
    "max_pool2d",
    "max_pool2d_gather",
    "max_pool2d_input_grad",
    "relu",
    "relu6",
    "relu6_input_grad",
    "relu_input_grad",
    "sigmoid",
    "sigmoid_input_grad",
    "silu",
    "silu_input_grad",
    "softmax",
    "softmax_input_grad",
    "sum",
    "tanh",
    "tanh_input_grad",
]


def _elementwise(name: str, formula: str) -> Callable[[Array], Array]:
    def function(x: Array) -> Array:
        from minigrad.kernels._numba import functions

        one_dtype(name, x=x)
        return functions.elementwise(name, x)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = formula
    return function


# The formulas and their errors: ``_numba.functions``.
relu = _elementwise("relu", "max(0, x); keeps NaN.")
relu6 = _elementwise("relu6", "min(6, max(0, x)).")
hardsigmoid = _elementwise("hardsigmoid", "relu6(x + 3) / 6.")
hardswish = _elementwise("hardswish", "(x relu6(x + 3)) / 6.")
sigmoid = _elementwise("sigmoid", "1 / (1 + e^-x).")
silu = _elementwise("silu", "x sigmoid(x).")
tanh = _elementwise("tanh", "The hyperbolic tangent.")
exp = _elementwise("exp", "e^x.")
log = _elementwise("log", "ln x; -inf at 0, NaN below.")


def _input_grad(of: str, formula: str) -> Callable[[Array, Array], Array]:
    name = f"{of}_input_grad"

    def function(g: Array, at: Array) -> Array:
        from minigrad.kernels._numba import slopes

        check_like(name, g, at)
        return slopes.input_grad(of, g, at)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = formula
    return function


# As in ``numpy.elementwise``, where the table stands.
relu_input_grad = _input_grad("relu", "g where y > 0, else 0.")
relu6_input_grad = _input_grad("relu6", "g where 0 < y < 6, else 0.")
hardsigmoid_input_grad = _input_grad("hardsigmoid", "g / 6 where -3 < x < 3, else 0.")
hardswish_input_grad = _input_grad(
    "hardswish", "0 where x <= -3, g where x >= 3, else g (2 x + 3) / 6."
)
sigmoid_input_grad = _input_grad("sigmoid", "g y (1 - y).")
silu_input_grad = _input_grad("silu", "g s (x (1 - s) + 1), s = sigmoid(x).")
tanh_input_grad = _input_grad("tanh", "g (1 - y y).")


def sum(x: Array, axes: Sequence[int], keepdims: bool) -> Array:
    """The sum over ``axes``, in the order of ``_numba.sums``."""
    from minigrad.kernels._numba import sums

    one_dtype("sum", x=x)
    return sums.total(x, tuple(sorted(a % x.ndim for a in axes)), keepdims)


def softmax(x: Array) -> Array:
    """e^(x - m) / sum e^(x - m) along the last axis, m its maximum."""
    return _softmax("softmax", x, logarithm=False)


def log_softmax(x: Array) -> Array:
    """(x - m) - ln sum e^(x - m) along the last axis, m its maximum."""
    return _softmax("log_softmax", x, logarithm=True)


def _softmax(function: str, x: Array, logarithm: bool) -> Array:
    from minigrad.kernels._numba import sums

    one_dtype(function, x=x)
    if x.ndim == 0:
        raise ShapeError(f"{function}: x must have an axis, got shape ()")
    return sums.softmax(x, logarithm)


def softmax_input_grad(g: Array, y: Array) -> Array:
    """y (g - sum g y), the products summed as a row."""
    return _softmax_input_grad("softmax_input_grad", g, y, logarithm=False)


def log_softmax_input_grad(g: Array, y: Array) -> Array:
    """g - e^y sum g, summed as a row."""
    return _softmax_input_grad("log_softmax_input_grad", g, y, logarithm=True)


def _softmax_input_grad(function: str, g: Array, y: Array, logarithm: bool) -> Array:
    from minigrad.kernels._numba import sums

    check_like(function, g, y)
    if y.ndim == 0:
        raise ShapeError(f"{function}: y must have an axis, got shape ()")
    return sums.softmax_gradient(g, y, logarithm)


def global_avg_pool(x: Array) -> Array:
    """The mean of each map: (N, C, H, W) to (N, C, 1, 1)."""
    from minigrad.kernels._numba import sums

    one_dtype("global_avg_pool", x=x)
    if x.ndim != 4:
        raise ShapeError(f"global_avg_pool: x must be (N, C, H, W), got shape {x.shape}")
    return sums.global_average(x)


# -- BatchNorm


def batch_norm(x: Array, mean: Array, var: Array, gamma: Array, beta: Array, eps: float) -> Array:
    """y = (x - mean) scale + beta, scale = gamma / sqrt(var + eps): every operation rounded."""
    from minigrad.kernels._numba import norm

    _check_channels("batch_norm", x, mean=mean, var=var, gamma=gamma, beta=beta)
    return norm.normalize(x, mean, gamma / np.sqrt(var + x.dtype.type(eps)), beta)


def batch_norm_statistics(x: Array) -> tuple[Array, Array]:
    """mean = sum x / m and var = sum (x - mean)^2 / m of each channel, m = N H W."""
    from minigrad.kernels._numba import norm

    _check_channels("batch_norm_statistics", x)
    return norm.statistics(x)


def batch_norm_sums(g: Array, x: Array, mean: Array, var: Array, eps: float) -> tuple[Array, Array]:
    """sum g and sum g x̂ a channel, x̂ = (x - mean) / sqrt(var + eps)."""
    from minigrad.kernels._numba import norm

    _check_batch("batch_norm_sums", g, x, mean=mean, var=var)
    return norm.products(g, x, mean, 1 / np.sqrt(var + x.dtype.type(eps)))


def batch_norm_input_grad(
    g: Array, x: Array, mean: Array, var: Array, gamma: Array, eps: float
) -> Array:
    """dx = gamma r ((g - mean(g)) - x̂ mean(g x̂)), r = 1 / sqrt(var + eps), x̂ = (x - mean) r."""
    from minigrad.kernels._numba import norm

    _check_batch("batch_norm_input_grad", g, x, mean=mean, var=var, gamma=gamma)
    r = 1 / np.sqrt(var + x.dtype.type(eps))
    return norm.gradient(g, x, mean, r, gamma * r)


def _check_channels(function: str, x: Array, **vectors: Array) -> None:
    one_dtype(function, x=x, **vectors)
    if x.ndim < 2:
        raise ShapeError(f"{function}: x must be (N, C, ...), got shape {x.shape}")
    for name, v in vectors.items():
        if v.shape != (x.shape[1],):
            raise ShapeError(f"{function}: {name} must be ({x.shape[1]},), got {v.shape}")


def _check_batch(function: str, g: Array, x: Array, **vectors: Array) -> None:
    one_dtype(function, g=g, x=x)
    _check_channels(function, x, **vectors)
    if g.shape != x.shape:
        raise ShapeError(f"{function}: g must have x's shape {x.shape}, got {g.shape}")


# -- pools


def max_pool2d(x: Array, window: PoolWindow) -> tuple[Array, Array]:
    """The maximum of each window, and h W + v of the first; NaN is above all."""
    from minigrad.kernels._numba import pool, transpose

    one_dtype("max_pool2d", x=x)
    axes = _axes(window, x.shape)
    y, index = pool.largest(transpose.channels_last(x), axes)
    return _nchw(y), _nchw(index)


def max_pool2d_gather(x: Array, index: Array) -> Array:
    """y[n,c,p,q] = x[n,c] at index[n,c,p,q]."""
    from minigrad.kernels._numba import pool, transpose

    one_dtype("max_pool2d_gather", x=x)
    places = _places("max_pool2d_gather", index, x.shape)
    return _nchw(pool.gather(transpose.channels_last(x), places))


def max_pool2d_input_grad(g: Array, index: Array, x_shape: Sequence[int]) -> Array:
    """dx[n,c] at index[n,c,p,q] += g[n,c,p,q], in order of p, q."""
    from minigrad.kernels._numba import pool, transpose

    one_dtype("max_pool2d_input_grad", g=g)
    places = _places("max_pool2d_input_grad", index, x_shape)
    if g.shape != index.shape:
        raise ShapeError(f"max_pool2d_input_grad: g {g.shape} does not fit index {index.shape}")
    size = x_shape[2], x_shape[3]
    return _nchw(pool.scatter(transpose.channels_last(g), places, size))


def _places(function: str, index: Array, x_shape: Sequence[int]) -> Array:
    """``index`` as (N, Ho, Wo, C) in C order, every place on the map."""
    if index.ndim != 4 or len(x_shape) != 4 or index.shape[:2] != tuple(x_shape[:2]):
        raise ShapeError(f"{function}: index {index.shape} does not fit a map {tuple(x_shape)}")
    if index.size and not (index.min() >= 0 and index.max() < x_shape[2] * x_shape[3]):
        raise ShapeError(f"{function}: an index lies outside of the map {tuple(x_shape[2:])}")
    return np.require(index.transpose(0, 2, 3, 1), np.int64, ["C", "A"])


def avg_pool2d(x: Array, window: PoolWindow, count_include_pad: bool = True) -> Array:
    """The sum of each window, row by row, over the number of positions it counts."""
    from minigrad.kernels._numba import pool, transpose

    one_dtype("avg_pool2d", x=x)
    axes = _axes(window, x.shape)
    y = pool.window_sums(transpose.channels_last(x), axes)
    y /= _counts(axes, window, count_include_pad).astype(x.dtype)
    return _nchw(y)


def avg_pool2d_input_grad(
    g: Array, x_shape: Sequence[int], window: PoolWindow, count_include_pad: bool = True
) -> Array:
    """dx[h,v] = the sum of g / count over the windows that cover h, v, by taps ascending."""
    from minigrad.kernels._numba import pool, transpose

    one_dtype("avg_pool2d_input_grad", g=g)
    expected = window.output_shape(x_shape)
    if g.shape != expected:
        raise ShapeError(f"avg_pool2d_input_grad: g must be {expected}, got {g.shape}")
    axes = _axes(window, x_shape)
    counts = _counts(axes, window, count_include_pad).astype(g.dtype)
    return _nchw(pool.cover_sums(transpose.channels_last(g) / counts, axes))


def _axes(window: PoolWindow, x_shape: Sequence[int]) -> tuple[Axis, Axis]:
    """The two axes of a pool."""
    out = window.output_shape(x_shape)
    rows, cols = (
        Axis(
            x_shape[2 + i], out[2 + i], window.kernel[i], window.stride[i],
            window.padding[i][0], window.dilation[i],
        )
        for i in (0, 1)
    )  # fmt: skip
    return rows, cols


def _counts(axes: tuple[Axis, Axis], window: PoolWindow, with_padding: bool) -> Array:
    """How many positions each window counts, (Ho, Wo, 1); beyond the padding none do."""
    counts = []
    for axis, (_, after) in zip(axes, window.padding, strict=True):
        start = np.arange(axis.out) * axis.stride - axis.before
        stop = np.minimum(start + axis.kernel, axis.size + after)
        if not with_padding:
            start, stop = np.maximum(start, 0), np.minimum(stop, axis.size)
        counts.append(stop - start)
    return np.multiply.outer(*counts)[..., None]


def _nchw(y: Array) -> Array:
    """The (N, C, H, W) view of (N, H, W, C)."""
    view: Array = y.transpose(0, 3, 1, 2)
    return view
