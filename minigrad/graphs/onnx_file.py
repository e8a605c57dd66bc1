"""An ONNX file as plain data: nodes, constants, inputs and outputs, in the file's own names.

The messages and their fields are those of onnx.proto3.  Every opset is read alike: an operator's
name, inputs and attributes are passed on as they are.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Set
from contextlib import ExitStack

from minigrad.errors import FormatError, quote
from minigrad.formats.limits import Budget, no_duplicates
from minigrad.formats.source import within_budget
from minigrad.graphs.data import Attribute, Constant, Graph, Node, OnnxModel, Unread, Value
from minigrad.graphs.onnx_tensors import DTYPES, ExternalFiles, read_tensor
from minigrad.graphs.wire import Message

__all__ = ["read_onnx"]

MAX_DEPTH = 8  # of graphs in attributes of nodes
STEPS = 20  # of work for a node
# Fields of the messages.
IR_VERSION, PRODUCER, GRAPH, OPSETS, METADATA, FUNCTIONS = 1, 2, 7, 8, 14, 25
NODES, GRAPH_NAME, INITIALIZERS, INPUTS, OUTPUTS, VALUES, SPARSE = 1, 2, 5, 11, 12, 13, 15
NODE_INPUT, NODE_OUTPUT, NODE_NAME, OPERATOR, ATTRIBUTES, DOMAIN = 1, 2, 3, 4, 5, 7
ELEMENT, SHAPE, DIM, DIM_VALUE, DIM_NAME = 1, 2, 1, 1, 2
TENSOR_TYPE = 1
# An attribute: its name, kind and reference, and the field that has a value of each kind.
A_NAME, A_KIND, A_REFERENCE = 1, 20, 21
FLOAT, INT, STRING, TENSOR, SUBGRAPH, FLOATS, INTS, STRINGS, TENSORS, SUBGRAPHS = range(2, 12)
KINDS = dict(enumerate(range(FLOAT, SUBGRAPHS + 1), 1))


def read_onnx(path: str | os.PathLike[str], *, budget: int | None = None) -> OnnxModel:
    """Read the graph of an ONNX file.

    Parameters
    ----------
    path : path
        The file; its external data are looked for below its folder, and nowhere else.
    budget : int, optional
        The most bytes that constants may take.  Default: 64 MiB and twice the file with its
        external data, at most 4 GiB.

    Returns
    -------
    OnnxModel

    Raises
    ------
    FormatError
        If the file is broken, hostile or over the budget, or if its nodes cannot be computed one
        after another.
    OSError
        If the file cannot be opened.
    """
    folder = os.path.dirname(os.path.abspath(path))
    with within_budget(path, budget) as (file, paid), ExitStack() as stack:
        model = Message(file.read(0, file.size), paid)
        return _Reader(ExternalFiles(folder, stack), paid).model(model)


class _Reader:
    """Reads messages with the files and the budget that they share."""

    def __init__(self, files: ExternalFiles, budget: Budget) -> None:
        self.files = files
        self.budget = budget

    def model(self, model: Message) -> OnnxModel:
        graph = model.message(GRAPH)
        if graph is None:
            raise FormatError("the file is not an ONNX model: it has no graph")
        opsets = {opset.text(1): opset.integer(2) for opset in model.messages(OPSETS)}
        functions = tuple(function.text(1) for function in model.messages(FUNCTIONS))
        metadata = {entry.text(1): entry.text(2) for entry in model.messages(METADATA)}
        return OnnxModel(
            self.graph(graph, frozenset(), 0), opsets, model.text(PRODUCER), functions, metadata
        )

    def graph(self, graph: Message, outer: frozenset[str], depth: int) -> Graph:
        """A graph whose nodes may also read the ``outer`` values around it."""
        if depth > MAX_DEPTH:
            raise FormatError(f"the graph has graphs in graphs, more than {MAX_DEPTH} deep")
        constants = self.constants(graph)
        inputs = [self.value(v) for v in graph.messages(INPUTS)]
        no_duplicates((value.name for value in inputs), "input")
        known = outer | constants.keys() | {value.name for value in inputs}
        nodes = self.nodes(graph, known, depth)
        outputs = tuple(self.value(v) for v in graph.messages(OUTPUTS))
        computed = known.union(*(node.outputs for node in nodes))
        _check_known((value.name for value in outputs), computed, "the graph's outputs")
        values = {v.name: v for v in map(self.value, graph.messages(VALUES))}
        free = tuple(value for value in inputs if value.name not in constants)
        return Graph(graph.text(GRAPH_NAME), nodes, constants, free, outputs, values)

    def constants(self, graph: Message) -> dict[str, Constant]:
        tensors = [read_tensor(t, self.files, self.budget) for t in graph.messages(INITIALIZERS)]
        sparse = [s.message(1) for s in graph.messages(SPARSE)]
        tensors += [(t.text(8), Unread("a sparse tensor")) for t in sparse if t is not None]
        no_duplicates((name for name, _ in tensors), "initializer")
        return dict(tensors)

    def nodes(self, graph: Message, known: frozenset[str], depth: int) -> tuple[Node, ...]:
        """The nodes, each of which reads what is known before it."""
        nodes, before = [], set(known)
        for message in graph.messages(NODES):
            self.budget.work(STEPS)
            node = self.node(message, before, depth)
            _check_known(filter(None, node.inputs), before, str(node))
            for name in filter(None, node.outputs):
                if name in before:
                    raise FormatError(f"{node} computes {quote(name)}, which is there already")
                before.add(name)
            nodes.append(node)
        return tuple(nodes)

    def node(self, node: Message, known: set[str], depth: int) -> Node:
        attributes = {}
        for message in node.messages(ATTRIBUTES):
            name = message.text(A_NAME)
            if name in attributes:
                raise FormatError(f"a node has the attribute {quote(name)} twice")
            attributes[name] = self.attribute(message, known, depth)
        return Node(
            node.text(OPERATOR),
            node.text(DOMAIN),
            node.text(NODE_NAME),
            node.texts(NODE_INPUT),
            node.texts(NODE_OUTPUT),
            attributes,
        )

    def attribute(self, message: Message, known: set[str], depth: int) -> Attribute:
        """The value in the field that the attribute's kind names."""
        kind = message.integer(A_KIND)
        field = KINDS.get(kind) if kind else _only_field(message)
        if field is None or message.has(A_REFERENCE):
            return Unread(f"an attribute of kind {kind}")
        if field == FLOAT:
            return message.float32(FLOAT)
        if field == INT:
            return message.integer(INT)
        if field == STRING:
            return self.string(message.bytes(STRING))
        if field == STRINGS:
            return tuple(self.string(raw) for raw in message.all_bytes(STRINGS))
        if field in (FLOATS, INTS):
            self.budget.work(message.size(field))
            numbers = message.integers(INTS) if field == INTS else message.numbers(FLOATS, "<f4")
            return tuple(numbers.tolist())
        return self.nested(message, field, frozenset(known), depth)

    def nested(self, message: Message, field: int, known: frozenset[str], depth: int) -> Attribute:
        """Tensors and graphs."""
        if field in (TENSOR, SUBGRAPH) and len(message.all_bytes(field)) != 1:
            raise FormatError("the file has an attribute that should have one value, and has not")
        if field in (TENSOR, TENSORS):
            tensors = tuple(
                read_tensor(tensor, self.files, self.budget)[1]
                for tensor in message.messages(field)
            )
            return tensors[0] if field == TENSOR else tensors
        graphs = tuple(self.graph(g, known, depth + 1) for g in message.messages(field))
        return graphs[0] if field == SUBGRAPH else graphs

    def string(self, raw: memoryview) -> str | bytes:
        """Text if it is UTF-8, as nearly all strings are."""
        self.budget.spend_values(64 + 4 * len(raw), "a text")
        content = bytes(raw)
        try:
            return str(content, "utf-8")
        except UnicodeDecodeError:
            return content

    def value(self, message: Message) -> Value:
        """A ValueInfoProto; of what is no tensor only the name is read."""
        kind = message.message(2)
        tensor = kind.message(TENSOR_TYPE) if kind is not None else None
        if tensor is None:
            return Value(message.text(1), None, None)
        shape = tensor.message(SHAPE)
        sizes = None if shape is None else tuple(_size(dim) for dim in shape.messages(DIM))
        dtype = DTYPES.get(tensor.integer(ELEMENT))
        return Value(message.text(1), dtype, sizes)


def _size(dim: Message) -> int | str | None:
    if dim.has(DIM_VALUE):
        return dim.integer(DIM_VALUE)
    return dim.text(DIM_NAME) or None


def _only_field(message: Message) -> int | None:
    """The field that has the value, where an old file does not name the kind."""
    fields = [field for field in KINDS.values() if message.has(field)]
    return fields[0] if len(fields) == 1 else None


def _check_known(names: Iterable[str], known: Set[str], reader: str) -> None:
    for name in names:
        if name not in known:
            raise FormatError(f"{reader}: nothing before computes {quote(name)}")
