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

A softmax sums its exponentials as a row, and its gradient its products.  A global average is
the sum over axes (2, 3), divided by H W.  The statistics of BatchNorm sum x, then the squares
of x less the unrounded mean; ``batch_norm_sums`` sums g and g (x - mean), and multiplies
the second by 1 / sqrt(var + eps), in float64.  linear is a pointwise convolution on a map of
one pixel.

A backend is a module with functions of these names; a function that serves one kind
only carries the kind in front (``depthwise_conv2d``).  What a backend lacks goes to the
next one in its chain (``minigrad.kernels.CHAINS``).

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

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np

from minigrad.errors import DtypeError, ShapeError
from minigrad.geometry import ConvSpec, Pads, Pair, conv_output_shape, output_size
from minigrad.kernels.tables import CHAIN, INNER, PIXELS

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
    "PoolWindow",
    "check_conv2d",
    "check_input_grad",
    "check_like",
    "check_weight_grad",
    "classify",
    "in_one_order",
    "one_dtype",
]

Array: TypeAlias = "npt.NDArray[Any]"
KINDS = ("pointwise", "depthwise", "dense", "general")
CONV_FUNCTIONS = ("conv2d", "conv2d_input_grad", "conv2d_weight_grad")
FUNCTIONS = (
    "relu", "relu6", "hardsigmoid", "hardswish", "sigmoid", "silu", "tanh", "exp", "log",
    "softmax", "log_softmax", "sum", "linear",
    "relu_input_grad", "relu6_input_grad", "hardsigmoid_input_grad", "hardswish_input_grad",
    "sigmoid_input_grad", "silu_input_grad", "tanh_input_grad",
    "softmax_input_grad", "log_softmax_input_grad",
    "batch_norm", "batch_norm_statistics", "batch_norm_sums", "batch_norm_input_grad",
    "max_pool2d", "max_pool2d_gather", "max_pool2d_input_grad",
    "avg_pool2d", "avg_pool2d_input_grad", "global_avg_pool",
)  # fmt: skip


class PoolWindow(NamedTuple):
    """The window of a pool: a ConvSpec without channels, and how sizes are rounded."""

    kernel: Pair
    stride: Pair
    padding: Pads = ((0, 0), (0, 0))
    dilation: Pair = (1, 1)
    ceil_mode: bool = False

    def output_shape(self, x_shape: Sequence[int]) -> tuple[int, int, int, int]:
        """(N, C, Ho, Wo) of the pooled map."""
        if len(x_shape) != 4:
            raise ShapeError(f"pool2d: x must be (N, C, H, W), got shape {tuple(x_shape)}")
        ho, wo = (
            output_size(*args, self.ceil_mode)
            for args in zip(
                x_shape[2:], self.kernel, self.stride, self.padding, self.dilation, strict=True
            )
        )
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


def one_dtype(function: str, **arrays: Array | None) -> np.dtype[Any]:
    """The float dtype that all given arrays share, or a DtypeError naming each."""
    dtypes = {name: a.dtype for name, a in arrays.items() if a is not None}
    first = next(iter(dtypes.values()))
    if any(d != first for d in dtypes.values()) or first not in (np.float32, np.float64):
        got = ", ".join(f"{name} is {d}" for name, d in dtypes.items())
        raise DtypeError(f"{function} takes float32 or float64, one for all arrays; {got}")
    return first


def check_like(function: str, g: Array, at: Array) -> None:
    """g has the dtype and the shape of ``at``, the x or y that tells the slope."""
    one_dtype(function, g=g, at=at)
    if g.shape != at.shape:
        raise ShapeError(f"{function}: g must have the shape {at.shape}, got {g.shape}")


def in_one_order(x: Array) -> tuple[Array, Array]:
    """(x, y) with y new and in the memory order of x, of which both are without gaps.

    x is copied where it has gaps, repetitions or odd addresses.
    """
    y = np.empty_like(x, subok=False)
    if x.strides == y.strides and x.flags.aligned:
        return x, y
    x = x.copy(order="K")
    return x, np.empty_like(x, subok=False)


def check_conv2d(
    x: Array, w: Array, bias: Array | None, spec: ConvSpec
) -> tuple[int, int, int, int]:
    """Shape of conv2d(x, w, bias, spec), or the error that says what does not fit."""
    one_dtype("conv2d", x=x, w=w, bias=bias)
    _check_pair("conv2d", x.shape, w.shape, spec)
    if bias is not None and bias.shape != w.shape[:1]:
        raise ShapeError(f"conv2d: bias must be ({w.shape[0]},) for w {w.shape}, got {bias.shape}")
    return conv_output_shape(x.shape, w.shape, spec)


def check_input_grad(g: Array, w: Array, x_shape: Sequence[int], spec: ConvSpec) -> None:
    """Check a call of conv2d_input_grad(g, w, x_shape, spec)."""
    one_dtype("conv2d_input_grad", g=g, w=w)
    _check_cotangent("conv2d_input_grad", g.shape, x_shape, w.shape, spec)


def check_weight_grad(g: Array, x: Array, w_shape: Sequence[int], spec: ConvSpec) -> None:
    """Check a call of conv2d_weight_grad(g, x, w_shape, spec)."""
    one_dtype("conv2d_weight_grad", g=g, x=x)
    _check_cotangent("conv2d_weight_grad", g.shape, x.shape, w_shape, spec)


def _check_pair(function: str, x: Sequence[int], w: Sequence[int], spec: ConvSpec) -> None:
    fits = len(x) == 4 and len(w) == 4 and x[1] == w[1] * spec.groups and not w[0] % spec.groups
    if not fits or min(w[2:]) < 1:
        raise ShapeError(
            f"{function}: x (N, Cin, H, W) = {tuple(x)} and w (Cout, Cin/groups, kh, kw) = "
            f"{tuple(w)} do not fit with groups={spec.groups}"
        )


def _check_cotangent(
    function: str, g: Sequence[int], x: Sequence[int], w: Sequence[int], spec: ConvSpec
) -> None:
    _check_pair(function, x, w, spec)
    expected = conv_output_shape(x, w, spec)
    if tuple(g) != expected:
        raise ShapeError(f"{function}: g must have the output's shape {expected}, got {tuple(g)}")
