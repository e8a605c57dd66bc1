"""Plans written to disk.

A plan file is a safetensors file.  Its tensors are the constants, batch norms folded into
them, and its metadata hold the steps as JSON:

    {"input": [1, 3, 224, 224], "dtype": "float32", "layout": "NCHW", "name": "mobilenet_v2",
     "steps": [["conv2d", ["0", "w0", "w1"], {"spec": [...]}, "stem.conv", "stem.act",
                {"activation": "relu6"}], ...],
     "outputs": ["151"], "returns_one": true,
     "isa": "avx512", "register": 64, "packed": {"w0": [[32, 3, 3, 3], 1], ...},
     "preparation": null, "inputs": []}

A step names what it reads, the number of a value (0 is the input) or a tensor, its layer, and
the last layer whose work it does.  Each is one primitive, and last, if there is any, what was
fused into it: the fields of ``graph.Epilogue``.  Blocks, and where values lie in memory, are
decided by who reads the file: to check what a file says of them would take half as long, of
which little would be spared (benchmarks/README.md).  "preparation" has the
mean, the deviation and the order of the channels, if the plan takes bytes; "inputs" the name and
shape of each of several (``several``).  A tensor under "packed" has filters of this shape and
number of groups in the order of ``packing``, for registers of so many bytes, and begins with a
page of the file.  Beside "minigrad.plan", the version of the format, and "minigrad.steps", the
metadata have what the network's own weights say of it: its name, labels, and the preparation of
photographs.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence

from minigrad.arrays import Array, Shape
from minigrad.engine.design import Design
from minigrad.engine.graph import Constant, Graph, Ref, Step, Value
from minigrad.engine.outline import MOST_OUTPUTS, MOST_STEPS, VERSION, size
from minigrad.engine.packing import PAGE, Order, register_bytes
from minigrad.engine.scaling import Scaling
from minigrad.errors import GraphError
from minigrad.formats.safetensors import write_safetensors
from minigrad.formats.writing import replacing
from minigrad.geometry import ConvSpec
from minigrad.kernels.cython.core import current_level
from minigrad.kernels.tables import FUNCTIONS_OF_ONE

__all__ = ["OPERATIONS", "PLAIN", "save_plan"]

PLAIN = (
    *(f.name for f in FUNCTIONS_OF_ONE), "sqrt", "neg", "absolute", "add", "sub", "mul", "div",
    "maximum", "minimum", "linear", "global_avg_pool", "softmax", "log_softmax",
)  # fmt: skip
OPERATIONS = frozenset(
    (*PLAIN, "conv2d", "max_pool2d", "avg_pool2d", "batch_norm_eval", "reshape", "broadcast_to",
     "transpose", "sum", "concat", "clamp", "compare", "choose", "getitem", "interleave", "max",
     "pad", "places", "prelu", "resample", "rounded", "take_along")
)  # fmt: skip


def save_plan(
    plan: Design,
    layout: str,
    about: Mapping[str, str],
    path: str | os.PathLike[str],
    scaling: Scaling | None = None,
    inputs: Sequence[tuple[str, Shape]] = (),
) -> None:
    """Write a plan to a file; see ``Plan.save`` and, for ``inputs``, ``JointPlan.save``."""
    writer = _Writer(_packable(plan.unfused))
    for step in plan.unfused.steps.values():
        writer.step(step)
    outputs = [writer.ref(value) for value in plan.unfused.outputs]
    if (count := size(writer.steps)) > MOST_STEPS or len(outputs) > MOST_OUTPUTS:
        raise GraphError(
            f"save: a plan in a file has at most {MOST_STEPS:,} steps and {MOST_OUTPUTS:,} "
            f"outputs, not {count} and {len(outputs)}"
        )
    text = json.dumps(
        {
            "input": plan.graph.shape,
            "dtype": plan.graph.dtype.name,
            "layout": layout,
            "name": plan.name,
            "steps": writer.steps,
            "outputs": outputs,
            "returns_one": plan.graph.returns_one,
            "isa": current_level() or "none",
            "register": register_bytes(),
            "packed": {name: [shape, o.groups] for name, (shape, o) in writer.packed.items()},
            "preparation": scaling,
            "inputs": inputs,
        }
    )
    metadata = {**about, "minigrad.plan": VERSION, "minigrad.steps": text}
    with replacing(path) as file:
        write_safetensors(file, writer.ordered(), metadata, page=PAGE)


def _packable(graph: Graph) -> dict[int, int]:
    """The groups of the filters that convolutions and linear maps alone read, all in one order.

    By the identity of their arrays; none without the compiled core, which has the order.
    """
    groups: dict[int, set[int]] = {}
    for step in graph.steps.values():
        for place, ref in enumerate(step.inputs):
            if isinstance(ref, Constant):
                groups.setdefault(id(ref.key), set()).add(_groups(step) if place == 1 else 0)
    ways = {key: found.pop() for key, found in groups.items() if len(found) == 1}
    return {key: found for key, found in ways.items() if found and current_level()}


def _groups(step: Step) -> int:
    """How many groups of channels a convolution has; 0 of what is none."""
    if step.op not in ("conv2d", "linear") or not step.filters.nbytes:
        return 0
    spec: ConvSpec = step.params.get("spec", ConvSpec())
    return spec.groups


class _Writer:
    """The steps of a graph as JSON; each value gets a new number."""

    def __init__(self, packable: Mapping[int, int]) -> None:
        self.packable = packable
        self.packed: dict[str, tuple[Shape, Order]] = {}
        self.steps: list[list[object]] = []
        self.arrays: dict[str, Array] = {}
        self.names: dict[int, str] = {0: "0"}  # of values
        self.tensors: dict[int, str] = {}  # of arrays, by identity

    def ref(self, ref: Ref) -> str | None:
        """The name of what a step reads."""
        if ref is None:
            return None
        if isinstance(ref, Value):
            return self.names[ref.number]
        key = id(ref.key)
        if key not in self.tensors:
            self.tensors[key] = name = f"w{len(self.tensors)}"
            self.arrays[name] = ref.array
            if key in self.packable:
                itemsize, groups = ref.dtype.itemsize, self.packable[key]
                order = Order.of(ref.shape, groups, itemsize, register_bytes())
                self.packed[name] = ref.shape, order
        return self.tensors[key]

    def ordered(self) -> dict[str, Array]:
        """The tensors as the file has them: whole pages first, so that each begins with one."""
        pages = {name: order.pack(self.arrays[name]) for name, (_, order) in self.packed.items()}
        return pages | {name: array for name, array in self.arrays.items() if name not in pages}

    def step(self, step: Step) -> None:
        """A step, with what was fused into it; none for a mere name."""
        if step.op == "reshape" and step.source.shape == step.shape:
            self.names[step.number] = self.names[step.source.number]
            return
        if step.op not in OPERATIONS:
            name = step.layer or step.op
            raise GraphError(f"save: the step {name} is a {step.op}, which no plan file can hold")
        inputs, params = [self.ref(ref) for ref in step.inputs], _encoded(dict(step.params))
        made = [step.op, inputs, params, step.layer, step.last_layer]
        fused = {
            name: self.ref(part) if isinstance(part, (Value, Constant)) else part
            for name, part in step.epilogue._asdict().items()
            if part is not None and part is not False
        }
        self.steps.append([*made, fused] if fused else made)
        self.names[step.number] = str(len(self.steps))


def _encoded(value: object) -> object:
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
