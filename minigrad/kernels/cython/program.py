"""Bound calls one after the other, with nothing of Python between them: ext/executor.pyx.tp."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from minigrad.arrays import Array
from minigrad.geometry import ConvSpec, classify
from minigrad.kernels.cython.core import core

__all__ = [
    "Edge",
    "bind_edge",
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
    from minigrad.kernels.cython.dense_gradients import bind_dense_input_grad  # of training alone
    from minigrad.kernels.cython.depthwise_gradients import bind_depthwise_input_grad

    depthwise = classify(spec, w.shape) == "depthwise"
    return (bind_depthwise_input_grad if depthwise else bind_dense_input_grad)(g, w, dx, spec)


def bind_weight_grad(g: Array, x: Array, dw: Array, spec: ConvSpec) -> Any:
    """The call that writes dT/dw to dw, for a convolution of any kind."""
    from minigrad.kernels.cython.dense_gradients import bind_dense_weight_grad
    from minigrad.kernels.cython.depthwise_gradients import bind_depthwise_weight_grad

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
    entries: Sequence[Edge],
    exits: Sequence[Sequence[Edge]],
    made: Sequence[Sequence[Array]],
    kept: Sequence[Array],
    scratch: Any,
) -> Any:
    """The images of a batch, one after the other, through one program: ``core.Images``."""
    lanes = [list(exit) for exit in exits], [list(m) for m in made]
    return core.Images(list(programs), list(entries), *lanes, list(kept), scratch)


class Edge(Protocol):
    """A value that comes from a caller or goes to one."""

    def turn(self, y: Array) -> bool:
        """Let the steps write to y; False if they cannot, and y waits for a copy."""

    def copy_to(self, y: Array, threads: int) -> None:
        """Copy what the steps wrote elsewhere."""


def bind_edge(buffer: Array, calls: Sequence[object] | None) -> Edge:
    """A value in its buffer, and the calls that use it: ``core.Edge``."""
    edge: Edge = core.Edge(buffer, None if calls is None else list(calls))
    return edge


def is_bound(call: Any) -> bool:
    """Whether a call can be a part of a program."""
    bound: bool = core.is_bound(call)
    return bound


def peak(seconds: float, threads: int, itemsize: int = 4) -> float:
    """The most fused multiply-adds that this CPU does now, in GFLOP/s, two FLOP each."""
    return float(core.peak(seconds, threads, itemsize))
