"""The types of what ONNX's operators make: most are those of their first input."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from minigrad.graphs.data import Node
from minigrad.graphs.onnx_tensors import DTYPES

__all__ = ["made_dtypes"]

TRUTHS = frozenset(
    ("And", "Equal", "Greater", "GreaterOrEqual", "IsInf", "IsNaN", "Less", "LessOrEqual", "Not",
     "Or", "Xor")
)  # fmt: skip
PLACES = frozenset(("ArgMax", "ArgMin", "NonMaxSuppression", "NonZero", "Shape", "Size"))
OF_SECOND = frozenset(("CastLike", "DequantizeLinear", "Where"))


def made_dtypes(node: Node, inputs: Sequence[str | None]) -> list[str | None]:
    """The dtypes of a node's outputs, None where they do not follow from those of its inputs."""
    first, second, third = [*inputs, None, None, None][:3]
    if node.operator in TRUTHS:
        return ["bool"]
    if node.operator in PLACES:
        return ["int64"]
    if node.operator in OF_SECOND:
        return [second]
    if node.operator == "Cast":
        return [_of_number(node.attributes.get("to"))]
    if node.operator == "QuantizeLinear":
        return [_of_number(node.attributes.get("output_dtype")) or third or "uint8"]
    if node.operator == "ConstantOfShape":
        value = node.attributes.get("value")
        return [str(value.dtype) if isinstance(value, np.ndarray) else "float32"]
    if node.operator in ("TopK", "MaxPool"):
        return [first, "int64"]
    return [first] * len(node.outputs)


def _of_number(number: object) -> str | None:
    return DTYPES.get(number) if isinstance(number, int) else None
