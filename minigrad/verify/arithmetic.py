"""The number formats that a kernel may compute in, and how they round.

A format has p bits of significand, so its unit roundoff is u = 2^-p, and its smallest subnormal
number is eta.  An arithmetic says which format the products read, which one adds, and which one
the result is rounded to:

    float32     all three are float32
    float16     data in float16, sums in float32, the result rounded to float16
    bfloat16    the same with bfloat16
    tf32        data in float32, rounded to 11 bits before each product, sums in float32
    int8        products of 8-bit integers, whose sums are exact

The accumulator of each may be named: ``arithmetic("float16", accumulator="float16")``.
"""

from __future__ import annotations

from difflib import get_close_matches
from typing import NamedTuple

import numpy as np

from minigrad.errors import DtypeError, MinigradError
from minigrad.tensor import Array

__all__ = ["FORMATS", "INTEGERS", "Arithmetic", "Format", "arithmetic"]


class Format(NamedTuple):
    """A binary floating-point format.

    Attributes
    ----------
    name : str
    precision : int
        Bits of the significand, the hidden one counted.
    lowest : int
        The exponent of the smallest subnormal number, eta = 2^lowest.
    highest : int
        The largest number is (2 - 2^(1 - precision)) 2^highest.
    """

    name: str
    precision: int
    lowest: int
    highest: int

    @property
    def u(self) -> float:
        """Half the distance from 1 to the next number."""
        return 2.0**-self.precision

    @property
    def eta(self) -> float:
        """The smallest subnormal number."""
        return 2.0**self.lowest

    @property
    def largest(self) -> float:
        """The largest finite number."""
        return float((2 - 2.0 ** (1 - self.precision)) * 2.0**self.highest)

    def spacing(self, x: Array) -> Array:
        """The distance from |x| to the next number of the format: one ULP.

        >>> FORMATS["float16"].spacing(np.array([1.0, 2048.0, 0.0])).tolist()
        [0.0009765625, 2.0, 5.960464477539063e-08]
        """
        size = np.minimum(np.abs(np.asarray(x, np.float64)), self.largest)
        _, exponent = np.frexp(np.where(np.isnan(size), 1.0, size))
        exponent = np.where(size == 0, self.lowest, exponent - self.precision)
        return np.asarray(np.ldexp(1.0, np.maximum(exponent, self.lowest)))

    def round(self, x: Array) -> Array:
        """x rounded to the nearest number of the format, ties to even, as float64.

        >>> FORMATS["bfloat16"].round(np.array([1 + 2**-8, 1 + 3 * 2**-8])).tolist()
        [1.0, 1.015625]
        """
        wide = np.asarray(x, np.float64)
        if self.precision == 53:
            return wide
        step = self.spacing(wide)
        with np.errstate(invalid="ignore", over="ignore"):
            rounded = np.where(np.isfinite(wide), np.rint(wide / step) * step, wide)
        return np.where(np.abs(rounded) > self.largest, np.copysign(np.inf, rounded), rounded)


FORMATS = {
    f.name: f
    for f in (
        Format("float64", 53, -1074, 1023),
        Format("float32", 24, -149, 127),
        Format("float16", 11, -24, 15),
        Format("bfloat16", 8, -133, 127),
        Format("tf32", 11, -136, 127),
    )
}


FUNCTIONS = ("relative", "absolute")


class Arithmetic(NamedTuple):
    """How a kernel computes.

    Attributes
    ----------
    inputs : Format or None
        What the factors of a product are rounded to first; None if they are used as they are.
    accumulator : Format
        What every operation is rounded to.
    output : Format
        What the result is rounded to.
    functions : {"relative", "absolute"}
        Whether the logistic function and tanh are within a few ULPs, or may be computed from
        each other, as 1/2 + tanh(x / 2) / 2 and 2 s(2 x) - 1, which leaves an error of a few u
        beside values that are far smaller than 1.
    """

    inputs: Format | None
    accumulator: Format
    output: Format
    functions: str = "relative"

    def __str__(self) -> str:
        if self.functions == "absolute":
            plain = self._replace(functions="relative")
            return f"{plain}, logistic function and tanh from each other"
        if self.inputs:
            return f"products of {self.inputs.name}, sums in {self.accumulator.name}"
        if self.output is self.accumulator:
            return self.output.name
        return f"{self.output.name}, sums in {self.accumulator.name}"


_EXACT = Format("int8, sums exact", 53, 0, 30)
INTEGERS = Arithmetic(None, _EXACT, _EXACT)
"""Products of 8-bit integers and their sums, all of which float64 holds."""


def arithmetic(
    dtype: str, accumulator: str | None = None, functions: str = "relative"
) -> Arithmetic:
    """The arithmetic of ``dtype``, with sums in ``accumulator``.

    Parameters
    ----------
    dtype : {"float64", "float32", "float16", "bfloat16", "tf32", "int8"}
    accumulator : str, optional
        One of the same names; float64 for float64, float32 for the others.  None for int8.
    functions : {"relative", "absolute"}
        What errors the logistic function and tanh may have: see ``Arithmetic``.

    Returns
    -------
    Arithmetic

    Raises
    ------
    DtypeError
        If there is no format of that name.
    MinigradError
        If ``functions`` is neither word.

    Examples
    --------
    >>> str(arithmetic("bfloat16"))
    'bfloat16, sums in float32'
    >>> str(arithmetic("tf32"))
    'products of tf32, sums in float32'
    """
    if functions not in FUNCTIONS:
        raise MinigradError(
            f"functions must be 'relative' or 'absolute', not {str(functions)[:40]!r}"
        )
    if dtype == "int8":
        if accumulator not in (None, "int32"):
            raise DtypeError(f"sums of int8 are kept in int32, not in {str(accumulator)[:40]!r}")
        return INTEGERS
    own = _format(dtype)
    adder = _format(accumulator or ("float64" if dtype == "float64" else "float32"))
    if own.name == "tf32":
        return Arithmetic(own, adder, FORMATS["float32"], functions)
    return Arithmetic(None, adder, own, functions)


def _format(name: str) -> Format:
    if name not in FORMATS:
        near = get_close_matches(str(name), FORMATS, 1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise DtypeError(
            f"expected one of {', '.join(FORMATS)} or int8, got {str(name)[:40]!r}{hint}"
        )
    return FORMATS[name]
