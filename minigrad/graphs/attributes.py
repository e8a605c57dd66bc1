"""The attributes of a node, each asked for by its name and kind; what nobody asks for is told."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from minigrad.errors import FormatError, quote
from minigrad.formats.numbers import Array
from minigrad.graphs.data import Attribute, Node

__all__ = ["Attributes", "UnreadNode"]


class UnreadNode(FormatError):
    """Something that a node asks for and that is not computed, in words."""


class Attributes:
    """The attributes of one node.

    Parameters
    ----------
    node : Node
    opset : int
        The version of ONNX's operators; some attributes mean something else in another one.
    dtypes : sequence of str or None
        Of the inputs, None where the file does not say.
    """

    def __init__(self, node: Node, opset: int, dtypes: Sequence[str | None] = ()) -> None:
        self.node = node
        self.opset = opset
        self._dtypes = tuple(dtypes)
        self._left = dict(node.attributes)

    def dtype(self, i: int) -> str | None:
        """The dtype of input i; None if there is none, or the file does not say."""
        return self._dtypes[i] if i < len(self._dtypes) else None

    def _take(self, name: str, default: Attribute | None) -> Attribute | None:
        return self._left.pop(name, default)

    def integer(self, name: str, default: int) -> int:
        """An integer."""
        value = self._take(name, default)
        if not isinstance(value, int):
            raise self.wrong(name, "no integer")
        return value

    def real(self, name: str, default: float) -> float:
        """A number."""
        value = self._take(name, default)
        if not isinstance(value, (int, float)):
            raise self.wrong(name, "no number")
        return float(value)

    def text(self, name: str, default: str) -> str:
        """A text."""
        value = self._take(name, default)
        if not isinstance(value, str):
            raise self.wrong(name, "no text")
        return value

    def integers(self, name: str) -> tuple[int, ...] | None:
        """Several integers, or None if the node does not have them."""
        value = self._take(name, None)
        if value is None:
            return None
        if not isinstance(value, tuple) or not all(isinstance(v, int) for v in value):
            raise self.wrong(name, "no list of integers")
        return tuple(v for v in value if isinstance(v, int))

    def reals(self, name: str) -> tuple[float, ...] | None:
        """Several numbers, or None if the node does not have them."""
        value = self._take(name, None)
        if value is None:
            return None
        if not isinstance(value, tuple) or not all(isinstance(v, (int, float)) for v in value):
            raise self.wrong(name, "no list of numbers")
        return tuple(float(v) for v in value if isinstance(v, (int, float)))

    def array(self, name: str) -> Array | None:
        """A tensor of numbers, or None if the node does not have it."""
        value = self._take(name, None)
        if value is None or isinstance(value, np.ndarray):
            return value
        raise self.wrong(name, "no tensor of numbers")

    def only(self, name: str, default: int, *read: int) -> int:
        """An integer of which only some values are read."""
        value = self.integer(name, default)
        if value not in read:
            raise self.wrong(name, f"{value}, and {' or '.join(map(str, read))} is read")
        return value

    def word(self, name: str, default: str, *read: str) -> str:
        """A text of which only some are read."""
        value = self.text(name, default)
        if value not in read:
            raise self.wrong(name, f"{quote(value)}, and {' or '.join(read)} is read")
        return value

    def without(self, *names: str) -> None:
        """Attributes that change nothing in evaluation."""
        for name in names:
            self._take(name, None)

    def finish(self) -> None:
        """Refuse what was not asked for."""
        if self._left:
            raise UnreadNode(f"its attribute {quote(next(iter(self._left)))} is not read")

    def wrong(self, name: str, what: str) -> UnreadNode:
        """The error of an attribute whose value is not read."""
        return UnreadNode(f"its attribute {name} is {what}")
