"""Bound calls one after the other, with nothing of Python between them: ext/executor.pyx.tp."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from minigrad.geometry import ConvSpec
from minigrad.kernels.contract import Array, classify
from minigrad.kernels.cython.core import core
from minigrad.kernels.cython.dense_gradients import bind_dense_input_grad, bind_dense_weight_grad
from minigrad.kernels.cython.depthwise_gradients import (
    bind_depthwise_input_grad,
    bind_depthwise_weight_grad,
)

__all__ = [
    "bind_images",
    "bind_input_grad",
    "bind_program",
    "bind_weight_grad",
    "is_bound",
    "new_scratch",
    "peak",
]


def bind_input_grad(g: Array, w: Array, dx: Array, spec: ConvSpec) -> Any:
    """The call that writes dT/dx to dx, for a convolution of any kind."""
    depthwise = classify(spec, w.shape) == "depthwise"
    return (bind_depthwise_input_grad if depthwise else bind_dense_input_grad)(g, w, dx, spec)


def bind_weight_grad(g: Array, x: Array, dw: Array, spec: ConvSpec) -> Any:
    """The call that writes dT/dw to dw, for a convolution of any kind."""
    depthwise = classify(spec, dw.shape) == "depthwise"
    return (bind_depthwise_weight_grad if depthwise else bind_dense_weight_grad)(g, x, dw, spec)


def new_scratch() -> Any:
    """The memory that all blocks of a plan stream through; it grows as they are bound."""
    return core.Scratch()


def bind_program(calls: Sequence[Any], shares: Sequence[int], scratch: Any) -> Any:
    """Bound calls as one, ``.run(threads)``; ``shares`` says how many threads each is worth."""
    return core.Program(list(calls), list(shares), scratch)


def bind_images(
    programs: Sequence[Any],
    inputs: Sequence[Array],
    made: Sequence[Sequence[Array]],
    kept: Sequence[Array],
    scratch: Any,
) -> Any:
    """The images of a batch, one after the other, through one program: ``core.Images``."""
    return core.Images(list(programs), list(inputs), [list(m) for m in made], list(kept), scratch)


def is_bound(call: Any) -> bool:
    """Whether a call can be a part of a program."""
    bound: bool = core.is_bound(call)
    return bound


def peak(seconds: float, threads: int, itemsize: int = 4) -> float:
    """The most fused multiply-adds that this CPU does now, in GFLOP/s, two FLOP each."""
    return float(core.peak(seconds, threads, itemsize))
