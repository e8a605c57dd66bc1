"""Pooling: the largest, or the mean, of each window.

    max_pool2d   y[n,c,p,q] = x[n,c] at k(p,q), the first maximum of the window in row-major
                 order; x̄[n,c] at k(p,q) += ȳ[n,c,p,q]. Once k is known the map is a gather,
                 and its rule the transpose of a gather, a scatter.
    avg_pool2d   y = the window's sum over how many positions it counts: linear in x.
    global_avg_pool   y[n,c] = sum_{h,v} x[n,c,h,v] / (H W);  x̄ = ȳ / (H W).

NaN is above everything (PyTorch).  With ceil_mode a last window may overhang; it is cut,
and dropped if it would begin in the pad after the input (PyTorch).  Padding counts in the
mean unless ``count_include_pad=False``; what lies beyond the padding never does.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from minigrad.arguments import flag
from minigrad.errors import ShapeError
from minigrad.geometry import Padding, axes, pair, resolve_padding
from minigrad.kernels import find, run
from minigrad.kernels.contract import CHAIN, PoolWindow
from minigrad.ops.axes import broadcast_to
from minigrad.tensor import Array, Shape, Tensor, expect_tensor, primitive

__all__ = ["Size", "avg_pool2d", "global_avg_pool", "max_pool2d"]

Size = int | Sequence[int]


@primitive(images=("x",))
def _max_pool2d(x: Array, *, window: PoolWindow) -> tuple[Array, dict[str, Array]]:
    """y[n,c,p,q] = the maximum of x over the window at p, q."""
    y, where = find("max_pool2d").call(x, window)
    return y, {"where": where}


@_max_pool2d.shape
def _max_pool2d_shape(x: Shape, *, window: PoolWindow) -> Shape:
    return window.output_shape(x)


@_max_pool2d.vjp("x", "x̄ at the first maximum of each window += ȳ")
def _max_pool2d_x(g: Tensor, where: Array, x_shape: Shape, window: PoolWindow) -> Tensor:
    return _scatter(g, where=where, x_shape=x_shape, long=_most_over_a_pixel(window) > CHAIN)


def _most_over_a_pixel(window: PoolWindow) -> int:
    """How many windows can have their maximum in the same place."""
    axes = zip(window.kernel, window.stride, window.dilation, strict=True)
    height, width = (-(-k * math.gcd(s, d) // s) for k, s, d in axes)
    return height * width


@primitive(arithmetic=True)
def _scatter(x: Array, *, where: Array, x_shape: Shape, long: bool) -> Array:
    """Zeros of ``x_shape``, and x added at the positions ``where`` of each map.

    Where ``long`` says that many may meet in one place, their sum is kept in float64.
    """
    terms = x.astype(np.float64) if long else x
    return run("max_pool2d_input_grad", terms, where, x_shape).astype(x.dtype, copy=False)


@_scatter.shape
def _scatter_shape(x: Shape, *, where: Array, x_shape: Shape, long: bool) -> Shape:
    return x_shape


@_scatter.vjp("x", "x̄ = ȳ at the positions")
def _scatter_x(g: Tensor, where: Array, long: bool) -> Tensor:
    return _gather(g, where=where, long=long)


@primitive
def _gather(x: Array, *, where: Array, long: bool) -> Array:
    """y = x at the positions ``where`` of each map; its transpose is told ``long``."""
    return run("max_pool2d_gather", x, where)


@_gather.shape
def _gather_shape(x: Shape, *, where: Array, long: bool) -> Shape:
    return where.shape


@_gather.vjp("x", "x̄ at the positions += ȳ")
def _gather_x(g: Tensor, where: Array, x_shape: Shape, long: bool) -> Tensor:
    return _scatter(g, where=where, x_shape=x_shape, long=long)


@primitive(images=("x",))
def _avg_pool2d(x: Array, *, window: PoolWindow, count_include_pad: bool) -> Array:
    """y[n,c,p,q] = the mean of x over the window at p, q."""
    return run("avg_pool2d", x, window, count_include_pad)


@_avg_pool2d.shape
def _avg_pool2d_shape(x: Shape, *, window: PoolWindow, count_include_pad: bool) -> Shape:
    return window.output_shape(x)


@_avg_pool2d.vjp("x", "x̄ = Σ ȳ / count over the windows that cover it")
def _avg_pool2d_x(g: Tensor, x_shape: Shape, window: PoolWindow, count_include_pad: bool) -> Tensor:
    return _avg_pool2d_input_grad(
        g, x_shape=x_shape, window=window, count_include_pad=count_include_pad
    )


@primitive(images=("dy",))
def _avg_pool2d_input_grad(
    dy: Array, *, x_shape: Shape, window: PoolWindow, count_include_pad: bool
) -> Array:
    """y[n,c,h,v] = the sum of dy / count over the windows that cover h, v."""
    return run("avg_pool2d_input_grad", dy, x_shape, window, count_include_pad)


@_avg_pool2d_input_grad.shape
def _avg_pool2d_input_grad_shape(
    dy: Shape, *, x_shape: Shape, window: PoolWindow, count_include_pad: bool
) -> Shape:
    return x_shape


@_avg_pool2d_input_grad.vjp("dy", "d̄y = avg_pool2d(ȳ)")
def _avg_pool2d_input_grad_dy(g: Tensor, window: PoolWindow, count_include_pad: bool) -> Tensor:
    return _avg_pool2d(g, window=window, count_include_pad=count_include_pad)


@primitive(images=("x",))
def _global_avg_pool(x: Array) -> Array:
    """y[n,c] = sum_{h,v} x[n,c,h,v] / (H W)."""
    return run("global_avg_pool", x)


@_global_avg_pool.shape
def _global_avg_pool_shape(x: Shape) -> Shape:
    return (*x[:2], 1, 1)


@_global_avg_pool.vjp("x", "x̄ = ȳ / (H W)")
def _global_avg_pool_x(g: Tensor, x_shape: Shape) -> Tensor:
    return broadcast_to(g / (x_shape[2] * x_shape[3]), x_shape)


def _window(
    function: str,
    x: Tensor,
    kernel_size: Size,
    stride: Size | None,
    padding: Padding,
    dilation: Size,
    ceil_mode: bool,
) -> PoolWindow:
    expect_tensor(function, "x", x)
    kernel, steps = pair(kernel_size, "kernel_size"), kernel_size if stride is None else stride
    s, d = pair(steps, "stride"), pair(dilation, "dilation")
    ceil = flag(function, "ceil_mode", ceil_mode)
    if x.ndim != 4:
        raise ShapeError(f"pool2d: x must be (N, C, H, W), got shape {x.shape}")
    pads = resolve_padding(padding, (x.shape[2], x.shape[3]), kernel, s, d)
    window = PoolWindow(kernel, s, pads, d, ceil)
    _check_no_window_is_empty(x.shape, window)
    return window


@lru_cache(maxsize=1024)
def _check_no_window_is_empty(x_shape: Shape, window: PoolWindow) -> None:
    """Every window must touch the map: the maximum or the mean of nothing is no number."""
    shape = window.output_shape(x_shape)
    both = axes(x_shape[2:], shape[2:], window.kernel, window)
    for axis, pads in zip(both, window.padding, strict=True):
        if axis.dilation == 1 and max(pads) < axis.kernel:
            continue  # the first window ends behind the pad, and the last begins before the other
        reached: set[int] = set()
        for tap in range(axis.kernel):
            reached.update(range(*axis.valid(tap)))
        if len(reached) < axis.out and axis.size:
            raise ShapeError(
                f"pool2d: some window (kernel {window.kernel}, dilation {window.dilation}, "
                f"padding {window.padding}) touches nothing of {x_shape}"
            )
    if 0 in x_shape[2:] or 0 in shape[2:]:
        raise ShapeError(f"pool2d: there is nothing to pool in {x_shape}")


def max_pool2d(
    x: Tensor,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Padding = 0,
    dilation: Size = 1,
    ceil_mode: bool = False,
) -> Tensor:
    """The maximum of each window; padding never wins, NaN always does.

    The cotangent of a window goes to its first maximum in row-major order.

    Parameters
    ----------
    x : Tensor, (N, C, H, W)
    kernel_size, stride, dilation : int or (vertical, horizontal)
        ``stride`` is the kernel size by default.
    padding : int, (vertical, horizontal), ((top, bottom), (left, right)), "same" or "valid"
        No window may lie wholly on padding.
    ceil_mode : bool
        Round the number of windows up (Caffe's rule).

    Returns
    -------
    Tensor, (N, C, Ho, Wo)

    Raises
    ------
    ShapeError
        If the window does not fit.
    DtypeError, ArgumentError
        If x is no Tensor, or another argument has a wrong type.

    Examples
    --------
    >>> import minigrad as mg
    >>> x = mg.Tensor([[[[1.0, 2.0, 5.0, 6.0], [3.0, 4.0, 7.0, 8.0]]]])
    >>> mg.max_pool2d(x, 2).numpy()
    array([[[[4., 8.]]]], dtype=float32)
    """
    window = _window("max_pool2d", x, kernel_size, stride, padding, dilation, ceil_mode)
    return _max_pool2d(x, window=window)


def avg_pool2d(
    x: Tensor,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Padding = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Tensor:
    """The mean of each window.

    Parameters
    ----------
    x : Tensor, (N, C, H, W)
    kernel_size, stride, padding, ceil_mode
        As for ``max_pool2d``.
    count_include_pad : bool
        Whether positions on the padding count, as zeros; TensorFlow does not count them.

    Returns
    -------
    Tensor, (N, C, Ho, Wo)

    Raises
    ------
    ShapeError, DtypeError, ArgumentError
        As ``max_pool2d`` does.

    Examples
    --------
    >>> import minigrad as mg
    >>> mg.avg_pool2d(mg.ones(1, 1, 2, 2), 2, padding=1).numpy()
    array([[[[0.25, 0.25],
             [0.25, 0.25]]]], dtype=float32)
    """
    window = _window("avg_pool2d", x, kernel_size, stride, padding, 1, ceil_mode)
    counts = flag("avg_pool2d", "count_include_pad", count_include_pad)
    return _avg_pool2d(x, window=window, count_include_pad=counts)


def global_avg_pool(x: Tensor) -> Tensor:
    """The mean of each map.

    Parameters
    ----------
    x : Tensor, (N, C, H, W)

    Returns
    -------
    Tensor, (N, C, 1, 1)

    Raises
    ------
    ShapeError
        If x is of another shape, or its maps are empty.
    DtypeError
        If x is no Tensor.

    Examples
    --------
    >>> import minigrad as mg
    >>> mg.global_avg_pool(mg.ones(2, 3, 4, 4)).shape
    (2, 3, 1, 1)
    """
    expect_tensor("global_avg_pool", "x", x)
    if x.ndim != 4 or 0 in x.shape[2:]:
        raise ShapeError(f"global_avg_pool: x must be (N, C, H, W), not empty; got {x.shape}")
    return _global_avg_pool(x)
