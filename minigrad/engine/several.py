"""Plans of networks with several inputs.

    inputs x_1, x_2, ...  ->  one array of all their numbers  ->  slices of it in the inputs' shapes

A plan has one input.  That of such a network is a line of numbers, in which the inputs lie one
after another in row-major order; its first steps cut the line.  Everything else is as in other
plans.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from minigrad.arguments import quoted
from minigrad.engine.batches import as_given
from minigrad.engine.plan import Plan
from minigrad.errors import ArgumentError, DtypeError, GraphError, ShapeError, listing, quote
from minigrad.tensor import Array, Shape, Tensor

if TYPE_CHECKING:
    import numpy.typing as npt

    from minigrad.engine.describe import Profile

__all__ = ["Given", "Joint", "JointPlan", "Shapes", "input_names", "shapes_of"]

Shapes: TypeAlias = "Sequence[Sequence[int]] | Mapping[str, Sequence[int]]"
Given: TypeAlias = "Sequence[npt.ArrayLike | Tensor] | Mapping[str, npt.ArrayLike | Tensor]"


class Joint:
    """A model of several inputs as a function of one line of numbers.

    Parameters
    ----------
    model : callable
    shapes : sequence of tuple
        Of its inputs, in order.
    """

    def __init__(self, model: Callable[..., object], shapes: Sequence[Shape]) -> None:
        self.model, self.shapes = model, tuple(shapes)
        self.name = getattr(model, "name", "") or type(model).__name__

    @property
    def size(self) -> int:
        """The length of the line."""
        return sum(map(math.prod, self.shapes))

    def __call__(self, line: Tensor) -> object:
        start, inputs = 0, []
        for shape in self.shapes:
            end = start + math.prod(shape)
            inputs.append(line[start:end].reshape(*shape))
            start = end
        return self.model(*inputs)


class JointPlan:
    """A network of several inputs, compiled for their shapes; call it with a list or by names.

    Built by ``compile`` from a list of shapes.  What is said of a Plan of threads, fork and
    pickling holds for it.

    Parameters
    ----------
    plan : Plan
        Of the line of all numbers.
    shapes : sequence of tuple
    names : sequence of str
        Those of the inputs, if the model has any.

    Examples
    --------
    >>> import minigrad as mg, numpy as np
    >>> plan = mg.compile(lambda a, b: a * b, [(2, 3), (2, 1)])
    >>> plan([np.ones((2, 3), np.float32), np.full((2, 1), 2, np.float32)]).tolist()
    [[2.0, 2.0, 2.0], [2.0, 2.0, 2.0]]
    """

    def __init__(self, plan: Plan, shapes: Sequence[Shape], names: Sequence[str]) -> None:
        self.plan, self.shapes, self.names = plan, tuple(shapes), tuple(names)

    def __call__(
        self,
        xs: Given,
        threads: int | None = None,
        out: Array | Sequence[Array] | None = None,
    ) -> Array:
        """The output for the inputs, in order or by their names; see ``Plan.__call__``."""
        return self.plan(self._line(xs), threads, out)

    def outputs(self, xs: Given, threads: int | None = None) -> list[Array]:
        """The outputs as a list; see ``Plan.outputs``."""
        return self.plan.outputs(self._line(xs), threads)

    def intermediates(
        self, xs: Given, names: str | Iterable[str] | None = None
    ) -> dict[str, Array]:
        """The output of each layer; see ``Plan.intermediates``."""
        return self.plan.intermediates(self._line(xs), names)

    def profile(self, xs: Given, repeats: int = 20) -> Profile:
        """Microseconds of every step; see ``Plan.profile``."""
        return self.plan.profile(self._line(xs), repeats)

    def save(self, path: str | os.PathLike[str], metadata: Mapping[str, str] | None = None) -> None:
        """Write the plan, with its inputs' names and shapes; see ``Plan.save``."""
        from minigrad.engine.files import save_plan

        about = self.plan.metadata if metadata is None else metadata
        inputs = list(zip(self.names or [""] * len(self.shapes), self.shapes, strict=True))
        save_plan(self.plan.design, self.plan.layout, about, path, inputs=inputs)

    def __str__(self) -> str:
        return f"{self._takes()}\n{self.plan}"

    def __repr__(self) -> str:
        return f"<{self.plan.name}: {self._takes()}>"

    def _takes(self) -> str:
        known = self.names or [f"input {k}" for k in range(1, 1 + len(self.shapes))]
        pairs = zip(known, self.shapes, strict=True)
        return "takes " + ", ".join(f"{quote(name)} {shape}" for name, shape in pairs)

    def _line(self, xs: Given) -> Array:
        """The numbers of all inputs, one after another."""
        line = np.empty(sum(map(math.prod, self.shapes)), self.plan.graph.dtype)
        start, given = 0, in_order("this plan", xs, self.names, len(self.shapes))
        for k, (x, shape) in enumerate(zip(given, self.shapes, strict=True)):
            array, name = self._array(x), quote(self.names[k] if self.names else f"input {k + 1}")
            if array.dtype != line.dtype:
                raise DtypeError(f"this plan takes {name} in {line.dtype}, got {array.dtype}")
            if array.shape != shape:
                raise ShapeError(f"this plan takes {name} of shape {shape}, got {array.shape}")
            end = start + array.size
            line[start:end].reshape(shape)[...] = array
            start = end
        return line

    def _array(self, x: npt.ArrayLike | Tensor) -> Array:
        try:
            return as_given(x)
        except (TypeError, ValueError):
            raise ShapeError(
                f"this plan {self._takes()}, got what is no array: {quoted(x)}"
            ) from None


def input_names(model: Callable[..., object]) -> tuple[str, ...]:
    """The names of a model's inputs, if it says them, as those of files do."""
    inputs = getattr(model, "inputs", ())
    return tuple(inputs) if isinstance(inputs, dict) else ()


def shapes_of(model: Callable[..., object], shape: object) -> list[Sequence[int]] | None:
    """A shape for each of several inputs, if ``shape`` says several."""
    names = input_names(model)
    if isinstance(shape, Mapping) or _holds_shapes(shape):
        return in_order("compile", shape, names, len(names) or None)
    if len(names) > 1:
        raise GraphError(
            f"the network has the inputs {listing(names)}: give compile a shape for each, in a "
            "list or by name"
        )
    return None


def _holds_shapes(shape: object) -> bool:
    return isinstance(shape, (list, tuple)) and any(isinstance(n, (list, tuple)) for n in shape)


def in_order(what: str, given: object, names: Sequence[str], count: int | None = None) -> list[Any]:
    """One value for each input: of a list as it is, of a mapping by the names of the inputs."""
    if isinstance(given, Mapping):
        if not names:
            raise ArgumentError(f"{what}: the model's inputs have no names; give a list, in order")
        if set(given) != set(names):
            got = listing([str(name) for name in given]) if given else "none"
            raise ArgumentError(f"{what}: the inputs are {listing(names)}, got {got}")
        return [given[name] for name in names]
    if not isinstance(given, (list, tuple)) or (count is not None and len(given) != count):
        got = f"{len(given)}" if isinstance(given, (list, tuple)) else quoted(given)
        wanted = f"{count} inputs" if count else "several inputs"
        known = f" ({listing(names)})" if names else ""
        raise ArgumentError(f"{what} takes a list of {wanted}{known}, or by names, got {got}")
    return list(given)
