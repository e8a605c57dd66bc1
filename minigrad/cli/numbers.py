"""Numbers as arguments: each parser gives one, or says which numbers it takes."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable

from minigrad.arguments import quoted
from minigrad.errors import ArgumentError
from minigrad.threads import thread_count

__all__ = [
    "LARGEST",
    "finite",
    "integer",
    "number",
    "positive",
    "seconds",
    "several_threads",
    "threads",
]

LONGEST = 3600.0
LARGEST = 2**31 - 1


def integer(least: int, most: int = LARGEST) -> Callable[[str], int]:
    """A parser of integers from ``least`` to ``most``, in decimal digits alone."""
    allowed = f"of at least {least}" if most == LARGEST else f"of {least} to {most}"

    def parse(text: str) -> int:
        few = text.isdecimal() and len(text) <= len(str(most))
        if not (few and least <= int(text) <= most):
            raise argparse.ArgumentTypeError(f"expected an integer {allowed}, got {quoted(text)}")
        return int(text)

    return parse


positive = integer(1)


def number(most: float = math.inf, below: float = math.inf) -> Callable[[str], float]:
    """A parser of finite numbers from 0 to ``most``, or to less than ``below``."""
    allowed = f"from 0 to below {below:g}" if below < math.inf else f"from 0 to {most:g}"
    allowed = "of at least 0" if most == below == math.inf else allowed

    def parse(text: str) -> float:
        value = _float(text)
        if not 0 <= value <= most or not value < below:
            raise argparse.ArgumentTypeError(f"expected a number {allowed}, got {quoted(text)}")
        return value

    return parse


def finite(text: str) -> float:
    """A number that is neither infinite nor NaN."""
    value = _float(text)
    if not abs(value) <= 1e30:
        raise argparse.ArgumentTypeError(f"{quoted(text)} is no number of common size")
    return value


def seconds(text: str) -> float:
    """A time above 0 and of at most an hour."""
    value = _float(text)
    if not 0 < value <= LONGEST:
        raise argparse.ArgumentTypeError(
            f"expected seconds, above 0 and up to 3600, got {quoted(text)}"
        )
    return value


def threads(text: str) -> int:
    """A number of threads (``minigrad.threads``)."""
    try:
        return thread_count(text)
    except ArgumentError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def several_threads(text: str) -> list[int]:
    """Such numbers with commas between them."""
    return [threads(part) for part in text.split(",")]


def _float(text: str) -> float:
    """The number; NaN if it is none."""
    try:
        return float(text)
    except ValueError:
        return math.nan
