"""A recorded network: values, constants, and the steps between them.

A Graph is a straight line of steps in the order in which they ran.  Each step reads values
(made by earlier steps, or the input) and constants, and makes one value.  A rewrite moves the
work of one step into another (its ``epilogue``), or joins several steps in a Block:

    y = clamp(activation(op(x gate, constants)) + residual)      or, where it is ``last``,
    y = activation(op(x gate, constants) + residual)

There is no second representation: what is planned, described, exported and saved is this.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from minigrad.arrays import Array, Shape
from minigrad.kernels.tables import ACTIVATIONS
from minigrad.records import NamedTuple

if TYPE_CHECKING:
    import numpy as np

__all__ = [
    "ACTIVATION_NAMES",
    "CLAMPS",
    "Block",
    "Constant",
    "Epilogue",
    "Graph",
    "Note",
    "Ref",
    "Step",
    "Value",
    "has_constants",
    "is_conv",
    "needed",
]

ACTIVATION_NAMES = frozenset(f.name for f in ACTIVATIONS)
# What an epilogue clamps in registers.
CLAMPS = frozenset(f.name for f in ACTIVATIONS if f.high is not None)


class Value(NamedTuple):
    """What a step makes, or the input of the graph.

    Attributes
    ----------
    number : int
        0 for the input; the steps count from 1, in the order in which they ran.
    shape : tuple of int
    dtype : dtype
    """

    number: int
    shape: Shape
    dtype: np.dtype[np.generic]

    @property
    def nbytes(self) -> int:
        """Bytes of its numbers."""
        return math.prod(self.shape) * self.dtype.itemsize

    def with_batch(self, batch: int) -> Value:
        """The value of the same number for another number of images."""
        return self._replace(shape=(batch, *self.shape[1:]))


class Constant:
    """An array that is known when the plan is made; each is equal to itself alone.

    Attributes
    ----------
    key : ndarray
        What it is known by: two constants with one key have the same numbers, shape and dtype.
    """

    __slots__ = ("key",)

    def __init__(self, key: Array) -> None:
        self.key = key

    @property
    def array(self) -> Array:
        """The numbers."""
        return self.key

    @property
    def shape(self) -> Shape:
        """The length of every axis."""
        return self.key.shape

    @property
    def dtype(self) -> np.dtype[np.generic]:
        """The array's dtype."""
        return self.key.dtype

    @property
    def nbytes(self) -> int:
        """Bytes of its numbers."""
        return math.prod(self.shape) * self.dtype.itemsize

    def ready(self, groups: int) -> Array | None:
        """The filters of a convolution in the order of the kernels, if they lie so already."""
        return None


Ref: TypeAlias = Value | Constant | None  # what a step reads; None for an argument left out


class Epilogue(NamedTuple):
    """What rewrites moved into a step.

    Attributes
    ----------
    activation : str, optional
        Applied to what the primitive makes.
    residual : Value, optional
        Added to that.
    gate : Value, optional
        One number a channel, by which the first input is multiplied.
    slope : Constant, optional
        One number a channel, where the activation is prelu.
    last : bool
        Whether the activation comes after the residual.
    clamp : str, optional
        What clamps the sum, where there is a residual and the activation before it is a clamp.
    """

    activation: str | None = None
    residual: Value | None = None
    gate: Value | None = None
    slope: Constant | None = None
    last: bool = False
    clamp: str | None = None

    def after(self) -> Iterator[tuple[str, tuple[Value | Constant, ...]]]:
        """The primitives that follow the step's own, in order, and what else each reads."""
        activation = self.activation and (
            self.activation,
            () if self.slope is None else (self.slope,),
        )
        if activation and not self.last:
            yield activation
        if self.residual is not None:
            yield "add", (self.residual,)
        if activation and self.last:
            yield activation
        if self.clamp is not None:
            yield self.clamp, ()

    def reads(self) -> tuple[Value, ...]:
        """The values that it needs."""
        return tuple([v for v in (self.residual, self.gate) if v is not None])


class Step(NamedTuple):
    """One primitive of a graph; each is equal to itself alone.

    Attributes
    ----------
    op : str
        The name of a primitive in ``tensor.PRIMITIVES``; of a Block, the pattern's.
    inputs : tuple of Value, Constant or None
    params : mapping
        The primitive's static parameters.
    layer : str
        The dotted name of the layer that asked for it.
    output : Value
        What it makes.
    epilogue : Epilogue
        What rewrites moved into this step.
    absorbed : tuple of str
        The layers whose work was moved here.
    inside : tuple of Step
        Of a Block, the steps that it stands for; of any other step empty.
    """

    op: str
    inputs: tuple[Ref, ...]
    params: Mapping[str, Any]
    layer: str
    output: Value
    epilogue: Epilogue = Epilogue()
    absorbed: tuple[str, ...] = ()
    inside: tuple[Step, ...] = ()

    def __eq__(self, other: object) -> bool:
        return self is other

    def __hash__(self) -> int:
        return id(self)

    @property
    def number(self) -> int:
        """The number of the value that it makes."""
        return self.output.number

    @property
    def shape(self) -> Shape:
        """The shape of what it makes."""
        return self.output.shape

    @property
    def parts(self) -> tuple[Step, ...]:
        """The steps of a Block; of any other step, itself."""
        return (self,)

    def reads(self) -> tuple[Value, ...]:
        """Every value that this step needs, also as a parameter or for its epilogue."""
        given = (*self.inputs, *self.params.values())
        return (*[v for v in given if isinstance(v, Value)], *self.epilogue.reads())

    def constants(self) -> list[Constant]:
        """The constants that it or its parts read."""
        refs = (ref for part in self.parts for ref in (*part.inputs, part.epilogue.slope))
        return [ref for ref in refs if isinstance(ref, Constant)]

    def refs(self) -> list[Value | Constant]:
        """All that it or its parts read and make."""
        return [
            ref
            for part in self.parts
            for ref in (*part.inputs, *part.epilogue.reads(), part.output)
            if ref is not None
        ]

    @property
    def filters(self) -> Constant:
        """The second input of a convolution or a linear map, which must be a constant."""
        w = self.inputs[1]
        if not isinstance(w, Constant):
            raise TypeError(f"the weights of step {self.number}, {self.op}, are computed")
        return w

    @property
    def weights(self) -> Array:
        """The numbers of ``filters``."""
        return self.filters.array

    @property
    def bias(self) -> Array | None:
        """The third input of a convolution or a linear map, a constant if it is there."""
        b = self.inputs[2]
        return b.array if isinstance(b, Constant) else None

    @property
    def source(self) -> Value:
        """The first input, which must be a value."""
        x = self.inputs[0]
        if not isinstance(x, Value):
            raise TypeError(f"step {self.number}, {self.op}, reads no value")
        return x

    @property
    def last_layer(self) -> str:
        """The name of the last layer whose work it does."""
        return self.absorbed[-1] if self.absorbed else self.layer


class Block(Step):
    """Several steps in one: running its parts one after the other is its meaning.

    ``inputs`` are the values that its parts read from outside, ``output`` is the last part's.
    """

    __slots__ = ()

    @property
    def parts(self) -> tuple[Step, ...]:
        """The steps that it stands for."""
        return self.inside

    @staticmethod
    def of(name: str, parts: Sequence[Step], layer: str) -> Block:
        """The block of these steps, the last of which makes its output."""
        made = {part.number for part in parts}
        read = {v.number: v for part in parts for v in part.reads() if v.number not in made}
        layers = dict.fromkeys(name for p in parts for name in (p.layer, *p.absorbed))
        return Block(name, tuple(read.values()), {}, layer, parts[-1].output,
                     absorbed=tuple(layers), inside=tuple(parts))  # fmt: skip


class Graph(NamedTuple):
    """The steps of a model in the order in which they ran.

    Attributes
    ----------
    input : Value
        Its number is 0.
    steps : dict of int to Step
        By the number of the value that each makes.
    outputs : tuple of Value
    returns_one : bool
        Whether the model returned its output itself, and not in a list.
    """

    input: Value
    steps: dict[int, Step]
    outputs: tuple[Value, ...]
    returns_one: bool

    @property
    def shape(self) -> Shape:
        """The input's shape."""
        return self.input.shape

    @property
    def dtype(self) -> np.dtype[np.generic]:
        """The input's dtype."""
        return self.input.dtype

    def values(self) -> Iterator[Value]:
        """The input, and what each step makes."""
        yield self.input
        for step in self.steps.values():
            yield step.output

    def uses(self) -> dict[int, list[int]]:
        """For each value, the numbers of the steps that read it; an output is read by -1."""
        readers: dict[int, list[int]] = {value.number: [] for value in self.values()}
        for number, step in self.steps.items():
            for value in step.reads():
                readers[value.number].append(number)
        for value in self.outputs:
            readers[value.number].append(-1)
        return readers

    def maker(self, ref: Ref) -> Step | None:
        """The step that makes a value; None for the input and for constants."""
        return self.steps.get(ref.number) if isinstance(ref, Value) else None

    def with_steps(self, steps: Mapping[int, Step]) -> Graph:
        """The same graph with other steps."""
        return self._replace(steps=dict(steps))


class Note(NamedTuple):
    """What a rule did, or why it did not, at one layer."""

    rule: str
    layer: str
    applied: bool
    why: str


def is_conv(step: Step | None) -> bool:
    """Whether a step is a convolution whose weights and bias are constants."""
    return step is not None and step.op == "conv2d" and has_constants(step)


def has_constants(step: Step) -> bool:
    """Whether all inputs of a step but the first are constants."""
    return not any(isinstance(ref, Value) for ref in step.inputs[1:])


def needed(steps: Mapping[int, Step], outputs: Sequence[Value]) -> dict[int, Step]:
    """The steps that an output depends on, in order."""
    read = {value.number for value in outputs}
    for number in sorted(steps, reverse=True):
        if number in read:
            read.update(value.number for value in steps[number].reads())
    return {number: step for number, step in steps.items() if number in read}
