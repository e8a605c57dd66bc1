"""Steps bound to compiled kernels: which kernel, its packed weights, its arrays.

A bound step is a call: everything is decided but the number of threads.  What has no
kernel is a call all the same, of its definition in Python.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np

from minigrad.arrays import Array
from minigrad.engine.blocks import BLOCKS, gated_stages, slope_of, stages_of
from minigrad.engine.graph import Constant, Graph, Ref, Step, has_constants
from minigrad.engine.memory import in_order, is_alias
from minigrad.engine.slab import Slab
from minigrad.geometry import ConvSpec
from minigrad.kernels.cython._convolution import adopt, bind_conv2d, pack, packed_bytes
from minigrad.kernels.cython.blocks import bind_block
from minigrad.kernels.cython.layout import regular
from minigrad.kernels.cython.pooling import (
    bind_avg_pool2d,
    bind_global_avg_pool,
    bind_max_pool2d,
)
from minigrad.kernels.tables import FUNCTIONS_OF_ONE, INNER
from minigrad.threads import threads as using_threads

__all__ = ["BINDERS", "Packed", "PythonCall", "as_maps", "has_kernel"]

PLAIN = ConvSpec()  # that of a linear map


class Bound(Protocol):
    """What a step is bound to: where values lie, packed weights, and rows of blocks."""

    packed: Packed
    scratch: Any

    def get(self, ref: Ref) -> Array | None:
        """The array that a reference stands for."""

    def array(self, ref: Ref) -> Array:
        """The same of a reference that is not None."""

    def spends(self, step: Step) -> bool:
        """Whether nothing but the step's first input needs its memory, and nothing after it."""


PackedWeights = dict[tuple[int, ConvSpec], tuple[Array, Any]]  # by the key, which is kept


class Packed:
    """Weights in the order in which the kernels read them, packed once for all that read them.

    ``made`` may be shared with other graphs, in other threads; the memory for what the given
    graphs add to it is reserved at once.
    """

    def __init__(self, graphs: Sequence[Graph], made: PackedWeights) -> None:
        self.made = made
        steps = [step for graph in graphs for step in graph.steps.values()]
        self.room = Slab(sum(self._missing(part) for step in steps for part in step.parts))

    def __call__(self, w: Constant, spec: ConvSpec) -> Any:
        """The filters ``w`` of the graph; those of ``linear`` have two axes."""
        key = id(w.key), spec
        if key not in self.made:
            self.made.setdefault(key, (w.key, self._pack(w, spec)))
        return self.made[key][1]

    def _pack(self, w: Constant, spec: ConvSpec) -> object:
        ready = w.ready(spec.groups)
        if ready is not None:
            return adopt(as_maps(w.key), spec, ready)
        home = self._home(w, spec)
        return pack(as_maps(w.array), spec, self.room if home is None else lambda size: home)

    def _home(self, w: Constant, spec: ConvSpec) -> Array | None:
        """Where these weights lie for another stride or padding: the same bytes in one order."""
        for (number, other), (_, packed) in list(self.made.items()):
            if number == id(w.key) and other.groups == spec.groups:
                home: Array | None = getattr(packed, "home", None)
                return home
        return None

    def _missing(self, step: Step) -> int:
        """The bytes that the weights of a step take, unless they are packed already."""
        if step.op not in ("conv2d", "linear") or not has_constants(step):
            return 0
        w, spec = step.filters, step.params.get("spec", PLAIN)
        if w.ready(spec.groups) is not None or self._home(w, spec) is not None:
            return 0
        shape = w.shape if len(w.shape) == 4 else (*w.shape, 1, 1)
        return 64 + packed_bytes(shape, spec, w.dtype)


def as_maps(x: Array) -> Array:
    """x as a map of NCHW shape, in a memory order that the core can read."""
    if not regular(x):
        x = np.array(x, order="C")
    if x.ndim == 4:
        return x
    return x.reshape(x.shape[0] if x.ndim else 1, math.prod(x.shape[1:]), 1, 1)


def has_kernel(step: Step) -> bool:
    """Whether the compiled core can run a step, or nothing has to be run.

    It never sees an empty array: what a step makes of one, its definition says.
    """
    dtype = step.output.dtype
    if any(0 in ref.shape or ref.dtype != dtype for ref in step.refs()):
        return False
    if step.op == "reshape" and not (is_alias(step) or _is_one_copy(step)):
        return False
    if step.op in OF_CONSTANTS and not has_constants(step):
        return False
    if step.op == "batch_norm_eval" and len(step.shape) not in (2, 4):
        return False
    if step.op == "linear" and step.filters.shape[1] > INNER:
        return False  # a pointwise convolution is one chain, and this sum is cut
    return step.op in BINDERS


def _is_one_copy(step: Step) -> bool:
    """Whether one side of a reshape is in order, so that one list of copies does it."""
    return in_order(step.source.shape) or in_order(step.shape)


def _bind_conv2d(step: Step, bound: Bound, y: Array) -> Any:
    if step.epilogue.gate is not None:
        stages = gated_stages(step, bound.get, bound.packed, bound.spends(step))
        return bind_block(stages, y, bound.scratch)
    return _bind_linear_map(step, bound, y, step.params["spec"])


def _bind_linear(step: Step, bound: Bound, y: Array) -> Any:
    """A pointwise convolution on a map of one pixel: the same sum, in the same order."""
    return _bind_linear_map(step, bound, y, PLAIN)


def _bind_linear_map(step: Step, bound: Bound, y: Array, spec: ConvSpec) -> Any:
    x, residual = bound.array(step.inputs[0]), bound.get(step.epilogue.residual)
    bias = None if step.bias is None else np.ascontiguousarray(step.bias)
    return bind_conv2d(
        as_maps(x), bound.packed(step.filters, spec), as_maps(y), bias,
        None if residual is None else as_maps(residual), step.epilogue.activation,
        slope_of(step), step.epilogue.last, step.epilogue.clamp,
    )  # fmt: skip


def _bind_block(step: Step, bound: Bound, y: Array) -> Any:
    return bind_block(stages_of(step, bound.get, bound.packed), y, bound.scratch)


def _bind_mean(step: Step, bound: Bound, y: Array) -> Any:
    return bind_global_avg_pool(bound.array(step.inputs[0]), y)


def _bind_max_pool(step: Step, bound: Bound, y: Array) -> Any:
    return bind_max_pool2d(bound.array(step.inputs[0]), step.params["window"], y)


def _bind_avg_pool(step: Step, bound: Bound, y: Array) -> Any:
    window, counts = step.params["window"], step.params["count_include_pad"]
    return bind_avg_pool2d(bound.array(step.inputs[0]), window, y, counts)


def _bind_map(step: Step, bound: Bound, y: Array) -> Any:
    from minigrad.kernels.cython.elementwise import bind_elementwise  # most are in an epilogue

    return bind_elementwise(step.op, bound.array(step.inputs[0]), y)


def _bind_batch_norm(step: Step, bound: Bound, y: Array) -> Any:
    from minigrad.kernels.cython.normalisation import bind_batch_norm  # most are folded

    x, *vectors = (bound.array(ref) for ref in step.inputs)
    return bind_batch_norm(as_maps(x), as_maps(y), step.params["eps"], *vectors)


def _bind_move(step: Step, bound: Bound, y: Array) -> Any:
    from minigrad.engine.moves import MOVES  # many plans have no such step

    return MOVES[step.op](step, bound, y)


class PythonCall:
    """A step without a bound kernel: its definition, and a copy into its place."""

    def __init__(self, step: Step, bound: Bound, y: Array) -> None:
        self.step, self.bound, self.y = step, bound, y
        self.seconds = 0.0

    def run(self, threads: int) -> None:
        from minigrad.engine.interpret import perform  # few plans have such a step

        start = time.perf_counter()
        with using_threads(threads):
            np.copyto(self.y, perform(self.step, self.bound.get))
        self.seconds += time.perf_counter() - start

    def start_clocks(self) -> None:
        self.seconds = 0.0

    def read_clocks(self) -> list[float]:
        return [self.seconds]


MOVES = (
    "concat", "interleave", "transpose", "getitem", "broadcast_to", "clone", "reshape", "pad",
    "resample", "add", "sub", "mul", "div", "maximum", "minimum", "prelu",
)  # fmt: skip
OF_CONSTANTS = ("conv2d", "linear", "batch_norm_eval")  # whose weights must be known beforehand
BINDERS: dict[str, Callable[[Step, Bound, Array], Any]] = {
    "conv2d": _bind_conv2d,
    "linear": _bind_linear,
    "batch_norm_eval": _bind_batch_norm,
    "global_avg_pool": _bind_mean,
    "avg_pool2d": _bind_avg_pool,
    "max_pool2d": _bind_max_pool,
    **dict.fromkeys(MOVES, _bind_move),
    **{f.name: _bind_map for f in FUNCTIONS_OF_ONE},
    **{pattern.name: _bind_block for pattern in BLOCKS},
}
