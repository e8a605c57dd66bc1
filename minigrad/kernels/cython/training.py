"""What a compiled training step is bound to: ext/batch_norm.pyx.tp and ext/training.pyx.tp.

Every call has the bits of the functions of the contract that it stands for, applied one after
the other.  Maps are NCHW-shaped, channels-last in memory and without gaps.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from minigrad.geometry import ConvSpec
from minigrad.kernels.contract import Array, classify
from minigrad.kernels.cython._convolution import bind_conv2d, pack
from minigrad.kernels.cython.core import BoundCall, core
from minigrad.kernels.cython.dense_gradients import bind_dense_input_grad
from minigrad.kernels.cython.depthwise_gradients import bind_depthwise_input_grad

__all__ = [
    "UpdateCall",
    "bind_add",
    "bind_batch_norm_apply",
    "bind_batch_norm_begin",
    "bind_batch_norm_gradient",
    "bind_batch_norm_sums",
    "bind_forward",
    "bind_input_grad_anew",
    "bind_running",
    "bind_sgd",
    "bind_slope",
]


class UpdateCall(BoundCall, Protocol):
    """A call whose numbers change from step to step."""

    def set(self, *numbers: object) -> None:
        """The optimiser's numbers of the next run."""


def bind_forward(
    x: Array, w: Array, bias: Array | None, y: Array, spec: ConvSpec
) -> list[BoundCall]:
    """The calls that pack the present values of w, and that write the convolution to y."""
    packed = pack(w, spec)
    return [_repack(packed, w), bind_conv2d(x, packed, y, bias)]


def bind_input_grad_anew(g: Array, w: Array, dx: Array, spec: ConvSpec) -> list[BoundCall] | None:
    """The calls that pack the present values of w, and that write dT/dx to dx.

    None for several groups that are not depthwise: their weights change places by a copy.
    """
    calls: list[BoundCall] = []

    def weights(part: Array, each: ConvSpec) -> object:
        kind = core.DepthwiseWeights if depthwise else core.DenseWeights
        packed = kind(part, each)
        calls.append(_repack(packed, part))
        return packed

    depthwise = classify(spec, w.shape) == "depthwise"
    if not depthwise and spec.groups > 1:
        return None
    bind = bind_depthwise_input_grad if depthwise else bind_dense_input_grad
    last = bind(g, w, dx, spec, weights)
    return [*calls, last]


def _repack(packed: object, w: Array) -> BoundCall:
    """The call that puts the present values of w where ``packed`` has its old ones."""
    depthwise = isinstance(packed, core.DepthwiseWeights)
    kind = core.PackDepthwiseCall if depthwise else core.PackDenseCall
    call: BoundCall = kind(packed, w)
    return call


def bind_batch_norm_begin(x: Array, gamma: Array, stats: Array, eps: float) -> BoundCall:
    """The call that writes to stats (5, C): mean, var, gamma / s, 1 / s and gamma (1 / s) with
    s = sqrt(var + eps), of each channel of x."""
    call: BoundCall = core.BatchNormBeginCall(x, gamma, stats, eps)
    return call


def bind_batch_norm_apply(
    x: Array, stats: Array, beta: Array, residual: Array | None, y: Array, activation: str | None
) -> BoundCall:
    """The call that writes y = f((x - mean) gamma / s + beta) + residual."""
    call: BoundCall = core.BatchNormApplyCall(x, stats, beta, residual, y, activation)
    return call


def bind_batch_norm_sums(
    g: Array, x: Array, stats: Array, beta: Array, sums: Array, eps: float, activation: str | None
) -> BoundCall:
    """The call that writes to sums (4, C): sum g', sum g' x̂, and both divided by N H W.

    g' = g f'(...), the cotangent of what the activation is given.
    """
    call: BoundCall = core.BatchNormSumsCall(g, x, stats, beta, sums, eps, activation)
    return call


def bind_batch_norm_gradient(
    g: Array, x: Array, stats: Array, beta: Array, sums: Array, dx: Array, activation: str | None
) -> BoundCall:
    """The call that writes dx = gamma r ((g' - mean(g')) - x̂ mean(g' x̂)); dx may be g."""
    call: BoundCall = core.BatchNormGradientCall(g, x, stats, beta, sums, dx, activation)
    return call


def bind_running(kept: Array, batch: Array, momentum: float, factor: float) -> BoundCall:
    """The call that writes (1 - momentum) kept + momentum (batch factor) over kept."""
    call: BoundCall = core.RunningCall(kept, batch, momentum, factor)
    return call


def bind_slope(name: str, g: Array, at: Array, y: Array) -> BoundCall:
    """The call that writes y = g f'(at), an input gradient by its name in the contract."""
    call: BoundCall = core.SlopeCall(name, g, at, y)
    return call


def bind_add(a: Array, b: Array, y: Array) -> BoundCall:
    """The call that writes y = a + b; y may be one of them."""
    call: BoundCall = core.AddCall(a, b, y)
    return call


def bind_sgd(parameters: Sequence[tuple[Array, Array, Array | None]]) -> UpdateCall:
    """The call of one update of SGD, of (p, g, buffer of the momentum); ``set`` its numbers."""
    call: UpdateCall = core.SgdCall(list(parameters))
    return call
