"""Which function runs: the choice of a backend, and the check of its arguments, in one place.

``find(function, kind)`` walks the chain of the current backend and returns the first
module that has the function.  The name of a kind in front wins over the bare name:

    depthwise_conv2d   serves the depthwise kind alone,
    conv2d             serves every kind that has no function of its own.

Read ``contract`` for what the functions mean, ``reference`` for their definition.
"""

from __future__ import annotations

import functools
import importlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from types import ModuleType
from typing import Any, NamedTuple

from minigrad.errors import BackendError
from minigrad.kernels.contract import CONV_FUNCTIONS, FUNCTIONS, KINDS, Array, classify, ieee

__all__ = [
    "BACKENDS",
    "CHAINS",
    "Kernel",
    "backend",
    "backends",
    "classify",
    "current_backend",
    "find",
    "module_of",
    "run",
    "unavailable",
]

CHAINS = {
    "reference": ("reference", "numpy"),
    "numpy": ("numpy", "reference"),
    "numba": ("numba", "numpy", "reference"),
    "cython": ("cython", "numpy", "reference"),
}
BACKENDS = tuple(CHAINS)
_MODULES = {
    "reference": "minigrad.kernels.reference",
    "numpy": "minigrad.kernels.numpy",
    "numba": "minigrad.kernels.numba",
    "cython": "minigrad.kernels.cython",
}


class Kernel(NamedTuple):
    """A function of the contract, and who serves it; ``call`` checks its arguments first."""

    backend: str
    name: str
    call: Callable[..., Any]


class _Choice(NamedTuple):
    backend: str
    strict: bool


_choice: ContextVar[_Choice | None] = ContextVar("minigrad_backend", default=None)


@functools.cache
def module_of(name: str) -> ModuleType:
    """The package of a backend."""
    return importlib.import_module(_MODULES[name])


def unavailable(name: str) -> str | None:
    """Why the backend cannot be used here, in one sentence; None if it can.

    Each backend module says it of itself in its ``UNAVAILABLE``.
    """
    if name not in CHAINS:
        return f"there is no backend {name!r}; there are {', '.join(BACKENDS)}"
    reason: str | None = getattr(module_of(name), "UNAVAILABLE", None)
    return reason


@functools.cache
def _default() -> _Choice:
    asked = os.environ.get("MINIGRAD_BACKEND")
    if asked:
        _require(asked)
        return _Choice(asked, strict=False)
    return _Choice("numpy" if unavailable("cython") else "cython", strict=False)


def _require(name: str) -> None:
    reason = unavailable(name)
    if reason:
        raise BackendError(reason)


def current_backend() -> str:
    """The name of the backend that the next operation asks first."""
    return (_choice.get() or _default()).backend


@contextmanager
def backend(name: str, strict: bool = False) -> Iterator[None]:
    """Use the backend ``name`` inside the ``with`` block, in this thread and context.

    Parameters
    ----------
    name : {"reference", "numpy", "numba", "cython"}
    strict : bool
        Raise a BackendError where ``name`` has no function of its own, instead of asking
        the next backend of its chain.

    Raises
    ------
    BackendError
        At once, if the backend cannot be used on this machine.
    """
    _require(name)
    token = _choice.set(_Choice(name, strict))
    try:
        yield
    finally:
        _choice.reset(token)


def find(function: str, kind: str | None = None) -> Kernel:
    """The function that serves ``function`` (for a ``kind`` of convolution) now.

    >>> with backend("numpy"):
    ...     find("conv2d", "depthwise").backend
    'numpy'
    """
    return _find(_choice.get() or _default(), function, kind)


def run(function: str, *args: Any) -> Array:
    """Call the function that serves ``function`` now."""
    y: Array = _find(_choice.get() or _default(), function, None).call(*args)
    return y


@functools.cache
def _find(choice: _Choice, function: str, kind: str | None) -> Kernel:
    names = (f"{kind}_{function}", function) if kind else (function,)
    chain = CHAINS[choice.backend][:1] if choice.strict else CHAINS[choice.backend]
    for backend_name in chain:
        module = module_of(backend_name)
        for name in names:
            call = getattr(module, name, None)
            if call is not None:
                # The compiled core has no use for it, and decorates what computes with NumPy.
                call = call if backend_name == "cython" else ieee(call)
                return Kernel(backend_name, name, _checked(function, call))
    asked = f"{function} of kind {kind}" if kind else function
    raise BackendError(f"the backend {choice.backend!r} has no {asked} of its own (strict=True)")


def _checked(function: str, call: Callable[..., Any]) -> Callable[..., Any]:
    """``call``, where its arguments fulfil the contract: the same errors on every backend."""
    check = FUNCTIONS[function].check

    @functools.wraps(call)
    def checked(*args: Any) -> Any:
        check(*args)
        return call(*args)

    return checked


def backends(name: str | None = None) -> dict[str, str]:
    """Which backend serves each function of the contract, with ``name`` or the current one.

    >>> backends("reference")["pointwise_conv2d"]
    'reference'
    """
    choice = _Choice(name, strict=False) if name else (_choice.get() or _default())
    _require(choice.backend)
    served = {
        f"{kind}_{function}": _find(choice, function, kind).backend
        for kind in KINDS
        for function in CONV_FUNCTIONS
    }
    others = (name for name, f in FUNCTIONS.items() if not f.by_kind)
    return served | {function: _find(choice, function, None).backend for function in others}
