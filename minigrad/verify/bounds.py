"""How many roundings each primitive has: the theorem's n + c, T and eta, one entry a primitive.

``roundings`` gives them for any order of every sum, as a judge of other people's kernels must.
Each entry says which formulas it covers and counts the factors 1 + d that a term of the longest
one meets; activations and softmax are in ``curves``.
``own_bound`` is for the kernels of this package, whose long sums are cut as ``contract``
says: what counts there is how deep a sum is, not how long.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from minigrad.geometry import ConvSpec
from minigrad.kernels import numpy as kernels
from minigrad.kernels.contract import PoolWindow
from minigrad.sampling import Taps
from minigrad.tensor import PRIMITIVES, Array
from minigrad.verify.curves import CURVES
from minigrad.verify.theorem import Roundings, gamma, unit_roundoff

__all__ = [
    "Roundings",
    "conv2d_input_grad_roundings",
    "conv2d_roundings",
    "conv2d_weight_grad_roundings",
    "gamma",
    "roundings",
    "step_bound",
    "unit_roundoff",
]


def conv2d_roundings(x: Array, w: Array, bias: Array | None, spec: ConvSpec) -> Roundings:
    """The theorem for conv2d: n = Cin/groups kh kw products an output."""
    n = math.prod(w.shape[1:]) + (bias is not None)
    size = kernels.conv2d(_abs(x), _abs(w), None if bias is None else _abs(bias), spec)
    return Roundings(n, size, n, n, True)


def conv2d_input_grad_roundings(
    g: Array, w: Array, x_shape: Sequence[int], spec: ConvSpec
) -> Roundings:
    """The theorem for dT/dx: at most Cout/groups kh kw products an input."""
    n = w.shape[0] // spec.groups * w.shape[2] * w.shape[3]
    return Roundings(n, kernels.conv2d_input_grad(_abs(g), _abs(w), x_shape, spec), n, n, True)


def conv2d_weight_grad_roundings(
    g: Array, x: Array, w_shape: Sequence[int], spec: ConvSpec
) -> Roundings:
    """The theorem for dT/dw: N Ho Wo products a weight."""
    n = g.shape[0] * g.shape[2] * g.shape[3]
    return Roundings(n, kernels.conv2d_weight_grad(_abs(g), _abs(x), w_shape, spec), n, n, True)


def roundings(
    primitive: str, inputs: Sequence[Array | None], params: Mapping[str, object], exact: Array
) -> Roundings:
    """The roundings of one primitive at ``inputs``; ``exact`` is its output in float64."""
    if primitive in _EXACT:
        return Roundings(0, np.zeros(exact.shape))
    wide = [None if x is None else x.astype(np.float64) for x in inputs]
    return _TABLE[primitive](exact, *wide, **params)


def step_bound(
    primitive: str,
    inputs: Sequence[Array | None],
    params: Mapping[str, object],
    exact: Array,
    dtype: npt.DTypeLike,
) -> Array:
    """How far two evaluations may lie apart, one in ``dtype``, and ``exact`` in float64."""
    steps = roundings(primitive, inputs, params, exact)
    return steps.bound(dtype) + steps.bound(np.float64)


def _abs(x: Array) -> Array:
    return np.abs(x.astype(np.float64))


# Copies, signs, comparisons: nothing is rounded.
_EXACT = {
    "absolute", "alias", "broadcast_to", "choose", "clone", "compare", "concat", "embed", "gather",
    "getitem", "interleave", "lookup", "mask", "max", "max_pool2d", "maximum", "minimum", "neg",
    "places", "relu", "relu6", "rescale", "reshape", "round_away", "rounded", "take_along",
    "transpose", "where",
}  # fmt: skip


def _times(count: float) -> Callable[..., Roundings]:
    """y is a product of exact things and ``count`` roundings."""
    return lambda y, *_, **__: Roundings(count, np.abs(y), 1)


def _div(y: Array, a: Array, b: Array) -> Roundings:
    """a / b, or a product with the rounded reciprocal of b, which may be subnormal."""
    return Roundings(2, np.abs(y), 1 + np.abs(a))


def _sum(y: Array, x: Array, *, axes: tuple[int, ...], keepdims: bool) -> Roundings:
    n = math.prod(x.shape[a] for a in axes)
    return Roundings(max(n - 1, 0), kernels.sum(np.abs(x), axes, keepdims), 0, max(n - 1, 0))


def _linear(y: Array, x: Array, w: Array, bias: Array | None = None) -> Roundings:
    n = x.shape[1] + (bias is not None)
    size = kernels.linear(_abs(x), _abs(w), None if bias is None else _abs(bias))
    return Roundings(n, size, n, n, True)


def _matmul(y: Array, a: Array, b: Array) -> Roundings:
    n = a.shape[-1]
    return Roundings(n, _abs(a) @ _abs(b), n, n, True)


def _scatter(y: Array, x: Array, *, where: Array, x_shape: Sequence[int], long: bool) -> Roundings:
    hits = kernels.max_pool2d_input_grad(np.ones(x.shape), where, x_shape)
    size = np.abs(x).astype(np.float64)
    return Roundings(hits, kernels.max_pool2d_input_grad(size, where, x_shape))


def _put_along(y: Array, x: Array, at: Array, *, shape: Sequence[int], axis: int) -> Roundings:
    put = PRIMITIVES["put_along"].forward
    hits = put(np.ones_like(x), at, shape=shape, axis=axis)
    return Roundings(hits, put(np.abs(x), at, shape=shape, axis=axis))


def _prelu(y: Array, x: Array, slope: Array) -> Roundings:
    return Roundings(1, np.abs(y), 1)


def _resampled(name: str) -> Callable[..., Roundings]:
    """Two products with rounded weights, and sums over the taps of each axis."""

    def count(y: Array, x: Array, *, rows: Taps, columns: Taps) -> Roundings:
        sizes = {"rows": _magnitudes(rows), "columns": _magnitudes(columns)}
        size = PRIMITIVES[name].forward(np.abs(x), **sizes)
        n = sum(_most_terms(taps, name == "resample") for taps in (rows, columns))
        return Roundings(n + 4, size, n + 2, n)

    return count


def _magnitudes(taps: Taps) -> Taps:
    return taps._replace(weights=tuple(tuple(map(abs, w)) for w in taps.weights))


def _most_terms(taps: Taps, forward: bool) -> int:
    """The most terms of a sum along one axis, or of the transposed sum."""
    if taps.is_identity:
        return 1
    if forward:
        return max(map(len, taps.pixels), default=0)
    return max(Counter(i for row in taps.pixels for i in row).values(), default=0)


def _avg_pool2d(y: Array, x: Array, *, window: PoolWindow, count_include_pad: bool) -> Roundings:
    """A sum of n values over its count, or of n products with the rounded reciprocal.

    n - 1 additions, the reciprocal, the product.
    """
    size = kernels.avg_pool2d(np.abs(x), window, count_include_pad)
    n = math.prod(window.kernel)
    return Roundings(n + 1, size, n, n - 1)


def _avg_pool2d_input_grad(
    y: Array, dy: Array, *, x_shape: Sequence[int], window: PoolWindow, count_include_pad: bool
) -> Roundings:
    """The same for the at most n windows that see a pixel."""
    size = kernels.avg_pool2d_input_grad(np.abs(dy), x_shape, window, count_include_pad)
    n = math.prod(window.kernel)
    return Roundings(n + 1, size, n, n - 1)


def _global_avg_pool(y: Array, x: Array) -> Roundings:
    n = x.shape[2] * x.shape[3]
    return Roundings(n + 1, np.abs(x).mean(axis=(2, 3), keepdims=True), n, n - 1)


def _batch_norm(
    y: Array, x: Array, mean: Array, var: Array, gamma: Array, beta: Array, *, eps: float
) -> Roundings:
    """(x - mean) s + beta, x s + (beta - mean s), or (x - mean) / sqrt(var + eps) gamma + beta.

    r = 1 / sqrt(var + eps) has three factors: eps and the sum under the root, which halves
    them, the root, the reciprocal; s = gamma r has four.  Then x - mean or mean s, the product
    with s or the difference to beta, and the last sum: seven, and none more for the quotient.
    Products that are subnormal: s, which |x| + |mean| multiply, and three more.
    """
    shape = (-1,) + (1,) * (x.ndim - 2)
    scale = (np.abs(gamma) / np.sqrt(var + eps)).reshape(shape)
    far = np.abs(x) + np.abs(mean).reshape(shape)
    return Roundings(7, far * scale + np.abs(beta).reshape(shape), 3 + far)


def _batch_norm_train(
    y: Array, x: Array, gamma: Array, beta: Array, *, mean: Array, var: Array, eps: float
) -> Roundings:
    return _batch_norm(y, x, mean, var, gamma, beta, eps=eps)


def _batch_norm_train_dx(
    y: Array, dy: Array, x: Array, gamma: Array, *, mean: Array, var: Array, eps: float
) -> Roundings:
    """gamma r (dy - mean(dy) - x̂ mean(dy x̂)),  x̂ = (x - mean) r,  means of m values.

    x̂ has five factors (the difference, three of r, the product), dy x̂ six, its mean m - 1 and
    two more; the product with x̂ six, the two differences two, gamma r and the product with it
    five: m + 20.  The order (x - mean) (r² mean(dy (x - mean))) has no more.
    """
    axes, shape = (0, *range(2, x.ndim)), (-1,) + (1,) * (x.ndim - 2)
    scale = np.abs(gamma / np.sqrt(var + eps)).reshape(shape)
    xhat = (np.abs(x) + np.abs(mean).reshape(shape)) / np.sqrt(var + eps).reshape(shape)
    along = (np.abs(dy) * xhat).mean(axis=axes, keepdims=True)
    level = np.abs(dy).mean(axis=axes, keepdims=True)
    size = np.abs(dy) + level + xhat * along
    tiny = 1 + size + scale * (2 + along + xhat * (2 + level))  # each product that is subnormal
    m = x.size // max(x.shape[1], 1)
    return Roundings(m + 20, scale * size, tiny, m - 1)


def _batch_norm_train_dgamma(
    y: Array, dy: Array, x: Array, *, mean: Array, var: Array, eps: float
) -> Roundings:
    """The sum of m products dy x̂: five factors of x̂, the product, m - 1 additions."""
    axes, shape = (0, *range(2, x.ndim)), (-1,) + (1,) * (x.ndim - 2)
    r = 1 / np.sqrt(var + eps).reshape(shape)
    size = (np.abs(dy) * (np.abs(x) + np.abs(mean).reshape(shape)) * r).sum(axis=axes)
    m = x.size // max(x.shape[1], 1)
    return Roundings(m + 5, size, m + np.abs(dy).sum(axis=axes), m - 1)


_TABLE: dict[str, Callable[..., Roundings]] = {
    **dict.fromkeys(["add", "sub", "mul", "sqrt", "clamp", "pad", "astype"], _times(1)),
    "div": _div,
    **CURVES,
    "sum": _sum,
    "linear": _linear,
    "matmul": _matmul,
    "conv2d": lambda y, x, w, bias=None, *, spec: conv2d_roundings(x, w, bias, spec),
    "conv2d_input_grad": lambda y, g, w, *, x_shape, spec: conv2d_input_grad_roundings(
        g, w, x_shape, spec
    ),
    "conv2d_weight_grad": lambda y, g, x, *, w_shape, spec: conv2d_weight_grad_roundings(
        g, x, w_shape, spec
    ),
    "scatter": _scatter,
    "put_along": _put_along,
    "prelu": _prelu,
    "resample": _resampled("resample"),
    "resample_input_grad": _resampled("resample_input_grad"),
    "avg_pool2d": _avg_pool2d,
    "avg_pool2d_input_grad": _avg_pool2d_input_grad,
    "global_avg_pool": _global_avg_pool,
    "batch_norm_eval": _batch_norm,
    "batch_norm_train": _batch_norm_train,
    "batch_norm_train_dx": _batch_norm_train_dx,
    "batch_norm_train_dgamma": _batch_norm_train_dgamma,
}
