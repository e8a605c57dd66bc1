"""Modes: whether operations are recorded, under which name, and who carries them out.

A mode is a variable of the context: each thread and each asyncio task has its own.  A
``Setting`` changes it inside a ``with`` block or a decorated function, and may be used any
number of times, also inside itself.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Generator
from contextvars import ContextVar
from typing import Any, Generic, TypeAlias, TypeVar, cast, overload

from minigrad.arguments import quoted
from minigrad.errors import ArgumentError

__all__ = [
    "Setting",
    "current_scope",
    "enable_grad",
    "interpreter",
    "interpreting",
    "is_grad_enabled",
    "no_grad",
    "recording",
    "scope",
]

GENERATOR, COROUTINE, ASYNC_GENERATOR = 0x20, 0x80, 0x200  # as in inspect, which imports slowly

Value = TypeVar("Value")
Function = TypeVar("Function", bound=Callable[..., object])

AnySetting: TypeAlias = "Setting[Any]"
Evaluator: TypeAlias = "Callable[..., Any]"  # of primitives; see ``primitive.Interpreter``
Steps: TypeAlias = "Generator[object, object, object]"

_grad_enabled: ContextVar[bool] = ContextVar("minigrad_grad_enabled", default=True)
_scope: ContextVar[str] = ContextVar("minigrad_scope", default="")
_interpreter: ContextVar[Evaluator | None] = ContextVar("minigrad_interpreter", default=None)
_entered: ContextVar[tuple[tuple[AnySetting, object], ...]] = ContextVar(
    "minigrad_entered", default=()
)


class Setting(Generic[Value]):
    """Sets a mode inside a ``with`` block, or whenever the decorated function runs.

    A decorated generator runs in the mode, and the code between its steps does not.
    """

    __slots__ = ("value", "variable")

    def __init__(self, variable: ContextVar[Value], value: Value) -> None:
        self.variable, self.value = variable, value

    def __enter__(self) -> None:
        _entered.set((*_entered.get(), (self, self.variable.get())))
        self.variable.set(self.value)

    def __exit__(self, *_: object) -> None:
        entered = _entered.get()
        if entered and entered[-1][0] is self:  # as with blocks nest
            self.variable.set(cast("Value", entered[-1][1]))
            _entered.set(entered[:-1])
            return
        stack = list(entered)
        last = max(k for k, (setting, _) in enumerate(stack) if setting is self)
        before = stack.pop(last)[1]
        above = [k for k in range(last, len(stack)) if stack[k][0].variable is self.variable]
        if above:  # of interleaved generators: what entered later stays, and returns to ``before``
            stack[above[0]] = stack[above[0]][0], before
        else:
            self.variable.set(cast("Value", before))
        _entered.set(tuple(stack))

    def __call__(self, function: Function) -> Function:
        if not callable(function) or isinstance(function, type):
            raise ArgumentError(f"a mode decorates a function, not {quoted(function)}")
        flags = getattr(getattr(function, "__code__", None), "co_flags", 0)
        if flags & (COROUTINE | ASYNC_GENERATOR):
            raise ArgumentError(
                f"a mode cannot decorate the coroutine {function.__name__}: "
                "use a with block inside it"
            )
        if flags & GENERATOR:
            return cast("Function", self._generator(cast("Callable[..., Steps]", function)))

        @functools.wraps(function)
        def within(*args: object, **kwargs: object) -> object:
            with self:
                return function(*args, **kwargs)

        return cast("Function", within)

    def _generator(self, function: Callable[..., Steps]) -> Callable[..., Steps]:
        @functools.wraps(function)
        def within(*args: object, **kwargs: object) -> Steps:
            with self:
                inner = function(*args, **kwargs)
            try:
                result = yield from _stepwise(self, inner)
            finally:
                with self:
                    inner.close()
            return result

        return within


def _stepwise(setting: AnySetting, inner: Steps) -> Steps:
    """What ``inner`` yields, each step of it within ``setting``."""
    sent: object = None
    thrown: BaseException | None = None
    while True:
        with setting:
            try:
                value = inner.send(sent) if thrown is None else inner.throw(thrown)
            except StopIteration as stop:
                return stop.value
        sent, thrown = None, None
        try:
            sent = yield value
        except GeneratorExit:
            raise
        except BaseException as error:
            thrown = error


def is_grad_enabled() -> bool:
    """Whether operations are being recorded.

    Returns
    -------
    bool

    Examples
    --------
    >>> import minigrad as mg
    >>> with mg.no_grad():
    ...     mg.is_grad_enabled()
    False
    """
    return _grad_enabled.get()


def recording(enabled: bool, function: Callable[..., Value], *args: object) -> Value:
    """``function(*args)``, with its operations recorded or not: a ``with`` block, but shorter."""
    token = _grad_enabled.set(enabled)
    try:
        return function(*args)
    finally:
        _grad_enabled.reset(token)


def current_scope() -> str:
    """The dotted name of the layer that is running, "" outside of any."""
    return _scope.get()


def interpreter() -> Evaluator | None:
    """Who evaluates primitives instead of ``evaluate``; None is the usual meaning."""
    return _interpreter.get()


@overload
def no_grad() -> Setting[bool]: ...
@overload
def no_grad(function: Function) -> Function: ...
def no_grad(function: Callable[..., object] | None = None) -> object:
    """Record nothing inside the ``with`` block, or while the decorated function runs.

    Parameters
    ----------
    function : callable, optional
        For ``@mg.no_grad`` without parentheses.

    Returns
    -------
    Setting
        A context manager and decorator that can be used again and again.

    Raises
    ------
    ArgumentError
        If what is decorated is no function, or a coroutine.

    Examples
    --------
    >>> import minigrad as mg
    >>> x = mg.Tensor([1.0], requires_grad=True)
    >>> with mg.no_grad():
    ...     (x * 2).requires_grad
    False
    """
    setting = Setting(_grad_enabled, False)
    return setting if function is None else setting(function)


@overload
def enable_grad() -> Setting[bool]: ...
@overload
def enable_grad(function: Function) -> Function: ...
def enable_grad(function: Callable[..., object] | None = None) -> object:
    """Record again inside a ``no_grad`` block.

    Parameters
    ----------
    function : callable, optional
        For ``@mg.enable_grad`` without parentheses.

    Returns
    -------
    Setting
        As ``no_grad`` returns it.

    Raises
    ------
    ArgumentError
        If what is decorated is no function, or a coroutine.

    Examples
    --------
    >>> import minigrad as mg
    >>> x = mg.Tensor([1.0], requires_grad=True)
    >>> with mg.no_grad(), mg.enable_grad():
    ...     (x * 2).requires_grad
    True
    """
    setting = Setting(_grad_enabled, True)
    return setting if function is None else setting(function)


def interpreting(
    interpreter: Evaluator,
) -> Setting[Evaluator | None]:
    """Hand every primitive inside the ``with`` block to ``interpreter`` instead of running it.

    ``interpreter(op, inputs, params) -> Tensor`` may call ``evaluate`` for the usual meaning.
    """
    return Setting(_interpreter, interpreter)


def scope(name: str) -> Setting[str]:
    """Put ``name`` behind the current layer's name inside the ``with`` block.

    Parameters
    ----------
    name : str
        One part of the dotted name that errors, ``explain`` and plans show.

    Returns
    -------
    Setting
        A context manager and decorator.

    Raises
    ------
    ArgumentError
        If the name is no string.

    Examples
    --------
    >>> import minigrad as mg
    >>> from minigrad.tensor import current_scope
    >>> with mg.scope("blocks"), mg.scope("3"):
    ...     current_scope()
    'blocks.3'
    """
    if not isinstance(name, str):
        raise ArgumentError(f"scope: name must be a string, not {quoted(name)}")
    outer = _scope.get()
    return Setting(_scope, f"{outer}.{name}" if outer else name)
