"""Module: a function with parameters, and the name it is known by.

A module is a tree.  Its leaves are Parameters (what training changes) and Buffers (what
a forward pass keeps, such as running means); an attribute that is a Parameter, Buffer or
Module belongs to the tree under the attribute's name, in the order it was set, so
``blocks.0.expand.conv.weight`` is ``module.blocks[0].expand.conv.weight``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from minigrad.errors import MinigradError, StateDictError, shown
from minigrad.nn.parameter import Buffer, Parameter, Stored
from minigrad.tensor import Array, Tensor, scope, under_scope

__all__ = ["Module"]

SHOWN = 5  # names in a message

Self = TypeVar("Self", bound="Module")


class Module:
    """The base of every layer, block and network.

    A subclass sets its parts as attributes in ``__init__`` and says in ``forward`` what
    it computes.  Calling it runs ``forward`` under its name, so that an error, the tape
    and ``explain`` name the layer.

    Examples
    --------
    >>> from minigrad import nn
    >>> class Twice(nn.Module):
    ...     def __init__(self):
    ...         self.linear = nn.Linear(3, 3)
    ...     def forward(self, x):
    ...         return self.linear(self.linear(x))
    >>> [name for name, _ in Twice().named_parameters()]
    ['linear.weight', 'linear.bias']
    """

    training: bool = True
    _name: str = ""
    forward: Callable[..., Any]

    def __setattr__(self, name: str, value: Any) -> None:
        if isinstance(value, Module):
            value.__dict__["_name"] = name
        elif isinstance(value, (list, tuple)) and any(isinstance(v, Module) for v in value):
            raise TypeError(f"{name}: a module in a {type(value).__name__} is not registered; "
                            "use nn.Sequential")  # fmt: skip
        object.__setattr__(self, name, value)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if not self._name:
            return self.forward(*args, **kwargs)
        with scope(self._name):
            try:
                return self.forward(*args, **kwargs)
            except MinigradError as error:
                raise under_scope(error) from None

    # The tree.

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """(name, module) of the direct parts."""
        for name, value in self.__dict__.items():
            if isinstance(value, Module):
                yield name, value

    def named_modules(self, prefix: str = "") -> Iterator[tuple[str, Module]]:
        """(dotted name, module) of this module (as ``prefix``) and everything below it."""
        yield prefix, self
        for name, child in self.named_children():
            yield from child.named_modules(f"{prefix}.{name}" if prefix else name)

    def modules(self) -> Iterator[Module]:
        """This module and everything below it."""
        yield from (module for _, module in self.named_modules())

    def get_submodule(self, name: str) -> Module:
        """The module with this dotted name, ``""`` being the module itself."""
        found = self
        for part in name.split(".") if name else ():
            found = found.__dict__.get(part)  # type: ignore[assignment]
            if not isinstance(found, Module):
                raise AttributeError(f"{type(self).__name__} has no module {name!r}")
        return found

    def _named_stored(self, prefix: str = "") -> Iterator[tuple[str, Stored]]:
        """Parameters and buffers in the order in which they were set."""
        for name, value in self.__dict__.items():
            if isinstance(value, Stored):
                yield prefix + name, value
            elif isinstance(value, Module):
                yield from value._named_stored(f"{prefix}{name}.")

    def named_parameters(self) -> Iterator[tuple[str, Parameter]]:
        """(dotted name, Parameter), in the order of the computation."""
        for name, value in self._named_stored():
            if isinstance(value, Parameter):
                yield name, value

    def parameters(self) -> Iterator[Parameter]:
        """Every Parameter."""
        yield from (parameter for _, parameter in self.named_parameters())

    def named_buffers(self) -> Iterator[tuple[str, Buffer]]:
        """(dotted name, Buffer)."""
        for name, value in self._named_stored():
            if isinstance(value, Buffer):
                yield name, value

    # The state.

    def state_dict(self) -> dict[str, Array]:
        """Parameters and buffers by name: read-only views of the live values."""
        return {name: value.numpy() for name, value in self._named_stored()}

    def load_state_dict(self, state: Mapping[str, Array | Tensor]) -> None:
        """Adopt the arrays of ``state`` as they lie in memory, without a copy.

        Parameters
        ----------
        state : mapping
            Dotted name to array (or Tensor): exactly the names of ``state_dict``.

        Raises
        ------
        StateDictError
            Naming every key that is missing or unexpected and every array of another
            shape or dtype; then nothing is changed.
        """
        own = dict(self._named_stored())
        given = {k: v.array if isinstance(v, Tensor) else v for k, v in state.items()}
        problems = _misfits(own, given)
        if problems:
            raise StateDictError(f"{type(self).__name__}: " + "; ".join(problems))
        for name, stored in own.items():
            stored.adopt(given[name])

    def to(self: Self, dtype: npt.DTypeLike) -> Self:
        """Convert parameters and buffers to float32 or float64, and return the module."""
        for _, stored in self._named_stored():
            stored.convert(dtype)
        return self

    def train(self: Self, mode: bool = True) -> Self:
        """Set training mode: batch statistics, dropout, stochastic depth."""
        for module in self.modules():
            module.training = mode
        return self

    def eval(self: Self) -> Self:
        """Set evaluation mode: running statistics, nothing is dropped."""
        return self.train(False)

    def requires_grad_(self: Self, wanted: bool = True) -> Self:
        """Say whether gradients of the parameters are wanted."""
        for parameter in self.parameters():
            parameter.requires_grad = wanted
        return self

    def zero_grad(self) -> None:
        """Forget the gradients of all parameters."""
        for parameter in self.parameters():
            parameter.grad = None

    def apply(self: Self, function: Callable[[Module], None]) -> Self:
        """Call ``function`` on this module and everything below it."""
        for module in self.modules():
            function(module)
        return self

    def extra_repr(self) -> str:
        """What ``repr`` shows between the parentheses of a module without parts."""
        return ""

    def __repr__(self) -> str:
        parts = ((name, repr(part)) for name, part in self.named_children())
        lines = [f"  ({name}): " + part.replace("\n", "\n  ") for name, part in parts]
        inside = "\n" + "\n".join(lines) + "\n" if lines else ""
        return f"{type(self).__name__}({self.extra_repr()}{inside})"


def _misfits(own: Mapping[str, Stored], given: Mapping[str, Array]) -> list[str]:
    """One clause for each way in which ``given`` does not fit."""
    foreign = [f"{shown(k)} is a {type(v).__name__}"
               for k, v in given.items() if not isinstance(v, np.ndarray)]  # fmt: skip
    if foreign:
        return [f"{len(foreign)} not an array: {_first(foreign)}"]
    missing = [k for k in own if k not in given]
    unexpected = [shown(k) for k in given if k not in own]
    both = [k for k in own if k in given]
    shapes = [f"{k} is {given[k].shape}, expected {own[k].shape}"
              for k in both if given[k].shape != own[k].shape]  # fmt: skip
    dtypes = [f"{k} is {given[k].dtype}, expected {own[k].dtype}"
              for k in both if given[k].dtype != own[k].dtype]  # fmt: skip
    parts = {"missing": missing, "unexpected": unexpected, "of another shape": shapes,
             "of another dtype (convert with module.to or astype)": dtypes}  # fmt: skip
    return [f"{len(v)} {what}: {_first(v)}" for what, v in parts.items() if v]


def _first(clauses: list[str]) -> str:
    """The first few of them, for a file may have as many names as it likes."""
    more = f" and {len(clauses) - SHOWN:,} more" if len(clauses) > SHOWN else ""
    return ", ".join(clauses[:SHOWN]) + more
