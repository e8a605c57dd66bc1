"""The constants of a frozen TensorFlow graph (.pb): weights by name, and nothing of the graph.

The messages and their fields are those of graph.proto, node_def.proto, attr_value.proto and
tensor.proto.  A frozen graph holds a network's weights as nodes of kind ``Const``; those under
the names that slim gives its variables are read, in PyTorch's axes and with PyTorch's last names:

    X/weights            (kh, kw, Cin, Cout)    X.weight     (Cout, Cin, kh, kw)
    X/depthwise_weights  (kh, kw, C, 1)         X.weight     (C, 1, kh, kw)
    X/biases                                    X.bias
    X/BatchNorm/gamma, beta                     X/BatchNorm.weight, .bias
    X/BatchNorm/moving_mean, moving_variance    X/BatchNorm.running_mean, .running_var
"""

from __future__ import annotations

import os

import numpy as np

from minigrad.errors import FormatError, quote
from minigrad.formats.limits import Budget, byte_count
from minigrad.formats.numbers import Array
from minigrad.formats.source import within_budget
from minigrad.formats.state_dict import StateDict
from minigrad.graphs.wire import Message

__all__ = ["load_frozen"]

NODES = 1  # of a graph
NODE_NAME, OPERATOR, ATTRIBUTES = 1, 2, 5
KEY, VALUE, TENSOR = 1, 2, 8  # of an attribute
ELEMENT, SHAPE, CONTENT, FLOATS = 1, 2, 4, 5  # of a tensor
DIMS, DIM_SIZE = 2, 1
FLOAT = 1
STEPS = 60  # of work for a tensor
LEAVES = {
    "weights": "weight", "depthwise_weights": "weight", "biases": "bias", "gamma": "weight",
    "beta": "bias", "moving_mean": "running_mean", "moving_variance": "running_var",
}  # fmt: skip
AXES = {"weights": (3, 2, 0, 1), "depthwise_weights": (2, 3, 0, 1)}


def load_frozen(path: str | os.PathLike[str], *, budget: int | None = None) -> StateDict:
    """Read the weights of a frozen graph.

    Parameters
    ----------
    path : path
    budget : int, optional
        The most bytes that the arrays may take.  Default: 64 MiB and twice the file, at most
        4 GiB.

    Returns
    -------
    StateDict
        float32 arrays.

    Raises
    ------
    FormatError
        If the file is no frozen graph, is broken, hostile or over the budget.
    OSError
        If the file cannot be opened.
    """
    with within_budget(path, budget) as (file, paid):
        return _weights(Message(file.read(0, file.size), paid), paid)


def _weights(graph: Message, budget: Budget) -> StateDict:
    found: dict[str, Array] = {}
    for node in graph.messages(NODES):
        if bytes(node.bytes(OPERATOR)[:6]) != b"Const":
            continue
        layer, _, leaf = node.text(NODE_NAME).rpartition("/")
        if leaf not in LEAVES:
            continue
        name = f"{layer}.{LEAVES[leaf]}"
        if name in found:
            raise FormatError(f"the weights {quote(name)} are there twice")
        found[name] = _turned(_tensor(node, name, budget), leaf, name)
    if not found:
        raise FormatError("the file has no constants under slim's names: is it a frozen graph?")
    return StateDict(found)


def _tensor(node: Message, name: str, budget: Budget) -> Array:
    """The float32 array of a constant."""
    budget.work(STEPS)
    what = f"the weights {quote(name)}"
    values = [a.message(VALUE) for a in node.messages(ATTRIBUTES) if a.text(KEY) == "value"]
    tensor = values[0].message(TENSOR) if len(values) == 1 and values[0] is not None else None
    if tensor is None or tensor.integer(ELEMENT) != FLOAT:
        raise FormatError(f"{what} are no float32")
    dims = tensor.message(SHAPE)
    shape = () if dims is None else tuple(d.integer(DIM_SIZE) for d in dims.messages(DIMS))
    nbytes = byte_count(shape, 4, what)
    content, listed = tensor.bytes(CONTENT), tensor.numbers(FLOATS, "<f4")
    if len(content) not in (0, nbytes) or (not len(content) and 4 * listed.size not in (4, nbytes)):
        raise FormatError(f"{what} have other numbers than their shape {shape} says")
    budget.spend_elements(nbytes, what)
    budget.spend_memory(nbytes, what)
    if len(content):
        return np.frombuffer(content, "<f4").reshape(shape).astype(np.float32)
    if listed.size * 4 != nbytes:
        return np.full(shape, listed[0], np.float32)  # one number stands for all
    return listed.reshape(shape).astype(np.float32)


def _turned(array: Array, leaf: str, name: str) -> Array:
    axes = AXES.get(leaf)
    if axes is None:
        return array
    if array.ndim != len(axes):
        raise FormatError(f"the weights {quote(name)} have {array.ndim} axes, not four")
    return np.ascontiguousarray(array.transpose(axes))
