"""What every kind of convolution in the compiled core has in common: packed weights, bound calls.

Beyond the contract a forward convolution takes, as keyword arguments, what a plan fuses:

    y = activation(T(x gate, w) + bias) + residual        gate: (N, Cin, 1, 1) or (N, Cin)

and in a bound call also what imported networks have: prelu, with a slope for each channel, and an
activation that comes ``last``, after the residual, or a second one that clamps the sum.

``pack(w, spec)`` puts weights in the order in which the kernels read them; its result may
be given in place of ``w``, again and again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from minigrad.arrays import Array
from minigrad.errors import BackendError, ShapeError
from minigrad.geometry import ConvSpec, classify, conv_output_shape
from minigrad.kernels.cython.core import core
from minigrad.kernels.cython.layout import channels_last, dense, empty_channels_last, regular
from minigrad.threads import num_threads

__all__ = ["adopt", "bind_conv2d", "convolve", "epilogue", "pack", "packed_bytes"]


def pack(w: Array, spec: ConvSpec, room: Callable[[int], Array] | None = None) -> Any:
    """w, of shape (Cout, Cin/groups, kh, kw), in the order in which the kernels read it.

    ``room(size)`` gives zeroed memory for it, of so many bytes, where it shall be put.
    """
    if not regular(w):
        w = np.array(w, order="C")
    if classify(spec, w.shape) == "depthwise":
        return core.DepthwiseWeights(w, spec)
    memory = room(packed_bytes(w.shape, spec, w.dtype)) if room else None
    return core.DenseWeights(w, spec, memory)


def adopt(w: Array, spec: ConvSpec, packed: Array) -> object:
    """``pack(w, spec)`` where that was done before: w gives its shape and dtype alone.

    ``packed`` has what the kernels read, four registers beyond the last filter among them.  It
    begins with a cache line, is kept alive, and is never written to.
    """
    depthwise = classify(spec, w.shape) == "depthwise"
    made: object = (
        core.DepthwiseWeights(w, spec, packed)
        if depthwise
        else core.DenseWeights(w, spec, packed, ready=True)
    )
    return made


def packed_bytes(w_shape: Sequence[int], spec: ConvSpec, dtype: np.dtype[np.generic]) -> int:
    """The size of the memory that ``pack`` asks ``room`` for; depthwise weights ask for none."""
    if classify(spec, w_shape) == "depthwise":
        return 0
    size: int = core.packed_bytes(tuple(w_shape), spec.groups, dtype.itemsize)
    return size


def bind_conv2d(
    x: Array,
    w: Any,
    y: Array,
    bias: Array | None = None,
    residual: Array | None = None,
    activation: str | None = None,
    slope: Array | None = None,
    last: bool = False,
    clamp: str | None = None,
) -> Any:
    """A call of which everything is decided but the number of threads: ``.run(threads)``.

    x, y and residual are channels-last, w is packed, and all shapes have been checked; the
    call keeps the arrays alive, and reads and writes them every time it is run.
    """
    return w.bind(x, y, bias, residual, epilogue(activation, slope, last, clamp))


def epilogue(
    name: str | None, slope: Array | None = None, last: bool = False, clamp: str | None = None
) -> tuple[int, Array | None, bool, int]:
    """An activation as the core knows it: its number, prelu's slopes, whether it is last.

    Behind them the number of what clamps the sum.
    """
    return _number(name), slope, last, _number(clamp)


def _number(name: str | None) -> int:
    if name not in core.ACTIVATIONS:
        known = ", ".join(str(a) for a in core.ACTIVATIONS)
        raise BackendError(f"conv2d: activation must be one of {known}, not {name!r}")
    number: int = core.ACTIVATIONS[name]
    return number


def convolve(
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
    shape = conv_output_shape(x.shape, w.shape, spec)
    workers = threads or num_threads()
    y = empty_channels_last(shape, x.dtype)
    if y.size == 0:
        return y
    if residual is not None:
        residual = channels_last(_checked("residual", residual, shape, x), workers)
    packed = pack(w, spec) if isinstance(w, np.ndarray) else _same_spec(w, spec)
    x = channels_last(x, workers)
    if gate is not None:
        x = _gated(x, gate, workers)
    vector = None if bias is None else dense(bias)
    bind_conv2d(x, packed, y, vector, residual, activation).run(workers)
    return y


def _same_spec(packed: Any, spec: ConvSpec) -> Any:
    if packed.spec != spec:
        raise ShapeError(f"conv2d: w was packed for {packed.spec}, and is used with {spec}")
    return packed


def _checked(name: str, array: Array, shape: tuple[int, ...], x: Array) -> Array:
    from minigrad.kernels.contract import one_dtype  # a plan has checked its steps

    one_dtype("conv2d", x=x, **{name: array})
    if array.shape != shape:
        raise ShapeError(f"conv2d: {name} must have shape {shape}, got {array.shape}")
    return array


def _gated(x: Array, gate: Array, threads: int) -> Array:
    """x[n,c,h,v] gate[n,c]."""
    if gate.ndim == 4 and gate.shape[2:] == (1, 1):
        gate = gate[:, :, 0, 0]
    gate = dense(_checked("gate", gate, x.shape[:2], x))
    y = empty_channels_last((x.shape[0], x.shape[1], x.shape[2], x.shape[3]), x.dtype)
    core.multiply_channels(x, gate, y, threads)
    return y
