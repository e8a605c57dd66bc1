"""How many roundings activations and softmax have: the formulas that are allowed, counted.

The premise is that exp, log, tanh and powers are within 4 units in the last place, as NumPy
holds its own to; a unit is at most 2 u of the value, so each counts as ``FUNCTION`` = 8
factors 1 + d.  Let e be an exponential and s the logistic function.  Covered are

    s            e / (1 + e), 1 / (1 + e), either with the rounded reciprocal
    silu         x s, x / (1 + e)
    hardsigmoid  (x + 3) / 6, x / 6 + 1/2, either with the rounded 1/6, cut to 0 and 1
    hardswish    x times that, or x (x + 3) first
    softmax      e^(x - max) or e^x over its sum, or times the sum's rounded reciprocal
    log_softmax  (x - max) - log(sum e^(x - max))
    slopes       s (1 - s);  1 - t t or (1 - t) (1 + t);  s (1 + x (1 - s)) or its product rule;
                 (2 x + 3) / 6, x / 3 + 1/2 or the product rule of hardswish

Which side of a kink x is on is decided by x itself.

Detours.  Where s is computed as 1/2 + tanh(x / 2) / 2, or tanh as 2 s(2 x) - 1, the terms
cancel, and the error is relative to (1 + |tanh(x / 2)|) / 2 or 2 s(2 x) + 1 instead of the
value.  These are theorems too, but no ULPs: ``functions="absolute"`` asks for them by name.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from minigrad.kernels import numpy as kernels
from minigrad.tensor import Array
from minigrad.verify.theorem import Number, Roundings

__all__ = ["CURVES"]

ULPS = 4.0
FUNCTION = 2 * ULPS

LOGISTIC = 2 * FUNCTION + 3
"""Factors of s: e, 1 + e (e and a sum), the quotient, the reciprocal."""

KINK = 3.1
"""Beyond it a cut to 0 or 1 hides every error.

z = x / 6 + 1/2 is off by at most E = gamma_3 (|x| / 6 + 1/2).  A cut moves no two numbers apart,
and leaves nothing where z is farther than E from the side that it is cut to: that is so for
|x| > 3.1 while u <= 2^-8.
"""

PAIRS = 2
"""What softmax counts for its sum beside the average of its terms' roundings.

Terms e^z have c = |z| + 8 factors each.  Their sum is off by sum p gamma_c, p = e^z / sum.
gamma_c <= c u + 2 (c u)^2 while c u <= 1/2, and sum p z^2 <= 0.55 n as p <= e^z: hence
sum p gamma_c <= u (sum p c + 2 u (1.1 n + 128)) <= u (sum p c + 2), if n u <= 1/2, u <= 2^-11.
"""


def _exp(y: Array, x: Array) -> Roundings:
    return Roundings(FUNCTION, y, ULPS)


def _log(y: Array, x: Array) -> Roundings:
    return Roundings(FUNCTION, np.abs(y), 1)


def _power(y: Array, x: Array, *, exponent: float) -> Roundings:
    """The exponent is rounded too: x^(c (1 + d)) = x^c e^(c d ln x)."""
    with np.errstate(divide="ignore"):
        log = np.where(x == 0, 0, np.log(np.abs(x)))
    return Roundings(FUNCTION + np.abs(exponent * log), np.abs(y), ULPS)


def _pow(y: Array, a: Array, b: Array) -> Roundings:
    """NumPy's power, whose error is that of its exponential; both operands are exact."""
    return Roundings(FUNCTION, np.abs(y), ULPS)


def _from_tanh(x: Array) -> tuple[float, Array]:
    """Factors and terms of s = 1/2 + tanh(x / 2) / 2: tanh, and the sum."""
    return FUNCTION + 1, (1 + np.abs(np.tanh(x / 2))) / 2


def _divisor(x: Array) -> Array:
    with np.errstate(over="ignore"):
        return np.asarray(np.exp(np.maximum(-x, 0)))


def _sigmoid(y: Array, x: Array) -> Roundings:
    detour = Roundings(*_from_tanh(x), 1)
    return Roundings(LOGISTIC, y, ULPS + 1, divisor=_divisor(x), detour=detour)


def _silu(y: Array, x: Array) -> Roundings:
    """s, and the product; what is subnormal in s is multiplied by x."""
    count, size = _from_tanh(x)
    tiny = 1 + (ULPS + 1) * np.abs(x)
    detour = Roundings(count + 1, np.abs(x) * size, tiny)
    return Roundings(LOGISTIC + 1, np.abs(y), tiny, divisor=_divisor(x), detour=detour)


def _tanh(y: Array, x: Array) -> Roundings:
    """The detour: s(2 x), which doubles without an error, and the difference."""
    detour = Roundings(LOGISTIC + 1, 2 * kernels.sigmoid(2 * x) + 1, 2 * ULPS + 2)
    return Roundings(FUNCTION, np.abs(y), ULPS, detour=detour)


def _cut(x: Array) -> Array:
    """The terms of x / 6 + 1/2 where they may show, or of what a cut leaves."""
    return np.where(np.abs(x) <= KINK, np.abs(x) / 6 + 0.5, x > 0)


def _hardsigmoid(y: Array, x: Array) -> Roundings:
    """The rounded 1/6, the product, the sum."""
    return Roundings(3, _cut(x), 1)


def _hardswish(y: Array, x: Array) -> Roundings:
    """One product more, in any order: what is subnormal in x / 6 meets a factor up to 6."""
    return Roundings(4, np.abs(x) * _cut(x), 4 + np.abs(x))


def _line_slope(y: Array, dy: Array, at: Array, *, of: str) -> Roundings:
    """A copy, a division by 6, or a product with a rounded 1/6."""
    return Roundings(2, np.abs(y), 1)


def _tanh_slope(y: Array, dy: Array, t: Array) -> Roundings:
    """dy (1 - t t): the square, the difference, the product; (1 - t) (1 + t) has four."""
    return Roundings(4, np.abs(dy) * (1 + t * t), 1 + np.abs(dy))


def _sigmoid_slope(y: Array, dy: Array, s: Array) -> Roundings:
    """dy s (1 - s): the difference and two products, of which one meets dy."""
    return Roundings(3, np.abs(y), 1 + np.abs(dy))


def _silu_slope(y: Array, dy: Array, x: Array) -> Roundings:
    """dy s (1 + x (1 - s)): two s, 1 - s, the product with x, the sum, two more products."""

    def terms(count: Number, s: Array) -> Roundings:
        size = np.abs(dy) * s * (1 + np.abs(x) * (1 + s))
        return Roundings(2 * np.asarray(count) + 5, size, tiny)

    tiny = 2 * (ULPS + 1) * (1 + np.abs(x)) * (1 + np.abs(dy))
    detour = terms(*_from_tanh(x))
    return replace(terms(LOGISTIC, kernels.sigmoid(x)), divisor=_divisor(x), detour=detour)


def _hardswish_slope(y: Array, dy: Array, x: Array) -> Roundings:
    """dy (x / 3 + 1/2): a rounded 1/3, the product, the sum, dy.

    The product rule, h + x / 6 with h = (x + 3) / 6 times dy, has the same terms and five.
    """
    size = np.abs(dy) * (np.abs(x) / 3 + 0.5)
    return Roundings(5, np.where(np.abs(x) <= KINK, size, np.abs(y)), 2 + 4 * np.abs(dy))


_SLOPES: dict[str, Callable[[Array, Array, Array], Roundings]] = {
    "tanh": _tanh_slope,
    "sigmoid": _sigmoid_slope,
    "silu": _silu_slope,
    "hardswish": _hardswish_slope,
}


def _curve_slope(y: Array, dy: Array, at: Array, *, of: str) -> Roundings:
    return _SLOPES[of](y, dy, at)


def _shares(x: Array) -> tuple[Array, Array]:
    """|x - max|, and how many roundings sum e^(x - max) has before its additions.

    z (1 + d) in the exponent is a factor e^(z d), which is |z| roundings; a sum has its terms'
    on the average, and ``PAIRS`` more.
    """
    z = np.abs(x - x.max(axis=-1, keepdims=True))
    return z, (kernels.softmax(x) * z).sum(axis=-1, keepdims=True) + FUNCTION + PAIRS


def _softmax(y: Array, x: Array) -> Roundings:
    """e^z above and in the sum, n - 1 additions, the reciprocal, the product."""
    z, below = _shares(x)
    n = x.shape[-1]
    return Roundings(z + FUNCTION + below + n + 1, y, ULPS, n - 1)


def _log_softmax(y: Array, x: Array) -> Roundings:
    """z has one factor, the logarithm ``FUNCTION``, the difference one.

    The sum has c = ``below`` + n, so that its logarithm is off by -ln(1 - gamma_c) at most,
    which is under 2 c u while c u <= 1/4: c is a term, and the count is 2.
    """
    z, below = _shares(x)
    size = z + (below + x.shape[-1]) + FUNCTION * np.abs(z + y) + np.abs(y)
    return Roundings(2, size, ULPS)


def _softmax_input_grad(y: Array, dy: Array, p: Array) -> Roundings:
    """p (dy - sum dy p) or dy p - p sum dy p: n products added, a product, a difference."""
    n = p.shape[-1]
    along = np.abs(dy * p).sum(axis=-1, keepdims=True)
    return Roundings(n + 2, np.abs(p) * (np.abs(dy) + along), 1 + n * np.abs(p), n - 1)


def _log_softmax_input_grad(y: Array, dy: Array, z: Array) -> Roundings:
    """dy - e^z sum dy: n - 1 additions, e^z, the product, the difference."""
    n, total = z.shape[-1], np.abs(dy).sum(axis=-1, keepdims=True)
    size = np.abs(dy) + np.exp(z) * total
    return Roundings(FUNCTION + n + 1, size, 1 + ULPS * total, n - 1)


CURVES: dict[str, Callable[..., Roundings]] = {
    "exp": _exp,
    "log": _log,
    "tanh": _tanh,
    "pow": _pow,
    "power": _power,
    "sigmoid": _sigmoid,
    "silu": _silu,
    "hardsigmoid": _hardsigmoid,
    "hardswish": _hardswish,
    "line_slope": _line_slope,
    "curve_slope": _curve_slope,
    "softmax": _softmax,
    "softmax_input_grad": _softmax_input_grad,
    "log_softmax": _log_softmax,
    "log_softmax_input_grad": _log_softmax_input_grad,
}
