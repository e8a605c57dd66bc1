"""What an argument may be, checked where a user hands it in.

Each check returns the value in its plain Python type, or raises one sentence that names the
function, the argument, what is allowed and what came:

>>> integer("conv2d", "groups", 2, least=1)
2
>>> integer("conv2d", "groups", 2.0, least=1)
Traceback (most recent call last):
    ...
minigrad.errors.ArgumentError: conv2d: groups must be an integer >= 1, not 2.0
"""

from __future__ import annotations

import math
import numbers
import operator
from collections.abc import Iterable, Sequence
from typing import SupportsFloat, cast

from minigrad.errors import ArgumentError

__all__ = [
    "LARGEST", "flag", "index", "integer", "integers", "is_number", "number", "one_of", "quoted",
]  # fmt: skip

LARGEST = 2**31 - 1  # of a size, a stride, a pad: what a kernel can count with
_TRUTHS = ("bool", "bool_")  # the types of Python's and NumPy's truth values


def quoted(value: object, longest: int = 60) -> str:
    """``repr(value)``, cut, for a message; the type alone where there is no usable repr.

    >>> quoted("a" * 100, 10)
    "'aaaaaa..."
    """
    try:
        text = repr(value)
    except Exception:
        text = f"a {type(value).__name__}"
    text = " ".join(text.split())
    return text if len(text) <= longest else text[: longest - 3] + "..."


def is_number(value: object) -> bool:
    """Whether ``value`` is a real number; True and False are none.

    >>> [is_number(v) for v in (1, 2.5, True, "3", None)]
    [True, True, False, False, False]
    """
    kind = type(value)
    return kind is int or kind is float or (kind is not bool and isinstance(value, numbers.Real))


def _range(least: float | None, most: float | None) -> str:
    if least is not None and most is not None and most != LARGEST:
        return f" from {least:g} to {most:g}"
    return "" if least is None else f" >= {least:g}"


def index(value: object) -> int:
    """``value`` as an int; a TypeError for what is no integer, and for truth values."""
    if type(value).__name__ in _TRUTHS:  # NumPy 1.26 takes its own as an index
        raise TypeError(f"{value!r} is no integer")
    return operator.index(value)  # type: ignore[arg-type]


def integer(
    function: str, name: str, value: object, least: int | None = None, most: int = LARGEST
) -> int:
    """``value`` as an int between ``least`` and ``most``."""
    try:
        found = index(value)
    except TypeError:
        raise ArgumentError(
            f"{function}: {name} must be an integer{_range(least, most)}, not {quoted(value)}"
        ) from None
    if found > most or (least is not None and found < least):
        limits = _range(least, most) if found <= LARGEST else f" up to {most}"
        raise ArgumentError(
            f"{function}: {name} must be an integer{limits}, not {quoted(value, 30)}"
        )
    return found


def integers(function: str, name: str, values: object) -> tuple[int, ...]:
    """A sequence of integers as a tuple; one integer is a sequence of one."""
    if type(values) is tuple and all(type(v) is int and -LARGEST <= v <= LARGEST for v in values):
        return values
    if isinstance(values, Iterable) and not isinstance(values, (str, bytes)):
        try:
            several = list(values)
        except TypeError:  # a 0-d array calls itself iterable
            several = [values]
    else:
        several = [values]
    return tuple(integer(function, name, v) for v in several)


def number(
    function: str,
    name: str,
    value: object,
    least: float = -math.inf,
    most: float = math.inf,
    above: float | None = None,
    below: float | None = None,
) -> float:
    """``value`` as a float with least <= value <= most, and above < value < below if given.

    A NaN is within no limits, and allowed where there are none.
    """
    if getattr(value, "ndim", None) == 0 and type(value).__module__ == "numpy":
        value = value.item()  # type: ignore[attr-defined]
    if is_number(value):
        try:
            found = float(cast("SupportsFloat", value))
        except OverflowError:
            found = math.nan
        inside = (above is None or found > above) and (below is None or found < below)
        if inside and least <= found <= most:
            return found
        limited = math.isfinite(least) or math.isfinite(most) or (above, below) != (None, None)
        if not limited and value != value:
            return found
    low = f"> {above:g}" if above is not None else f">= {least:g}" if least > -math.inf else ""
    high = f"< {below:g}" if below is not None else f"<= {most:g}" if most < math.inf else ""
    limits = " and ".join(part for part in (low, high) if part)
    raise ArgumentError(
        f"{function}: {name} must be a number{' ' if limits else ''}{limits}, not {quoted(value)}"
    )


def flag(function: str, name: str, value: object) -> bool:
    """``value`` as a bool: True, False, or NumPy's."""
    if value is True or value is False or type(value).__name__ in _TRUTHS:
        return bool(value)
    raise ArgumentError(f"{function}: {name} must be True or False, not {quoted(value)}")


def one_of(function: str, name: str, value: object, allowed: Sequence[str]) -> str:
    """``value``, which must be one of the names in ``allowed``."""
    if isinstance(value, str) and value in allowed:
        return value
    names = ", ".join(map(repr, allowed))
    raise ArgumentError(f"{function}: {name} must be one of {names}, not {quoted(value)}")
