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

import functools
import importlib.util
from typing import Any

import numpy as np

from minigrad.geometry import ConvSpec
from minigrad.kernels._numba.windows import Axis, forward_runs
from minigrad.kernels.contract import Array, check_conv2d, classify

__all__ = ["UNAVAILABLE", "conv2d"]

UNAVAILABLE: str | None = (
    None
    if importlib.util.find_spec("numba")
    else "the backend 'numba' needs the package numba: pip install 'minigrad[numba]'"
)


def conv2d(x: Array, w: Array, bias: Array | None, spec: ConvSpec) -> Array:
    """y[n,o,p,q] = bias[o] + sum_{a,b,i} w[o,i,a,b] x[n, ch(o,i), p s - P + a d, q s' - P' + b d'].

    Depthwise has no sum over i; pointwise has no a and b: a product of matrices.
    """
    from minigrad.kernels._numba import transpose

    forward = _forward(_signature(x), _signature(w), _signature(bias), spec)
    y: Array = forward(transpose.channels_last(x), w, bias).transpose(0, 3, 1, 2)
    return y


Signature = tuple[tuple[int, ...], np.dtype[Any]]


def _signature(x: Array | None) -> Signature | None:
    return None if x is None else (x.shape, x.dtype)


def _like(signature: Signature | None) -> Any:
    """An array of that shape and dtype, for the checks of the contract: no memory."""
    return None if signature is None else np.broadcast_to(np.empty((), signature[1]), signature[0])


@functools.lru_cache(maxsize=512)
def _forward(
    x: Signature, w: Signature, bias: Signature | None, spec: ConvSpec
) -> Any:  # what does not depend on the numbers is checked and prepared once
    from minigrad.kernels._numba import depthwise, matrix

    n, c, ho, wo = check_conv2d(_like(x), _like(w), _like(bias), spec)
    (shape, dtype), (kernel, _) = x, w
    source = (n, shape[2], shape[3], shape[1])
    rows, cols = (forward_runs(axis) for axis in _axes(shape, kernel, (ho, wo), spec))
    if classify(spec, kernel) == "depthwise":
        return depthwise.WindowSum(source, kernel[2:], (n, ho, wo, c), rows, cols, dtype)
    return matrix.GatherSum(source, kernel, (n, ho, wo, c), rows, cols, spec.groups, False, dtype)


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
