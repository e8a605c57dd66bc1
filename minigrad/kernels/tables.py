"""Facts that the kernels share, as data: constants, element types, functions of one number.

This file imports nothing of ours and not NumPy, for setup.py reads it too and hands it to the
templates in ext/.  ``contract`` says what the functions mean.  Its classes are plain ones: every
process reads this file when it starts, and named tuples take longer to make than all of it.
"""

from __future__ import annotations

__all__ = [
    "ACTIVATIONS",
    "CACHES",
    "CHAIN",
    "ELEMENTS",
    "FLOATS",
    "FUNCTIONS_OF_ONE",
    "INNER",
    "PIXELS",
    "Element",
    "Elementwise",
]

# How long sums are cut: ``contract`` has the rule.
CHAIN = 256  # terms of one chain of a sum of values
PIXELS = 392  # of a block of a weight gradient: 8 maps of 7x7, 2 of 14x14, half of one of 28x28
INNER = 4096  # inputs of one chain of linear: no network of ours has as many

# What stays in the caches of one core, in bytes: they decide how work is cut, never the bits.
CACHES = {
    "TILE_READS": 43 * 512,  # of a depthwise tile, for the one below it: under half of the first
    "CHUNK_BYTES": 128 * 1024,  # of the widest map of a block, made at a time
    "SPARE_BYTES": 128 * 1024,  # that a buffer may hold beyond what its reader's windows cover
    "WEIGHTS_BESIDE_ROWS": 256 * 1024,  # weights of a block, beside the rows that it streams
    "BAND_IN_CACHE": 512 * 1024,  # rows of a map that a depthwise weight gradient reads again
    "WEIGHTS_IN_CACHE": 640 * 1024,  # weights that every tile of a map reads: most of the second
    "DISTANT_BYTES": 8 * 1024 * 1024,  # maps that no cache holds until the next pass over them
}


class Element:
    """A type of number: its name in ext/, in C and in NumPy, and the letter of its buffers."""

    def __init__(self, name: str, c: str, numpy: str, size: int, letter: str) -> None:
        self.name, self.c, self.numpy, self.size, self.format = name, c, numpy, size, letter


ELEMENTS = (
    Element("f32", "float", "float32", 4, "f"),
    Element("f64", "double", "float64", 8, "d"),
    Element("f16", "uint16_t", "float16", 2, "e"),
    Element("i8", "int8_t", "int8", 1, "b"),
    Element("u8", "uint8_t", "uint8", 1, "B"),
    Element("i32", "int32_t", "int32", 4, "i"),
)
FLOATS = ELEMENTS[:2]  # those that every kernel has


class Elementwise:
    """A function of one number, and what it promises.

    Attributes
    ----------
    name : str
        Of the function of the contract.
    slope : str or None
        What its input gradient is told beside the cotangent: "y", the function's result, or
        "x"; None if there is no such kernel.
    monotone : bool
        Whether x <= y gives f(x) <= f(y), rounding included.
    never_negative : bool
    high : float or None
        Of a function that is max(0, x), cut at ``high``: what an epilogue clamps in registers.
    """

    def __init__(
        self, name: str, slope: str | None = None, monotone: bool = False,
        never_negative: bool = False, high: float | None = None,
    ) -> None:  # fmt: skip
        self.name, self.slope, self.high = name, slope, high
        self.monotone, self.never_negative = monotone, never_negative

    @property
    def input_grad(self) -> str:
        """The name of its slope's function in the contract."""
        return f"{self.name}_input_grad"


# What a network uses between its layers, and an epilogue can apply.
ACTIVATIONS = (
    Elementwise("relu", "y", monotone=True, never_negative=True, high=float("inf")),
    Elementwise("relu6", "y", monotone=True, never_negative=True, high=6.0),
    Elementwise("hardsigmoid", "x", monotone=True, never_negative=True),
    Elementwise("hardswish", "x"),
    Elementwise("sigmoid", "y", monotone=True, never_negative=True),
    Elementwise("silu", "x"),
    Elementwise("tanh", "y", monotone=True),
)
FUNCTIONS_OF_ONE = (
    *ACTIVATIONS,
    Elementwise("exp", monotone=True, never_negative=True),
    Elementwise("log", monotone=True),
)
