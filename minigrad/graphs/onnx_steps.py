"""An ONNX graph as steps: for each node a function, and what its inputs are to it.

A value is *computed* if it depends on an input of the graph or on a weight; what is known from
the file and from shapes alone is *folded*.  A constant is a weight if a computed value needs it as
a tensor; a limit of Clip or a new shape is none.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from minigrad.errors import FormatError, shown
from minigrad.formats.numbers import Array
from minigrad.graphs.attributes import Attributes, UnreadNode
from minigrad.graphs.data import Constant, Graph, Node, OnnxModel, Unread
from minigrad.graphs.onnx_folding import FOLDED, constant
from minigrad.graphs.onnx_operators import ARITHMETIC, OPERATORS
from minigrad.graphs.onnx_types import made_dtypes
from minigrad.tensor import Tensor

__all__ = ["SHOWN", "Step", "Steps", "read_steps"]

OLDEST = 7  # opset
SHOWN = 50  # nodes in a message
FLOATS = ("float32", "float64")
BY_VALUES = ("NonMaxSuppression",)  # operators whose outputs' shapes depend on values
SEVERAL = {"Split": 1 << 20, "TopK": 2}  # outputs that are read
OF_SHAPES = ("Shape", "Size")  # operators whose results do not depend on values


class Step(NamedTuple):
    """One node: its function, and how it is called.

    ``computed`` counts the first inputs, which are Tensors; 0 stands for a folded step.
    ``last`` names the values that no later step reads.
    """

    label: str
    function: Callable[..., object]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    computed: int
    last: tuple[str, ...]


class Steps(NamedTuple):
    """The steps of a graph, the constants that they read, and which of these are weights.

    ``buffers`` names those of the weights that training does not change; ``by_values`` says that
    the shape of some value depends on others' numbers.
    """

    steps: tuple[Step, ...]
    constants: Mapping[str, Array | Tensor]
    weights: frozenset[str]
    buffers: frozenset[str]
    by_values: bool


def read_steps(model: OnnxModel) -> Steps:
    """The steps of an ONNX model.

    Raises
    ------
    FormatError
        Naming every node that is not read, with its operator and what is not read of it.
    """
    opset = model.opsets.get("", model.opsets.get("ai.onnx", 0))
    if opset < OLDEST:
        raise FormatError(f"its operators are of opset {opset}, and {OLDEST} and newer are read")
    return _Reader(model, opset).read()


class _Reader:
    """Reads the nodes of one graph, and collects what is not read."""

    def __init__(self, model: OnnxModel, opset: int) -> None:
        self.graph: Graph = model.graph
        self.opset = opset
        self.functions = frozenset(model.functions)
        self.unread: list[str] = []
        self.constants = {name: _wide(value) for name, value in self.graph.constants.items()}
        self.nodes = [node for node in self.graph.nodes if not self._is_constant(node)]
        self.needed = self._needed()
        self.weights = self._weights()
        self.used = {name for node in self.nodes for name in node.inputs}
        self.used.update(value.name for value in self.graph.outputs)
        self.computed = self._computed()
        self.dtypes = self._dtypes()

    def read(self) -> Steps:
        last = self._last()
        steps = [self._step(node, last[i]) for i, node in enumerate(self.nodes)]
        self._check_constants()
        if self.unread:
            first, more = self.unread[:SHOWN], len(self.unread) - SHOWN
            end = f"; and {more:,} more" if more > 0 else ""
            raise FormatError(f"{len(self.unread):,} not read: {'; '.join(first)}{end}")
        arrays = {k: v for k, v in self.constants.items() if not isinstance(v, Unread)}
        done = tuple(step for step in steps if step is not None)
        by_values = any(node.operator in BY_VALUES for node in self.nodes)
        return Steps(done, arrays, frozenset(self.weights), frozenset(self._buffers()), by_values)

    def _is_constant(self, node: Node) -> bool:
        """Whether it is a Constant node, whose value is then kept."""
        if node.operator != "Constant" or not node.outputs or not self._is_standard(node):
            return False
        try:
            value: Constant = constant(Attributes(node, self.opset))
        except UnreadNode as error:
            value = Unread(str(error))
        self.constants[node.outputs[0]] = _wide(value)
        return True

    def _is_standard(self, node: Node) -> bool:
        return node.domain in ("", "ai.onnx") and node.operator not in self.functions

    def _tensors(self, node: Node) -> tuple[str, ...]:
        """The inputs that are tensors for the operator, if their values matter."""
        if node.operator in OF_SHAPES or node.operator not in OPERATORS:
            return ()
        return node.inputs[: OPERATORS[node.operator].computed]

    def _needed(self) -> set[str]:
        """The values that computed values may need as tensors, from the outputs back."""
        needed = {value.name for value in self.graph.outputs}
        for node in reversed(self.nodes):
            if not needed.isdisjoint(node.outputs):
                needed.update(filter(None, self._tensors(node)))
        return needed

    def _weights(self) -> set[str]:
        """The constants among them."""
        read = {name for node in self.nodes for name in self._tensors(node)}
        return {name for name in read & self.needed if self._is_float(name)}

    def _is_float(self, name: str) -> bool:
        value = self.constants.get(name)
        return value is not None and not isinstance(value, Unread) and str(value.dtype) in FLOATS

    def _computed(self) -> set[str]:
        computed = {value.name for value in self.graph.inputs} | set(self.weights)
        for node in self.nodes:
            if node.operator not in OF_SHAPES and not computed.isdisjoint(node.inputs):
                computed.update(node.outputs)
        return computed

    def _dtypes(self) -> dict[str, str | None]:
        """The dtype of every value, as far as the file says it or it follows."""
        known: dict[str, str | None] = {v.name: v.dtype for v in self.graph.values.values()}
        known.update((value.name, value.dtype) for value in self.graph.inputs)
        known.update(
            (name, None if isinstance(value, Unread) else str(value.dtype))
            for name, value in self.constants.items()
        )
        for node in self.nodes:
            made = made_dtypes(node, [known.get(name) for name in node.inputs])
            for name, dtype in zip(node.outputs, made, strict=False):
                known[name] = dtype or known.get(name)
        return known

    def _buffers(self) -> set[str]:
        """Weights that training leaves alone: running statistics, and numbers of a formula."""
        found: set[str] = set()
        for node in self.nodes:
            row = OPERATORS.get(node.operator)
            at = row.buffers if row is not None else ()
            found.update(name for i, name in enumerate(node.inputs) if i in at)
            if node.operator in ARITHMETIC:
                found.update(n for n in node.inputs if n in self.weights and self._is_one(n))
        return found

    def _is_one(self, name: str) -> bool:
        value = self.constants[name]
        return not isinstance(value, Unread) and value.size == 1

    def _last(self) -> list[tuple[str, ...]]:
        """For each node the values that it reads or makes last."""
        seen = {value.name for value in self.graph.outputs}
        last = []
        for node in reversed(self.nodes):
            names = dict.fromkeys(filter(None, (*node.inputs, *node.outputs)))
            last.append(tuple(name for name in names if name not in seen))
            seen.update(names)
        return last[::-1]

    def _step(self, node: Node, last: tuple[str, ...]) -> Step | None:
        folded = node.operator in OF_SHAPES or self.computed.isdisjoint(node.inputs)
        try:
            function = self._function(node, folded)
            inputs = _trimmed(node.inputs)
            _check_inputs(function, inputs)
            computed = 0 if folded else OPERATORS[node.operator].computed or len(inputs)
            self._check_known(inputs, computed, folded, node)
            self._check_outputs(node)
        except UnreadNode as error:
            self.unread.append(f"{node}: {error}")
            return None
        label = shown(node.name or next(filter(None, node.outputs), node.operator), 60)
        return Step(label, function, inputs, node.outputs, computed, last)

    def _function(self, node: Node, folded: bool) -> Callable[..., object]:
        if not self._is_standard(node):
            raise UnreadNode(f"the operator is of the domain {shown(node.domain or 'ai.onnx', 60)}")
        attributes = Attributes(node, self.opset, [self.dtypes.get(n) for n in node.inputs])
        if folded and node.operator in FOLDED:
            function: Callable[..., object] = FOLDED[node.operator](attributes)
        elif not folded and node.operator in OPERATORS:
            function = OPERATORS[node.operator].prepare(attributes)
        else:
            kind = "constants" if folded else "computed values"
            raise UnreadNode(f"the operator is not known for {kind}")
        attributes.finish()
        return function

    def _check_known(self, names: Sequence[str], computed: int, folded: bool, node: Node) -> None:
        """What must be known when the network is built is not computed."""
        either = OPERATORS[node.operator].either if not folded else ()
        for i, name in enumerate(names):
            if folded or i < computed or i in either:
                continue
            if name in self.computed and name not in self.weights:
                raise UnreadNode(f"its input {shown(name, 60)} depends on values of the input")

    def _check_outputs(self, node: Node) -> None:
        most = SEVERAL.get(node.operator, 1)
        for i, name in enumerate(node.outputs[most:], most + 1):
            if name and name in self.used:
                raise UnreadNode(f"its output {i} is not read")

    def _check_constants(self) -> None:
        for name, value in self.constants.items():
            if name in self.used and isinstance(value, Unread):
                self.unread.append(f"constant {shown(name, 60)}: {value.what}")


def _wide(value: Constant) -> Constant:
    """Half precision as float32, which is what is computed in."""
    half = not isinstance(value, Unread) and value.dtype == "float16"
    return np.asarray(value, np.float32) if half else value


def _trimmed(inputs: tuple[str, ...]) -> tuple[str, ...]:
    """The inputs without those left out at the end."""
    given = len(inputs)
    while given and not inputs[given - 1]:
        given -= 1
    return inputs[:given]


def _check_inputs(function: Callable[..., object], inputs: Sequence[str]) -> None:
    """The function takes as many inputs, and none that it needs is left out."""
    try:
        signature = inspect.signature(function)
        bound = signature.bind(*inputs).arguments
    except TypeError:
        raise UnreadNode(f"its operator does not take {len(inputs)} inputs") from None
    except ValueError:  # a function of NumPy's, which takes one array
        if len(inputs) == 1:
            return
        raise UnreadNode(f"it has {len(inputs)} inputs, and 1 is read") from None
    for name, value in bound.items():
        if value == "" and signature.parameters[name].default is inspect.Parameter.empty:
            raise UnreadNode(f"its input {name} is left out")
