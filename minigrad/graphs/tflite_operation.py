"""One node of a TFLite graph as an operator asks for it: its options, and what its tensors are."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Sequence
from functools import partial

from minigrad import ops
from minigrad.graphs.attributes import UnreadNode
from minigrad.graphs.data import Quantization, TfliteNode, TfliteTensor
from minigrad.tensor import Tensor

__all__ = ["Operation", "held"]

ACTIVATIONS: dict[str, tuple[float, float]] = {
    "NONE": (-math.inf, math.inf),
    "RELU": (0.0, math.inf),
    "RELU_N1_TO_1": (-1.0, 1.0),
    "RELU6": (0.0, 6.0),
    "RELU_0_TO_1": (0.0, 1.0),
}


class Operation:
    """One node.

    Parameters
    ----------
    node : TfliteNode
    tensors : sequence of TfliteTensor
        Those of the graph.
    """

    def __init__(self, node: TfliteNode, tensors: Sequence[TfliteTensor]) -> None:
        self.node = node
        self.inputs = [tensors[i] if i >= 0 else None for i in node.inputs]
        self.outputs = [tensors[i] for i in node.outputs]

    def integer(self, name: str) -> int:
        """An option that is an integer."""
        value = self.node.options[name]
        assert isinstance(value, int)
        return value

    def real(self, name: str) -> float:
        """An option that is a number."""
        value = self.node.options[name]
        assert isinstance(value, float)
        return value

    def flag(self, name: str) -> bool:
        """An option that is a truth value."""
        return bool(self.node.options[name])

    def word(self, name: str) -> str:
        """An option that is a word."""
        return str(self.node.options[name])

    def integers(self, name: str) -> tuple[int, ...]:
        """An option of several integers."""
        value = self.node.options[name]
        assert isinstance(value, tuple)
        return value

    def pair(self, height: str, width: str) -> tuple[int, int]:
        """Two options that are positive integers, vertical first."""
        two = self.integer(height), self.integer(width)
        if min(two) < 1:
            raise UnreadNode(f"its options {height} and {width} are {two}, not positive")
        return two

    def custom_integers(self, count: int) -> tuple[int, ...]:
        """The options of a custom operator that begin with so many int32."""
        raw = self.node.custom or b""
        if len(raw) < 4 * count:
            raise UnreadNode(f"its options have {len(raw)} bytes, and {4 * count} are read")
        return struct.unpack_from(f"<{count}i", raw)

    @property
    def limits(self) -> tuple[float, float]:
        """Between what the fused activation holds a result."""
        word = self.word("fused_activation_function")
        if word not in ACTIVATIONS:
            raise UnreadNode(f"its fused activation is {word}")
        return ACTIVATIONS[word]

    @property
    def activation(self) -> Callable[[Tensor], Tensor] | None:
        """The fused activation of a result in floats."""
        if self.word("fused_activation_function") == "TANH":
            return ops.tanh
        return held(*self.limits)

    def input_type(self, i: int) -> TfliteTensor:
        """What the file says of input i, which must be there."""
        if i >= len(self.inputs):
            raise UnreadNode(f"it has {len(self.inputs)} inputs, and {i + 1} are needed")
        found = self.inputs[i]
        if found is None:
            raise UnreadNode(f"its input {i} is left out")
        return found

    def scale(self, tensor: TfliteTensor) -> Quantization:
        """How a quantised tensor stands for numbers."""
        if tensor.quantization is None:
            raise UnreadNode(f"a tensor of {tensor.dtype} has no scale")
        return tensor.quantization


def held(low: float, high: float) -> Callable[[Tensor], Tensor] | None:
    """The activation that holds x between two bounds, as our op has it; None for none."""
    if (low, high) == (-math.inf, math.inf):
        return None
    if (low, high) == (0.0, math.inf):
        return ops.relu
    if (low, high) == (0.0, 6.0):
        return ops.relu6
    return partial(_clamp, low, high)


def _clamp(low: float, high: float, x: Tensor) -> Tensor:
    return ops.clamp(x, low, high)
