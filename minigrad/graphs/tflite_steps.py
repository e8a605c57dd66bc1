"""A TFLite graph as steps: for each node a function, and what its inputs are to it.

As in ``onnx_steps`` a value is *computed* if it depends on values of an input, and what is known
from the file and from shapes alone is *folded*.  Constants in floats are weights, turned once as
they are carried.  Integers that stand for other numbers become q - zero_point in float64 once;
they are no weights, for they are not trained.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np

from minigrad import ops
from minigrad.errors import FormatError, quote, shown
from minigrad.formats.limits import Budget
from minigrad.formats.numbers import Array
from minigrad.graphs.attributes import UnreadNode
from minigrad.graphs.data import (
    Constant,
    QuantizedEnd,
    TfliteModel,
    TfliteNode,
    TfliteTensor,
    Value,
)
from minigrad.graphs.onnx_steps import SHOWN, Step, Steps
from minigrad.graphs.tflite_constants import array_of, centred, unpacked
from minigrad.graphs.tflite_folding import FOLDED
from minigrad.graphs.tflite_integers import integers_of, is_quantised
from minigrad.graphs.tflite_layout import TO_CARRIED, TO_FILE, carried_sizes, turned
from minigrad.graphs.tflite_operation import Operation
from minigrad.graphs.tflite_operators import OPERATORS, QUANTISED, TURNED, Operator
from minigrad.graphs.tflite_quantised import entry, exit_
from minigrad.tensor import Tensor

__all__ = ["TfliteSteps", "read_tflite_steps"]

FLOATS = ("float32", "float64")
OF_SHAPES = ("SHAPE", "RANK")  # operators whose results do not depend on values
NODE = 100  # of work for a node, beside the numbers that it reads
ARITHMETIC = ("ADD", "SUB", "MUL", "DIV", "MAXIMUM", "MINIMUM", "POW")


class TfliteSteps(NamedTuple):
    """The steps of a graph, and what goes in and out in the user's layout.

    ``sizes`` are those that the file has for its inputs, also where they are free, and
    ``quantization`` says what integers stand for, by the names of inputs and outputs.
    """

    steps: Steps
    inputs: tuple[Value, ...]
    outputs: tuple[Value, ...]
    sizes: tuple[tuple[int, ...], ...]
    quantization: Mapping[str, QuantizedEnd]


def read_tflite_steps(model: TfliteModel, layout: str, budget: Budget) -> TfliteSteps:
    """The steps of the first graph of a TFLite model.

    Raises
    ------
    FormatError
        Naming every node that is not read, with its operator and what is not read of it.
    """
    return _Reader(model, layout, budget).read()


class _Reader:
    """Reads the nodes of one graph, and collects what is not read."""

    def __init__(self, model: TfliteModel, layout: str, budget: Budget) -> None:
        self.graph, self.layout, self.budget = model.graphs[0], layout, budget
        self.tensors = self.graph.tensors
        self.names = _unique([tensor.name for tensor in self.tensors])
        self.constants: dict[int, Constant] = {
            i: t.constant for i, t in enumerate(self.tensors) if t.constant is not None
        }
        self.unread: list[str] = []
        self.arrays: dict[str, Array | Tensor] = {}
        self.stored: dict[tuple[int, tuple[int, ...] | None, bool], str] = {}
        self.weights: set[str] = set()
        self.buffers: set[str] = set()
        self.computed = set(self.graph.inputs)

    def read(self) -> TfliteSteps:
        """All of it."""
        self._check_inputs()
        steps = [*self._entries(), *self._nodes(), *self._exits()]
        if self.unread:
            first, more = self.unread[:SHOWN], len(self.unread) - SHOWN
            end = f"; and {more:,} more" if more > 0 else ""
            raise FormatError(f"{len(self.unread):,} not read: {'; '.join(first)}{end}")
        ends = tuple(self._value(i, out=True) for i in self.graph.outputs)
        done = Steps(
            _with_last(steps, {value.name for value in ends}), self.arrays,
            frozenset(self.weights), frozenset(self.buffers), by_values=False,
        )  # fmt: skip
        starts = tuple(self._value(i) for i in self.graph.inputs)
        sizes = tuple(self._sizes(self.tensors[i].shape) for i in self.graph.inputs)
        return TfliteSteps(done, starts, ends, sizes, self._quantization())

    # --- what goes in and out ------------------------------------------------------------------

    def _check_inputs(self) -> None:
        if not self.graph.inputs:
            raise FormatError("the graph has no input")
        if len({*self.graph.inputs}) < len(self.graph.inputs):
            raise FormatError("the graph has an input twice")
        for i in self.graph.inputs:
            tensor = self.tensors[i]
            if tensor.dtype not in (*FLOATS, "int8", "uint8"):
                raise FormatError(
                    f"the input {quote(tensor.name)} is {tensor.dtype}, "
                    "and float32, int8 or uint8 is read"
                )

    def _sizes(self, sizes: Sequence[int]) -> tuple[int, ...]:
        return tuple(sizes) if self.layout == "NHWC" else carried_sizes(sizes)

    def _value(self, index: int, out: bool = False) -> Value:
        tensor = self.tensors[index]
        name = self._end(index) if out else self.names[index]
        return Value(name, "float32", self._sizes(tensor.signature))

    def _end(self, index: int) -> str:
        """The name of an output; a value that is an input too has another there."""
        return f"{self.names[index]} (out)" if index in self.graph.inputs else self.names[index]

    def _name(self, index: int) -> str:
        """The name of a value inside, where it may be another than outside."""
        is_end = index in self.graph.inputs or index in self.graph.outputs
        return f"{self.names[index]} (inside)" if is_end else self.names[index]

    def _entries(self) -> Iterator[Step]:
        for i in self.graph.inputs:
            yield self._outer(i, self.names[i], self._name(i), TO_CARRIED, into=True)

    def _exits(self) -> Iterator[Step]:
        for i in dict.fromkeys(self.graph.outputs):
            if i not in self.computed:
                name = quote(self.tensors[i].name)
                raise FormatError(f"the output {name} does not depend on values of the input")
            yield self._outer(i, self._name(i), self._end(i), TO_FILE, into=False)

    def _outer(
        self, index: int, source: str, target: str, order: Sequence[int], into: bool
    ) -> Step:
        tensor = self.tensors[index]
        of_integers = None
        if is_quantised(tensor):
            try:
                found = integers_of(_ends(tensor), tensor)
                of_integers = entry(found) if into else exit_(found)
            except UnreadNode as error:
                self.unread.append(f"tensor {quote(tensor.name)}: {error}")
        turns = tuple(order) if self.layout == "NHWC" and len(tensor.shape) == 4 else None
        function = partial(_through, of_integers, turns)
        return Step(shown(target, 60), function, (source,), (target,), 1, ())

    def _quantization(self) -> dict[str, QuantizedEnd]:
        found = {}
        for out, indices in ((False, self.graph.inputs), (True, self.graph.outputs)):
            for i in indices:
                tensor = self.tensors[i]
                if is_quantised(tensor):
                    kind = integers_of(_ends(tensor), tensor)
                    name = self._value(i, out).name
                    found[name] = QuantizedEnd(tensor.dtype, float(kind.scale), kind.zero)
        return found

    # --- nodes ---------------------------------------------------------------------------------

    def _nodes(self) -> Iterator[Step]:
        for node in self.graph.nodes:
            try:
                step = None if self._is_unpacked(node) else self._step(node)
            except UnreadNode as error:
                named = quote(self.names[node.outputs[0]] if node.outputs else "")
                self.unread.append(f"node {named} ({shown(node.operator, 60)}): {error}")
                self.computed.update(node.outputs)
            else:
                if step is not None:
                    yield step

    def _is_unpacked(self, node: TfliteNode) -> bool:
        """Whether it gives a constant's numbers in another form, which is then kept."""
        if node.operator != "DEQUANTIZE" or len(node.inputs) != 1 or len(node.outputs) != 1:
            return False
        tensor = self.tensors[node.inputs[0]]
        if tensor.constant is None:
            return False
        self.constants[node.outputs[0]] = unpacked(tensor, self.budget)
        return True

    def _step(self, node: TfliteNode) -> Step:
        self.budget.work(NODE)
        operation = Operation(node, self.tensors)
        if not node.outputs:
            raise UnreadNode("it has no output")
        folded = node.operator in OF_SHAPES or self.computed.isdisjoint(node.inputs)
        if folded:
            return self._folded(node, operation)
        self.computed.update(node.outputs)
        row = self._row(node, operation)
        function = row.prepare(operation)
        taken = [*range(len(node.inputs))] if row.computed is None else [*row.computed]
        values = [self._operand(node, k) for k in taken if k < len(node.inputs) or k in row.known]
        known = [self._known(node, k) for k in row.known if k < len(node.inputs)]
        if not known:
            while values and not values[-1]:
                values.pop()
        _check_call(function, (*values, *known))
        outputs = tuple(self._name(i) for i in node.outputs)
        inputs = (*values, *known)
        return Step(self._label(node), function, inputs, outputs, len(values), ())

    def _label(self, node: TfliteNode) -> str:
        return shown(self.names[node.outputs[0]] or node.operator, 60)

    def _row(self, node: TfliteNode, operation: Operation) -> Operator:
        table = OPERATORS
        if any(map(is_quantised, (*operation.inputs, *operation.outputs))):
            table = QUANTISED
        if node.operator not in table:
            kind = " for integers" if table is QUANTISED and node.operator in OPERATORS else ""
            raise UnreadNode(f"the operator is not known{kind}")
        return table[node.operator]

    def _folded(self, node: TfliteNode, operation: Operation) -> Step:
        if node.operator not in FOLDED:
            raise UnreadNode("the operator is not known for constants")
        function = FOLDED[node.operator](operation)
        inputs = tuple(self._known(node, k, computed=True) for k in range(len(node.inputs)))
        _check_call(function, inputs)
        outputs = tuple(self._name(i) for i in node.outputs)
        return Step(self._label(node), function, inputs, outputs, 0, ())

    # --- what a node reads ---------------------------------------------------------------------

    def _operand(self, node: TfliteNode, k: int) -> str:
        """Input k, which is a value or a weight; "" if it is left out."""
        index = node.inputs[k] if k < len(node.inputs) else -1
        if index < 0:
            return ""
        if index not in self.constants:
            if (node.operator, k) in TURNED:
                raise UnreadNode("its weights are computed")
            return self._name(index)
        tensor, array = self.tensors[index], array_of(self.constants[index])
        order = TURNED.get((node.operator, k))
        if order is not None and array.ndim != 4:
            raise UnreadNode(f"its weights have {array.ndim} axes, and 4 are needed")
        is_float = str(array.dtype) in FLOATS
        key = (id(array), order, is_float)
        if key not in self.stored:
            name = self.names[index]
            self.stored[key] = name if name not in self.arrays else f"{name} ({len(self.stored)})"
            self.arrays[self.stored[key]] = (
                turned(array, order) if is_float else centred(tensor, array, order, self.budget)
            )
        name = self.stored[key]
        if is_float:
            self.weights.add(name)
            if node.operator in ARITHMETIC and array.size == 1:
                self.buffers.add(name)
        return name

    def _known(self, node: TfliteNode, k: int, computed: bool = False) -> str:
        """Input k, which must be known; or only its shape."""
        index = node.inputs[k]
        if index < 0:
            return ""
        if index in self.constants:
            name = f"{self.names[index]} (known)"
            array = self.arrays[name] = array_of(self.constants[index])
            self.budget.work(array.size)
            if node.operator.startswith("RESIZE"):  # each pixel is work
                self.budget.work(int(np.abs(array.astype(np.int64)).sum()))
            return name
        if index in self.computed and not computed:
            name = shown(self.names[index], 60)
            raise UnreadNode(f"its input {name} depends on values of the input")
        return self._name(index)


def _through(
    of_integers: Callable[[Tensor], Tensor] | None, order: tuple[int, ...] | None, x: Tensor
) -> Tensor:
    """A value on its way in or out: its axes, and what its integers stand for."""
    x = x if order is None else ops.permute(x, order)
    return x if of_integers is None else of_integers(x)


def _ends(tensor: TfliteTensor) -> Operation:
    return Operation(TfliteNode("", 1, (0,), (0,), {}, None), [tensor])


def _unique(names: Sequence[str]) -> list[str]:
    """The names, with a number behind those that are empty or were there before."""
    seen: set[str] = set()
    unique = []
    for i, name in enumerate(names):
        one = name if name and name not in seen else f"{name or 'tensor'} #{i}"
        seen.add(one)
        unique.append(one)
    return unique


def _check_call(function: Callable[..., object], inputs: Sequence[str]) -> None:
    """The function takes so many inputs, and none that it needs is left out."""
    parameters = inspect.signature(function).parameters.values()
    most = len(inputs) if any(p.kind == p.VAR_POSITIONAL for p in parameters) else len(parameters)
    needed = sum(p.default is p.empty and p.kind != p.VAR_POSITIONAL for p in parameters)
    if not needed <= len(inputs) <= most or not all(inputs[:needed]):
        raise UnreadNode(f"its operator does not take {len(inputs)} inputs")


def _with_last(steps: Sequence[Step], kept: set[str]) -> tuple[Step, ...]:
    """The steps, each with the names that nobody needs after it."""
    done = []
    for step in reversed(steps):
        names = {*filter(None, step.inputs), *step.outputs} - kept
        kept |= names
        done.append(step._replace(last=tuple(sorted(names))))
    return tuple(done[::-1])
