"""The Numba engine: the contract's functions, as vector instructions compiled on first use.

A second engine, independent of the Cython core: another compiler, other tiles, the same
sums in the same order, hence the same bits.  This file turns NumPy arrays into what the
kernels in ``_numba`` want (channels-last, contiguous) and their results back.

One trilinear form T(x, w, g) stands behind all three functions of a kind (see
``contract``).  Their order of summation:

    forward        y[n,o,p,q] starts from bias[o] (or +0) and adds w[o,i,a,b] x[n,i,h,v]
                   for (a, b, i) ascending;
    input grad     dx[n,i,h,v] starts from +0 and adds w[o,i,a,b] g[n,o,p,q]
                   for (a, b, o) ascending;
    weight grad    dw[o,i,a,b] starts from +0 and adds g[n,o,p,q] x[n,i,h,v]
                   for (n, p, q) ascending, never cut.

Every step is one fused multiply-add; steps whose h, v (or p, q) lie outside the array
do not take place.
"""

from __future__ import annotations

import importlib.util

import numpy as np

from minigrad.geometry import ConvSpec
from minigrad.kernels._numba.windows import Axis, Run, forward_runs
from minigrad.kernels.contract import Array, check_conv2d

__all__ = ["UNAVAILABLE", "depthwise_conv2d"]

UNAVAILABLE: str | None = (
    None
    if importlib.util.find_spec("numba")
    else "the backend 'numba' needs the package numba: pip install 'minigrad[numba]'"
)


def depthwise_conv2d(x: Array, w: Array, bias: Array | None, spec: ConvSpec) -> Array:
    """y[n,c,p,q] = bias[c] + sum_{a,b} w[c,0,a,b] x[n, c, p s - P + a d, q s' - P' + b d']."""
    from minigrad.kernels._numba import depthwise

    n, c, ho, wo = check_conv2d(x, w, bias, spec)
    rows, cols = _runs(x.shape, w.shape, (ho, wo), spec)
    y = depthwise.window_sum(_channels_last(x), w[:, 0], bias, (n, ho, wo, c), rows, cols)
    return _nchw(y)


def _channels_last(x: Array) -> Array:
    """(N, C, H, W) of any strides as a contiguous (N, H, W, C), copied only if it must be."""
    return np.require(x.transpose(0, 2, 3, 1), requirements=["C", "A"])


def _nchw(y: Array) -> Array:
    return y.transpose(0, 3, 1, 2)


def _axes(
    x_shape: tuple[int, ...], w_shape: tuple[int, ...], out: tuple[int, int], spec: ConvSpec
) -> tuple[Axis, Axis]:
    rows, cols = (
        Axis(
            x_shape[2 + i],
            out[i],
            w_shape[2 + i],
            spec.stride[i],
            spec.padding[i][0],
            spec.dilation[i],
        )
        for i in range(2)
    )
    return rows, cols


def _runs(
    x_shape: tuple[int, ...], w_shape: tuple[int, ...], out: tuple[int, int], spec: ConvSpec
) -> tuple[tuple[Run, ...], tuple[Run, ...]]:
    rows, cols = _axes(x_shape, w_shape, out, spec)
    return forward_runs(rows), forward_runs(cols)
