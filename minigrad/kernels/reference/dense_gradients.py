"""Both gradients of a convolution, in loops: the terms of ``dense``, collected elsewhere."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from minigrad.geometry import ConvSpec
from minigrad.kernels.contract import Array
from minigrad.kernels.reference.layout import flat, terms

__all__ = ["conv2d_input_grad", "conv2d_weight_grad"]


def conv2d_input_grad(g: Array, w: Array, x_shape: Sequence[int], spec: ConvSpec) -> Array:
    """dx[n,c,h,v] = the sum of g[n,o,p,q] w[o,i,a,b] over the terms that read x[n,c,h,v]."""
    dx, g_, w_ = [0.0] * math.prod(x_shape), flat(g), flat(w)
    for at_y, at_x, at_w in terms(x_shape, w.shape, spec):
        dx[at_x] += g_[at_y] * w_[at_w]
    return np.array(dx, g.dtype).reshape(x_shape)


def conv2d_weight_grad(g: Array, x: Array, w_shape: Sequence[int], spec: ConvSpec) -> Array:
    """dw[o,i,a,b] = the sum of g[n,o,p,q] x[n,c,h,v] over the terms that use w[o,i,a,b]."""
    dw, g_, x_ = [0.0] * math.prod(w_shape), flat(g), flat(x)
    for at_y, at_x, at_w in terms(x.shape, w_shape, spec):
        dw[at_w] += g_[at_y] * x_[at_x]
    return np.array(dw, g.dtype).reshape(w_shape)
