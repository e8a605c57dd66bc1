"""What ONNX's operators on elements, channels and matrices mean, as calls of minigrad's ops."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial, reduce
from typing import NamedTuple

import numpy as np

from minigrad import ops
from minigrad.errors import ShapeError
from minigrad.formats.numbers import Array
from minigrad.graphs.attributes import Attributes
from minigrad.tensor import Axes, Operand, Tensor

__all__ = [
    "absolutes", "batch_norm", "chain", "clip", "dropout", "elu", "gemm",
    "hard_sigmoid", "identity", "leaky_relu", "lengths", "log_exponentials", "log_sums", "mean",
    "plain", "prelu", "product", "reciprocal", "reduction", "rounding", "softmax", "squares",
    "swish",
]  # fmt: skip

Made = Callable[..., Tensor]
Prepare = Callable[[Attributes], Made]


def plain(function: Made) -> Prepare:
    """An operator without attributes."""

    def prepare(a: Attributes) -> Made:
        return function

    return prepare


def chain(function: Callable[[Operand, Operand], Tensor]) -> Prepare:
    """An operator on any number of operands: f(f(a, b), c) and so on."""

    def prepare(a: Attributes) -> Made:
        return partial(_chain, function)

    return prepare


def _chain(function: Callable[[Operand, Operand], Tensor], *xs: Tensor) -> Tensor:
    return reduce(function, xs) if len(xs) > 1 else xs[0]


def identity(x: Tensor) -> Tensor:
    """y = x."""
    return x


def dropout(a: Attributes) -> Made:
    """Dropout, which drops nothing in evaluation."""
    a.without("ratio", "seed")
    return _first


def _first(x: Tensor, *others: object) -> Tensor:
    return x


def clip(a: Attributes) -> Made:
    """Clip, whose limits are attributes before opset 11 and inputs from there on."""
    low = a.real("min", -math.inf) if a.opset < 11 else -math.inf
    high = a.real("max", math.inf) if a.opset < 11 else math.inf
    return partial(_clip, low, high)


def _clip(
    low: float, high: float, x: Tensor, least: Array | None = None, most: Array | None = None
) -> Tensor:
    low, high = _one(least, low), _one(most, high)
    if (low, high) == (0, 6):
        return ops.relu6(x)
    return x if (low, high) == (-math.inf, math.inf) else ops.clamp(x, low, high)


def _one(value: Array | None, default: float) -> float:
    if value is None:
        return default
    if value.size != 1:
        raise ShapeError(f"Clip: a limit is one number, got shape {value.shape}")
    return float(value.reshape(()))


def leaky_relu(a: Attributes) -> Made:
    """y = x for x > 0, else alpha x."""
    return partial(_leaky, a.real("alpha", 0.01))


def _leaky(alpha: float, x: Tensor) -> Tensor:
    return ops.leaky_relu(x, alpha)


def prelu(x: Tensor, slope: Tensor) -> Tensor:
    """y = x for x > 0, else slope x; the slope broadcasts to x."""
    channels = x.shape[1] if x.ndim > 1 else 0
    by_channel = (channels, *(1,) * (x.ndim - 2))
    if channels and (slope.size == 1 or slope.shape in (by_channel, (1, *by_channel))):
        return ops.prelu(x, ops.reshape(slope, -1))
    return ops.relu(x) - slope * ops.relu(-x)


def elu(a: Attributes) -> Made:
    """y = x for x > 0, else alpha (e^x - 1)."""
    return partial(_elu, a.real("alpha", 1.0))


def _elu(alpha: float, x: Tensor) -> Tensor:
    return ops.elu(x, alpha)


def swish(a: Attributes) -> Made:
    """y = x / (1 + e^(-alpha x))."""
    alpha = a.real("alpha", 1.0)
    return ops.silu if alpha == 1 else partial(_swish, alpha)


def _swish(alpha: float, x: Tensor) -> Tensor:
    return x * ops.sigmoid(alpha * x)


def rounding(how: str) -> Prepare:
    """Floor, Ceil, Round and Sign."""

    def prepare(a: Attributes) -> Made:
        return partial(_rounded, how)

    return prepare


def _rounded(how: str, x: Tensor) -> Tensor:
    return ops.rounded(x, how)


def reciprocal(x: Tensor) -> Tensor:
    """y = 1 / x."""
    return 1.0 / x


def mean(*xs: Tensor) -> Tensor:
    """The mean of several tensors, element by element."""
    return reduce(ops.add, xs) / len(xs)


def hard_sigmoid(a: Attributes) -> Made:
    """y = max(0, min(1, alpha x + beta)); for a sixth and a half there is an op."""
    alpha, beta = a.real("alpha", 0.2), a.real("beta", 0.5)
    if np.float32(alpha) == np.float32(1 / 6) and beta == 0.5:
        return ops.hardsigmoid
    return partial(_hard_sigmoid, alpha, beta)


def _hard_sigmoid(alpha: float, beta: float, x: Tensor) -> Tensor:
    return ops.clamp(x * alpha + beta, 0.0, 1.0)


def batch_norm(a: Attributes) -> Made:
    """BatchNormalization in evaluation."""
    eps = a.real("epsilon", 1e-5)
    a.without("momentum")
    a.only("spatial", 1, 1)
    a.only("training_mode", 0, 0)
    return partial(_batch_norm, eps)


def _batch_norm(
    eps: float, x: Tensor, scale: Tensor, bias: Tensor, mean: Tensor, var: Tensor
) -> Tensor:
    return ops.batch_norm(x, mean, var, scale, bias, eps=eps)


def gemm(a: Attributes) -> Made:
    """y = alpha A B + beta C, where A and B may be turned."""
    turned = bool(a.only("transA", 0, 0, 1)), bool(a.only("transB", 0, 0, 1))
    return partial(_gemm, a.real("alpha", 1.0), a.real("beta", 1.0), turned)


def _gemm(
    alpha: float,
    beta: float,
    turned: tuple[bool, bool],
    x: Tensor,
    w: Tensor,
    c: Tensor | None = None,
) -> Tensor:
    if x.ndim != 2 or w.ndim != 2:
        raise ShapeError(f"Gemm: A and B must have two axes, got {x.shape} and {w.shape}")
    x = ops.permute(x, 1, 0) if turned[0] else x
    w = w if turned[1] else ops.permute(w, 1, 0)
    if alpha == beta == 1 and c is not None and c.shape == w.shape[:1]:
        return ops.linear(x, w, c)
    y = ops.linear(x, w)
    y = y if alpha == 1 else y * alpha
    return y if c is None else y + (c if beta == 1 else c * beta)


def softmax(function: Callable[[Tensor, int], Tensor]) -> Prepare:
    """Softmax or LogSoftmax, over all axes from ``axis`` on before opset 13, then over one."""

    def prepare(a: Attributes) -> Made:
        old = a.opset < 13
        return partial(_softmax, function, a.integer("axis", 1 if old else -1), old)

    return prepare


def _softmax(function: Callable[[Tensor, int], Tensor], axis: int, flat: bool, x: Tensor) -> Tensor:
    if not -x.ndim <= axis < x.ndim:
        raise ShapeError(f"softmax: axis {axis} is out of range for shape {x.shape}")
    axis %= x.ndim
    if not flat or axis == x.ndim - 1:
        return function(x, axis)
    rows = ops.reshape(x, math.prod(x.shape[:axis]), math.prod(x.shape[axis:]))
    return ops.reshape(function(rows, 1), x.shape)


def reduction(
    function: Callable[..., Tensor], moved: int = 18, nothing: tuple[float, float] | None = None
) -> Prepare:
    """A sum, mean or maximum, whose axes are an input from opset ``moved`` on.

    ``nothing`` is the result over no numbers, and over no truth values, where the function has
    none.
    """

    def prepare(a: Attributes) -> Made:
        axes = a.integers("axes") if a.opset < moved else None
        keep = bool(a.only("keepdims", 1, 0, 1))
        idle = bool(a.only("noop_with_empty_axes", 0, 0, 1))
        empty = None if nothing is None else nothing[a.dtype(0) == "bool"]
        return partial(_reduce, function, axes, Reduction(keep, idle, empty))

    return prepare


class Reduction(NamedTuple):
    """Whether axes stay, whether no axes mean none, and what comes of no elements."""

    keep: bool
    idle: bool
    empty: float | None


def _reduce(
    function: Callable[..., Tensor],
    axes: Sequence[int] | None,
    how: Reduction,
    x: Tensor,
    given: Array | None = None,
) -> Tensor:
    axes = axes if given is None else tuple(given.reshape(-1).tolist())
    chosen: Axes = () if not axes and how.idle else tuple(axes) if axes else None
    if how.empty is not None and not x.size:
        return ops.full(ops.sum(x, chosen, how.keep).shape, how.empty, x.dtype)
    return function(x, axis=chosen, keepdims=how.keep)


def absolutes(x: Tensor, axis: Axes = None, keepdims: bool = False) -> Tensor:
    """ReduceL1."""
    return ops.sum(ops.absolute(x), axis, keepdims)


def squares(x: Tensor, axis: Axes = None, keepdims: bool = False) -> Tensor:
    """ReduceSumSquare."""
    return ops.sum(x * x, axis, keepdims)


def lengths(x: Tensor, axis: Axes = None, keepdims: bool = False) -> Tensor:
    """ReduceL2."""
    return ops.sqrt(squares(x, axis, keepdims))


def log_sums(x: Tensor, axis: Axes = None, keepdims: bool = False) -> Tensor:
    """ReduceLogSum."""
    return ops.log(ops.sum(x, axis, keepdims))


def log_exponentials(x: Tensor, axis: Axes = None, keepdims: bool = False) -> Tensor:
    """ReduceLogSumExp, with the maximum taken out."""
    if not x.size:
        return ops.full(ops.sum(x, axis, keepdims).shape, -math.inf, x.dtype)
    top = ops.max(x, axis=axis, keepdims=True)
    total = ops.log(ops.sum(ops.exp(x - top), axis=axis, keepdims=True)) + top
    return total if keepdims else ops.reshape(total, ops.sum(x, axis).shape)


def product(x: Tensor, axis: Axes = None, keepdims: bool = False) -> Tensor:
    """ReduceProd: halves of an axis multiplied with each other until it is 1 long."""
    axes = range(x.ndim) if axis is None else [axis] if isinstance(axis, int) else axis
    shape = ops.sum(x, axis, keepdims).shape
    for k in sorted(place % x.ndim for place in axes):
        if x.shape[k] == 0:
            return ops.ones(*shape, dtype=x.dtype)
        while (n := x.shape[k]) > 1:
            half = n // 2
            ends = ((0, half), (half, 2 * half), (2 * half, n))
            first, second, rest = (ops.getitem(x, _part(k, *end)) for end in ends)
            x = ops.concat([first * second, rest], k) if n % 2 else first * second
    return ops.reshape(x, shape)


def _part(axis: int, start: int, end: int) -> tuple[slice, ...]:
    """The index of a part of an axis."""
    return (*(slice(None),) * axis, slice(start, end))
