"""Where kernels/polynomials.py comes from: ``python ext/coefficients.py`` prints its tables.

Two functions are needed, on a short interval each (the first on two, the shorter of which
goes with the table of 2^(j/8)):

    e^r   = 1 + r + r² Q(r)                       |r| <= ln(2)/2 or ln(2)/16
    ln m  = 2 atanh(s) = 2 s + s z P(z),          s = (m - 1)/(m + 1),  z = s²,
                                                  sqrt(1/2) <= m < sqrt(2), so z < 0.0295

Q and P are interpolated at (nearly) the Chebyshev points of their interval, where the error
of interpolation is within a small factor of the best possible.  Everything is done in
fractions, the series of Q and P included; only the finished coefficient is rounded.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Callable
from fractions import Fraction

TERMS = 40  # of each series: what is left out is below 1e-40


def exp_tail(r: Fraction) -> Fraction:
    """Q(r) = sum_j r^j / (j + 2)!"""
    return sum((r**j / math.factorial(j + 2) for j in range(TERMS)), Fraction(0))


def log_tail(z: Fraction) -> Fraction:
    """P(z) = sum_j 2 z^j / (2 j + 3)"""
    return sum((2 * z**j / (2 * j + 3) for j in range(TERMS)), Fraction(0))


def chebyshev_points(low: Fraction, high: Fraction, n: int) -> list[Fraction]:
    """The n Chebyshev points of [low, high], each moved to a multiple of 1/1024 of it."""
    cosines = [Fraction(round(512 * math.cos((k + 0.5) * math.pi / n)), 512) for k in range(n)]
    return [(low + high) / 2 + (high - low) / 2 * c for c in cosines]


def interpolate(
    f: Callable[[Fraction], Fraction], low: Fraction, high: Fraction, n: int
) -> list[Fraction]:
    """The coefficients, lowest first, of the polynomial of n terms through f (Newton's form)."""
    points = chebyshev_points(low, high, n)
    differences = [f(x) for x in points]
    for order in range(1, n):
        for k in range(n - 1, order - 1, -1):
            run = points[k] - points[k - order]
            differences[k] = (differences[k] - differences[k - 1]) / run
    result: list[Fraction] = []
    for x, d in zip(reversed(points), reversed(differences), strict=True):
        shifted = [Fraction(0), *result]  # result * (r - x) + d
        for i, c in enumerate(result):
            shifted[i] -= x * c
        shifted[0] += d
        result = shifted
    return result


def eighths_of_two(real: Callable[[Fraction], float]) -> list[float]:
    """2^(j/8) for j = 0 ... 7, by square roots of whole numbers."""
    unit = 2**256
    root = 2 * unit
    for _ in range(3):
        root = math.isqrt(root * unit)
    return [real(Fraction(root**j, unit**j)) for j in range(8)]


def split_ln2(bits: int, real: Callable[[Fraction], float], parts: int = 1) -> tuple[float, float]:
    """ln(2) / parts as high + low: high, a multiple of 2^-bits, times n is exact."""
    # ln 2 = 2 atanh(1/3)
    ln2 = 2 * sum((Fraction(1, 3) ** (2 * k + 1) / (2 * k + 1) for k in range(60)), Fraction(0))
    high = Fraction(int(ln2 / parts * 2**bits), 2**bits)
    return float(high), real(ln2 / parts - high)


def as_float(x: Fraction) -> float:
    """x rounded to float32."""
    value: float = struct.unpack("f", struct.pack("f", float(x)))[0]
    return value


def literal(x: float) -> str:
    """x in hexadecimal, which C and Python read without rounding."""
    mantissa, _, exponent = x.hex().partition("p")
    digits = mantissa.rstrip("0").rstrip(".")
    return f"{digits}p{int(exponent)}"


HALF_LN2 = Fraction(34658, 100000)
LOG_RANGE = Fraction(295, 10000)

# Terms of Q, of Q on the shorter interval, and of P; bits of the high part of ln 2, to which
# an eighth of it, whose n has three bits more, adds none.
PRECISIONS = {
    "f32": (as_float, 5, 2, 4, 15),
    "f64": (float, 10, 6, 8, 40),
}


def tables(dtype: str) -> dict[str, list[str]]:
    """The tables of one precision."""
    real, q, short, p, bits = PRECISIONS[dtype]
    eighth = HALF_LN2 / 8
    found = {
        "EXP": [real(c) for c in interpolate(exp_tail, -HALF_LN2, HALF_LN2, q)],
        "SHORT": [real(c) for c in interpolate(exp_tail, -eighth, eighth, short)],
        "ROOTS": eighths_of_two(real),
        "LOG": [real(c) for c in interpolate(log_tail, Fraction(0), LOG_RANGE, p)],
        "LN2": list(split_ln2(bits, real)),
        "EIGHTH": list(split_ln2(bits, real, 8)),
    }
    return {name: [literal(v) for v in values] for name, values in found.items()}


if __name__ == "__main__":
    print("POLYNOMIALS =", json.dumps({dtype: tables(dtype) for dtype in PRECISIONS}, indent=4))
