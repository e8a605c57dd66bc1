"""How many roundings each primitive has: the theorem's n + c, T and eta, one entry a primitive.

``roundings`` gives them for any order of every sum, as a judge of other people's kernels must.
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
from minigrad.verify.theorem import Roundings, gamma, unit_roundoff

__all__ = [
    "ULPS",
    "Roundings",
    "conv2d_input_grad_roundings",
    "conv2d_roundings",
    "conv2d_weight_grad_roundings",
    "gamma",
    "roundings",
    "step_bound",
    "unit_roundoff",
]

ULPS = 4.0  # what NumPy holds its exp, log, tanh and pow to


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
    "getitem", "mask", "max", "max_pool2d", "maximum", "minimum", "neg", "places", "relu", "relu6",
    "reshape", "rounded", "take_along", "transpose", "where",
}  # fmt: skip


def _times(count: float) -> Callable[..., Roundings]:
    """y is a product of exact things and ``count`` roundings."""
    return lambda y, *_, **__: Roundings(count, np.abs(y), 1)


def _exp(y: Array, x: Array) -> Roundings:
    return Roundings(2 * ULPS, y, ULPS)


def _power(y: Array, x: Array, *, exponent: float) -> Roundings:
    """The exponent is rounded too: x^(c (1 + d)) = x^c e^(c d ln x)."""
    with np.errstate(divide="ignore"):
        log = np.where(x == 0, 0, np.log(np.abs(x)))
    return Roundings(2 * ULPS + np.abs(exponent * log), np.abs(y), ULPS)


def _pow(y: Array, a: Array, b: Array) -> Roundings:
    """NumPy's power, whose error is that of its exponential; both operands are exact."""
    return Roundings(2 * ULPS, np.abs(y), ULPS)


def _sigmoid(y: Array, x: Array) -> Roundings:
    """e = e^-|x| above and below the line, 1 + e, and the division."""
    return Roundings(4 * ULPS + 2, y, ULPS, functions=1.0)


def _silu(y: Array, x: Array) -> Roundings:
    return Roundings(4 * ULPS + 3, np.abs(y), ULPS * (1 + np.abs(x)), functions=np.abs(x))


def _tanh(y: Array, x: Array) -> Roundings:
    return Roundings(2 * ULPS, np.abs(y), 1, functions=1.0)


def _hardsigmoid(y: Array, x: Array) -> Roundings:
    """(x + 3) / 6, or x / 6 + 1/2 with a rounded 1/6: terms of both signs below 0."""
    bent = np.abs(x) <= 3.001
    return Roundings(3, np.where(bent, np.abs(x) / 6 + 0.5, np.abs(y)), 1)


def _hardswish(y: Array, x: Array) -> Roundings:
    inner = _hardsigmoid(np.zeros_like(x), x).magnitude
    return Roundings(4, np.maximum(np.abs(x) * inner, np.abs(y)), 1 + np.abs(x))


def _line_slope(y: Array, dy: Array, at: Array, *, of: str) -> Roundings:
    """A copy, a division by 6, or a product with a rounded 1/6."""
    return Roundings(2, np.abs(y), 1)


def _curve_slope(y: Array, dy: Array, at: Array, *, of: str) -> Roundings:
    """tanh subtracts a rounded y y from 1, and silu a rounded s; nothing else cancels."""
    if of == "tanh":
        return Roundings(3, np.abs(dy) * (1 + at * at), 1 + np.abs(dy))
    if of == "silu":
        s = kernels.sigmoid(at)
        size = np.abs(dy) * s * (1 + np.abs(at))
        tiny = ULPS * (1 + np.abs(at)) * (1 + np.abs(dy))
        return Roundings(8 * ULPS + 8, size, tiny, functions=np.abs(dy) * (1 + 2 * np.abs(at)))
    size = np.abs(y)
    if of == "hardswish":  # (2 x + 3) / 6, or x / 3 + 1/2
        size = np.where(np.abs(at) < 3.001, np.abs(dy) * (np.abs(at) / 3 + 0.5), size)
    return Roundings(4, size, 2 * (1 + np.abs(at)) * (1 + np.abs(dy)))


def _softmax_input_grad(y: Array, dy: Array, p: Array) -> Roundings:
    n = p.shape[-1]
    along = np.abs(dy * p).sum(axis=-1, keepdims=True)
    return Roundings(n + 2, np.abs(p) * (np.abs(dy) + along), 1 + n * np.abs(p), n - 1)


def _log_softmax_input_grad(y: Array, dy: Array, z: Array) -> Roundings:
    n, total = z.shape[-1], np.abs(dy).sum(axis=-1, keepdims=True)
    size = np.abs(dy) + np.exp(z) * total
    return Roundings(2 * ULPS + n + 2, size, 1 + ULPS * total, n - 1)


def _shares(x: Array) -> tuple[Array, Array, Array]:
    """z = x - max, p = softmax, and how many roundings e^z has, on the average over p.

    z (1 + d) in the exponent is a factor e^(z d), which is |z| roundings.
    """
    z = x - x.max(axis=-1, keepdims=True)
    p = kernels.softmax(x)
    return z, p, (p * np.abs(z)).sum(axis=-1, keepdims=True) + 2 * ULPS


def _softmax(y: Array, x: Array) -> Roundings:
    z, _, below = _shares(x)
    n = x.shape[-1]
    return Roundings(np.abs(z) + 2 * ULPS + below + n + 1, y, ULPS, n - 1)


def _log_softmax(y: Array, x: Array) -> Roundings:
    """z, and the logarithm of a sum that is off by a factor: an absolute error."""
    z, _, below = _shares(x)
    log = np.abs(z - y)
    size = np.abs(z) + (below + x.shape[-1]) + 2 * ULPS * log + np.abs(y)
    return Roundings(2, size, ULPS)


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


def _scatter(y: Array, x: Array, *, where: Array, x_shape: Sequence[int]) -> Roundings:
    hits = kernels.max_pool2d_input_grad(np.ones_like(x), where, x_shape)
    return Roundings(hits, kernels.max_pool2d_input_grad(np.abs(x), where, x_shape))


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
    if forward:
        return max(map(len, taps.pixels), default=0)
    return max(Counter(i for row in taps.pixels for i in row).values(), default=0)


def _avg_pool2d(y: Array, x: Array, *, window: PoolWindow, count_include_pad: bool) -> Roundings:
    size = kernels.avg_pool2d(np.abs(x), window, count_include_pad)
    n = math.prod(window.kernel)
    return Roundings(n + 1, size, 1, n - 1)


def _avg_pool2d_input_grad(
    y: Array, dy: Array, *, x_shape: Sequence[int], window: PoolWindow, count_include_pad: bool
) -> Roundings:
    size = kernels.avg_pool2d_input_grad(np.abs(dy), x_shape, window, count_include_pad)
    n = math.prod(window.kernel)
    return Roundings(n + 1, size, n, n - 1)


def _global_avg_pool(y: Array, x: Array) -> Roundings:
    n = x.shape[2] * x.shape[3]
    return Roundings(n + 1, np.abs(x).mean(axis=(2, 3), keepdims=True), 1, n - 1)


def _batch_norm(
    y: Array, x: Array, mean: Array, var: Array, gamma: Array, beta: Array, *, eps: float
) -> Roundings:
    """r = 1 / sqrt(var + eps) has four roundings, gamma r five; then x, mean and beta.

    Also right where a kernel writes y = x s + (beta - mean s), s = gamma r.
    """
    shape = (-1,) + (1,) * (x.ndim - 2)
    scale = (np.abs(gamma) / np.sqrt(var + eps)).reshape(shape)
    size = (np.abs(x) + np.abs(mean).reshape(shape)) * scale + np.abs(beta).reshape(shape)
    return Roundings(8, size, 3 + np.abs(x) + np.abs(mean).reshape(shape))


def _batch_norm_train(
    y: Array, x: Array, gamma: Array, beta: Array, *, mean: Array, var: Array, eps: float
) -> Roundings:
    return _batch_norm(y, x, mean, var, gamma, beta, eps=eps)


def _batch_norm_train_dx(
    y: Array, dy: Array, x: Array, gamma: Array, *, mean: Array, var: Array, eps: float
) -> Roundings:
    """gamma r (dy - mean(dy) - x̂ mean(dy x̂)): two means of m values, and some twenty more."""
    axes, shape = (0, *range(2, x.ndim)), (-1,) + (1,) * (x.ndim - 2)
    r = 1 / np.sqrt(var + eps).reshape(shape)
    xhat, dy = (np.abs(x) + np.abs(mean).reshape(shape)) * r, np.abs(dy)
    along = (dy * xhat).mean(axis=axes, keepdims=True)
    size = dy + dy.mean(axis=axes, keepdims=True) + xhat * along
    m = x.size // max(x.shape[1], 1)
    return Roundings(m + 20, np.abs(gamma).reshape(shape) * r * size, m + 20, m - 1)


def _batch_norm_train_dgamma(
    y: Array, dy: Array, x: Array, *, mean: Array, var: Array, eps: float
) -> Roundings:
    """The sum of m products dy x̂, each x̂ with some six roundings."""
    axes, shape = (0, *range(2, x.ndim)), (-1,) + (1,) * (x.ndim - 2)
    r = 1 / np.sqrt(var + eps).reshape(shape)
    size = (np.abs(dy) * (np.abs(x) + np.abs(mean).reshape(shape)) * r).sum(axis=axes)
    m = x.size // max(x.shape[1], 1)
    return Roundings(m + 8, size, m + 8, m - 1)


_TABLE: dict[str, Callable[..., Roundings]] = {
    **dict.fromkeys(["add", "sub", "mul", "sqrt", "clamp", "pad", "astype"], _times(1)),
    "div": _times(2),  # or a product with the rounded reciprocal
    "hardsigmoid": _hardsigmoid,
    "hardswish": _hardswish,
    "exp": _exp,
    "log": _times(2 * ULPS),
    "tanh": _tanh,
    "pow": _pow,
    "power": _power,
    "sigmoid": _sigmoid,
    "silu": _silu,
    "line_slope": _line_slope,
    "curve_slope": _curve_slope,
    "softmax": _softmax,
    "softmax_input_grad": _softmax_input_grad,
    "log_softmax_input_grad": _log_softmax_input_grad,
    "log_softmax": _log_softmax,
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
