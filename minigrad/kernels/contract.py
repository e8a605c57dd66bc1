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
dispatched (``checks``); backends assume that they fit.

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

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np

from minigrad.arrays import Array
from minigrad.geometry import KINDS, PoolWindow, classify
from minigrad.kernels import checks
from minigrad.kernels.checks import check_places, misplaced, one_dtype, same_shape
from minigrad.kernels.tables import CHAIN, FUNCTIONS_OF_ONE, INNER, PIXELS

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
    "functions_of_one",
    "ieee",
    "in_one_order",
    "misplaced",
    "one_dtype",
    "same_shape",
]

# What overflows is infinite and what is undefined is NaN, as IEEE 754 and PyTorch have it,
# without NumPy's warnings: a decorator of functions that compute with NumPy.
ieee = np.errstate(all="ignore")


def in_one_order(x: Array) -> tuple[Array, Array]:
    """(x, y) for a function of one number: y is new, in the memory order of x, both contiguous.

    x is copied where it has gaps, repetitions or odd addresses.
    """
    y = np.empty_like(x, subok=False)
    if x.strides == y.strides and x.flags.aligned:
        return x, y
    x = x.copy(order="K")
    return x, np.empty_like(x, subok=False)


def functions_of_one(
    function: Callable[[str], Callable[..., Array]],
    input_grad: Callable[[str], Callable[..., Array]],
) -> dict[str, Callable[..., Array]]:
    """The functions of one number and their slopes by name, each made from its name."""
    made = {f.name: function(f.name) for f in FUNCTIONS_OF_ONE}
    made |= {f.input_grad: input_grad(f.input_grad) for f in FUNCTIONS_OF_ONE if f.slope}
    for name, one in made.items():
        one.__name__ = one.__qualname__ = name
    return made


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
    "conv2d": _function("x w bias spec", checks.conv2d, True),
    "conv2d_input_grad": _function("g w x_shape spec", checks.conv2d_input_grad, True),
    "conv2d_weight_grad": _function("g x w_shape spec", checks.conv2d_weight_grad, True),
    **{f.name: _function("x", partial(checks.floats, f.name)) for f in FUNCTIONS_OF_ONE},
    **{
        f.input_grad: _function(f"g {f.slope}", checks.slope(f.input_grad, f.slope))
        for f in FUNCTIONS_OF_ONE
        if f.slope
    },
    **{
        name: _function("x", checks.along_the_last_axis(name))
        for name in ("softmax", "log_softmax")
    },
    **{
        name: _function("g y", checks.slope_along_the_last_axis(name))
        for name in ("softmax_input_grad", "log_softmax_input_grad")
    },
    "sum": _function("x axes keepdims", checks.sum),
    "linear": _function("x w bias", checks.linear),
    "batch_norm": _function("x mean var gamma beta eps", checks.batch_norm),
    "batch_norm_statistics": _function("x", checks.batch_norm_statistics),
    "batch_norm_sums": _function("g x mean var eps", checks.batch_norm_sums),
    "batch_norm_input_grad": _function("g x mean var gamma eps", checks.batch_norm_input_grad),
    "max_pool2d": _function("x window", checks.max_pool2d),
    "max_pool2d_gather": _function("x index", checks.max_pool2d_gather),
    "max_pool2d_input_grad": _function("g index x_shape", checks.max_pool2d_input_grad),
    "avg_pool2d": _function("x window count_include_pad", checks.avg_pool2d),
    "avg_pool2d_input_grad": _function(
        "g x_shape window count_include_pad", checks.avg_pool2d_input_grad
    ),
    "global_avg_pool": _function("x", checks.global_avg_pool),
}
CONV_FUNCTIONS = tuple(name for name, f in FUNCTIONS.items() if f.by_kind)
