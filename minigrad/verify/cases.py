"""One table of cases for every primitive: what tests, outside judges and the judge share.

A row is a primitive, its cases are calls that reach it, at points where it is smooth:

>>> for case in CASES["relu"]:
...     print(case, case(*case.tensors()).shape)
relu: below and above 0 (3, 4)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from minigrad import ops
from minigrad.autograd import vjp
from minigrad.geometry import conv_output_shape, conv_spec
from minigrad.ops import fixed_point
from minigrad.tensor import PRIMITIVES, Array, Shape, Tensor
from minigrad.verify.points import (
    Domain,
    above_integers,
    across,
    beside,
    distinct,
    nonzero,
    normal,
    positive,
    with_slopes,
)  # fmt: skip

__all__ = ["CASES", "Case"]

ops.load_all()  # every primitive has a row here


@dataclass(frozen=True)
class Case:
    """A function of tensors, with where to evaluate it.

    Attributes
    ----------
    primitive, label : str
        What the case reaches, and how.
    f : callable
        ``f(*tensors, **params) -> Tensor``.
    shapes : one for each tensor
    domain : callable
        ``domain(rng, shapes) -> arrays`` draws float64 inputs, at least 0.05 from any kink.
    """

    primitive: str
    label: str
    f: Callable[..., Tensor]
    shapes: tuple[Shape, ...]
    domain: Domain
    params: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.primitive}: {self.label}"

    def __call__(self, *tensors: Tensor) -> Tensor:
        return self.f(*tensors, **self.params)

    def arrays(self, seed: int = 0, dtype: npt.DTypeLike = np.float64) -> list[Array]:
        """The inputs; the same for the same seed."""
        drawn = self.domain(np.random.default_rng(seed), self.shapes)
        return [np.asarray(x, dtype) for x in drawn]

    def tensors(
        self, seed: int = 0, dtype: npt.DTypeLike = np.float64, requires_grad: bool = False
    ) -> list[Tensor]:
        """``arrays`` as Tensors."""
        return [Tensor(x, requires_grad) for x in self.arrays(seed, dtype)]


def _astype(x: Tensor) -> Tensor:
    """Rounding has no slope to measure; here nothing is rounded, and the rule still runs."""
    return PRIMITIVES["astype"](x, source=x.dtype.name, target=x.dtype.name)


CASES: dict[str, tuple[Case, ...]] = {}


def _case(
    primitive: str,
    label: str,
    f: Callable[..., Tensor],
    *shapes: Shape,
    domain: Domain = normal,
    **params: Any,
) -> None:
    """Add a case to the row of ``primitive``."""
    row = CASES.setdefault(primitive, ())
    CASES[primitive] = (*row, Case(primitive, label, f, shapes, domain, params))


# --- elementwise ------------------------------------------------------------------------

_case("alias", "", PRIMITIVES["alias"], (2, 3))
_case("add", "equal shapes", ops.add, (2, 3), (2, 3))
_case("add", "a column and a row", ops.add, (2, 1), (3,))
_case("sub", "equal shapes", ops.sub, (2, 3), (2, 3))
_case("sub", "0-d", ops.sub, (), ())
_case("mul", "equal shapes", ops.mul, (2, 3), (2, 3))
_case("mul", "0-d and a matrix", ops.mul, (), (2, 3))
_case("mul", "dropout", lambda x: ops.dropout(x, 0.4, rng=np.random.default_rng(1)), (4, 5))
_case(
    "mul", "stochastic depth",
    lambda x: ops.stochastic_depth(x, 0.5, rng=np.random.default_rng(1)), (5, 2, 2, 1),
)  # fmt: skip
_case("div", "equal shapes", ops.div, (2, 3), (2, 3), domain=nonzero)
_case("div", "by a row", ops.div, (2, 3), (3,), domain=nonzero)
_case("neg", "0-d", ops.neg, ())
_case("neg", "a matrix", ops.neg, (2, 3))
for _c in (3, 2, 1, -1, 0):
    _case("power", f"to the {_c}", ops.power, (2, 3), domain=nonzero, exponent=_c)
_case("power", "to the 1.7", ops.power, (2, 3), domain=positive, exponent=1.7)
_case("pow", "a tensor to a tensor", ops.power, (2, 3), (3,), domain=positive)
_case("pow", "a number to a tensor", lambda x: 2**x, (2, 3))
_case("sqrt", "", ops.sqrt, (2, 3), domain=positive)
_case("exp", "", ops.exp, (2, 3))
_case("exp", "0-d", ops.exp, ())
_case("log", "", ops.log, (2, 3), domain=positive)
_CHESS = np.indices((3, 4)).sum(axis=0) % 2 == 0
_case("mask", "a chess board", ops.mask, (3, 4), keep=_CHESS)
_case("where", "a chess board", lambda a, b: ops.where(_CHESS, a, b), (3, 4), (3, 4))
_case("where", "a number", lambda a: ops.where(_CHESS, a, 1.5), (3, 4))
_case("maximum", "equal shapes", ops.maximum, (3, 4), (3, 4), domain=distinct)
_case("maximum", "with 0-d", ops.maximum, (3, 4), (), domain=distinct)
_case("minimum", "equal shapes", ops.minimum, (3, 4), (3, 4), domain=distinct)
_case("clamp", "both sides", ops.clamp, (3, 4), domain=across(-0.5, 1.5), min=-0.5, max=1.5)
_case("clamp", "from below", ops.clamp, (3, 4), domain=across(0.5), min=0.5)
_case("absolute", "", ops.absolute, (3, 4), domain=across(0))
_case("astype", "to its own dtype", _astype, (2, 3))

_case("compare", "as a gate", lambda a, b: a * ops.compare(a, b, "<"), (3, 4), (3, 4),
      domain=distinct)  # fmt: skip
_case("choose", "a condition that is computed", lambda a, b: ops.choose(ops.compare(a, b, ">="),
      a, b * b), (3, 4), (4,), domain=distinct)  # fmt: skip
_case("rounded", "what is left", lambda x: x - ops.rounded(x, "down"), (3, 4),
      domain=across(0.3, 0.6))  # fmt: skip
_case("rounded", "quantised beside itself", lambda x: x * ops.quantize(x, 0.5, 3, 0, 15), (3, 4),
      domain=across(0.3, 0.7))  # fmt: skip


def _rescaled(x: Tensor, *, once: bool) -> Tensor:
    """x times two factors, above and below 1."""
    multiplier, shift = np.array([1 << 30, 0x60000000]), np.array([2, -1])
    return x * fixed_point.rescale(x, multiplier, shift, -12, 15, once)


_case("rescale", "rounded twice", _rescaled, (2, 2, 3), domain=above_integers, once=False)
_case("rescale", "rounded once", _rescaled, (2, 2, 3), domain=above_integers, once=True)
_case("lookup", "squares", lambda x: x * fixed_point.lookup(x, np.arange(-8, 9) ** 2, -8), (3, 4),
      domain=above_integers)  # fmt: skip
_case("round_away", "with an offset", lambda x: x * fixed_point.round_away(x, -5, 6, 2.0), (3, 4),
      domain=above_integers)  # fmt: skip

# --- shapes -----------------------------------------------------------------------------

_case("clone", "", ops.clone, (2, 3))
_case("reshape", "to a matrix", lambda x: x.reshape(4, 3), (2, 3, 2))
_case("reshape", "flatten", ops.flatten, (2, 3, 2), start_dim=1)
_case("reshape", "from 0-d", lambda x: x.reshape(1, 1), ())
_case("transpose", "reversed", lambda x: x.T, (2, 3, 4))
_case("transpose", "two axes", ops.transpose, (2, 3, 4), dim0=0, dim1=-1)
_case("transpose", "a cycle", lambda x: ops.permute(x, 2, 0, 1), (2, 3, 4))
_case("broadcast_to", "a new axis, and one of length 1", ops.broadcast_to, (3, 1), shape=(2, 3, 4))
_case("broadcast_to", "from 0-d", ops.broadcast_to, (), shape=(2, 3))
_case(
    "getitem", "slice, step, integer", ops.getitem, (4, 5, 3),
    index=(slice(1, 3), slice(None, None, -2), 1),
)  # fmt: skip
_case("getitem", "a new axis after an Ellipsis", ops.getitem, (2, 3), index=(..., None, 0))
_case("getitem", "one element", ops.getitem, (3,), index=1)
_case("transpose", "depth to space", ops.depth_to_space, (1, 8, 2, 3), block=2)
_case("transpose", "space to depth, side by side", ops.space_to_depth, (2, 1, 4, 6), block=2,
      order="CRD")  # fmt: skip
_case("embed", "rows with a step", ops.embed, (2, 3), shape=(5, 3), index=(slice(1, None, 2),))
_case("pad", "asymmetric", ops.pad, (2, 3), pads=((1, 0), (2, 3)), value=0.5)
_case(
    "concat", "three along axis 1", lambda *xs: ops.concat(xs, 1), (2, 1, 2), (2, 3, 2), (2, 2, 2)
)
_case("concat", "stack", lambda *xs: ops.stack(xs, 1), (2, 3), (2, 3))
_case("concat", "along the last", lambda *xs: ops.concat(xs, -1), (2, 2), (2, 1))

# --- reductions and products ------------------------------------------------------------

_case("sum", "all", ops.sum, (2, 3, 4))
_case("sum", "outer axes, kept", ops.sum, (2, 3, 4), axis=(0, -1), keepdims=True)
_case("sum", "of no axes", ops.sum, (2, 3), axis=())
_case("sum", "mean", ops.mean, (2, 3, 4), axis=1)
_case("sum", "var", ops.var, (4, 3), axis=0)
_case("sum", "std", ops.std, (4, 3), axis=0)
_case("sum", "mse loss", ops.mse_loss, (4, 3), (4, 3))
_case("max", "all", ops.max, (3, 4), domain=distinct)
_case("max", "min, one axis", ops.min, (3, 4, 2), domain=distinct, axis=1)
_case("max", "one axis", ops.max, (3, 4, 2), domain=distinct, axis=1)
_case("places", "beside their values", lambda x: x * ops.places(x, 4, 1), (3, 4), domain=distinct)
_case("take_along", "the largest two", lambda x: ops.topk(x, 2, 0)[0], (4, 3), domain=distinct)
_case("take_along", "the smallest of each row", lambda x: ops.topk(x, 1, largest=False)[0], (4, 3),
      domain=distinct)  # fmt: skip
_PLACES = np.array([[0.0, 2.0, 0.0], [1.0, 1.0, 3.0]])


def _put(x: Tensor, *, shape: Shape, axis: int) -> Tensor:
    return PRIMITIVES["put_along"](x, Tensor(_PLACES.astype(x.dtype)), shape=shape, axis=axis)


_case("put_along", "some twice", _put, (2, 3), shape=(2, 4), axis=1)
_case("linear", "with bias", ops.linear, (3, 4), (5, 4), (5,))
_case("linear", "a stack of rows", ops.linear, (2, 3, 4), (2, 4))
_case("linear", "two matrices", ops.matmul, (2, 3), (3, 4))
_case("linear", "a vector and a matrix", ops.matmul, (3,), (3, 4))
_case("linear", "two vectors", ops.matmul, (3,), (3,))
_case("matmul", "stacks that broadcast", ops.matmul, (2, 1, 3, 2), (4, 2, 3))
_case("matmul", "a stack and a vector", ops.matmul, (2, 3, 4), (4,))

# --- activations and loss ---------------------------------------------------------------


_case("relu", "below and above 0", ops.relu, (3, 4), domain=across(0))
_case("relu6", "below 0, between, above 6", ops.relu6, (4, 5), domain=across(0, 6))
_case("hardsigmoid", "below -3, between, above 3", ops.hardsigmoid, (4, 5), domain=across(-3, 3))
_case("hardswish", "below -3, between, above 3", ops.hardswish, (4, 5), domain=across(-3, 3))
_case("sigmoid", "", ops.sigmoid, (3, 4), domain=across(-2, 2))
_case("silu", "", ops.silu, (3, 4), domain=across(-2, 2))
_case("tanh", "", ops.tanh, (3, 4), domain=across(-1, 1))
_case("prelu", "a slope for each channel", ops.prelu, (2, 3, 2, 2), (3,), domain=with_slopes)
_case("prelu", "one slope for all", ops.prelu, (2, 3), (1,), domain=with_slopes)
_case("prelu", "leaky_relu", ops.leaky_relu, (3, 4), domain=across(0), negative_slope=0.2)
_case("exp", "elu", ops.elu, (3, 4), domain=across(0), alpha=1.5)
_case("softmax", "the last axis", ops.softmax, (3, 4))
_case("softmax", "the first axis", ops.softmax, (3, 4), axis=0)
_case("log_softmax", "the last axis", ops.log_softmax, (3, 4))
_case("log_softmax", "the middle axis", ops.log_softmax, (2, 3, 2), axis=1)
_case("log_softmax", "cross-entropy", ops.cross_entropy, (3, 4), labels=[2, 0, 3])
_case(
    "log_softmax", "cross-entropy, smoothed, weighted, one row ignored", ops.cross_entropy, (4, 3),
    labels=[2, 0, 9, 1], label_smoothing=0.1, weight=np.array([0.5, 1.0, 2.0]), ignore_index=9,
)  # fmt: skip


def _slope(dy: Tensor, x: Tensor, *, of: str) -> Tensor:
    """dy pulled back through an activation."""
    return vjp(getattr(ops, of), x)[1](dy)[0]


for _of, _kinks in (("relu", (0,)), ("relu6", (0, 6)), ("hardsigmoid", (-3, 3))):
    _case("line_slope", _of, _slope, (4, 5), (4, 5), domain=beside(*_kinks), of=_of)
for _of, _kinks in (("hardswish", (-3, 3)), ("sigmoid", (-1, 2)), ("silu", (-2, 2)),
                    ("tanh", (-1, 1))):  # fmt: skip
    _case("curve_slope", _of, _slope, (4, 5), (4, 5), domain=beside(*_kinks), of=_of)
_case("softmax_input_grad", "", _slope, (3, 4), (3, 4), of="softmax")
_case("log_softmax_input_grad", "", _slope, (3, 4), (3, 4), of="log_softmax")

# --- convolution ------------------------------------------------------------------------

CONVOLUTIONS: tuple[tuple[str, Shape, Shape, dict[str, Any]], ...] = (
    ("pointwise", (2, 3, 3, 2), (4, 3, 1, 1), {}),
    ("pointwise, stride 2", (1, 3, 5, 4), (2, 3, 1, 1), {"stride": 2}),
    ("depthwise 3x3, padding 1", (2, 3, 4, 5), (3, 1, 3, 3), {"padding": 1, "groups": 3}),
    ("depthwise 5x5, stride 2, same", (1, 2, 6, 7), (2, 1, 5, 5),
     {"stride": 2, "padding": "same", "groups": 2}),
    ("depthwise 3x3, dilation 2", (1, 2, 7, 6), (2, 1, 3, 3),
     {"dilation": 2, "padding": 2, "groups": 2}),
    ("dense 3x3, padding 1", (2, 3, 4, 4), (2, 3, 3, 3), {"padding": 1}),
    ("dense 3x3, stride 2, the last row unread", (1, 2, 6, 6), (3, 2, 3, 3), {"stride": 2}),
    ("dense 3x1", (1, 2, 5, 3), (3, 2, 3, 1), {"padding": (1, 0)}),
    ("dense 1x3", (1, 2, 3, 5), (3, 2, 1, 3), {"padding": (0, 1)}),
    ("dense 7x7 on a 4x4 map", (1, 2, 4, 4), (2, 2, 7, 7), {"padding": 3}),
    ("dense 2x2, asymmetric pads", (1, 2, 3, 4), (2, 2, 2, 2), {"padding": ((0, 1), (2, 0))}),
    ("dense 1x1, padded", (1, 2, 2, 3), (2, 2, 1, 1), {"padding": 1}),
    ("general, two groups, strides 2 and 1", (2, 4, 5, 4), (6, 2, 3, 2),
     {"stride": (2, 1), "groups": 2}),
    ("general, channel multiplier 2, dilations 1 and 2", (1, 3, 4, 6), (6, 1, 2, 3),
     {"dilation": (1, 2), "groups": 3, "padding": (1, 2)}),
)  # fmt: skip


def _input_grad(dy: Tensor, w: Tensor, *, x_shape: Shape, how: dict[str, Any]) -> Tensor:
    return ops.conv2d_input_grad(dy, w, x_shape, conv_spec(x_shape, w.shape, **how))


def _weight_grad(dy: Tensor, x: Tensor, *, w_shape: Shape, how: dict[str, Any]) -> Tensor:
    return ops.conv2d_weight_grad(dy, x, w_shape, conv_spec(x.shape, w_shape, **how))


for _label, _x, _w, _how in CONVOLUTIONS:
    _y = conv_output_shape(_x, _w, conv_spec(_x, _w, **_how))
    _case("conv2d", _label, ops.conv2d, _x, _w, **_how)
    _case("conv2d", f"{_label}, bias", ops.conv2d, _x, _w, _w[:1], **_how)
    _case("conv2d_input_grad", _label, _input_grad, _y, _w, x_shape=_x, how=_how)
    _case("conv2d_weight_grad", _label, _weight_grad, _y, _x, w_shape=_w, how=_how)

_TRANSPOSED: tuple[tuple[str, Shape, Shape, dict[str, Any]], ...] = (
    ("2x2, stride 2", (1, 2, 3, 2), (2, 3, 2, 2), {"stride": 2}),
    ("4x3, strides 2 and 3, cut, more", (2, 2, 2, 3), (2, 2, 4, 3),
     {"stride": (2, 3), "padding": ((1, 0), (0, 2)), "output_padding": (1, 0)}),
    ("3x3, dilation 2, two groups", (1, 4, 3, 2), (4, 1, 3, 3),
     {"stride": 2, "dilation": (1, 2), "groups": 2, "padding": 1}),
    ("1x1, stride 2: pixels of bias alone", (1, 2, 2, 2), (2, 2, 1, 1), {"stride": 2}),
)  # fmt: skip

for _label, _x, _w, _how in _TRANSPOSED:
    _case("interleave", _label, ops.conv_transpose2d, _x, _w, **_how)
    _case("interleave", f"{_label}, bias", ops.conv_transpose2d, _x, _w,
          (_w[1] * _how.get("groups", 1),), **_how)  # fmt: skip

# --- pooling ----------------------------------------------------------------------------

_POOLS: tuple[tuple[str, Shape, dict[str, Any]], ...] = (
    ("2x2", (2, 2, 4, 4), {"kernel_size": 2}),
    ("3x3, stride 2, padding 1", (1, 2, 5, 6), {"kernel_size": 3, "stride": 2, "padding": 1}),
    ("3x3, stride 2, ceil", (1, 2, 6, 5), {"kernel_size": 3, "stride": 2, "ceil_mode": True}),
    ("2x3, asymmetric pads", (1, 1, 4, 4),
     {"kernel_size": (2, 3), "stride": 1, "padding": ((0, 1), (1, 0))}),
)  # fmt: skip

for _label, _x, _how in _POOLS:
    _case("max_pool2d", _label, ops.max_pool2d, _x, domain=distinct, **_how)
    _case("avg_pool2d", _label, ops.avg_pool2d, _x, **_how)
    _case("avg_pool2d", f"{_label}, no pad counted", ops.avg_pool2d, _x,
         **_how, count_include_pad=False)  # fmt: skip
_case("max_pool2d", "2x2, dilation 2", ops.max_pool2d, (1, 2, 5, 5), domain=distinct,
     kernel_size=2, stride=1, dilation=2)  # fmt: skip

_WHERE = np.array([[[[0, 4], [4, 5]], [[3, 3], [3, 1]]]])  # as of overlapping windows
_MAP = (1, 2, 2, 3)
_case("scatter", "some twice", PRIMITIVES["scatter"], _WHERE.shape, where=_WHERE, x_shape=_MAP,
      long=False)  # fmt: skip
_case("gather", "some twice", PRIMITIVES["gather"], _MAP, where=_WHERE, long=False)


def _spread(dy: Tensor, *, x_shape: Shape, **how: Any) -> Tensor:
    """dy pulled back through an average pool."""
    return vjp(lambda x: ops.avg_pool2d(x, **how), np.zeros(x_shape, dy.dtype))[1](dy)[0]


_case("avg_pool2d_input_grad", "2x2", _spread, (1, 2, 2, 2), x_shape=(1, 2, 4, 4), kernel_size=2)
_case("avg_pool2d_input_grad", "3x3, stride 2, padding 1, no pad counted", _spread, (1, 2, 3, 3),
     x_shape=(1, 2, 5, 6), kernel_size=3, stride=2, padding=1, count_include_pad=False)  # fmt: skip
_case("global_avg_pool", "", ops.global_avg_pool, (2, 3, 3, 4))

# --- resizing ---------------------------------------------------------------------------

_SIZES: tuple[tuple[str, Shape, dict[str, Any]], ...] = (
    ("nearest, twice", (1, 2, 2, 3), {"size": (4, 6)}),
    ("linear, odd factors", (2, 1, 3, 2), {"size": (5, 3), "mode": "linear"}),
    ("linear, corners aligned", (1, 2, 3, 4),
     {"size": (6, 2), "mode": "linear", "coordinates": "align_corners"}),
    ("cubic, nothing outside", (1, 1, 4, 3), {"size": (3, 7), "mode": "cubic",
     "coordinates": "asymmetric", "exclude_outside": True}),
    ("linear, smaller, wide kernel", (1, 1, 6, 5),
     {"size": (2, 3), "mode": "linear", "antialias": True}),
)  # fmt: skip


def _resize_back(dy: Tensor, *, x_shape: Shape, **how: Any) -> Tensor:
    """dy pulled back through a resize."""
    return vjp(lambda x: ops.resize(x, **how), np.zeros(x_shape, dy.dtype))[1](dy)[0]


for _label, _x, _how in _SIZES:
    _case("resample", _label, ops.resize, _x, **_how)
    _case("resample_input_grad", _label, _resize_back, (*_x[:2], *_how["size"]), x_shape=_x,
         **_how)  # fmt: skip

# --- normalization ----------------------------------------------------------------------


def _trained(x: Tensor, gamma: Tensor, beta: Tensor, *, eps: float) -> Tensor:
    return ops.batch_norm(x, None, None, gamma, beta, training=True, eps=eps)


def _trained_dx(dy: Tensor, x: Tensor, gamma: Tensor, *, eps: float) -> Tensor:
    """dy pulled back to x through a batch norm in training."""
    one = Tensor(np.zeros(gamma.shape, gamma.dtype))
    return vjp(lambda z: _trained(z, gamma, one, eps=eps), x)[1](dy)[0]


def _trained_dgamma(dy: Tensor, x: Tensor, *, eps: float) -> Tensor:
    """dy pulled back to gamma through a batch norm in training."""
    one, zero = (Tensor(np.full(x.shape[1:2], v, x.dtype)) for v in (1, 0))
    return vjp(lambda gamma: _trained(x, gamma, zero, eps=eps), one)[1](dy)[0]


for _x in ((2, 3, 2, 3), (4, 2)):
    _label, _each = f"{len(_x)}-d", _x[1:2]
    _case("batch_norm_eval", _label, ops.batch_norm, _x, *(_each,) * 4, domain=positive, eps=1e-3)
    _case("batch_norm_train", _label, _trained, _x, _each, _each, eps=1e-2)
    _case("batch_norm_train_dx", _label, _trained_dx, _x, _x, _each, eps=1e-2)
    _case("batch_norm_train_dgamma", _label, _trained_dgamma, _x, _x, eps=1e-2)
