"""The order of long sums in plain Python, as ``minigrad/kernels/contract.py`` states it."""

from __future__ import annotations

import ctypes
import ctypes.util
import math

import numpy as np

from minigrad.geometry import valid_range
from minigrad.kernels.contract import CHAIN, INNER, PIXELS

_libm = ctypes.CDLL(ctypes.util.find_library("m"))
_libm.fma.restype, _libm.fma.argtypes = ctypes.c_double, [ctypes.c_double] * 3
_libm.fmaf.restype, _libm.fmaf.argtypes = ctypes.c_float, [ctypes.c_float] * 3


def fma(a, b, c):
    """a b + c with one rounding, all of one dtype."""
    return a.dtype.type((_libm.fma if a.itemsize == 8 else _libm.fmaf)(a, b, c))


def in_two_words(blocks):
    """The sum of the sums of blocks."""
    if len(blocks) == 0:
        return np.float64(0)
    hi, lo = blocks[0], blocks[0].dtype.type(0)
    with np.errstate(invalid="ignore", over="ignore"):
        for b in blocks[1:]:
            s = hi + b
            t = s - hi
            lo += (hi - (s - t)) + (b - t)
            hi = s
        return hi if np.isnan(lo) else hi + lo


def cut(row, length):
    return [row[k : k + length] for k in range(0, len(row), length)]


def column(row):
    """A sum that keeps the last axis, or the channels: blocks of one chain, in float64."""
    return in_two_words([np.add.accumulate(b)[-1] for b in cut(np.float64(row) + 0.0, CHAIN)])


def row_of_chains(row):
    """Any other sum: blocks of 16 chains, in float64."""
    return in_two_words([_chains(b) for b in cut(np.float64(row), 16 * CHAIN)])


def _chains(block):
    c = np.zeros(16)
    for part in cut(block, 16):
        c[: len(part)] += part
    for apart in (8, 4, 2, 1):
        c = c[:apart] + c[apart : 2 * apart]
    return c[0]


def sum_by_the_rule(x, axes):
    """The sum over ``axes`` in float64, before it is rounded."""
    kept = [k for k in range(x.ndim) if k not in axes]
    in_columns = x.ndim - 1 in kept or (x.ndim == 4 and 1 in kept)
    rows = np.moveaxis(x, axes, range(-len(axes), 0)).reshape(
        *(x.shape[k] for k in kept), math.prod(x.shape[k] for k in axes)
    )
    y = np.zeros(rows.shape[:-1])
    for place in np.ndindex(*y.shape):
        y[place] = (column if in_columns else row_of_chains)(rows[place])
    return y


def fma_chain(a, b, start=0.0):
    """start + a[0] b[0] + a[1] b[1] + ..., one fused multiply-add each."""
    s = a.dtype.type(start)
    for p, q in zip(a, b, strict=True):
        s = fma(p, q, s)
    return s


def product(x, w, bias=0.0):
    """bias + sum x w: an output of linear."""
    parts = list(zip(cut(x, INNER), cut(w, INNER), strict=True)) or [(x, w)]
    return in_two_words([fma_chain(a, b, 0.0 if k else bias) for k, (a, b) in enumerate(parts)])


def weight(g, x, a, b, spec):
    """dw[a, b] of one output channel g (N, Ho, Wo) and one input channel x (N, H, W)."""
    n, height, width = g.shape
    (top, left), rows, columns = (pad[0] for pad in spec.padding), [], []
    p0, p1 = valid_range(x.shape[1], height, a, spec.stride[0], top, spec.dilation[0])
    q0, q1 = valid_range(x.shape[2], width, b, spec.stride[1], left, spec.dilation[1])
    rows = cut([(i, p) for i in range(n) for p in range(height)], max(PIXELS // width, 1))
    columns = cut(range(width), PIXELS)
    h0, v0 = a * spec.dilation[0] - top, b * spec.dilation[1] - left
    blocks = []
    for lines in rows:
        for piece in columns:
            at = [(i, p, q) for i, p in lines if p0 <= p < p1 for q in piece if q0 <= q < q1]
            there = [(i, p * spec.stride[0] + h0, q * spec.stride[1] + v0) for i, p, q in at]
            blocks.append(fma_chain(np.array([x[k] for k in there], x.dtype),
                                    np.array([g[k] for k in at], g.dtype)))  # fmt: skip
    return in_two_words(blocks)
