"""A recorded network in ncnn's own two files: .param, a line a layer, and .bin, the weights.

A line of .param is "Type name inputs outputs input-names output-names key=value ...", the
keys being numbers that ncnn's operator table gives.  A value that several layers read is
handed out by a Split.  In .bin a convolution's weights stand behind a word of zeros
(float32, as they are), its bias without one.  ncnn has no batch: an image at a time.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import Any

import numpy as np

from minigrad.engine.graph import Graph, Step, Value
from minigrad.errors import GraphError
from minigrad.kernels.contract import Array

__all__ = ["ncnn_network"]

MAGIC = 7767517
FLOAT32 = struct.pack("<I", 0)
SIXTH = f"{1 / 6:.9g}"
# What a convolution can do to its own result: 9=type and -23310=its arguments.
INSIDE = {"relu": "9=1", "relu6": "9=3 -23310=2,0.0,6.0", "sigmoid": "9=4",
          "hardswish": f"9=6 -23310=2,{SIXTH},0.5"}  # fmt: skip
UNARY = {"relu": ("ReLU", ""), "relu6": ("Clip", "0=0.0 1=6.0"), "sigmoid": ("Sigmoid", ""),
         "silu": ("Swish", ""), "tanh": ("TanH", ""),
         "hardswish": ("HardSwish", f"0={SIXTH} 1=0.5"),
         "hardsigmoid": ("HardSigmoid", f"0={SIXTH} 1=0.5")}  # fmt: skip
ADD, MUL = 0, 2


def ncnn_network(graph: Graph) -> tuple[str, bytes]:
    """(.param, .bin) of a graph with one image in and one output; blobs "in" and "out"."""
    if graph.shape[0] != 1:
        raise GraphError("ncnn has no batch")
    return _Network(graph).files()


class _Network:
    """Layers as they are written; a value is known by the name of its blob."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.layers: list[tuple[str, list[str], str, str]] = []
        self.weights: list[bytes] = []
        self.blobs = {0: "in"}
        self.vectors: set[str] = set()  # blobs without height and width
        for number, step in graph.steps.items():
            self.blobs[number] = self.step(step)

    def files(self) -> tuple[str, bytes]:
        renamed = {self.blobs[self.graph.outputs[0].number]: "out"}
        lines = ["Input input 0 1 in"]
        for kind, inputs, output, how in _with_splits(self.layers):
            outputs = [renamed.get(o, o) for o in output.split()]
            counts = f"{len(inputs)} {len(outputs)}"
            names = " ".join([renamed.get(i, i) for i in inputs] + outputs)
            lines.append(f"{kind} {outputs[0]} {counts} {names} {how}".rstrip())
        blobs = 1 + sum(len(line.split()[4 + int(line.split()[2]):][: int(line.split()[3])])
                        for line in lines[1:])  # fmt: skip
        return "\n".join([str(MAGIC), f"{len(lines)} {blobs}", *lines, ""]), b"".join(self.weights)

    def layer(self, kind: str, inputs: Iterable[str], how: str = "") -> str:
        name = f"b{len(self.layers)}"
        self.layers.append((kind, list(inputs), name, how))
        return name

    def step(self, step: Step) -> str:
        write = getattr(self, f"_{step.op}", None)
        y: str = write(step) if write else self.activation(step.op, self.blobs[step.source.number])
        if step.epilogue.residual:
            y = self.binary(ADD, y, self.blobs[step.epilogue.residual.number])
        return y

    def binary(self, operation: int, a: str, b: str) -> str:
        return self.layer("BinaryOp", [a, b], f"0={operation}")

    def activation(self, name: str, x: str) -> str:
        if name not in UNARY:
            raise GraphError(f"ncnn: no layer is written for {name}")
        kind, how = UNARY[name]
        return self.layer(kind, [x], how)

    def stored(self, w: Array, bias: Any) -> None:
        zeros = np.zeros(w.shape[0], np.float32)
        values = (w, zeros if bias is None else bias)
        w_bytes, b_bytes = (np.ascontiguousarray(v, np.float32).tobytes() for v in values)
        self.weights += [FLOAT32, w_bytes, b_bytes]

    def _conv2d(self, step: Step) -> str:
        source, w, bias = step.source, step.weights, step.bias
        spec, act = step.params["spec"], step.epilogue.activation
        x = self.blobs[source.number]
        if step.epilogue.gate:
            x = self.binary(MUL, x, self.blobs[step.epilogue.gate.number])
        if x in self.vectors and w.shape[2:] == (1, 1):
            return self.product(x, w, bias, act)
        (top, bottom), (left, right) = spec.padding
        how = (
            f"0={w.shape[0]} 1={w.shape[3]} 11={w.shape[2]} 2={spec.dilation[1]} "
            f"12={spec.dilation[0]} 3={spec.stride[1]} 13={spec.stride[0]} 4={left} 14={top} "
            f"15={right} 16={bottom} 5=1 6={w.size} {INSIDE.get(act or '', '')}"
        )
        kind = "Convolution" if spec.groups == 1 else "ConvolutionDepthWise"
        y = self.layer(kind, [x], how + ("" if spec.groups == 1 else f" 7={spec.groups}"))
        self.stored(w, bias)
        return y if act is None or act in INSIDE else self.activation(act, y)

    def _linear(self, step: Step) -> str:
        w, bias = step.weights, step.bias
        return self.product(self.blobs[step.source.number], w, bias, None)

    def product(self, x: str, w: Array, bias: Any, act: str | None) -> str:
        """What a 1x1 convolution is on a vector."""
        how = f"0={w.shape[0]} 1=1 2={w.size} {INSIDE.get(act or '', '')}"
        y = self.layer("InnerProduct", [x], how)
        self.stored(w, bias)
        y = y if act is None or act in INSIDE else self.activation(act, y)
        self.vectors.add(y)
        return y

    def both(self, step: Step) -> tuple[str, str]:
        """The two values that a step reads."""
        a, b = (self.blobs[ref.number] for ref in step.inputs if isinstance(ref, Value))
        return a, b

    def _add(self, step: Step) -> str:
        return self.binary(ADD, *self.both(step))

    def _mul(self, step: Step) -> str:
        return self.binary(MUL, *self.both(step))

    def _global_avg_pool(self, step: Step) -> str:
        y = self.layer("Pooling", [self.blobs[step.source.number]], "0=1 4=1")
        self.vectors.add(y)
        return y

    def _max_pool2d(self, step: Step) -> str:
        window = step.params["window"]
        (kh, kw), (sh, sw) = window.kernel, window.stride
        (top, bottom), (left, right) = window.padding
        mode = 0 if window.ceil_mode else 1
        how = (f"0=0 1={kw} 11={kh} 2={sw} 12={sh} 3={left} 13={top} 14={right} 15={bottom} "
               f"5={mode}")  # fmt: skip
        return self.layer("Pooling", [self.blobs[step.source.number]], how)

    def _reshape(self, step: Step) -> str:
        before = step.source.shape
        if before not in (step.shape, (*step.shape, 1, 1)):
            raise GraphError("ncnn: a reshape of a map is not written")
        return self.blobs[step.source.number]  # its pooling gives a vector already


def _with_splits(layers: list[tuple[str, list[str], str, str]]) -> Any:
    """The layers with a Split behind each value that several of them read."""
    readers: dict[str, int] = {}
    for _, inputs, _, _ in layers:
        for name in inputs:
            readers[name] = readers.get(name, 0) + 1
    taken: dict[str, int] = {}

    def take(name: str) -> str:
        if readers.get(name, 0) < 2:
            return name
        taken[name] = taken.get(name, 0) + 1
        return f"{name}_{taken[name]}"

    def split(name: str) -> Any:
        if readers.get(name, 0) > 1:
            copies = " ".join(f"{name}_{i + 1}" for i in range(readers[name]))
            yield "Split", [name], copies, ""

    yield from split("in")
    for kind, inputs, output, how in layers:
        yield kind, [take(name) for name in inputs], output, how
        yield from split(output)
