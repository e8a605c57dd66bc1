"""Errors through a composition of primitives: what each passes on, and what it adds.

Let x_j be known to within e_j.  Then y = f(x) is known to within

    e = P_f(x, e) + B_f(x'),    x'_j = x_j + sign(x_j) e_j,

P_f being what f makes of the errors of its arguments, and B_f the theorem's bound for the
roundings of f itself, taken at the arguments enlarged by their errors, so that it holds
wherever in the intervals the computed arguments lie.  P_f is no linearization:

    moves and copies      the same move of e
    linear f              f(e) with the absolute values of its coefficients
    bilinear f            f(e_x, |w|) + f(|x|, e_w) + f(e_x, e_w)
    monotone f            max(f(x + e) - f(x), f(x) - f(x - e))
    other curves          e times the largest slope;  where a slope jumps inside the interval,
                          the whole jump

The chain rule is itself written in primitives, so a gradient gets its bound in the same way.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from minigrad.errors import GraphError
from minigrad.tensor import PRIMITIVES, Array, Primitive, Tensor, evaluate
from minigrad.verify.arithmetic import FORMATS, Arithmetic
from minigrad.verify.bounds import roundings
from minigrad.verify.theorem import Roundings

__all__ = ["Bounded", "Enclosure"]

FLOAT64 = Arithmetic(None, FORMATS["float64"], FORMATS["float64"])


class Enclosure(NamedTuple):
    """What is known of a value.

    Attributes
    ----------
    error : array of float64
        The largest distance between the exact value and a computed one.
    size : array of float64
        The sum of the absolute values of the terms that were added up to it.
    """

    error: Array
    size: Array


class Bounded:
    """An interpreter that evaluates in float64 and keeps an Enclosure for every value.

    Parameters
    ----------
    how : Arithmetic
        What the judged program computes in.
    typical : bool
        Count the square root of the roundings: a figure, not a bound.

    Examples
    --------
    >>> from minigrad import from_numpy, sum
    >>> from minigrad.tensor import interpreting
    >>> from minigrad.verify.arithmetic import arithmetic
    >>> bounded = Bounded(arithmetic("float32"))
    >>> with interpreting(bounded):
    ...     y = sum(from_numpy(np.ones(3)))
    >>> float(bounded.of(y.array).error / 2**-24)   # two roundings, of 3 at most
    6.000000730156903
    """

    def __init__(self, how: Arithmetic, typical: bool = False) -> None:
        self.how, self.typical = how, typical
        self._known: dict[int, tuple[Array, Enclosure]] = {}

    def of(self, array: Array) -> Enclosure:
        """The Enclosure of an array; an array from outside is exact."""
        if id(array) in self._known:
            return self._known[id(array)][1]
        return Enclosure(np.zeros(array.shape), np.abs(array))

    def __call__(
        self, op: Primitive, inputs: Sequence[Tensor | None], params: dict[str, Any]
    ) -> Tensor:
        y = evaluate(op, inputs, params)
        arrays = [None if x is None else x.array for x in inputs]
        with np.errstate(all="ignore"):
            found = self.enclose(op.name, arrays, params, y.array)
        self._known[id(y.array)] = y.array, found  # the array is kept, so that its id stays its own
        return y

    def enclose(
        self, op: str, inputs: Sequence[Array | None], params: dict[str, Any], y: Array
    ) -> Enclosure:
        """The Enclosure of y = op(inputs)."""
        known = [None if x is None else self.of(x) for x in inputs]
        errors = [None if k is None else k.error for k in known]
        if op in _MOVES:
            error, size = (_moved(op, [getattr(k, f) for k in known], params) for f in known[0]._fields)
            return Enclosure(error, size)
        passed = np.zeros(y.shape)
        if any(e is not None and e.any() for e in errors):
            passed = _PASSED[op](y, inputs, errors, params, self)
        steps = self._own(op, inputs, errors, params, y, passed)
        if op == "batch_norm_eval":  # it may have been folded into the sum before it
            steps = steps._replace(magnitude=_folded(inputs, known, params, steps))
        counted = steps.typical() if self.typical else steps
        own = counted.bound_in(self.how, y) + steps.bound_in(FLOAT64, y)
        return Enclosure(passed + own, np.maximum(np.abs(y), steps.magnitude) + passed)
