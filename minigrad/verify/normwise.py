"""Normwise bounds for fast algorithms, which add and subtract before they multiply.

Winograd's algorithm F(m, r) writes a piece of a correlation along one axis as

    y = A^T ((G w) * (B^T x)),    t = m + r - 1 products for m outputs of r taps,

and nests for two axes.  Each output is then a sum over the channels c of the terms of three
matrix products, whose absolute values add up to at most

    T' = K sum_c max |x_c| max |w_c|,
    K = prod over axes of max_i sum_j |A^T_ij| (sum_k |G_jk|) (sum_l |B^T_jl|),

and each term meets at most k = C + sum over axes of (t + r + t) + 8 roundings.  So

    |y' - y| <= gamma_k T' + (k K + 1) eta

by the theorem's own proof.  It is normwise: it knows the largest |x| of a map, not those under
the window.  Any tile with m up to 6 at the points 0, 1, -1, 2, -2, 1/2, -1/2 is covered.

A convolution by FFT has, for maps that are padded to M values in all and L = log2 M levels,

    |y' - y| <= ((1 + L h)^3 (1 + gamma_(C+3)) - 1) sqrt(M) sum_c |x_c|_2 |w_c|_2,
    h = u + gamma_4 (sqrt(2) + u),

since a transform is off by L h of the 2-norm of its result (N. Higham, "Accuracy and Stability
of Numerical Algorithms" (2002), theorem 24.2) and its result has at most sqrt(M) times the norm.

Strassen's algorithm makes a matrix product from 7 of half its size.  An element of the result is
then a sum of at most 18 products of blocks (12 in Strassen's own form, 18 in Winograd's), whose
factors were added up in at most 3 steps each and which are added up in at most 4, or 5 where
an odd row or column is done apart.  L levels over sums of K products leave

    |y' - y| <= gamma_k T' + (k 18^L + 1) eta,
    T' = 18^L ceil(K / 2^L) max |a| max |b|,    k = ceil(K / 2^L) + 11 L + 1,

again by the theorem's proof.  At most two levels are allowed, and no more than the sizes have.
"""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np

from minigrad import kernels
from minigrad.errors import MinigradError
from minigrad.geometry import ConvSpec, conv_spec
from minigrad.kernels import find
from minigrad.tensor import Array
from minigrad.verify.arithmetic import Arithmetic
from minigrad.verify.operations import Call, Judged
from minigrad.verify.theorem import Roundings, gamma

__all__ = ["ALGORITHMS", "check_algorithm", "normwise", "winograd_matrices"]

POINTS = [Fraction(p) for p in ("0", "1", "-1", "2", "-2", "1/2", "-1/2")]
TILES = (2, 4, 6)
ALGORITHMS = {
    "winograd": ("conv2d", "depthwise_conv2d"),
    "fft": ("conv2d", "depthwise_conv2d"),
    "strassen": ("linear", "matmul"),
}
"""Which operations an algorithm is judged for."""

LEVELS = 2


def winograd_matrices(m: int, r: int) -> tuple[Array, Array, Array]:
    """A^T (m, t), G (t, r) and B^T (t, t) of F(m, r) at the first t - 1 of the points.

    >>> at, g, bt = winograd_matrices(2, 3)
    >>> (at @ ((g @ [1, 2, 3]) * (bt @ [4, 5, 6, 7]))).tolist()   # 4+10+18, 5+12+21
    [32.0, 38.0]
    """
    t = m + r - 1
    points = POINTS[: t - 1]
    if len(points) < t - 1:
        raise MinigradError(f"Winograd's F({m}, {r}) needs {t - 1} points, there are {len(POINTS)}")
    at = [[p**i for p in points] + [Fraction(i == m - 1)] for i in range(m)]
    g = [[p**k / _gap(points, j) for k in range(r)] for j, p in enumerate(points)]
    g.append([Fraction(k == r - 1) for k in range(r)])
    bt = [[*_from_roots(points[:j] + points[j + 1 :]), Fraction(0)] for j in range(t - 1)]
    bt.append(_from_roots(points))
    at_array, g_array, bt_array = (np.array(a, dtype=np.float64) for a in (at, g, bt))
    return at_array, g_array, bt_array


def _gap(points: list[Fraction], j: int) -> Fraction:
    return math.prod((points[j] - q for q in points[:j] + points[j + 1 :]), start=Fraction(1))


def _from_roots(roots: list[Fraction]) -> list[Fraction]:
    """The coefficients of prod (z - root), the constant first."""
    polynomial = [Fraction(1)]
    for root in roots:
        shifted = [Fraction(0), *polynomial]
        for k, c in enumerate(polynomial):
            shifted[k] -= root * c
        polynomial = shifted
    return polynomial


def normwise(call: Call, how: Arithmetic, algorithm: str, wrt: str | None = None) -> Judged:
    """The exact result of a convolution or matrix product, with the bound of a fast algorithm.

    Parameters
    ----------
    call : Call
        conv2d or depthwise_conv2d with stride 1 and dilation 1; linear or matmul.
    how : Arithmetic
    algorithm : {"winograd", "fft", "strassen"}
    wrt : None
        Gradients are not judged by these bounds.

    Returns
    -------
    Judged

    Raises
    ------
    MinigradError
        For another operation, stride, dilation, algorithm or gradient.
    """
    check_algorithm(call.op, algorithm)
    if wrt is not None:
        raise MinigradError(f"{algorithm} is judged for results, not for gradients")
    if algorithm == "strassen":
        return _widened(call, how, _strassen(call))
    x, w, spec = _convolution(call)
    if spec.stride != (1, 1) or spec.dilation != (1, 1):
        raise MinigradError(
            f"{algorithm} is judged for results of convolutions of stride 1 and dilation 1"
        )
    bias = call.arguments.get("bias")
    steps = (_winograd if algorithm == "winograd" else _fft)(x, w, bias, spec, how)
    return _widened(call, how, steps)


def _widened(call: Call, how: Arithmetic, steps: Roundings) -> Judged:
    """The result with the bound of an algorithm beside the one of an ordinary sum."""
    judged = call.evaluate(how)
    shape = judged.exact.shape
    bound = np.broadcast_to(steps.bound_in(how, judged.exact), shape) + judged.bound
    return judged._replace(
        bound=bound,
        size=np.broadcast_to(np.maximum(judged.size, steps.magnitude), shape),
        typical=np.broadcast_to(steps.typical().bound_in(how, judged.exact), shape),
    )


def check_algorithm(op: str, algorithm: str | None) -> None:
    """Raise if there is no such algorithm, or none for the operation."""
    if algorithm is not None and algorithm not in ALGORITHMS:
        raise MinigradError(
            f"algorithm must be one of {', '.join(ALGORITHMS)}, not {str(algorithm)[:40]!r}"
        )
    if algorithm and op not in ALGORITHMS[algorithm]:
        raise MinigradError(f"{algorithm} is for {' and '.join(ALGORITHMS[algorithm])}, not {op}")


def _convolution(call: Call) -> tuple[Array, Array, ConvSpec]:
    given = dict(call.arguments)
    if call.op == "depthwise_conv2d":
        given["groups"] = given["x"].shape[1]
    x, w = given["x"], given["w"]
    words = {k: given[k] for k in ("stride", "padding", "dilation", "groups") if k in given}
    return x, w, conv_spec(x.shape, w.shape, **words)


def _over_channels(x: Array, w: Array, groups: int) -> Array:
    """sum_c x[n, c] w[o, c], with groups, as (N, Cout, 1, 1)."""
    with kernels.backend("numpy"):
        y: Array = find("conv2d", "general").call(
            x[:, :, None, None], w[:, :, None, None], None, ConvSpec(groups=groups)
        )
    return y


def _with_bias(size: Array, bias: Array | None) -> Array:
    return size if bias is None else size + np.abs(bias)[:, None, None]


def _winograd(x: Array, w: Array, bias: Array | None, spec: ConvSpec, how: Arithmetic) -> Roundings:
    factor, count = 1.0, w.shape[1] + 8
    for r in w.shape[2:]:
        if r > 1:
            tiles = [m for m in TILES if m + r - 2 <= len(POINTS)]
            if not tiles:
                raise MinigradError(f"Winograd's algorithm is not used for a kernel of {r} taps")
            at, g, bt = (np.abs(a) for a in winograd_matrices(max(tiles), r))
            factor *= float((at @ (g.sum(axis=1) * bt.sum(axis=1))).max())
            count += 2 * (max(tiles) + r - 1) + r
    largest = _over_channels(
        np.abs(x).max(axis=(2, 3), initial=0), np.abs(w).max(axis=(2, 3)), spec.groups
    )
    return Roundings(count, _with_bias(factor * largest, bias), count * factor + 1, products=True)


def _strassen(call: Call) -> Roundings:
    names = ("x", "w") if call.op == "linear" else ("a", "b")
    a, b = (np.abs(call.arguments[name]) for name in names)
    inner = a.shape[-1]
    outer = b.shape[0] if call.op == "linear" else b.shape[1]
    smallest = min(a.shape[0], inner, outer)
    levels = min(LEVELS, math.ceil(math.log2(smallest))) if smallest > 1 else 0
    sums, factor = math.ceil(inner / 2**levels), 18.0**levels
    size = np.full((1, 1), factor * sums * a.max(initial=0) * b.max(initial=0))
    bias = call.arguments.get("bias")
    count = sums + 11 * levels + 1
    size = size if bias is None else size + np.abs(bias)
    return Roundings(count, size, count * factor + 1, products=True)


def _fft(x: Array, w: Array, bias: Array | None, spec: ConvSpec, how: Arithmetic) -> Roundings:
    sides = [n + sum(p) + k for n, p, k in zip(x.shape[2:], spec.padding, w.shape[2:], strict=True)]
    levels = sum(math.ceil(math.log2(n)) + 1 for n in sides)
    of_x, of_w = (np.sqrt((a * a).sum(axis=(2, 3))) for a in (x, w))
    size = math.sqrt(2.0**levels) * _over_channels(of_x, of_w, spec.groups)
    u = how.accumulator.u
    level = u + float(gamma(4, how.accumulator)) * (math.sqrt(2) + u)
    count = 3 * levels * level / u * 1.01 + w.shape[1] + 3
    return Roundings(count, _with_bias(size, bias), count * size + 1, products=True)
