"""How far a computed value may be from the exact one: theorems, not tuned tolerances.

Model (IEEE 754, rounding to nearest, no overflow).  With u the unit roundoff and eta the
smallest subnormal number,

    fl(a op b) = (a op b)(1 + d) + e,    |d| <= u,  |e| <= eta/2,  d e = 0,

and e = 0 for sums, since a sum that is subnormal is exact.  An FMA rounds once.

Lemma.  A product of n factors (1 + d_k)^(+-1) is 1 + t with |t| <= gamma_n,

    gamma_n = n u / (1 - n u),    n u < 1.

Theorem (sums of products).  Let y = b + sum_{k=1}^n x_k w_k be evaluated with any order
and bracketing of the sum, with or without FMA.  Then the computed value y' satisfies

    |y' - y| <= gamma_(n+c) T(|x|, |w|) + (n + c) eta,
    T(|x|, |w|) = |b| + sum_k |x_k| |w_k|,    c = 1 if there is a b, else 0.

Proof.  A sum of n + c terms has n + c - 1 additions, so a term meets at most that many
factors 1 + d on its way to the root, and a product one more: at most n + c, hence
1 + t with |t| <= gamma_(n+c) before each term.  (Terms that are 0, as on padding, and a
start from 0 add exactly.)  Each product brings at most eta/2 of its own, which grows by
1 + gamma_(n+c) <= 2 on its way, if (n + c) u <= 1/2.  An FMA merges two factors into one
and brings its eta/2 later.  QED

Mixed formats.  Let the factors be rounded to a format of roundoff v first, the sum be taken
in one of roundoff u, and the result be rounded to one of roundoff w.  Then

    |y' - y| <= E + w (|y| + E) + eta_w,    E = ((1 + v)^2 (1 + gamma_(n+c)) - 1) T + (n + c) eta.

The theorem covers convolution and its two adjoints, linear maps, matrix products, sums
and means.  A function f that is evaluated with an error of at most ``ulps`` units in the
last place has a relative error of at most 2 ``ulps`` u, which counts as 2 ``ulps``
factors.  ``bounds`` and ``curves`` count the factors of every primitive.

A quotient whose divisor overflows is 0: 1 / (1 + e^-x) at -89 in float32.  There the bound is
the whole value, which is then below one over the largest number.

Beside the theorem stands a second figure, which proves nothing: if the d_k are independent
and of mean 0, their product is within about sqrt(n) u of 1 and not n u (N. Higham and
T. Mary, SIAM J. Sci. Comput. 41 (2019), A2815-A2835).  ``Roundings.typical`` counts the
square root of the factors.

Sources: N. Higham, "Accuracy and Stability of Numerical Algorithms" (2002), lemma 3.1
and section 4.2; for underflow, J. Demmel, SIAM J. Sci. Stat. Comput. 5 (1984), 887-919.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from minigrad.tensor import Array
from minigrad.verify.arithmetic import FORMATS, Arithmetic, Format

__all__ = ["Number", "Precision", "Roundings", "gamma", "unit_roundoff"]

Number: TypeAlias = "float | Array"
Precision: TypeAlias = "npt.DTypeLike | Format"


def _format(precision: Precision) -> Format:
    return precision if isinstance(precision, Format) else FORMATS[np.dtype(precision).name]


def unit_roundoff(dtype: Precision) -> float:
    """u: half the distance from 1 to the next number.

    >>> unit_roundoff(np.float32) == 2.0**-24
    True
    """
    return _format(dtype).u


def gamma(n: Number, dtype: Precision) -> Array:
    """n u / (1 - n u), for a number or an array of numbers of roundings.

    Raises
    ------
    ValueError
        If n u >= 1/2: so many roundings may leave nothing of the value.
    """
    nu = np.asarray(n, np.float64) * unit_roundoff(dtype)
    if np.any(nu >= 0.5):
        raise ValueError(f"no bound for {np.max(n):.3g} roundings in {_format(dtype).name}")
    return np.asarray(nu / (1 - nu))


@dataclass(frozen=True)
class Roundings:
    """What the model needs to know of a computation; each may be one for all elements.

    Attributes
    ----------
    count : number or array
        How many factors 1 + d a term meets at most.
    magnitude : array
        The sum of the absolute values of all terms.
    underflows : number or array
        How often eta may be added.
    summed : number or array
        How many of the factors come from one sum, whose order is free.
    products : bool
        Whether the terms are products of two inputs, as matrix units multiply them.
    divisor : number or array
        What the last formula of ``curves`` divides by, where that may overflow.
    detour : Roundings or None
        The same for a formula whose error is not relative to the result: see ``curves``.
    """

    count: Number
    magnitude: Array
    underflows: Number = 0.0
    summed: Number = 0.0
    products: bool = False
    divisor: Number = 0.0
    detour: Roundings | None = None

    def bound(self, dtype: Precision) -> Array:
        """The largest error of a value computed in ``dtype``, element by element.

        ``magnitude`` was itself computed in float64, with as many roundings: hence the
        division, without which the bound would be a shade too small.
        """
        form = _format(dtype)
        exact = self.magnitude / (1 - gamma(self.count, np.float64))
        lost = np.where(np.asarray(self.divisor) > form.largest / 2, self.magnitude, 0)
        tiny = np.multiply(self.underflows, form.eta)
        return np.asarray(gamma(self.count, form) * exact + tiny + lost)

    def bound_in(self, how: Arithmetic, exact: Array) -> Array:
        """The largest error of a value computed in a mixed arithmetic.

        Parameters
        ----------
        how : Arithmetic
        exact : array
            The exact values, which the last rounding is relative to.

        Returns
        -------
        array of float64
        """
        error = self.bound(how.accumulator)
        if self.detour and how.functions == "absolute":
            error = np.maximum(error, self.detour.bound(how.accumulator))
        if how.inputs and self.products:
            factor = (1 + how.inputs.u) ** 2
            error = (factor - 1) * self.magnitude + factor * error
        if how.output.precision < how.accumulator.precision:
            error = error + how.output.u * (np.abs(exact) + error) + how.output.eta / 2
        return np.asarray(error)

    def typical(self) -> Roundings:
        """The same with the square root of every count: what errors are like, not a theorem."""
        return replace(
            self,
            count=np.sqrt(self.count),
            underflows=np.sqrt(self.underflows),
            detour=self.detour and self.detour.typical(),
        )
