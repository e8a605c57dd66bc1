"""The operations on Tensors, which are also their methods.

Each file is one idea: its formula, the primitives with their shape rules and VJP rules, and
the public functions, which check their arguments.

    creation        new tensors
    elementwise     a + b and its like: a rule for each argument
    selection       masks, the larger of two, bounds
    comparison      comparisons, integers nearby
    powers          powers, exponentials, logarithms
    activation      functions of one element that networks use
    leaks           activations that leak below 0
    probability     the softmax, and its logarithm
    shaping         other shapes for the same elements
    axes            axes in another order, axes that repeat
    blocks          channels that become pixels
    indexing        slices, and their transpose
    joining         one after another
    casting         to another dtype
    fixed_point     integers of quantised networks, which graphs alone use
    reduction       sums, means, variances
    extrema         maxima, minima, and where they are
    ranking         the k largest, and where they are
    products        products of matrices
    conv            convolution as one trilinear form
    pool            windows' maxima and means
    scattering      sums at places, the transposes of reading
    resampling      maps in another size
    transposed      convolution that scatters
    suppression     boxes that lie over better ones
    normalization   batch norm
    regularization  noise on purpose
    loss            what is minimised

What may be changed: a forward or a rule that still fulfils its case (tests/test_cases.py,
tests/test_bits.py). Names and arguments stay; a new primitive needs a row in
``verify/cases``.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from types import ModuleType
from typing import TYPE_CHECKING

from minigrad.kernels.tables import ACTIVATIONS

if TYPE_CHECKING:
    from minigrad.ops.activation import *
    from minigrad.ops.axes import broadcast_to, permute, sum_to, transpose
    from minigrad.ops.blocks import depth_to_space, space_to_depth
    from minigrad.ops.casting import astype
    from minigrad.ops.comparison import choose, compare, dequantize, quantize, rounded
    from minigrad.ops.conv import conv2d, conv2d_input_grad, conv2d_weight_grad
    from minigrad.ops.creation import full, ones, ones_like, randn, zeros, zeros_like
    from minigrad.ops.elementwise import add, div, mul, neg, sub
    from minigrad.ops.extrema import argmax, argmin, max, min
    from minigrad.ops.indexing import embed, getitem
    from minigrad.ops.joining import concat, stack
    from minigrad.ops.leaks import elu, leaky_relu, prelu
    from minigrad.ops.loss import cross_entropy, mse_loss
    from minigrad.ops.normalization import batch_norm
    from minigrad.ops.pool import avg_pool2d, global_avg_pool, max_pool2d
    from minigrad.ops.powers import exp, log, power, sqrt
    from minigrad.ops.probability import log_softmax, softmax
    from minigrad.ops.products import linear, matmul
    from minigrad.ops.ranking import places, take_along, topk
    from minigrad.ops.reduction import mean, std, sum, var
    from minigrad.ops.regularization import dropout, stochastic_depth
    from minigrad.ops.resampling import resize
    from minigrad.ops.selection import absolute, clamp, mask, maximum, minimum, where
    from minigrad.ops.shaping import clone, flatten, pad, reshape, squeeze, unsqueeze
    from minigrad.ops.suppression import non_max_suppression
    from minigrad.ops.transposed import conv_transpose2d
    from minigrad.tensor import Tensor

__all__ = [
    "absolute", "add", "argmax", "argmin", "astype", "avg_pool2d", "batch_norm", "broadcast_to",
    "choose", "clamp", "clone", "compare", "concat", "conv2d", "conv2d_input_grad",
    "conv2d_weight_grad", "conv_transpose2d", "cross_entropy", "depth_to_space", "dequantize",
    "div", "dropout", "elu", "embed", "exp", "flatten", "full", "getitem", "global_avg_pool",
    "leaky_relu", "linear", "log", "log_softmax", "mask", "matmul", "max", "max_pool2d",
    "maximum", "mean", "min", "minimum", "mse_loss", "mul", "neg", "non_max_suppression",
    "ones", "ones_like", "pad", "permute", "places", "power", "prelu", "quantize", "randn",
    "reshape", "resize", "rounded", "softmax", "space_to_depth", "sqrt", "squeeze", "stack",
    "std", "stochastic_depth", "sub", "sum", "sum_to", "take_along", "topk", "transpose",
    "unsqueeze", "var", "where", "zeros", "zeros_like",
]  # fmt: skip
__all__ += [f.name for f in ACTIVATIONS]

# Which file has a name.  A file is imported when one of its names is first asked for: the
# package starts in the time that NumPy takes.  So no file has the name of a function.
_NAMES = {
    "activation": " ".join(f.name for f in ACTIVATIONS),
    "axes": "broadcast_to permute sum_to transpose",
    "blocks": "depth_to_space space_to_depth",
    "casting": "astype",
    "comparison": "choose compare dequantize quantize rounded",
    "conv": "conv2d conv2d_input_grad conv2d_weight_grad",
    "creation": "full ones ones_like randn zeros zeros_like",
    "elementwise": "add div mul neg sub",
    "extrema": "argmax argmin max min",
    "fixed_point": "",  # nothing public
    "indexing": "embed getitem",
    "joining": "concat stack",
    "leaks": "elu leaky_relu prelu",
    "loss": "cross_entropy mse_loss",
    "normalization": "batch_norm",
    "pool": "avg_pool2d global_avg_pool max_pool2d",
    "powers": "exp log power sqrt",
    "probability": "log_softmax softmax",
    "products": "linear matmul",
    "ranking": "places take_along topk",
    "reduction": "mean std sum var",
    "regularization": "dropout stochastic_depth",
    "resampling": "resize",
    "scattering": "",  # nothing public
    "selection": "absolute clamp mask maximum minimum where",
    "shaping": "clone flatten pad reshape squeeze unsqueeze",
    "suppression": "non_max_suppression",
    "transposed": "conv_transpose2d",
}
_FILES = {name: file for file, names in _NAMES.items() for name in names.split()}


def __getattr__(name: str) -> Callable[..., Tensor]:
    if name not in _FILES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    function: Callable[..., Tensor] = getattr(_file(_FILES[name]), name)
    globals()[name] = function  # the next time it is found without asking here
    return function


def _file(name: str) -> ModuleType:
    return importlib.import_module(f"{__name__}.{name}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def load_all(_: str = "") -> None:
    """Import every file: all primitives are in ``tensor.PRIMITIVES`` then, which asks for it."""
    for name in _NAMES:
        _file(name)


def add_method(name: str) -> None:
    """Have a public function in ``tensor.OPERATIONS``, which methods of a Tensor call."""
    from minigrad.tensor import OPERATIONS  # this package is listed before a Tensor is needed

    if name == "backward":
        importlib.import_module("minigrad.autograd")  # which enters it
    if name in _FILES:
        OPERATIONS[name] = getattr(_file(_FILES[name]), name)
