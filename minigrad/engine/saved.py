"""What a plan file says: its header checked, its tensors, and the plan that they are."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from minigrad.arguments import LARGEST
from minigrad.arrays import FLOATS, Array, Shape
from minigrad.engine.batches import LAYOUTS
from minigrad.engine.bind import PackedWeights
from minigrad.engine.design import design
from minigrad.engine.graph import Constant, Graph, Note, Value, needed
from minigrad.engine.loading_weights import check_read_as_filters, filters_of
from minigrad.engine.outline import MOST_OUTPUTS, MOST_STEPS, is_name, outlined, size
from minigrad.engine.packing import REGISTERS
from minigrad.engine.plan import Plan
from minigrad.engine.schedule import with_batch
from minigrad.errors import FormatError, MinigradError, quote
from minigrad.formats.state_dict import StateDict
from minigrad.resources import check_memory

if TYPE_CHECKING:
    from minigrad.engine.scaling import Scaling

__all__ = ["Saved"]

MOST_IMAGES = 1 << 16


class Saved:
    """The network that a plan file describes."""

    def __init__(self, state: StateDict, described: object) -> None:
        match described:
            case {
                "input": list(shape), "dtype": "float32" | "float64" as dtype,
                "layout": str(layout), "name": str(name), "steps": list(steps),
                "outputs": list(outputs), "returns_one": bool(returns_one),
                "isa": str(isa), "register": int(register), "packed": dict(packed),
                "preparation": None | list() as preparation, "inputs": list(inputs),
            }:  # fmt: skip
                pass
            case _:
                raise FormatError("the plan does not say its input, steps, outputs and packing")
        if not all(map(is_name, (name, isa))):
            raise FormatError(f"{quote(name)} or {quote(isa)} is no name of a network or its CPU")
        if layout not in LAYOUTS:
            raise FormatError(f"the layout {quote(layout)} is none")
        if not 0 < (count := size(steps)) <= MOST_STEPS or not 0 < len(outputs) <= MOST_OUTPUTS:
            raise FormatError(
                f"a plan in a file has 1 to {MOST_STEPS:,} steps and 1 to {MOST_OUTPUTS:,} "
                f"outputs, not {count} and {len(outputs)}"
            )
        if not all(type(n) is int and 0 <= n <= LARGEST for n in shape) or len(shape) > 8:
            raise FormatError(f"the input's shape {quote(str(shape))} is none")
        if shape and shape[0] > MOST_IMAGES:
            raise FormatError(f"a plan in a file takes at most {MOST_IMAGES:,} images")
        self.shape, self.dtype, self.layout, self.name = tuple(shape), dtype, layout, name
        self.steps, self.outputs, self.returns_one = steps, outputs, returns_one
        self.isa, self.register = isa, register
        self.constants = self._constants(state, packed)
        self.metadata = state.metadata
        self.scaling = None if preparation is None else self._scaling(preparation)
        self.inputs = [self._input(described) for described in inputs]
        self.is_packed, self.packed = bool(packed), PackedWeights()
        if self.inputs and (sum(math.prod(s) for _, s in self.inputs),) != self.shape:
            raise FormatError("the inputs of the plan are not as many numbers as it takes")
        if len({name for name, _ in self.inputs if name}) not in (0, len(self.inputs)):
            raise FormatError("the inputs of the plan do not all have a name of their own")

    def _scaling(self, described: list[object]) -> Scaling:
        """How bytes become numbers."""
        from minigrad.engine.scaling import Scaling, scaling_of  # few plans take bytes

        match described:
            case [list(mean), list(std), str(order)] if self.dtype == "float32":
                if len(self.shape) == 4 and self.shape[1] == len(mean):
                    with contextlib.suppress(MinigradError):
                        return scaling_of(Scaling(tuple(mean), tuple(std), order))
        raise FormatError("the plan's preparation is not one for its input")

    def _input(self, described: object) -> tuple[str, Shape]:
        """The name and the shape of one of several inputs."""
        match described:
            case [str(name), list(shape)] if is_name(name) and len(shape) <= 8:
                if all(type(n) is int and 0 <= n <= LARGEST for n in shape):
                    return name, tuple(shape)
        raise FormatError(f"an input of the plan, {quote(str(described))}, is no name and shape")

    def _constants(
        self, state: Mapping[str, Array], packed: dict[str, object]
    ) -> dict[str, Constant]:
        """What the steps may read beside maps; packed filters are known by shape alone."""
        if (self.register not in REGISTERS and packed) or not packed.keys() <= state.keys():
            raise FormatError("the plan says of tensors that are not there that they are packed")
        check_read_as_filters(packed, self.steps)
        floats = {name: array for name, array in state.items() if array.dtype in FLOATS}
        constants = {name: Constant(array) for name, array in floats.items() if name not in packed}
        for name, described in packed.items():
            constants[name] = filters_of(name, state[name], described, self.register)
        return constants

    def plan(self, threads: int | None, shape: Shape | None = None) -> Plan:
        """The plan for the saved shape, or for another number of images of a recordable one."""
        at = self.shape if shape is None else shape
        try:
            graph, notes = self._fused((*self.shape[:1], *at[1:]))
            if at != graph.shape:
                graph = _with_images(graph, at[0])
            about = partial(dict[str, str], self.metadata)
            made = design(graph, notes, self.name)
            return Plan(made, threads, self.layout, self.packed, about, self.scaling)
        except FormatError:
            raise
        except (MinigradError, TypeError, ValueError, LookupError, OverflowError) as error:
            raise FormatError(f"the plan cannot be run: {quote(str(error), 300)}") from None

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "packed": {}}

    def recorded(self, shape: Shape) -> Graph:
        """The steps for an input of this shape."""
        return self._outlined(shape) or self._called(shape)

    def _fused(self, shape: Shape) -> tuple[Graph, list[Note]]:
        """The steps with all that is fused into them; what the public functions record is not."""
        if (graph := self._outlined(shape)) is not None:
            return graph, []
        from minigrad.engine.fuse import FOLDS, rewrite

        return rewrite(self._called(shape), FOLDS)

    def _outlined(self, shape: Shape) -> Graph | None:
        """The steps as arithmetic alone gives them, or None."""
        start = Value(0, shape, np.dtype(self.dtype))
        made = outlined(self.steps, self.constants, start)
        known = {str(number): step.output for number, step in (made or {}).items()}
        outputs = tuple([known[n] for n in self.outputs if isinstance(n, str) and n in known])
        if made is None or len(outputs) < max(len(self.outputs), 1):
            return None
        check_memory(start.nbytes, f"an input of shape {start.shape}")
        check_memory(sum(y.nbytes for y in outputs), f"the output for an input of {start.shape}")
        return Graph(start, needed(made, outputs), outputs, self.returns_one and len(outputs) == 1)

    def _called(self, shape: Shape) -> Graph:
        """The steps as the public functions record them, what was fused apart."""
        from minigrad.engine.loading_calls import called  # few plans have use for it

        start = Value(0, shape, np.dtype(self.dtype))
        return called(self.steps, self.constants, self.outputs, self.returns_one, start)


def _with_images(graph: Graph, count: int) -> Graph:
    """The graph for another number of images."""
    moved = with_batch(graph, count)
    if moved is None:
        raise FormatError(f"a step mixes its images, which are {graph.shape[0]} for good")
    return moved
