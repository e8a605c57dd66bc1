"""Plans written to disk.

A plan file is a safetensors file.  Its tensors are the constants, batch norms folded into
them, and its metadata hold the steps as JSON:

    {"input": [1, 3, 224, 224], "dtype": "float32", "layout": "NCHW", "name": "mobilenet_v2",
     "steps": [["conv2d", ["0", "w0", "w1"], {"spec": [...]}, "stem.conv"], ...],
     "outputs": ["151"], "returns_one": true}

A step names what it reads: the number of a value (0 is the input) or a tensor.  Each is one
primitive; what was fused into it is written as steps of its own.
"""

from __future__ import annotations

import json
import os
from typing import Any

from minigrad.engine.design import Design
from minigrad.engine.graph import Ref, Step, Value
from minigrad.errors import GraphError
from minigrad.formats.safetensors import write_safetensors
from minigrad.formats.writing import replacing
from minigrad.kernels.tables import FUNCTIONS_OF_ONE
from minigrad.tensor import Array

__all__ = ["OPERATIONS", "PLAIN", "VERSION", "save_plan"]

VERSION = "1"
PLAIN = (
    *(f.name for f in FUNCTIONS_OF_ONE), "sqrt", "neg", "absolute", "add", "sub", "mul", "div",
    "maximum", "minimum", "linear", "global_avg_pool", "softmax", "log_softmax",
)  # fmt: skip
OPERATIONS = frozenset(
    (*PLAIN, "conv2d", "max_pool2d", "avg_pool2d", "batch_norm_eval", "reshape", "broadcast_to",
     "transpose", "sum", "concat", "clamp", "compare", "choose", "getitem", "interleave", "max",
     "pad", "places", "prelu", "resample", "rounded", "take_along")
)  # fmt: skip


def save_plan(plan: Design, layout: str, path: str | os.PathLike[str]) -> None:
    """Write a plan to a file; see ``Plan.save``."""
    writer = _Writer()
    for step in plan.unfused.steps.values():
        writer.step(step)
    outputs = [writer.ref(value) for value in plan.unfused.outputs]
    text = json.dumps(
        {
            "input": plan.graph.shape,
            "dtype": plan.graph.dtype.name,
            "layout": layout,
            "name": plan.name,
            "steps": writer.steps,
            "outputs": outputs,
            "returns_one": plan.graph.returns_one,
        }
    )
    metadata = {"minigrad.plan": VERSION, "minigrad.steps": text}
    with replacing(path) as file:
        write_safetensors(file, writer.arrays, metadata)


class _Writer:
    """The steps of a graph as JSON; each value gets a new number."""

    def __init__(self) -> None:
        self.steps: list[Any] = []
        self.arrays: dict[str, Array] = {}
        self.names: dict[int, str] = {0: "0"}  # of values
        self.tensors: dict[int, str] = {}  # of arrays, by identity

    def ref(self, ref: Ref) -> str | None:
        """The name of what a step reads."""
        if ref is None:
            return None
        if isinstance(ref, Value):
            return self.names[ref.number]
        key = id(ref.array)
        if key not in self.tensors:
            self.tensors[key] = f"w{len(self.tensors)}"
            self.arrays[self.tensors[key]] = ref.array
        return self.tensors[key]

    def add(self, op: str, inputs: list[str | None], params: dict[str, Any], layer: str) -> str:
        """One primitive; returns the name of its value."""
        if op not in OPERATIONS:
            raise GraphError(f"save: the step {layer or op} is a {op}, which no plan file can hold")
        self.steps.append([op, [*inputs], _encoded(params), layer])
        return str(len(self.steps))

    def step(self, step: Step) -> None:
        """A step, and what was fused into it as steps of their own; none for a mere name."""
        if step.op == "reshape" and step.source.shape == step.shape:
            self.names[step.number] = self.names[step.source.number]
            return
        inputs, epilogue = [self.ref(ref) for ref in step.inputs], step.epilogue
        layer = step.last_layer
        if epilogue.gate:
            shape = {"shape": step.source.shape}
            wide = self.add("broadcast_to", [self.ref(epilogue.gate)], shape, step.layer)
            inputs[0] = self.add("mul", [inputs[0], wide], {}, step.layer)
        y = self.add(step.op, inputs, dict(step.params), step.layer)
        for op, others in epilogue.after():
            y = self.add(op, [y, *map(self.ref, others)], {}, layer)
        self.names[step.number] = y


def _encoded(value: Any) -> Any:
    """A parameter as JSON has it."""
    if isinstance(value, dict):
        return {name: _encoded(v) for name, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_encoded(v) for v in value]
    if isinstance(value, slice):
        return {"slice": [value.start, value.stop, value.step]}
    if value is Ellipsis:
        return {"slice": "..."}
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise GraphError(f"save: a parameter of type {type(value).__name__} cannot be written")
