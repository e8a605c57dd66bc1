"""exp, log and what is made of them, lane by lane.

Each is made of operations that IEEE 754 rounds correctly, and of moved bits, in the order
written here, which is the order of the compiled core (``ext/vmath.h``, where the formulas
and their errors in ULP stand).  So both engines give the same bits.

    e^x       = (1 + (e^r - 1)) 2^n,        n the integer nearest to x / ln 2, r = x - n ln 2
    sigmoid   = c / (c + c e^-x),           c a small power of two, n a multiple of 1/8
    silu      = x sigmoid(x)
    tanh |x|  = -t / (2 + t),               t = e^(-2|x|) - 1
    ln x      = k ln 2 + 2 atanh(s),        x = m 2^k, f = m - 1, s = f / (2 + f)

What needs no exponential is in ``kernels/formulas``.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from minigrad.kernels.numba._template import registers, template, unroll
from minigrad.kernels.numba._vectors import SIZE, Vec, bits, fma, numbers, splat, where
from minigrad.kernels.polynomials import POLYNOMIALS

_LOG2E = float.fromhex("0x1.71547652b82fep+0")


class Constants(NamedTuple):
    """What differs between float32 and float64."""

    tables: dict[str, list[str]]
    digits: int
    bias: int
    lowest: float  # below it, e^x rounds to zero
    highest: float  # there, e^x is infinite
    flat: float  # e^flat is nothing beside 1
    least: float  # the smallest normal number
    log_small: int  # of c of the sigmoid, to base 2
    vanishing: float  # there, c e^-x is infinite

    @property
    def shifter(self) -> float:
        """Added to a number, it leaves the nearest whole one in the last bits of the sum."""
        return 1.5 * 2.0**self.digits

    @property
    def below_sign(self) -> int:
        """A pattern with all bits set but that of the sign."""
        return (1 << (31 if self.digits == 23 else 63)) - 1

    def table(self, name: str) -> list[float]:
        """The numbers of a table of ``polynomials``."""
        return [float.fromhex(number) for number in self.tables[name]]


OF = {
    4: Constants(POLYNOMIALS["f32"], 23, 127, -110.0, 90.0, -30.0, 2.0**-126, -32, -110.9),
    8: Constants(POLYNOMIALS["f64"], 52, 1023, -754.0, 710.0, -60.0, 2.0**-1022, -64, -754.14),
}
_SQRT_HALF = float.fromhex("0x1.6a09e667f3bcdp-1")


# -- exp and its kin


@template
def polynomial(x: Vec, *, TABLE: str) -> Vec:
    """c[0] + c[1] x + ..."""
    y = splat(OF[SIZE].table(TABLE)[-1])
    for c in unroll(OF[SIZE].table(TABLE)[-2::-1]):
        y = fma(y, x, c)
    return y


def power_of_two(shifted: Vec) -> Vec:
    """2^n, n being the last bits of 1.5 2^digits + n."""
    return numbers((bits(shifted) << OF[SIZE].digits) + bits(splat(1)))


def scale(v: Vec, n: Vec) -> Vec:
    """v 2^n rounded once: the power in two halves, of which the first is exact."""
    half = fma(n, 0.5, OF[SIZE].shifter)
    rest = n - (half - OF[SIZE].shifter) + OF[SIZE].shifter
    return v * power_of_two(half) * power_of_two(rest)


def nearest(x: Vec) -> Vec:
    """n = x / ln 2 rounded: added to 1.5 2^digits it lies in the last bits."""
    return fma(x, _LOG2E, OF[SIZE].shifter) - OF[SIZE].shifter


def reduced(x: Vec, n: Vec) -> Vec:
    """e^r - 1, r = x - n ln 2."""
    r = fma(n, -OF[SIZE].table("LN2")[0], x)
    r = fma(n, -OF[SIZE].table("LN2")[1], r)
    return fma(r * r, polynomial["EXP"](r), r)


def exp(x: Vec) -> Vec:
    x = min(OF[SIZE].highest, max(OF[SIZE].lowest, x))
    n = nearest(x)
    return scale(1 + reduced(x, n), n)


def absolute(x: Vec) -> Vec:
    return numbers(bits(x) & OF[SIZE].below_sign)


def tanh(x: Vec) -> Vec:
    a = absolute(x)
    a = max(OF[SIZE].flat, -(a + a))
    n = nearest(a)
    power = scale(splat(1), n)
    t = fma(power, reduced(a, n), power - 1)
    y = absolute(-t / (2 + t))
    return numbers(bits(y) | (bits(x) & ~OF[SIZE].below_sign))


def root(z: Vec) -> Vec:
    """The bits of 2^(j/8), j the last three bits of z."""
    r = registers()
    for j in unroll(range(8)):
        r[j] = splat(OF[SIZE].table("ROOTS")[j])
    for bit in unroll((1, 2, 4)):
        unset = z & bit == 0
        for j in unroll(range(0, 8, 2 * bit)):
            r[j] = where(unset, r[j], r[j + bit])
    return bits(r[0])


def sigmoid(x: Vec) -> Vec:
    small, shifter = splat(2.0 ** OF[SIZE].log_small), OF[SIZE].shifter + 8 * OF[SIZE].log_small
    r = min(-OF[SIZE].vanishing, max(-60, -x))
    z = fma(r, 8 * _LOG2E, shifter)
    n = z - shifter
    r = fma(n, -OF[SIZE].table("EIGHTH")[0], r)
    r = fma(n, -OF[SIZE].table("EIGHTH")[1], r)
    whole = (bits(z) & -8) << OF[SIZE].digits - 3
    power = numbers(root(bits(z)) + whole)  # c 2^n
    e = fma(fma(polynomial["SHORT"](r), r, 1), r, 1)
    return small / fma(e, power, small)


def silu(x: Vec) -> Vec:
    return x * sigmoid(x)


def log(x: Vec) -> Vec:
    subnormal = x < OF[SIZE].least
    lifted = where(subnormal, x * 2.0 ** OF[SIZE].digits, x)
    half = bits(splat(_SQRT_HALF))
    b = bits(lifted) + (bits(splat(1)) - half)
    k = numbers((b >> OF[SIZE].digits) | bits(splat(2.0 ** OF[SIZE].digits)))
    k = k - (2.0 ** OF[SIZE].digits + OF[SIZE].bias)
    k = k - where(subnormal, splat(OF[SIZE].digits), 0)
    m = numbers((b & (1 << OF[SIZE].digits) - 1) + half)
    f = m - 1
    s = f / (2 + f)
    z = s * s
    h = 0.5 * f * f
    low = fma(k, OF[SIZE].table("LN2")[1], s * (h + z * polynomial["LOG"](z)))
    y = fma(k, OF[SIZE].table("LN2")[0], f - (h - low))
    y = where(x < math.inf, y, x)
    y = where(x == 0, -math.inf, y)
    return where(x < 0, math.nan, y)


def silu_input_grad(g: Vec, x: Vec) -> Vec:
    s = sigmoid(x)
    return g * s * (x * (1 - s) + 1)
