"""The functions of one number, lane by lane: activations and their slopes, exp, log.

Each is made of operations that IEEE 754 rounds correctly, and of moved bits, in the order
written here, which is the order of the compiled core (``ext/vmath.h``, where the formulas
and their errors in ULP stand).  So both engines give the same bits.

    e^x       = (1 + (e^r - 1)) 2^n,        n the integer nearest to x / ln 2, r = x - n ln 2
    sigmoid   = c / (c + c e^-x),           c a small power of two, n a multiple of 1/8
    silu      = x sigmoid(x)
    tanh |x|  = -t / (2 + t),               t = e^(-2|x|) - 1
    ln x      = k ln 2 + 2 atanh(s),        x = m 2^k, f = m - 1, s = f / (2 + f)

    dx = g f'(x), from x or, where the slope can be told from it, y = f(x)
"""

from __future__ import annotations

import math
from typing import NamedTuple

from minigrad.kernels.numba._template import registers, template, unroll
from minigrad.kernels.numba._vectors import SIZE, Vec, bits, fma, numbers, splat, where

_LOG2E = float.fromhex("0x1.71547652b82fep+0")


class Constants(NamedTuple):
    """What differs between float32 and float64."""

    exp: tuple[float, ...]  # (e^r - 1 - r) / r^2
    short: tuple[float, ...]  # the same for |r| <= ln(2)/16
    roots: tuple[float, ...]  # 2^(j/8)
    log: tuple[float, ...]  # (2 atanh(s) / s - 2) / s^2
    ln2: tuple[float, float]
    eighth: tuple[float, float]  # of ln 2
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


def _hex(*numbers: str) -> tuple[float, ...]:
    return tuple(float.fromhex(n) for n in numbers)


_F32 = Constants(
    _hex("0x1p-1", "0x1.5554dcp-3", "0x1.55551ap-5", "0x1.120b76p-7", "0x1.6d111p-10"),
    _hex(
        "0x1.00052p-1", "0x1.55596ep-3",
    ),
    _hex(
        "0x1p0", "0x1.172b84p0", "0x1.306fep0", "0x1.4bfdaep0",
        "0x1.6a09e6p0", "0x1.8ace54p0", "0x1.ae89fap0", "0x1.d5818ep0",
    ),
    _hex("0x1.555556p-1", "0x1.9999ecp-2", "0x1.245c08p-2", "0x1.dddbaap-3"),
    (float.fromhex("0x1.62e4p-1"), float.fromhex("0x1.7f7d1cp-20")),
    (float.fromhex("0x1.62ep-4"), float.fromhex("0x1.0bfbe8p-18")),
    23, 127, -110.0, 90.0, -30.0, 2.0**-126, -32, -110.9,
)  # fmt: skip
_F64 = Constants(
    _hex(
        "0x1.0000000000001p-1", "0x1.5555555555556p-3", "0x1.5555555553d7ep-5",
        "0x1.11111111109bbp-7", "0x1.6c16c17884cf8p-10", "0x1.a01a01a7bfc8fp-13",
        "0x1.a019b9203cd48p-16", "0x1.71de0dba1f5p-19", "0x1.2891761619dcep-22",
        "0x1.af3896df537eep-26",
    ),
    _hex(
        "0x1.000000000002fp-1", "0x1.555555555556ap-3", "0x1.5555554e8f77dp-5",
        "0x1.1111110e0e76dp-7", "0x1.6c1b72a6dd17dp-10", "0x1.a01e2d6166846p-13",
    ),
    _hex(
        "0x1p0", "0x1.172b83c7d517bp0", "0x1.306fe0a31b715p0",
        "0x1.4bfdad5362a27p0", "0x1.6a09e667f3bcdp0", "0x1.8ace5422aa0dbp0",
        "0x1.ae89f995ad3adp0", "0x1.d5818dcfba487p0",
    ),
    _hex(
        "0x1.5555555555555p-1", "0x1.9999999999a3ap-2", "0x1.24924924766bap-2",
        "0x1.c71c720201bf9p-3", "0x1.745cf8bf23ce2p-3", "0x1.3b1c43f226a3p-3",
        "0x1.0fbd1232ee60ap-3", "0x1.0c135903f19f3p-3",
    ),
    (float.fromhex("0x1.62e42fefa2p-1"), float.fromhex("0x1.9ef35793c7673p-41")),
    (float.fromhex("0x1.62e42fefap-4"), float.fromhex("0x1.cf79abc9e3b3ap-43")),
    52, 1023, -754.0, 710.0, -60.0, 2.0**-1022, -64, -754.14,
)  # fmt: skip


OF = {4: _F32, 8: _F64}
_SQRT_HALF = float.fromhex("0x1.6a09e667f3bcdp-1")


# -- the straight lines


@template
def relu(x: Vec) -> Vec:
    return max(0, x)


@template
def relu6(x: Vec) -> Vec:
    return min(6, relu(x))


@template
def hardsigmoid(x: Vec) -> Vec:
    return relu6(x + 3) / 6


@template
def hardswish(x: Vec) -> Vec:
    return x * relu6(x + 3) / 6


# -- exp and its kin


@template
def polynomial(x: Vec, *, TABLE: str) -> Vec:
    """c[0] + c[1] x + ..."""
    y = splat(getattr(OF[SIZE], TABLE)[-1])
    for c in unroll(getattr(OF[SIZE], TABLE)[-2::-1]):
        y = fma(y, x, c)
    return y


@template
def power_of_two(shifted: Vec) -> Vec:
    """2^n, n being the last bits of 1.5 2^digits + n."""
    return numbers((bits(shifted) << OF[SIZE].digits) + bits(splat(1)))


@template
def scale(v: Vec, n: Vec) -> Vec:
    """v 2^n rounded once: the power in two halves, of which the first is exact."""
    half = fma(n, 0.5, OF[SIZE].shifter)
    rest = n - (half - OF[SIZE].shifter) + OF[SIZE].shifter
    return v * power_of_two(half) * power_of_two(rest)


@template
def nearest(x: Vec) -> Vec:
    """n = x / ln 2 rounded: added to 1.5 2^digits it lies in the last bits."""
    return fma(x, _LOG2E, OF[SIZE].shifter) - OF[SIZE].shifter


@template
def reduced(x: Vec, n: Vec) -> Vec:
    """e^r - 1, r = x - n ln 2."""
    r = fma(n, -OF[SIZE].ln2[0], x)
    r = fma(n, -OF[SIZE].ln2[1], r)
    return fma(r * r, polynomial["exp"](r), r)


@template
def exp(x: Vec) -> Vec:
    x = min(OF[SIZE].highest, max(OF[SIZE].lowest, x))
    n = nearest(x)
    return scale(1 + reduced(x, n), n)


@template
def absolute(x: Vec) -> Vec:
    return numbers(bits(x) & OF[SIZE].below_sign)


@template
def tanh(x: Vec) -> Vec:
    a = absolute(x)
    a = max(OF[SIZE].flat, -(a + a))
    n = nearest(a)
    power = scale(splat(1), n)
    t = fma(power, reduced(a, n), power - 1)
    y = absolute(-t / (2 + t))
    return numbers(bits(y) | (bits(x) & ~OF[SIZE].below_sign))


@template
def root(z: Vec) -> Vec:
    """The bits of 2^(j/8), j the last three bits of z."""
    r = registers()
    for j in unroll(range(8)):
        r[j] = splat(OF[SIZE].roots[j])
    for bit in unroll((1, 2, 4)):
        unset = z & bit == 0
        for j in unroll(range(0, 8, 2 * bit)):
            r[j] = where(unset, r[j], r[j + bit])
    return bits(r[0])


@template
def sigmoid(x: Vec) -> Vec:
    small, shifter = splat(2.0 ** OF[SIZE].log_small), OF[SIZE].shifter + 8 * OF[SIZE].log_small
    r = min(-OF[SIZE].vanishing, max(-60, -x))
    z = fma(r, 8 * _LOG2E, shifter)
    n = z - shifter
    r = fma(n, -OF[SIZE].eighth[0], r)
    r = fma(n, -OF[SIZE].eighth[1], r)
    whole = (bits(z) & -8) << OF[SIZE].digits - 3
    power = numbers(root(bits(z)) + whole)  # c 2^n
    e = fma(fma(polynomial["short"](r), r, 1), r, 1)
    return small / fma(e, power, small)


@template
def silu(x: Vec) -> Vec:
    return x * sigmoid(x)


@template
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
    low = fma(k, OF[SIZE].ln2[1], s * (h + z * polynomial["log"](z)))
    y = fma(k, OF[SIZE].ln2[0], f - (h - low))
    y = where(x < math.inf, y, x)
    y = where(x == 0, -math.inf, y)
    return where(x < 0, math.nan, y)


# -- input gradients: g f'(x)


@template
def relu_input_grad(g: Vec, y: Vec) -> Vec:
    return where(y <= 0, 0, g)


@template
def relu6_input_grad(g: Vec, y: Vec) -> Vec:
    return where((y <= 0) | (y >= 6), 0, g)


@template
def hardsigmoid_input_grad(g: Vec, x: Vec) -> Vec:
    return where((x <= -3) | (x >= 3), 0, g / 6)


@template
def hardswish_input_grad(g: Vec, x: Vec) -> Vec:
    return where(x <= -3, 0, where(x >= 3, g, g * (x * 2 + 3) / 6))


@template
def sigmoid_input_grad(g: Vec, y: Vec) -> Vec:
    return g * y * (1 - y)


@template
def silu_input_grad(g: Vec, x: Vec) -> Vec:
    s = sigmoid(x)
    return g * s * (x * (1 - s) + 1)


@template
def tanh_input_grad(g: Vec, y: Vec) -> Vec:
    return g * (1 - y * y)
