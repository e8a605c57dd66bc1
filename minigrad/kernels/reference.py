"""The definition, in loops, slow on purpose (about a million terms a second).

Every convolution function of the contract walks the same list of terms.  A term is one
product of T(x, w, g),

    g[n,o,p,q] * w[o,i,a,b] * x[n, c, h, v],
    c = ch(o, i),   h = p s - P + a d,   v = q s' - P' + b d',

and the three functions differ only in which of the three factors they collect:

    y[n,o,p,q] += w[o,i,a,b] x[n,c,h,v]
    dx[n,c,h,v] += g[n,o,p,q] w[o,i,a,b]
    dw[o,i,a,b] += g[n,o,p,q] x[n,c,h,v]

Sums are kept in float64 whatever the dtype, and rounded once at the end, so that the
reference is at least as accurate as any kernel that is held against it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np

from minigrad.geometry import ConvSpec, conv_output_shape
from minigrad.kernels.contract import (
    Array,
    PoolWindow,
    check_conv2d,
    check_input_grad,
    check_weight_grad,
)

__all__ = [
    "avg_pool2d",
    "conv2d",
    "conv2d_input_grad",
    "conv2d_weight_grad",
    "max_pool2d",
    "terms",
]

UNAVAILABLE: str | None = None


def terms(
    x_shape: Sequence[int], w_shape: Sequence[int], spec: ConvSpec
) -> Iterator[tuple[int, int, int]]:
    """The flat indices (into y, x, w) of every term of T, taps on padding left out.

    For one output element the order is that of every kernel: kernel row, kernel column,
    input channel, each ascending.
    """
    _, cin, height, width = x_shape
    cout, cin_per_group, kh, kw = w_shape
    batch, _, ho, wo = conv_output_shape(x_shape, w_shape, spec)
    (sh, sw), ((top, _), (left, _)), (dh, dw), groups = spec
    for n in range(batch):
        for o in range(cout):
            first = o // (cout // groups) * cin_per_group
            for p in range(ho):
                for q in range(wo):
                    y_index = ((n * cout + o) * ho + p) * wo + q
                    for a in range(kh):
                        h = p * sh - top + a * dh
                        if not 0 <= h < height:
                            continue
                        for b in range(kw):
                            v = q * sw - left + b * dw
                            if not 0 <= v < width:
                                continue
                            for i in range(cin_per_group):
                                x_index = ((n * cin + first + i) * height + h) * width + v
                                w_index = ((o * cin_per_group + i) * kh + a) * kw + b
                                yield y_index, x_index, w_index


def conv2d(x: Array, w: Array, bias: Array | None, spec: ConvSpec) -> Array:
    """y[n,o,p,q] = bias[o] + sum_{a,b,i} w[o,i,a,b] x[n,c,h,v]."""
    shape = check_conv2d(x, w, bias, spec)
    start = np.zeros(shape) if bias is None else np.broadcast_to(bias[:, None, None], shape)
    y, x_, w_ = _flat(start), _flat(x), _flat(w)
    for at_y, at_x, at_w in terms(x.shape, w.shape, spec):
        y[at_y] += w_[at_w] * x_[at_x]
    return np.array(y, x.dtype).reshape(shape)


def conv2d_input_grad(g: Array, w: Array, x_shape: Sequence[int], spec: ConvSpec) -> Array:
    """dx[n,c,h,v] = the sum of g[n,o,p,q] w[o,i,a,b] over the terms that read x[n,c,h,v]."""
    check_input_grad(g, w, x_shape, spec)
    dx, g_, w_ = [0.0] * math.prod(x_shape), _flat(g), _flat(w)
    for at_y, at_x, at_w in terms(x_shape, w.shape, spec):
        dx[at_x] += g_[at_y] * w_[at_w]
    return np.array(dx, g.dtype).reshape(x_shape)


def conv2d_weight_grad(g: Array, x: Array, w_shape: Sequence[int], spec: ConvSpec) -> Array:
    """dw[o,i,a,b] = the sum of g[n,o,p,q] x[n,c,h,v] over the terms that use w[o,i,a,b]."""
    check_weight_grad(g, x, w_shape, spec)
    dw, g_, x_ = [0.0] * math.prod(w_shape), _flat(g), _flat(x)
    for at_y, at_x, at_w in terms(x.shape, w_shape, spec):
        dw[at_w] += g_[at_y] * x_[at_x]
    return np.array(dw, g.dtype).reshape(w_shape)


def _flat(array: Array) -> list[float]:
    values: list[float] = array.ravel().tolist()
    return values


def _windows(
    x_shape: Sequence[int], window: PoolWindow
) -> Iterator[tuple[tuple[int, int], list[tuple[int, int]]]]:
    """Each output position with the input positions that its window covers, row-major."""
    _, _, ho, wo = window.output_shape(x_shape)
    (kh, kw), (sh, sw), ((top, _), (left, _)), (dh, dw), _ = window
    for p in range(ho):
        rows = [h for a in range(kh) if 0 <= (h := p * sh - top + a * dh) < x_shape[2]]
        for q in range(wo):
            cols = [v for b in range(kw) if 0 <= (v := q * sw - left + b * dw) < x_shape[3]]
            yield (p, q), [(h, v) for h in rows for v in cols]


def max_pool2d(x: Array, window: PoolWindow) -> tuple[Array, Array]:
    """The maximum of each window and where it was: h W + v of the first, NaN above all."""
    shape = window.output_shape(x.shape)
    y, index = np.empty(shape, x.dtype), np.empty(shape, np.intp)
    for (p, q), covered in _windows(x.shape, window):
        for n, c in np.ndindex(*shape[:2]):
            values = [math.inf if math.isnan(v) else v for v in (x[n, c, h, v] for h, v in covered)]
            nans = [k for k, (h, v) in enumerate(covered) if math.isnan(x[n, c, h, v])]
            best = nans[0] if nans else values.index(max(values))
            h, v = covered[best]
            y[n, c, p, q], index[n, c, p, q] = x[n, c, h, v], h * x.shape[3] + v
    return y, index


def avg_pool2d(x: Array, window: PoolWindow, count_include_pad: bool = True) -> Array:
    """The sum of each window over the number of positions in it.

    With ``count_include_pad`` positions on the pad count, those beyond it do not.
    """
    y = np.empty(window.output_shape(x.shape), x.dtype)
    for (p, q), covered in _windows(x.shape, window):
        count = _padded_count(x.shape, window, p, q) if count_include_pad else len(covered)
        total = sum((x[:, :, h, v].astype(np.float64) for h, v in covered), np.zeros(x.shape[:2]))
        y[:, :, p, q] = total / count
    return y


def _padded_count(x_shape: Sequence[int], window: PoolWindow, p: int, q: int) -> int:
    count = 1
    for axis, at in enumerate((p, q)):
        start = at * window.stride[axis] - window.padding[axis][0]
        end = x_shape[2 + axis] + window.padding[axis][1]
        count *= min(start + window.kernel[axis], end) - start
    return count
