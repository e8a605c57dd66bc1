"""Module: a function with parameters, and the name it is known by.

A module is a tree.  Its leaves are Parameters (what training changes) and Buffers (what
a forward pass keeps, such as running means); an attribute that is a Parameter, Buffer or
Module belongs to the tree under the attribute's name, in the order it was set, so
``blocks.0.expand.conv.weight`` is ``module.blocks[0].expand.conv.weight``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from minigrad.arguments import flag, quoted
from minigrad.errors import ArgumentError, MinigradError, StateDictError, shown
from minigrad.nn.parameter import Buffer, Parameter, Stored
from minigrad.tensor import Array, Tensor, scope, under_scope

if TYPE_CHECKING:
    from typing_extensions import Self, TypeVar

    Output = TypeVar("Output", default=Tensor, covariant=True)
else:
    from typing import TypeVar

    Output = TypeVar("Output", covariant=True)

__all__ = ["Incompatible", "Module"]

AnyModule: TypeAlias = "Module[Any]"
SHOWN = 5  # names in a message


class Incompatible(NamedTuple):
    """The keys that ``load_state_dict(strict=False)`` passed over."""

    missing_keys: list[str]
    unexpected_keys: list[str]


class Module(Generic[Output]):
    """The base of every layer, block and network.

    A subclass sets its parts as attributes in ``__init__`` and says in ``forward`` what
    it computes.  Calling it runs ``forward`` under its name, so that an error, the tape
    and ``explain`` name the layer.

    For a type checker a module gives a Tensor; a base such as ``nn.Module[list[Tensor]]``
    says what else it gives.

    Attributes
    ----------
    training : bool
        Whether the module is in training mode, as ``train`` and ``eval`` set it.

    Raises
    ------
    ArgumentError
        When a Parameter, Buffer or Module is overwritten by something else, or when modules
        are put into a list.

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

    def __setattr__(self, name: str, value: object) -> None:
        if name in self.__dict__:
            self._check_replacement(name, value)
        if isinstance(value, Module):
            value.__dict__["_name"] = name
        elif isinstance(value, (list, tuple)) and any(isinstance(v, Module) for v in value):
            raise ArgumentError(
                f"{name}: a module in a {type(value).__name__} is not registered; use nn.Sequential"
            )
        object.__setattr__(self, name, value)

    def _check_replacement(self, name: str, value: object) -> None:
        """What belongs to the tree stays in it: only its like, or None, takes its place."""
        old = self.__dict__[name]
        kind = next((k for k in (Parameter, Buffer, Module) if isinstance(old, k)), None)
        if kind is None or value is None or isinstance(value, kind):
            return
        instead = (
            f"with mg.no_grad(): module.{name}.copy_(values)"
            if kind is not Module
            else "another module"
        )
        raise ArgumentError(
            f"{type(self).__name__}.{name} is a {kind.__name__}, and {quoted(value)} is none: "
            f"use {instead}, nn.{kind.__name__}, or None"
        )

    if not TYPE_CHECKING:  # for the type checker a name that is not there is an error

        def __getattr__(self, name: str) -> object:
            from minigrad.tensor import hints

            raise hints.missing(type(self).__name__, name, hints.MODULES, dir(type(self)))

    def __call__(self, *args: Any, **kwargs: Any) -> Output:
        result: Output = self._named_call(args, kwargs)
        return result

    def _named_call(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if not self._name:
            return self.forward(*args, **kwargs)
        with scope(self._name):
            try:
                return self.forward(*args, **kwargs)
            except MinigradError as error:
                raise under_scope(error) from None

    # The tree.

    def named_children(self) -> Iterator[tuple[str, AnyModule]]:
        """(name, module) of the direct parts."""
        for name, value in self.__dict__.items():
            if isinstance(value, Module):
                yield name, value

    def children(self) -> Iterator[AnyModule]:
        """The direct parts."""
        yield from (module for _, module in self.named_children())

    def named_modules(self, prefix: str = "") -> Iterator[tuple[str, AnyModule]]:
        """(dotted name, module) of this module (as ``prefix``) and everything below it."""
        yield prefix, self
        for name, child in self.named_children():
            yield from child.named_modules(f"{prefix}.{name}" if prefix else name)

    def modules(self) -> Iterator[AnyModule]:
        """This module and everything below it."""
        yield from (module for _, module in self.named_modules())

    def get_submodule(self, name: str) -> AnyModule:
        """The module with this dotted name, ``""`` being the module itself."""
        if not isinstance(name, str):
            raise ArgumentError(f"get_submodule takes a dotted name, not {quoted(name)}")
        module: AnyModule = self
        for part in name.split(".") if name else ():
            child = module.__dict__.get(part)
            if not isinstance(child, Module):
                raise AttributeError(f"{type(self).__name__} has no module {name!r}")
            module = child
        return module

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

    def buffers(self) -> Iterator[Buffer]:
        """Every Buffer."""
        yield from (buffer for _, buffer in self.named_buffers())

    # The state.

    def state_dict(self) -> dict[str, Array]:
        """Parameters and buffers by name: read-only views of the live values."""
        return {name: value.numpy() for name, value in self._named_stored()}

    def load_state_dict(
        self, state: Mapping[str, Array | Tensor], strict: bool = True
    ) -> Incompatible:
        """Adopt the arrays of ``state`` as they lie in memory, without a copy.

        Parameters
        ----------
        state : mapping
            Dotted name to array (or Tensor): exactly the names of ``state_dict``.
        strict : bool
            Without it, names that are missing or unexpected are passed over, and returned.

        Returns
        -------
        Incompatible
            (missing_keys, unexpected_keys), as PyTorch returns them.

        Raises
        ------
        StateDictError
            Naming every key that is missing or unexpected and every array of another
            shape or dtype; then nothing is changed.
        ArgumentError
            If ``state`` is no mapping.
        """
        if not isinstance(state, Mapping):
            raise ArgumentError(f"load_state_dict takes a dict of arrays, not {quoted(state)}")
        own = dict(self._named_stored())
        given = {k: v.array if isinstance(v, Tensor) else v for k, v in state.items()}
        missing, unexpected = [k for k in own if k not in given], [k for k in given if k not in own]
        if not flag("load_state_dict", "strict", strict):
            own = {k: v for k, v in own.items() if k in given}
            given = {k: v for k, v in given.items() if k in own}
        problems = _misfits(own, given)
        if problems:
            raise StateDictError(f"{type(self).__name__}: " + "; ".join(problems))
        for name, stored in own.items():
            stored.adopt(given[name])
        return Incompatible(missing, unexpected)

    def to(self, dtype: npt.DTypeLike) -> Self:
        """Convert parameters and buffers to float32 or float64, and return the module.

        "cpu" is where every module is.
        """
        if isinstance(dtype, str) and dtype == "cpu":
            return self
        for _, stored in self._named_stored():
            stored.convert(dtype)
        return self

    def cpu(self) -> Self:
        """The module itself: minigrad computes on the CPU."""
        return self

    def float(self) -> Self:
        """Convert parameters and buffers to float32, and return the module."""
        return self.to(np.float32)

    def double(self) -> Self:
        """Convert parameters and buffers to float64, and return the module."""
        return self.to(np.float64)

    def train(self, mode: bool = True) -> Self:
        """Set training mode: batch statistics, dropout, stochastic depth."""
        mode = flag("train", "mode", mode)
        for module in self.modules():
            module.training = mode
        return self

    def eval(self) -> Self:
        """Set evaluation mode: running statistics, nothing is dropped."""
        return self.train(False)

    def requires_grad_(self, requires_grad: bool = True) -> Self:
        """Say whether gradients of the parameters are wanted."""
        for parameter in self.parameters():
            parameter.requires_grad_(requires_grad)
        return self

    def zero_grad(self) -> None:
        """Forget the gradients of all parameters."""
        for parameter in self.parameters():
            parameter.grad = None

    def apply(self, function: Callable[[AnyModule], object]) -> Self:
        """Call ``function`` on this module and everything below it."""
        if not callable(function):
            raise ArgumentError(f"apply takes a function of a Module, not {quoted(function)}")
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
    foreign = [f"{shown(str(k))} is a {type(v).__name__}"
               for k, v in given.items() if not isinstance(v, np.ndarray)]  # fmt: skip
    if foreign:
        return [f"{len(foreign)} not an array: {_first(foreign)}"]
    missing = [k for k in own if k not in given]
    unexpected = [shown(str(k)) for k in given if k not in own]
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
