"""Networks of others as plain data: nodes, values and constants, as their files have them.

Nothing is interpreted here.  What an operator means, and whether it is known, is decided by who
builds a network from the data.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, TypeAlias

from minigrad.errors import quote, shown
from minigrad.formats.numbers import Array

__all__ = [
    "Attribute", "Constant", "Graph", "Node", "OnnxModel", "Quantization", "QuantizedEnd",
    "TfliteGraph",
    "TfliteModel", "TfliteNode", "TfliteTensor", "Unread", "Value",
]  # fmt: skip


class Unread(NamedTuple):
    """Something of a kind that is not read, such as a tensor of texts: what it is, in words."""

    what: str


Constant: TypeAlias = "Array | Unread"
Attribute: TypeAlias = (
    "int | float | str | bytes | Array | Unread | Graph | tuple[int, ...] | tuple[float, ...] | "
    "tuple[str | bytes, ...] | tuple[Constant, ...] | tuple[Graph, ...]"
)


class Value(NamedTuple):
    """An input, output or intermediate of a graph.

    ``dtype`` is NumPy's name, or None if the file does not say.  A size of ``shape`` is a number, a
    name for a size that is free, or None; ``shape`` is None if the file does not say.
    """

    name: str
    dtype: str | None
    shape: tuple[int | str | None, ...] | None


class Node(NamedTuple):
    """One operation of an ONNX graph; an input that is left out has the name ``""``."""

    operator: str
    domain: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Attribute]

    def __str__(self) -> str:
        named = self.name or next(iter(self.outputs), "")
        return f"node {quote(named)} ({shown(self.operator, 60)})"


class Graph(NamedTuple):
    """An ONNX graph: its nodes are in an order in which they can be computed.

    ``inputs`` leaves out those that have a constant; ``values`` is what the file says of
    intermediates, by name.
    """

    name: str
    nodes: tuple[Node, ...]
    constants: Mapping[str, Constant]
    inputs: tuple[Value, ...]
    outputs: tuple[Value, ...]
    values: Mapping[str, Value]


class OnnxModel(NamedTuple):
    """A graph, the version of each domain's operators, and the functions that the file defines."""

    graph: Graph
    opsets: Mapping[str, int]
    producer: str
    functions: tuple[str, ...]
    metadata: Mapping[str, str]


class Quantization(NamedTuple):
    """x = scale (q - zero_point), for the whole tensor or for each index of ``axis``."""

    scale: Array
    zero_point: Array
    axis: int


class QuantizedEnd(NamedTuple):
    """An input or output of integers: x = scale (q - zero_point), q being of ``dtype``."""

    dtype: str
    scale: float
    zero_point: int


class TfliteTensor(NamedTuple):
    """A tensor of a TFLite graph; ``constant`` is None for one that is computed.

    A size of ``signature`` is -1 where it is free.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    signature: tuple[int, ...]
    constant: Constant | None
    quantization: Quantization | None
    is_variable: bool


class TfliteNode(NamedTuple):
    """One operation: inputs and outputs are indices of tensors, -1 for one that is left out.

    ``operator`` is the schema's name, or the name of a custom operator; ``custom`` holds that
    one's options as bytes.  ``options`` has every field of the operator's options by its name,
    with the schema's default where the file has none.
    """

    operator: str
    version: int
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: Mapping[str, int | float | bool | str | tuple[int, ...]]
    custom: bytes | None


class TfliteGraph(NamedTuple):
    """Tensors by index, and nodes in an order in which they can be computed."""

    name: str
    tensors: tuple[TfliteTensor, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    nodes: tuple[TfliteNode, ...]


class TfliteModel(NamedTuple):
    """The graphs of a file, of which the first is the network."""

    graphs: tuple[TfliteGraph, ...]
    description: str
    metadata: Mapping[str, bytes]
