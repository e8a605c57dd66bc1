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

from minigrad.kernels.numba._vectors import (  # isort: skip
    SIZE, Bits, Vec, add, at_least, at_most, bit_and, bit_or, bits, div, either, equal, fma, less,
    maximum, minimum, minus, mul, neg, no_bits, numbers, pattern, plus, shift_left, shift_right,
    splat, sub, where, zero,
)  # fmt: skip

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
    return maximum(zero(), x)


@template
def relu6(x: Vec) -> Vec:
    return minimum(splat(6), relu(x))


@template
def hardsigmoid(x: Vec) -> Vec:
    return div(relu6(add(x, splat(3))), splat(6))


@template
def hardswish(x: Vec) -> Vec:
    return div(mul(x, relu6(add(x, splat(3)))), splat(6))


# -- exp and its kin


@template
def polynomial(x: Vec, *, TABLE: str) -> Vec:
    """c[0] + c[1] x + ..."""
    y = splat(getattr(OF[SIZE], TABLE)[-1])
    for c in unroll(getattr(OF[SIZE], TABLE)[-2::-1]):
        y = fma(y, x, splat(c))
    return y


@template
def power_of_two(shifted: Vec) -> Vec:
    """2^n, n being the last bits of 1.5 2^digits + n."""
    return numbers(plus(shift_left(bits(shifted), pattern(OF[SIZE].digits)), bits(splat(1))))


@template
def scale(v: Vec, n: Vec) -> Vec:
    """v 2^n rounded once: the power in two halves, of which the first is exact."""
    shifter = splat(1.5 * 2.0 ** OF[SIZE].digits)
    half = fma(n, splat(0.5), shifter)
    rest = add(sub(n, sub(half, shifter)), shifter)
    return mul(mul(v, power_of_two(half)), power_of_two(rest))


@template
def nearest(x: Vec) -> Vec:
    """n = x / ln 2 rounded: added to 1.5 2^digits it lies in the last bits."""
    shifter = splat(1.5 * 2.0 ** OF[SIZE].digits)
    return sub(fma(x, splat(_LOG2E), shifter), shifter)


@template
def reduced(x: Vec, n: Vec) -> Vec:
    """e^r - 1, r = x - n ln 2."""
    r = fma(n, splat(-OF[SIZE].ln2[0]), x)
    r = fma(n, splat(-OF[SIZE].ln2[1]), r)
    return fma(mul(r, r), polynomial["exp"](r), r)


@template
def exp(x: Vec) -> Vec:
    x = minimum(splat(OF[SIZE].highest), maximum(splat(OF[SIZE].lowest), x))
    n = nearest(x)
    return scale(add(splat(1), reduced(x, n)), n)


@template
def absolute(x: Vec) -> Vec:
    return numbers(bit_and(bits(x), pattern((1 << (8 * SIZE - 1)) - 1)))


@template
def tanh(x: Vec) -> Vec:
    a = absolute(x)
    a = maximum(splat(OF[SIZE].flat), neg(add(a, a)))
    n = nearest(a)
    power = scale(splat(1), n)
    t = fma(power, reduced(a, n), sub(power, splat(1)))
    y = absolute(div(neg(t), add(splat(2), t)))
    return numbers(bit_or(bits(y), bit_and(bits(x), pattern(-(1 << (8 * SIZE - 1))))))


@template
def root(z: Bits) -> Bits:
    """2^(j/8), j the last three bits of z."""
    r = registers()
    for j in unroll(range(8)):
        r[j] = splat(OF[SIZE].roots[j])
    for bit, step in unroll(((1, 1), (2, 2), (4, 4))):
        unset = no_bits(bit_and(z, pattern(bit)))
        for j in unroll(range(0, 8, 2 * step)):
            r[j] = where(unset, r[j], r[j + step])
    return bits(r[0])


@template
def sigmoid(x: Vec) -> Vec:
    small = splat(2.0 ** OF[SIZE].log_small)
    shifter = splat(1.5 * 2.0 ** OF[SIZE].digits + 8 * OF[SIZE].log_small)
    r = minimum(splat(-OF[SIZE].vanishing), maximum(splat(-60), neg(x)))
    z = fma(r, splat(8 * _LOG2E), shifter)
    n = sub(z, shifter)
    r = fma(n, splat(-OF[SIZE].eighth[0]), r)
    r = fma(n, splat(-OF[SIZE].eighth[1]), r)
    whole = shift_left(bit_and(bits(z), pattern(-8)), pattern(OF[SIZE].digits - 3))
    power = numbers(plus(root(bits(z)), whole))  # c 2^n
    e = fma(fma(polynomial["short"](r), r, splat(1)), r, splat(1))
    return div(small, fma(e, power, small))


@template
def silu(x: Vec) -> Vec:
    return mul(x, sigmoid(x))


@template
def log(x: Vec) -> Vec:
    subnormal = less(x, splat(OF[SIZE].least))
    lifted = where(subnormal, mul(x, splat(2.0 ** OF[SIZE].digits)), x)
    half = bits(splat(_SQRT_HALF))
    b = plus(bits(lifted), minus(bits(splat(1)), half))
    exponent = shift_right(b, pattern(OF[SIZE].digits))
    k = numbers(bit_or(exponent, bits(splat(2.0 ** OF[SIZE].digits))))
    k = sub(k, splat(2.0 ** OF[SIZE].digits + OF[SIZE].bias))
    k = sub(k, where(subnormal, splat(OF[SIZE].digits), zero()))
    m = numbers(plus(bit_and(b, pattern((1 << OF[SIZE].digits) - 1)), half))
    f = sub(m, splat(1))
    s = div(f, add(splat(2), f))
    z = mul(s, s)
    h = mul(mul(splat(0.5), f), f)
    low = fma(k, splat(OF[SIZE].ln2[1]), mul(s, add(h, mul(z, polynomial["log"](z)))))
    y = fma(k, splat(OF[SIZE].ln2[0]), sub(f, sub(h, low)))
    y = where(less(x, splat(math.inf)), y, x)
    y = where(equal(x, zero()), splat(-math.inf), y)
    return where(less(x, zero()), splat(math.nan), y)


# -- input gradients: g f'(x)


@template
def relu_input_grad(g: Vec, y: Vec) -> Vec:
    return where(at_most(y, zero()), zero(), g)


@template
def relu6_input_grad(g: Vec, y: Vec) -> Vec:
    return where(either(at_most(y, zero()), at_least(y, splat(6))), zero(), g)


@template
def hardsigmoid_input_grad(g: Vec, x: Vec) -> Vec:
    outside = either(at_most(x, splat(-3)), at_least(x, splat(3)))
    return where(outside, zero(), div(g, splat(6)))


@template
def hardswish_input_grad(g: Vec, x: Vec) -> Vec:
    between = div(mul(g, add(mul(x, splat(2)), splat(3))), splat(6))
    return where(at_most(x, splat(-3)), zero(), where(at_least(x, splat(3)), g, between))


@template
def sigmoid_input_grad(g: Vec, y: Vec) -> Vec:
    return mul(mul(g, y), sub(splat(1), y))


@template
def silu_input_grad(g: Vec, x: Vec) -> Vec:
    s = sigmoid(x)
    return mul(mul(g, s), add(mul(x, sub(splat(1), s)), splat(1)))


@template
def tanh_input_grad(g: Vec, y: Vec) -> Vec:
    return mul(g, sub(splat(1), mul(y, y)))
