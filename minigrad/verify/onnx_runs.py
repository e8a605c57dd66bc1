"""A run of an ONNX file in ONNX Runtime with every value of its graph.

Whose values they are is found in ``alignment``; here a file is read and run, its operators are
given our names, and its parameters are compared with the model's: a weight must be the model's,
or the model's with the batch norm behind it folded in, to within a few units in the last place.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from minigrad.engine.graph import Constant, Graph, Step
from minigrad.errors import FormatError, MissingExtra
from minigrad.tensor import Array

__all__ = ["OnnxRun", "Operator", "parameter_fault", "run_onnx"]

KINDS = {
    "Add": "add", "AveragePool": "avg_pool2d", "BatchNormalization": "batch_norm_eval",
    "Clip": "relu6", "Conv": "conv2d", "Div": "div", "Flatten": "reshape", "Gemm": "linear",
    "GlobalAveragePool": "global_avg_pool", "HardSigmoid": "hardsigmoid", "HardSwish": "hardswish",
    "MatMul": "linear", "MaxPool": "max_pool2d", "Mul": "mul", "ReduceMean": "global_avg_pool",
    "Relu": "relu", "Reshape": "reshape", "Sigmoid": "sigmoid", "Softmax": "softmax",
    "Sub": "sub", "Tanh": "tanh", "Transpose": "transpose",
}  # fmt: skip
GATED = {"sigmoid": "silu", "hardsigmoid": "hardswish"}  # x times it is one step of ours
FOLDED = 16  # units in the last place that folding a batch norm may take


class Operator(NamedTuple):
    """One node of the file.

    Attributes
    ----------
    kind : str
        The step of ours that does the same; "" for a node that changes no value, or is unknown.
    inputs : list of str
        The names of the values that it reads; not of its parameters.
    output : str
    parameters : list of arrays
    """

    kind: str
    inputs: list[str]
    output: str
    parameters: list[Array]


class OnnxRun(NamedTuple):
    """What a run left.

    Attributes
    ----------
    input : str
        The name of the file's input.
    operators : list of Operator
        In the order of the file.
    values : dict
        Every value of the graph by its name there.
    output : array
        The first output of the file.
    """

    input: str
    operators: list[Operator]
    values: dict[str, Array]
    output: Array


def run_onnx(path: Path, x: Array) -> OnnxRun:
    """Run a file in ONNX Runtime with all intermediate values.

    Parameters
    ----------
    path : Path
    x : array
        The file's only input.

    Returns
    -------
    OnnxRun

    Raises
    ------
    MissingExtra
        If onnx or onnxruntime is not installed.
    FormatError
        If the file is no ONNX model of one input, or cannot be run on x.
    """
    try:
        import onnx
        import onnxruntime as ort
    except ImportError as error:
        raise MissingExtra(error.name or "onnxruntime", "test", "running an ONNX file") from None
    try:
        proto = onnx.load(path)
        constants = {t.name: onnx.numpy_helper.to_array(t) for t in proto.graph.initializer}
        operators = list(_operators(proto.graph, constants))
        given = [i.name for i in proto.graph.input if i.name not in constants]
        outputs = [o.name for o in proto.graph.output]
        hidden = {o.output for o in operators} - set(outputs) - {""}
        proto.graph.output.extend(onnx.ValueInfoProto(name=name) for name in sorted(hidden))
        if len(given) != 1:
            raise ValueError(f"it has {len(given)} inputs, expected 1")
        options = ort.SessionOptions()
        options.log_severity_level = 3
        session = ort.InferenceSession(
            proto.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        names = [*outputs, *sorted(hidden)]
        values = dict(zip(names, session.run(names, {given[0]: x}), strict=True))
    except OSError:
        raise
    except Exception as error:  # of protobuf's and ONNX Runtime's own classes
        told = " ".join(str(error).split())[:200]
        raise FormatError(f"{path.name!r} cannot be run in ONNX Runtime: {told}") from None
    return OnnxRun(given[0], operators, values, values[outputs[0]])


def _operators(graph: Any, constants: dict[str, Array]) -> Iterator[Operator]:
    """The nodes as steps of ours; x sigmoid(x) is one, and casts are seen through."""
    made_by = {name: node for node in graph.node for name in node.output}
    gates = {}
    for node in graph.node:
        if node.op_type == "Mul":
            for a, b in ((0, 1), (1, 0)):
                gate = made_by.get(node.input[a])
                kind = None if gate is None else GATED.get(KINDS.get(gate.op_type, ""))
                if gate is not None and kind and gate.input[0] == node.input[b]:
                    gates[node.output[0]], gates[gate.output[0]] = kind, ""
    for node in graph.node:
        kind = gates.get(node.output[0], KINDS.get(node.op_type, ""))
        found = [(name, _constant(name, constants, made_by)) for name in node.input if name]
        parameters = [p for _, p in found if p is not None]
        inputs = [name for name, p in found if p is None]
        if inputs:
            yield Operator(kind, inputs, node.output[0], parameters)


def _constant(name: str, constants: dict[str, Array], made_by: dict[str, Any]) -> Array | None:
    """A constant input, also behind a cast."""
    while name in made_by and made_by[name].op_type == "Cast":
        name = made_by[name].input[0]
    return constants.get(name)


def parameter_fault(graph: Graph, number: int, operator: Operator) -> str:
    """A sentence if the weights of a convolution or linear layer are not the model's."""
    step = graph.steps[number]
    if step.op not in ("conv2d", "linear") or not operator.parameters:
        return ""
    behind = [graph.steps[n] for n in graph.uses()[number] if n in graph.steps]
    forms = [_parameters(step, None)]
    if len(behind) == 1 and behind[0].op == "batch_norm_eval":
        forms.append(_parameters(step, behind[0]))
    faults = [_differs(operator.parameters, form) for form in forms]
    return "" if "" in faults else faults[-1]


def _parameters(step: Step, norm: Step | None) -> list[Array]:
    """Weight and bias in float64, with a batch norm folded in."""
    w = np.asarray(step.weights, np.float64)
    given = step.bias if len(step.inputs) > 2 else None
    bias = np.zeros(len(w)) if given is None else np.asarray(given, np.float64)
    if norm is None:
        return [w] if given is None else [w, bias]
    mean, var, gamma, beta = (
        np.asarray(c.array, np.float64) for c in norm.inputs[1:] if isinstance(c, Constant)
    )
    scale = gamma / np.sqrt(var + norm.params["eps"])
    return [w * scale.reshape((-1,) + (1,) * (w.ndim - 1)), beta + (bias - mean) * scale]


def _differs(found: list[Array], expected: list[Array]) -> str:
    for name, got, want in zip(("weight", "bias"), found, expected, strict=False):
        if got.dtype.itemsize < 4:
            return f"its {name} is {got.dtype}"
        flipped = got.T if name == "weight" and got.ndim == 2 and got.shape != want.shape else got
        if flipped.shape != want.shape:
            return f"its {name} has shape {got.shape}, expected {want.shape}"
        room = FOLDED * np.finfo(np.float32).eps * (np.abs(want) + (name == "bias"))
        off = np.abs(flipped.astype(np.float64) - want) - room
        if np.any(off > 0):
            k = np.unravel_index(int(np.argmax(off)), off.shape)
            where = [int(n) for n in k]
            return (f"{int((off > 0).sum())} of its {name}s differ: {name}{where} is "
                    f"{float(flipped[k]):.9g}, expected {float(want[k]):.9g}")  # fmt: skip
    return ""
