"""A TFLite file as plain data: tensors, nodes and their options, under the schema's names."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TypeVar

import numpy as np

from minigrad.errors import FormatError, quote, shown
from minigrad.formats.limits import Budget, byte_count
from minigrad.formats.numbers import numbers_from, widen_bfloat16
from minigrad.formats.source import within_budget
from minigrad.graphs.data import (
    Constant,
    Quantization,
    TfliteGraph,
    TfliteModel,
    TfliteNode,
    TfliteTensor,
    Unread,
)
from minigrad.graphs.flatbuffer import Table, root
from minigrad.graphs.tflite_schema import (
    CUSTOM,
    DTYPES,
    OPERATORS,
    OPTIONS,
    PLACEHOLDER,
    Option,
)

__all__ = ["read_tflite"]

IDENTIFIER = b"TFL3"
STEPS = 20  # of work for a tensor or node
READ = frozenset(DTYPES) - {"text", "resource", "variant", "int4"}
V = TypeVar("V")
Setting = int | float | bool | str | tuple[int, ...]


def read_tflite(path: str | os.PathLike[str], *, budget: int | None = None) -> TfliteModel:
    """Read the graphs of a TFLite file.

    Parameters
    ----------
    path : path
        The file.
    budget : int, optional
        The most bytes that constants may take.  Default: 64 MiB and twice the file, at most
        4 GiB.

    Returns
    -------
    TfliteModel

    Raises
    ------
    FormatError
        If the file is broken, hostile or over the budget, or if its nodes cannot be computed one
        after another.
    OSError
        If the file cannot be opened.
    """
    with within_budget(path, budget) as (file, paid):
        return _Reader(file.read(0, file.size), paid).model()


class _Reader:
    """Reads tables that point into the same buffers and operator codes."""

    def __init__(self, data: memoryview, budget: Budget) -> None:
        self.data, self.budget = data, budget
        self.root = root(data, IDENTIFIER, budget)
        self.operators = [_operator(code) for code in self.root.tables(1)]
        self.buffers = [self._buffer(table) for table in self.root.tables(4)]
        self.constants: dict[tuple[int, str, tuple[int, ...]], Constant] = {}

    def _buffer(self, table: Table) -> memoryview:
        """The bytes of a buffer, which in large files lie behind all tables."""
        offset, size = table.integer(1, "<Q"), table.integer(2, "<Q")
        if offset <= 1:
            return table.bytes(0)
        if offset + size > len(self.data):
            raise FormatError("the file has a buffer that leaves the file")
        return self.data[offset : offset + size]

    def model(self) -> TfliteModel:
        graphs = tuple(self.graph(table) for table in self.root.tables(2))
        if not graphs:
            raise FormatError("the file has no graph")
        metadata = {}
        for entry in self.root.tables(6):
            metadata[entry.text(0)] = self._metadata(entry.integer(1, "<I"))
        return TfliteModel(graphs, self.root.text(3), metadata)

    def _metadata(self, index: int) -> bytes:
        raw = bytes(_at(self.buffers, index, "buffer"))
        self.budget.spend_values(len(raw), "the metadata")
        return raw

    def graph(self, table: Table) -> TfliteGraph:
        tensors = tuple(self.tensor(tensor) for tensor in table.tables(0))
        inputs, outputs = table.integers(1), table.integers(2)
        known = set(inputs) | {i for i, t in enumerate(tensors) if _is_there_before(t)}
        nodes = []
        for operator in table.tables(3):
            node = self.node(operator)
            _check_indices((*node.inputs, *node.outputs), len(tensors), node.operator)
            _check_order(node, tensors, known)
            nodes.append(node)
        _check_indices((*inputs, *outputs), len(tensors), "the graph")
        if not known.issuperset(outputs):
            raise FormatError("the graph has an output that nothing computes")
        return TfliteGraph(table.text(4), tensors, inputs, outputs, tuple(nodes))

    def tensor(self, table: Table) -> TfliteTensor:
        self.budget.work(STEPS)
        name, shape = table.text(3), table.integers(0)
        dtype = _word(DTYPES, table.integer(1, "<b"), "dtype")
        raw = _at(self.buffers, table.integer(2, "<I"), "buffer")
        constant: Constant | None = None
        if len(raw) and table.has(6):
            constant = Unread("a sparse tensor")
        elif len(raw):
            constant = self.constant(name, raw, dtype, shape, table.integer(2, "<I"))
        return TfliteTensor(
            name, dtype, shape, table.integers(7) or shape, constant, _quantization(table),
            table.boolean(5),
        )  # fmt: skip

    def constant(
        self, name: str, raw: memoryview, dtype: str, shape: tuple[int, ...], index: int
    ) -> Constant:
        """The numbers of a buffer, read once for each dtype and shape that asks for them."""
        if dtype not in READ:
            return Unread(f"a tensor of {dtype}")
        key = index, dtype, shape
        if key not in self.constants:
            what = f"tensor {quote(name)}"
            stored = np.dtype("<u2" if dtype == "bfloat16" else dtype).newbyteorder("<")
            nbytes = byte_count(shape, stored.itemsize, what)
            if nbytes != len(raw):
                raise FormatError(f"{what} has {len(raw):,} bytes, and {nbytes:,} by its shape")
            self.budget.spend_memory(nbytes * (2 if dtype == "bfloat16" else 1), what)
            flat = numbers_from(raw, stored, what)
            wide = widen_bfloat16(flat) if dtype == "bfloat16" else flat
            self.constants[key] = wide.reshape(shape)
        return self.constants[key]

    def node(self, table: Table) -> TfliteNode:
        self.budget.work(STEPS)
        operator, version, is_custom = _at(self.operators, table.integer(0, "<I"), "operator")
        options = table.table(4)
        declared = () if is_custom else OPTIONS.get(operator, ())
        settings = {
            option.name: _setting(options, index, option)
            for index, option in enumerate(declared)
            if option.name
        }
        custom = bytes(table.bytes(5)) if is_custom else None
        self.budget.spend_values(len(custom or b""), "the options")
        return TfliteNode(operator, version, table.integers(1), table.integers(2), settings, custom)


def _operator(code: Table) -> tuple[str, int, bool]:
    """Name and version of an operator, and whether it is custom."""
    old, new = code.integer(0, "<b"), code.integer(3)
    number = new if old >= PLACEHOLDER or new > old else old
    version = code.integer(2, "<i", 1)
    if number == CUSTOM:
        return code.text(1) or "CUSTOM", version, True
    if 0 <= number < len(OPERATORS):
        return OPERATORS[number], version, False
    return f"operator {number}", version, False


def _setting(options: Table | None, index: int, option: Option) -> Setting:
    """An option's value, or the schema's default."""
    if option.form == "[i":
        return () if options is None else options.integers(index)
    if options is None:
        value: int | float = option.default
    elif option.form == "<f":
        return options.float32(index, float(option.default))
    else:
        form = "<B" if option.form == "?" else option.form
        value = options.integer(index, form, int(option.default))
    if option.form == "?":
        return bool(value)
    return _word(option.words, int(value), option.name) if option.words else value


def _quantization(table: Table) -> Quantization | None:
    """Scales and zero points; None for a tensor of plain numbers."""
    parameters = table.table(4)
    if parameters is None:
        return None
    scale, zero = parameters.numbers(2, "<f4"), parameters.numbers(3, "<i8")
    if scale.size == 0:
        return None
    if zero.size not in (0, scale.size):
        raise FormatError("the file has a tensor with other numbers of scales and zero points")
    points = zero.copy() if zero.size else np.zeros(scale.size, np.int64)
    return Quantization(scale.copy(), points, parameters.integer(6))


def _is_there_before(tensor: TfliteTensor) -> bool:
    """Whether a tensor has its values before any node runs."""
    return tensor.constant is not None or tensor.is_variable or 0 in tensor.shape


def _check_order(node: TfliteNode, tensors: Sequence[TfliteTensor], known: set[int]) -> None:
    for index in node.inputs:
        if index >= 0 and index not in known:
            name = quote(tensors[index].name)
            raise FormatError(f"{shown(node.operator, 60)}: nothing before computes tensor {name}")
    for index in node.outputs:
        if index < 0 or tensors[index].constant is not None:
            raise FormatError(f"{shown(node.operator, 60)} computes a tensor that is constant")
    known.update(node.outputs)


def _check_indices(indices: Sequence[int], count: int, reader: str) -> None:
    if any(not -1 <= index < count for index in indices):
        raise FormatError(f"{shown(reader, 60)} names a tensor that the file does not have")


def _word(words: Sequence[str], number: int, what: str) -> str:
    if not 0 <= number < len(words):
        raise FormatError(f"the file has a {what} of number {number}, which the schema lacks")
    return words[number]


def _at(items: Sequence[V], index: int, what: str) -> V:
    if index >= len(items):
        raise FormatError(f"the file names {what} {index:,} of {len(items):,}")
    return items[index]
