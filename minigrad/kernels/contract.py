"""The contract of a kernel: ndarray in, ndarray out, one meaning for every backend.

One trilinear form says what a convolution is.  With ch(o, i) the input channel that
channel i of output o's group stands for,

    T(x, w, g) = sum_{n,o,p,q} g[n,o,p,q] sum_{i,a,b} w[o,i,a,b]
                     x[n, ch(o,i), p s - P + a d, q s' - P' + b d'],

terms outside x left out.  Hold two arguments, and what the third is multiplied with is
one of the three functions that every kind of convolution has:

    conv2d(x, w, bias, spec)                 y[n,o,p,q]   = bias[o] + dT/dg
    conv2d_input_grad(g, w, x_shape, spec)   dx[n,i,h,v]  = dT/dx
    conv2d_weight_grad(g, x, w_shape, spec)  dw[o,i,a,b]  = dT/dw

The compiled backends start every sum from the bias or +0 and add its terms, one fused
multiply-add each, in one order: (a, b, i) ascending forward, (a, b, o) ascending in the
input gradient, (n, p, q) ascending in the weight gradient.

**Long sums** are cut into blocks by the shape alone, and the sums of blocks are added in two
words: hi takes a block's sum, lo what was lost in rounding (Knuth's TwoSum),

    s = hi + b;  t = s - hi;  lo += (hi - (s - t)) + (b - t);  hi = s,       in the end hi + lo,

or hi alone where it has become infinite and lo NaN.  Every block starts from +0.

* Sums of values (sum, means, statistics, pools, softmax) are float64 for either dtype, over
  all their axes together in row-major order, and rounded once, at the end; what divides them
  divides them before.  A product in such a sum is a fused multiply-add.  A sum that keeps the
  last axis of x, or the channels (axis 1) of a 4-D map, has blocks of CHAIN terms, each one
  chain.  Any other sum has blocks of 16 CHAIN terms; chain c of 16 takes the terms c, c + 16,
  c + 32, ..., and the chains are added in pairs that lie 8, 4, 2 and 1 apart.
* In a weight gradient the rows of g are numbered over the whole batch, r = n Ho + p.  A block
  is max(PIXELS // Wo, 1) successive rows; where Wo exceeds PIXELS, that many pixels of one
  row.  A block is one chain in the arrays' dtype, as are the two words.
* linear has blocks of INNER inputs, the first of which starts from the bias.

The gradient of a max pool is one chain of the given dtype, the windows in order; who calls it
with many windows over one pixel gives it float64 (``ops.pool``).

A softmax sums its exponentials as a row, and its gradient its products.  A global average is
the sum over axes (2, 3), divided by H W.  The statistics of BatchNorm sum x, then the squares
of x less the unrounded mean; ``batch_norm_sums`` sums g and g (x - mean), and multiplies
the second by 1 / sqrt(var + eps), in float64.  linear is a pointwise convolution on a map of
one pixel.

A backend is a package with functions of these names; a function that serves one kind
only carries the kind in front (``depthwise_conv2d``).  What a backend lacks goes to the
next one in its chain (``dispatch.CHAINS``).  Arguments are checked once, where a call is
dispatched, by the ``check`` that ``FUNCTIONS`` names; backends assume that they fit.

Every kernel takes float32 or float64, all arrays of one dtype, of any strides
(read-only, unaligned, channels-last, with empty batches), and returns a new array of
that dtype; it writes to nothing else.  Logical shapes are NCHW; in what order the
result lies in memory is the backend's choice.

The other functions of the contract, all with the same rules (x is (N, C, H, W) or, where
the operation does not care, of any shape):

    relu relu6 hardsigmoid hardswish sigmoid silu tanh exp log   (x) -> y
    softmax log_softmax      (x) -> y along the last axis
    relu_input_grad relu6_input_grad sigmoid_input_grad tanh_input_grad     (g, y) -> dx = g f'(x)
    hardsigmoid_input_grad hardswish_input_grad silu_input_grad             (g, x) -> dx = g f'(x)
    softmax_input_grad log_softmax_input_grad                               (g, y) -> dx
    sum                      (x, axes, keepdims) -> y
    linear                   (x, w, bias) -> y      x (N, I), w (O, I): y = x w^T + bias
    batch_norm               (x, mean, var, gamma, beta, eps) -> y    per channel, axis 1
    batch_norm_statistics    (x) -> (mean, var)    of each channel of a batch, var biased
    batch_norm_sums          (g, x, mean, var, eps) -> (sum g, sum g x^)
    batch_norm_input_grad    (g, x, mean, var, gamma, eps) -> dx    mean and var being x's own
    max_pool2d               (x, window) -> (y, index)   index: flat h W + v of the maximum
    max_pool2d_gather        (x, index) -> y
    max_pool2d_input_grad    (g, index, x_shape) -> dx
    avg_pool2d               (x, window, count_include_pad) -> y
    avg_pool2d_input_grad    (g, x_shape, window, count_include_pad) -> dx
    global_avg_pool          (x) -> y  (N, C, 1, 1)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np

from minigrad.arguments import LARGEST, quoted
from minigrad.errors import DtypeError, ShapeError
from minigrad.geometry import ConvSpec, Pads, Pair, conv_output_shape, output_size
from minigrad.kernels.tables import CHAIN, FUNCTIONS_OF_ONE, INNER, PIXELS

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = [
    "CHAIN",
    "CONV_FUNCTIONS",
    "FUNCTIONS",
    "INNER",
    "KINDS",
    "PIXELS",
    "Array",
    "Function",
    "PoolWindow",
    "check_places",
    "classify",
    "ieee",
    "in_one_order",
    "misplaced",
    "one_dtype",
    "same_shape",
]

Array: TypeAlias = "npt.NDArray[Any]"
KINDS = ("pointwise", "depthwise", "dense", "general")
_FLOATS = (np.dtype(np.float32), np.dtype(np.float64))


class PoolWindow(NamedTuple):
    """The window of a pool: a ConvSpec without channels, and how sizes are rounded."""

    kernel: Pair
    stride: Pair
    padding: Pads = ((0, 0), (0, 0))
    dilation: Pair = (1, 1)
    ceil_mode: bool = False

    def output_shape(self, x_shape: Sequence[int]) -> tuple[int, int, int, int]:
        """(N, C, Ho, Wo) of the pooled map."""
        return _pooled_shape(tuple(x_shape), self)


@lru_cache(maxsize=4096)
def _pooled_shape(x_shape: Sequence[int], window: PoolWindow) -> tuple[int, int, int, int]:
    if len(x_shape) != 4:
        raise ShapeError(f"pool2d: x must be (N, C, H, W), got shape {x_shape}")
    kernel, stride, padding, dilation, ceil_mode = window
    axes = zip(x_shape[2:], kernel, stride, padding, dilation, strict=True)
    ho, wo = (output_size(*axis, ceil_mode) for axis in axes)
    return x_shape[0], x_shape[1], ho, wo


def classify(spec: ConvSpec, w_shape: Sequence[int]) -> str:
    """The kind of a convolution: which loops of T fall away.

    >>> classify(ConvSpec(), (96, 16, 1, 1)), classify(ConvSpec(groups=96), (96, 1, 3, 3))
    ('pointwise', 'depthwise')
    >>> classify(ConvSpec(), (32, 16, 3, 1)), classify(ConvSpec(groups=2), (32, 8, 3, 3))
    ('dense', 'general')
    """
    cout, cin_per_group, kh, kw = w_shape
    if spec.groups == 1:
        unpadded = spec.padding == ((0, 0), (0, 0))
        return "pointwise" if (kh, kw) == (1, 1) and unpadded else "dense"
    if spec.groups == cout and cin_per_group == 1:
        return "depthwise"
    return "general"


def one_dtype(function: str, **arrays: Array | None) -> np.dtype[np.generic]:
    """The float dtype that all given arrays share, or a DtypeError naming each."""
    dtypes = [a.dtype for a in arrays.values() if a is not None]
    first = dtypes[0]
    if first not in _FLOATS or dtypes.count(first) != len(dtypes):
        given = ((name, a.dtype) for name, a in arrays.items() if a is not None)
        got = ", ".join(f"{name} is {d}" for name, d in given)
        raise DtypeError(f"{function} takes float32 or float64, one for all arrays; {got}")
    return first


# What overflows is infinite and what is undefined is NaN, as IEEE 754 and PyTorch have it,
# without NumPy's warnings: a decorator of functions that compute with NumPy.
ieee = np.errstate(all="ignore")


def in_one_order(x: Array) -> tuple[Array, Array]:
    """(x, y) with y new and in the memory order of x, of which both are without gaps.

    x is copied where it has gaps, repetitions or odd addresses.
    """
    y = np.empty_like(x, subok=False)
    if x.strides == y.strides and x.flags.aligned:
        return x, y
    x = x.copy(order="K")
    return x, np.empty_like(x, subok=False)


def same_shape(function: str, g: Array, like: Array, name: str) -> None:
    """g has the shape of ``like``, which the argument ``name`` is."""
    if g.shape != like.shape:
        raise ShapeError(f"{function}: g must have the shape {like.shape} of {name}, got {g.shape}")


def misplaced(function: str, x_shape: Sequence[int]) -> ShapeError:
    """The error of an index that lies outside of its map, which is found while it is used."""
    return ShapeError(f"{function}: an index lies outside of the map {tuple(x_shape[2:])}")


def check_places(function: str, index: Array, x_shape: Sequence[int]) -> None:
    """Every index lies in its map, for kernels that do not see it while they use it."""
    if index.size and not (index.min() >= 0 and index.max() < x_shape[2] * x_shape[3]):
        raise misplaced(function, x_shape)


# ---------------------------------------------------------------- what a call must fulfil


def check_conv2d(x: Array, w: Array, bias: Array | None, spec: ConvSpec) -> None:
    """x (N, Cin, H, W), w (Cout, Cin/groups, kh, kw), bias (Cout,) or None."""
    one_dtype("conv2d", x=x, w=w, bias=bias)
    _check_pair("conv2d", x.shape, w.shape, spec)
    if bias is not None and bias.shape != w.shape[:1]:
        raise ShapeError(f"conv2d: bias must be ({w.shape[0]},) for w {w.shape}, got {bias.shape}")


def check_input_grad(g: Array, w: Array, x_shape: Sequence[int], spec: ConvSpec) -> None:
    """g (N, Cout, Ho, Wo), w (Cout, Cin/groups, kh, kw)."""
    one_dtype("conv2d_input_grad", g=g, w=w)
    _check_cotangent("conv2d_input_grad", g.shape, x_shape, w.shape, spec)


def check_weight_grad(g: Array, x: Array, w_shape: Sequence[int], spec: ConvSpec) -> None:
    """g (N, Cout, Ho, Wo), x (N, Cin, H, W)."""
    one_dtype("conv2d_weight_grad", g=g, x=x)
    _check_cotangent("conv2d_weight_grad", g.shape, x.shape, w_shape, spec)


@lru_cache(maxsize=4096)
def _check_window(
    function: str, strides: Pair, padding: Pads, dilation: Pair, groups: int = 1
) -> None:
    """The numbers of a window are what a kernel can count with."""
    for name, least, values in (
        ("stride", 1, strides), ("dilation", 1, dilation), ("groups", 1, (groups,)),
        ("padding", 0, (*padding[0], *padding[1])),
    ):  # fmt: skip
        if min(values) < least or max(values) > LARGEST:
            raise ShapeError(
                f"{function}: {name} must be from {least} to {LARGEST}, got {quoted(values)}"
            )


@lru_cache(maxsize=4096)
def _check_pair(function: str, x: Sequence[int], w: Sequence[int], spec: ConvSpec) -> None:
    """x and w are what ``spec`` can be a convolution of; remembered, as calls repeat."""
    _check_window(function, *spec)
    fits = len(x) == 4 and len(w) == 4 and x[1] == w[1] * spec.groups and not w[0] % spec.groups
    if not fits or min(w[2:]) < 1:
        raise ShapeError(
            f"{function}: x (N, Cin, H, W) = {tuple(x)} and w (Cout, Cin/groups, kh, kw) = "
            f"{tuple(w)} do not fit with groups={spec.groups}"
        )
    conv_output_shape(x, w, spec)


def _check_cotangent(
    function: str, g: Sequence[int], x: Sequence[int], w: Sequence[int], spec: ConvSpec
) -> None:
    x, w = tuple(x), tuple(w)
    _check_pair(function, x, w, spec)
    expected = conv_output_shape(x, w, spec)
    if tuple(g) != expected:
        raise ShapeError(f"{function}: g must have the output's shape {expected}, got {tuple(g)}")


def _check_float(function: str, x: Array) -> None:
    """x is of float32 or float64."""
    if x.dtype not in _FLOATS:
        one_dtype(function, x=x)  # which says so


def _slope(function: str, name: str) -> Callable[[Array, Array], None]:
    def check(g: Array, at: Array) -> None:
        one_dtype(function, g=g, **{name: at})
        same_shape(function, g, at, name)

    return check


def _along_the_last_axis(function: str) -> Callable[[Array], None]:
    def check(x: Array) -> None:
        _check_float(function, x)
        _check_an_axis(function, "x", x)

    return check


def _slope_along_the_last_axis(function: str) -> Callable[[Array, Array], None]:
    slope = _slope(function, "y")

    def check(g: Array, y: Array) -> None:
        slope(g, y)
        _check_an_axis(function, "y", y)

    return check


def _check_an_axis(function: str, name: str, x: Array) -> None:
    if x.ndim == 0:
        raise ShapeError(f"{function}: {name} must have an axis, got shape ()")


def check_sum(x: Array, axes: Sequence[int], keepdims: bool) -> None:
    """Axes of x, each once."""
    _check_float("sum", x)
    if axes == tuple(range(x.ndim)):
        return
    if not all(-x.ndim <= a < x.ndim for a in axes) or len({a % x.ndim for a in axes}) != len(axes):
        raise ShapeError(f"sum: axes must be axes of x {x.shape}, each once, got {tuple(axes)}")


def check_linear(x: Array, w: Array, bias: Array | None) -> None:
    """x (N, I), w (O, I), bias (O,) or None."""
    one_dtype("linear", x=x, w=w, bias=bias)
    if x.ndim != 2 or w.ndim != 2 or x.shape[1] != w.shape[1]:
        raise ShapeError(f"linear: x (N, I) = {x.shape} and w (O, I) = {w.shape} do not fit")
    if bias is not None and bias.shape != w.shape[:1]:
        raise ShapeError(f"linear: bias must be ({w.shape[0]},), got {bias.shape}")


def _check_vectors(function: str, x: Array, **vectors: Array) -> None:
    """x (N, C, ...), and vectors of one number a channel."""
    one_dtype(function, x=x, **vectors)
    if x.ndim < 2:
        raise ShapeError(f"{function}: x must be (N, C, ...), got shape {x.shape}")
    for name, v in vectors.items():
        if v.shape != (x.shape[1],):
            raise ShapeError(f"{function}: {name} must be ({x.shape[1]},), got {v.shape}")


def check_batch_norm(
    x: Array, mean: Array, var: Array, gamma: Array, beta: Array, eps: float
) -> None:
    """x (N, C, ...), and four vectors (C,)."""
    _check_vectors("batch_norm", x, mean=mean, var=var, gamma=gamma, beta=beta)


def check_batch_norm_statistics(x: Array) -> None:
    """x (N, C, ...)."""
    _check_vectors("batch_norm_statistics", x)


def check_batch_norm_sums(g: Array, x: Array, mean: Array, var: Array, eps: float) -> None:
    """g and x (N, C, ...), and two vectors (C,)."""
    _check_vectors("batch_norm_sums", x, mean=mean, var=var)
    _check_g("batch_norm_sums", g, x)


def check_batch_norm_input_grad(
    g: Array, x: Array, mean: Array, var: Array, gamma: Array, eps: float
) -> None:
    """g and x (N, C, ...), and three vectors (C,)."""
    _check_vectors("batch_norm_input_grad", x, mean=mean, var=var, gamma=gamma)
    _check_g("batch_norm_input_grad", g, x)


def _check_g(function: str, g: Array, x: Array) -> None:
    one_dtype(function, g=g, x=x)
    same_shape(function, g, x, "x")


def _check_pool(function: str, x_shape: Sequence[int], window: PoolWindow) -> None:
    _check_pool_of(function, tuple(x_shape), window)


@lru_cache(maxsize=4096)
def _check_pool_of(function: str, x_shape: Sequence[int], window: PoolWindow) -> None:
    _check_window(function, window.stride, window.padding, window.dilation)
    if not 1 <= min(window.kernel) <= max(window.kernel) <= LARGEST:
        raise ShapeError(f"{function}: kernel must be from 1 to {LARGEST}, got {window.kernel}")
    window.output_shape(x_shape)


def check_max_pool2d(x: Array, window: PoolWindow) -> None:
    """x (N, C, H, W), of fewer than 2^31 positions, which an index numbers."""
    _check_float("max_pool2d", x)
    _check_pool("max_pool2d", x.shape, window)
    if x.shape[2] * x.shape[3] > LARGEST:
        raise ShapeError(f"max_pool2d: a map of {x.shape[2:]} has too many positions to number")


def _check_index(function: str, index: Array, x_shape: Sequence[int]) -> None:
    if index.ndim != 4 or len(x_shape) != 4 or index.shape[:2] != tuple(x_shape[:2]):
        raise ShapeError(f"{function}: index {index.shape} does not fit a map {tuple(x_shape)}")
    if index.dtype.kind not in "iu":
        raise DtypeError(f"{function}: index must be of integers, got {index.dtype}")


def check_max_pool2d_gather(x: Array, index: Array) -> None:
    """x (N, C, H, W), index (N, C, Ho, Wo) of integers."""
    _check_float("max_pool2d_gather", x)
    _check_index("max_pool2d_gather", index, x.shape)


def check_max_pool2d_input_grad(g: Array, index: Array, x_shape: Sequence[int]) -> None:
    """g and index (N, C, Ho, Wo)."""
    one_dtype("max_pool2d_input_grad", g=g)
    _check_index("max_pool2d_input_grad", index, x_shape)
    same_shape("max_pool2d_input_grad", g, index, "index")


def check_avg_pool2d(x: Array, window: PoolWindow, count_include_pad: bool = True) -> None:
    """x (N, C, H, W)."""
    _check_float("avg_pool2d", x)
    _check_pool("avg_pool2d", x.shape, window)


def check_avg_pool2d_input_grad(
    g: Array, x_shape: Sequence[int], window: PoolWindow, count_include_pad: bool = True
) -> None:
    """g (N, C, Ho, Wo), the shape that the window makes of x."""
    one_dtype("avg_pool2d_input_grad", g=g)
    _check_pool("avg_pool2d_input_grad", x_shape, window)
    expected = window.output_shape(x_shape)
    if g.shape != expected:
        raise ShapeError(f"avg_pool2d_input_grad: g must be {expected}, got {g.shape}")


def check_global_avg_pool(x: Array) -> None:
    """x (N, C, H, W)."""
    _check_float("global_avg_pool", x)
    if x.ndim != 4:
        raise ShapeError(f"global_avg_pool: x must be (N, C, H, W), got shape {x.shape}")


# ---------------------------------------------------------------- every function once


class Function(NamedTuple):
    """One function of the contract.

    Attributes
    ----------
    arguments : tuple of str
        In order.
    check : callable
        Takes the arguments; raises a ShapeError or DtypeError where they do not fit.
    by_kind : bool
        Whether a backend may have one of its own for each kind of convolution.
    """

    arguments: tuple[str, ...]
    check: Callable[..., None]
    by_kind: bool = False


def _function(arguments: str, check: Callable[..., None], by_kind: bool = False) -> Function:
    return Function(tuple(arguments.split()), check, by_kind)


FUNCTIONS: dict[str, Function] = {
    "conv2d": _function("x w bias spec", check_conv2d, True),
    "conv2d_input_grad": _function("g w x_shape spec", check_input_grad, True),
    "conv2d_weight_grad": _function("g x w_shape spec", check_weight_grad, True),
    **{f.name: _function("x", partial(_check_float, f.name)) for f in FUNCTIONS_OF_ONE},
    **{
        f.input_grad: _function(f"g {f.slope}", _slope(f.input_grad, f.slope))
        for f in FUNCTIONS_OF_ONE
        if f.slope
    },
    **{name: _function("x", _along_the_last_axis(name)) for name in ("softmax", "log_softmax")},
    **{
        name: _function("g y", _slope_along_the_last_axis(name))
        for name in ("softmax_input_grad", "log_softmax_input_grad")
    },
    "sum": _function("x axes keepdims", check_sum),
    "linear": _function("x w bias", check_linear),
    "batch_norm": _function("x mean var gamma beta eps", check_batch_norm),
    "batch_norm_statistics": _function("x", check_batch_norm_statistics),
    "batch_norm_sums": _function("g x mean var eps", check_batch_norm_sums),
    "batch_norm_input_grad": _function("g x mean var gamma eps", check_batch_norm_input_grad),
    "max_pool2d": _function("x window", check_max_pool2d),
    "max_pool2d_gather": _function("x index", check_max_pool2d_gather),
    "max_pool2d_input_grad": _function("g index x_shape", check_max_pool2d_input_grad),
    "avg_pool2d": _function("x window count_include_pad", check_avg_pool2d),
    "avg_pool2d_input_grad": _function(
        "g x_shape window count_include_pad", check_avg_pool2d_input_grad
    ),
    "global_avg_pool": _function("x", check_global_avg_pool),
}
CONV_FUNCTIONS = tuple(name for name, f in FUNCTIONS.items() if f.by_kind)
