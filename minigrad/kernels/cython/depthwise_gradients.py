"""Both gradients of a depthwise convolution in the compiled core.

A window of stride 2 has a kernel that does its four remainders (``dense_gradients``) at once,
ext/depthwise_input_grad.pyx.tp; the weight gradient is ext/depthwise_weight_grad.pyx.tp.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from minigrad.arrays import Array
from minigrad.geometry import ConvSpec
from minigrad.kernels.cython.core import core
from minigrad.kernels.cython.dense_gradients import Calls, Weights, Zeros, bind_remainders
from minigrad.kernels.cython.layout import channels_last, empty_channels_last, regular
from minigrad.threads import num_threads

__all__ = [
    "bind_depthwise_input_grad",
    "bind_depthwise_weight_grad",
    "depthwise_conv2d_input_grad",
    "depthwise_conv2d_weight_grad",
]


def depthwise_conv2d_input_grad(
    g: Array, w: Array, x_shape: Sequence[int], spec: ConvSpec, *, threads: int | None = None
) -> Array:
    """dx[n,c,h,v] = sum_{a,b} w[c,0,a,b] g[n,c,p,q], terms in that order of (a, b)."""
    workers = threads or num_threads()
    dx = empty_channels_last(tuple(x_shape), g.dtype)
    w = w if regular(w) else np.array(w, order="C")
    bind_depthwise_input_grad(channels_last(g, workers), w, dx, spec).run(workers)
    return dx


def depthwise_conv2d_weight_grad(
    g: Array, x: Array, w_shape: Sequence[int], spec: ConvSpec, *, threads: int | None = None
) -> Array:
    """dw[c,0,a,b] = sum_{n,p,q} g[n,c,p,q] x[n,c,h,v], terms in that order of (n, p, q)."""
    workers = threads or num_threads()
    dw: Array = np.empty((*w_shape[2:], w_shape[0]), g.dtype).transpose(2, 0, 1)[:, None]
    g, x = channels_last(g, workers), channels_last(x, workers)
    bind_depthwise_weight_grad(g, x, dw, spec).run(workers)
    return dw


def bind_depthwise_input_grad(
    g: Array, w: Array, dx: Array, spec: ConvSpec, weights: Weights | None = None
) -> Any:
    """The call that writes dT/dx to dx; g and dx are channels-last.

    The weights are read when the call is bound, g each time it is run.  ``weights(w, spec)``
    packs views of w, as ``core.DepthwiseWeights`` does.
    """
    weights = weights or core.DepthwiseWeights
    if dx.size == 0:
        return Calls(())
    if g.size == 0:
        return Zeros(dx)
    if (spec.stride, spec.dilation) == ((2, 2), (1, 1)) and tuple(w.shape[2:]) in core.PAIRED:
        return core.DepthwiseInputGradCall(weights(w, spec), g, dx)
    return Calls(tuple(bind_remainders(weights, g, w, dx, spec)))


def bind_depthwise_weight_grad(g: Array, x: Array, dw: Array, spec: ConvSpec) -> Any:
    """The call that writes dT/dw to dw, a view of an array (kh, kw, C); g and x channels-last."""
    if dw.size == 0:
        return Calls(())
    return core.DepthwiseWeightGradCall(g, x, dw[:, 0].transpose(1, 2, 0), spec)
