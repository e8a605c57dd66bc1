"""Which pixels meet: the terms of a convolution, and the pixels under each window.

A term is one product of the trilinear form,

    g[n,o,p,q] * w[o,i,a,b] * x[n, c, h, v],
    c = ch(o, i),   h = p s - P + a d,   v = q s' - P' + b d',

left out where h or v lies outside of the map.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from minigrad.geometry import ConvSpec, conv_output_shape
from minigrad.kernels.contract import Array, PoolWindow

__all__ = ["flat", "terms", "windows"]


def flat(array: Array) -> list[float]:
    """The values in row-major order, as Python's floats."""
    values: list[float] = array.ravel().tolist()
    return values


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


def windows(
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
