"""Convolution in the compiled core (``ext/``): the contract's functions for one level.

The sums are those of ``reference``, in the same order; what is different is how many are
computed at once, and that results are channels-last in memory: an NCHW-shaped view of an
NHWC array.  An input in another layout is converted once.

Beyond the contract a forward convolution takes, as keyword arguments, what a plan fuses:

    y = activation(T(x gate, w) + bias) + residual        gate: (N, Cin, 1, 1) or (N, Cin)

``pack(w, spec)`` puts weights in the order in which the kernels read them; its result may
be given in place of ``w``, again and again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from minigrad.errors import BackendError, ShapeError
from minigrad.geometry import ConvSpec
from minigrad.kernels._cython.gradients import (
    bind_input_grad,
    bind_weight_grad,
    conv2d_input_grad,
    conv2d_weight_grad,
)
from minigrad.kernels._cython.layout import channels_last, empty_channels_last
from minigrad.kernels._ext import REASON, core
from minigrad.kernels.contract import Array, check_conv2d, classify, one_dtype
from minigrad.kernels.cython_ops import *  # noqa: F403  the other functions
from minigrad.threads import num_threads

__all__ = [
    "UNAVAILABLE",
    "bind_conv2d",
    "bind_input_grad",
    "bind_weight_grad",
    "channels_last",
    "conv2d_input_grad",
    "conv2d_weight_grad",
    "dense_conv2d",
    "depthwise_conv2d",
    "empty_channels_last",
    "general_conv2d",
    "pack",
    "pointwise_conv2d",
]

UNAVAILABLE: str | None = REASON


def pack(w: Array, spec: ConvSpec, room: Callable[[int], Array] | None = None) -> Any:
    """w, of shape (Cout, Cin/groups, kh, kw), in the order in which the kernels read it.

    ``room(size)`` gives zeroed memory for it, of so many bytes, where it shall be put.
    """
    if not w.flags.aligned or any(step % w.itemsize for step in w.strides):
        w = np.array(w, order="C")
    assert core is not None
    if classify(spec, w.shape) == "depthwise":
        return core.DepthwiseWeights(w, spec)
    size = core.packed_bytes(w.shape, spec.groups, w.itemsize)
    return core.DenseWeights(w, spec, room(size) if room else None)


def bind_conv2d(
    x: Array,
    w: Any,
    y: Array,
    bias: Array | None = None,
    residual: Array | None = None,
    activation: str | None = None,
) -> Any:
    """A call of which everything is decided but the number of threads: ``.run(threads)``.

    x, y and residual are channels-last, w is packed, and all shapes have been checked; the
    call keeps the arrays alive, and reads and writes them every time it is run.
    """
    return w.bind(x, y, bias, residual, _activation_number(activation))


def _activation_number(name: str | None) -> int:
    assert core is not None
    if name not in core.ACTIVATIONS:
        known = ", ".join(str(a) for a in core.ACTIVATIONS)
        raise BackendError(f"conv2d: activation must be one of {known}, not {name!r}")
    number: int = core.ACTIVATIONS[name]
    return number


def _conv2d(
    x: Array,
    w: Any,
    bias: Array | None,
    spec: ConvSpec,
    *,
    activation: str | None = None,
    residual: Array | None = None,
    gate: Array | None = None,
    threads: int | None = None,
) -> Array:
    """activation(T(x gate, w) + bias) + residual; see the module's docstring."""
    shape = check_conv2d(x, w, bias, spec)
    workers = threads or num_threads()
    y = empty_channels_last(shape, x.dtype)
    if y.size == 0:
        return y
    if residual is not None:
        residual = channels_last(_checked("residual", residual, shape, x), workers)
    if bias is not None and not (bias.flags.aligned and bias.flags.c_contiguous):
        bias = np.array(bias, order="C")
    packed = pack(w, spec) if isinstance(w, np.ndarray) else _same_spec(w, spec)
    x = channels_last(x, workers)
    if gate is not None:
        x = _gated(x, gate, workers)
    bind_conv2d(x, packed, y, bias, residual, activation).run(workers)
    return y


def _same_spec(packed: Any, spec: ConvSpec) -> Any:
    if packed.spec != spec:
        raise ShapeError(f"conv2d: w was packed for {packed.spec}, and is used with {spec}")
    return packed


def _checked(name: str, array: Array, shape: tuple[int, ...], x: Array) -> Array:
    one_dtype("conv2d", x=x, **{name: array})
    if array.shape != shape:
        raise ShapeError(f"conv2d: {name} must have shape {shape}, got {array.shape}")
    return array


def _gated(x: Array, gate: Array, threads: int) -> Array:
    """x[n,c,h,v] gate[n,c]."""
    if gate.ndim == 4 and gate.shape[2:] == (1, 1):
        gate = gate[:, :, 0, 0]
    gate = np.ascontiguousarray(_checked("gate", gate, x.shape[:2], x))
    y = empty_channels_last((x.shape[0], x.shape[1], x.shape[2], x.shape[3]), x.dtype)
    assert core is not None
    core.multiply_channels(x, gate, y, threads)
    return y


pointwise_conv2d = dense_conv2d = depthwise_conv2d = general_conv2d = _conv2d
