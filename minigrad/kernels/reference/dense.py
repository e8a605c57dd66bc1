"""Convolution, defined in loops, slow on purpose (about a million terms a second).

Every convolution function of the contract walks the same list of terms (``layout.terms``),
and the three functions differ only in which of the three factors they collect:

    y[n,o,p,q] += w[o,i,a,b] x[n,c,h,v]
    dx[n,c,h,v] += g[n,o,p,q] w[o,i,a,b]
    dw[o,i,a,b] += g[n,o,p,q] x[n,c,h,v]

Sums are kept in float64 whatever the dtype, and rounded once at the end, so that the
reference is at least as accurate as any kernel that is held against it.
"""

from __future__ import annotations

import numpy as np

from minigrad.geometry import ConvSpec, conv_output_shape
from minigrad.kernels.contract import Array
from minigrad.kernels.reference.layout import flat, terms

__all__ = ["conv2d", "linear"]


def conv2d(x: Array, w: Array, bias: Array | None, spec: ConvSpec) -> Array:
    """y[n,o,p,q] = bias[o] + sum_{a,b,i} w[o,i,a,b] x[n,c,h,v]."""
    shape = conv_output_shape(x.shape, w.shape, spec)
    start = np.zeros(shape) if bias is None else np.broadcast_to(bias[:, None, None], shape)
    y, x_, w_ = flat(start), flat(x), flat(w)
    for at_y, at_x, at_w in terms(x.shape, w.shape, spec):
        y[at_y] += w_[at_w] * x_[at_x]
    return np.array(y, x.dtype).reshape(shape)


def linear(x: Array, w: Array, bias: Array | None) -> Array:
    """y[n,o] = bias[o] + sum_i x[n,i] w[o,i]."""
    y = np.zeros((x.shape[0], w.shape[0]))
    for n, o in np.ndindex(*y.shape):
        y[n, o] = 0 if bias is None else bias[o]
        for i in range(x.shape[1]):
            y[n, o] += float(x[n, i]) * float(w[o, i])
    return y.astype(x.dtype)
