"""What a user can be told: every error minigrad raises on purpose.

Each class also derives from the builtin that a caller would expect, so that
``except ValueError`` keeps working.  A message reads like a colleague's answer:
which layer or argument, what was expected, what came, what to do.
"""

from __future__ import annotations

from collections.abc import Collection
from itertools import islice

__all__ = [
    "ArgumentError",
    "BackendError",
    "DtypeError",
    "FormatError",
    "GraphError",
    "MinigradError",
    "MissingExtra",
    "NotEnoughMemory",
    "ShapeError",
    "StateDictError",
    "UnknownNameError",
    "listing",
    "quote",
    "shown",
]


class MinigradError(Exception):
    """The root of all errors below."""


class ArgumentError(MinigradError, TypeError, ValueError):
    """An argument, or an environment variable, has a type or a value that is not allowed."""


class NotEnoughMemory(MinigradError, MemoryError):
    """What was asked for needs more memory than this process may have."""


class ShapeError(MinigradError, ValueError):
    """A shape, size or parameter of a window does not fit the others."""


class DtypeError(MinigradError, TypeError):
    """A dtype that the operation does not take; minigrad never casts in silence."""


class GraphError(MinigradError, RuntimeError):
    """The recorded graph cannot be differentiated as asked."""


class BackendError(MinigradError, RuntimeError):
    """No kernel serves the call, or the backend cannot be used on this machine."""


class StateDictError(MinigradError, ValueError):
    """The keys or shapes of a state dict do not fit the module."""


class UnknownNameError(MinigradError, ValueError):
    """There is no network, preset or switch of this name."""


class FormatError(MinigradError, ValueError):
    """A file is broken, hostile, or of a format that is not read."""


class MissingExtra(MinigradError, ImportError):
    """A package is needed that minigrad does not depend on."""

    def __init__(self, package: str, extra: str, purpose: str) -> None:
        from minigrad.version import DISTRIBUTION

        super().__init__(
            f"{purpose} needs the package {package!r}: pip install '{DISTRIBUTION}[{extra}]'"
        )


def quote(text: object, length: int = 60) -> str:
    """Text from a file or a user, safe and short enough for one line of a message.

    Control characters, lone surrogates and marks that turn the direction of writing come out
    as escapes, so that no terminal obeys them.  What is no text is named by its type.

    Examples
    --------
    >>> print(quote("conv.weight"), quote("a" * 100, 5), quote(chr(27) + "[31m"), quote(3.5))
    'conv.weight' 'aaaaa...' '\\x1b[31m' a float
    """
    if not isinstance(text, str):
        return f"{'an' if type(text).__name__[0] in 'aeiou' else 'a'} {type(text).__name__}"
    shown = repr(text[: length + 1])
    return shown if len(shown) <= length + 2 else f"{shown[: length + 1]}...{shown[0]}"


def shown(text: str, length: int = 200) -> str:
    """Text as it is, if it is safe and short; else as `quote` writes it.

    Examples
    --------
    >>> shown("conv.weight"), shown("a" * 100, 5)
    ('conv.weight', "'aaaaa...'")
    """
    return text if text.isprintable() and len(text) <= length else quote(text, length)


def listing(names: Collection[str], most: int = 3) -> str:
    """The first few of many names, and how many more there are.

    Examples
    --------
    >>> listing(["a", "b", "c", "d", "e"])
    "'a', 'b', 'c' and 2 more"
    """
    first = ", ".join(quote(name) for name in islice(names, most))
    return first if len(names) <= most else f"{first} and {len(names) - most:,} more"
