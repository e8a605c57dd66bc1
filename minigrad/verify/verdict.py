"""Yes or no: may this array be the value of that operation?

    |y - exact| <= bound    in every element,

exact being the operation in float64 on the NumPy backend, and bound the theorem's for one
evaluation in the arithmetic that is judged and one in float64 (``theorem``, ``bounds``,
``propagation``).  A no is a proof that y was not computed by the formula in that arithmetic, in
whatever order; a yes leaves room for errors below the bound only.  Where the bound would let an
array of zeros pass, the verdict is neither: it is called uninformative.

The theorem's premise is that nothing overflows, so the premise is part of the verdict.  A
partial sum of the terms t_k, in whatever order, lies between -N and P, where

    P = sum of the positive t_k = (T + exact) / 2,    N = (T - exact) / 2,    T = sum |t_k|.

Where T and its bound stay below the largest number of the format, y must be finite.  Elsewhere
a finite y is held to its bound, inf is right if P can overflow, -inf if N can, and NaN if both
can.  Where the exact value of finite inputs is beyond float64, any value passes.  What is not
finite because an input is not must be the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np

from minigrad import kernels
from minigrad.errors import DtypeError, ShapeError
from minigrad.tensor import PRIMITIVES, Array
from minigrad.verify.arithmetic import Arithmetic, Format, arithmetic
from minigrad.verify.operations import Judged
from minigrad.verify.patterns import pattern
from minigrad.verify.propagation import Bounded

__all__ = ["RATE", "USUAL", "Verdict", "decide", "judge_step", "widened"]

USUAL = 4.0
"""The limit of the statistical figure (see ``Verdict.usual``)."""

RATE = 1e-3
"""How often a correct array exceeds ``USUAL``, at most (95 % confidence).

tests/mutants measures it: none of 3,000 arrays of correct implementations does, and the
largest shows 1.6; none in N means a rate below 3 / N.
"""


@dataclass(frozen=True)
class Verdict:
    """What the judge says of one array.

    Attributes
    ----------
    decision : {"right", "wrong", "uninformative"}
        "uninformative" where the bound is so wide that an array of zeros would pass.
    worst : float
        The largest error as a share of its bound; infinite where no error is allowed.
    where : tuple of int
        The index of that element, in the layout that was given.
    expected, got, error, bound, ulps : float
        At that element; ``ulps`` counts the error in units in the last place.
    failing, total : int
        How many elements are outside of their bounds, and how many there are.
    pattern : str
        What the failing elements have in common.
    overflowing : int
        How many elements are not finite, rightly, because some order of the sum overflows.
    usual : float
        A statistical figure, not a theorem: the largest error as a share of u sqrt(n) T, which
        independent roundings stay near.  A correct array exceeds ``USUAL`` with a rate below
        ``RATE``.  It never changes the decision.
    arithmetic : str
        What y was judged as.
    """

    decision: str
    worst: float
    where: tuple[int, ...]
    expected: float
    got: float
    error: float
    bound: float
    ulps: float
    failing: int
    total: int
    pattern: str
    overflowing: int
    usual: float
    arithmetic: str

    @property
    def within(self) -> bool:
        """Whether every element is within an informative bound."""
        return self.decision == "right"

    def __bool__(self) -> bool:
        return self.within

    def __str__(self) -> str:
        if not self.total:
            return f"{self.decision}: there are no elements"
        lines = [
            f"{self.decision} as {self.arithmetic}: {self.failing} of {self.total} elements "
            f"outside of their bounds",
            f"  worst at {list(self.where)}: expected {self.expected:.9g}, got {self.got:.9g}",
            f"  error {self.error:.3g} ({self.ulps:.3g} ULP), {self._allowed()}",
        ]
        if self.usual < float("inf"):
            lines.append(
                f"  statistical figure {self.usual:.3g}, no proof (a correct array is above "
                f"{USUAL:g} with a rate below {RATE:g})"
            )
        if self.pattern:
            lines.insert(1, f"  pattern: {self.pattern}")
        if self.overflowing:
            lines.append(f"  {self.overflowing} elements overflow, as some orders of the sum do")
        if self.decision == "uninformative":
            lines.append("  the bound would let zeros pass: judge exact integers instead")
        return "\n".join(lines)

    def _allowed(self) -> str:
        if not self.bound:
            return "no error is allowed"
        return f"bound {self.bound:.3g}: {self.worst:.3g} of it used"

    def as_dict(self) -> dict[str, object]:
        """The attributes, for JSON."""
        return asdict(self)


def decide(
    y: Array, judged: Judged, how: Arithmetic, *, finite: bool = True, groups: int = 1
) -> Verdict:
    """Compare y with its exact value and bounds.

    Parameters
    ----------
    y : array
        Images as (N, C, H, W).
    judged : Judged
    how : Arithmetic
    finite : bool
        Whether all inputs are finite.
    groups : int
        Of the channels, for the pattern.

    Returns
    -------
    Verdict
    """
    exact, got = judged.exact, np.asarray(y, np.float64)
    with np.errstate(all="ignore"):
        excused = _overflowed(got, exact, judged.size + judged.bound, how.output)
        if finite:
            excused |= ~np.isfinite(exact)
        same = (got == exact) | (np.isnan(got) & np.isnan(exact))
        error = np.where(same | excused, 0.0, np.abs(got - exact))
        used = _share(error, judged.bound)
        usual = _share(np.where(np.isfinite(error), error, 0.0), judged.typical)
    where = np.unravel_index(int(np.argmax(used)), used.shape) if used.size else ()
    wrong = used > 1
    at = tuple(int(k) for k in where)
    expected, found, off, allowed, share, step = (
        float(a[at]) if used.size else 0.0
        for a in (exact, got, error, judged.bound, used, how.output.spacing(exact))
    )
    return Verdict(
        decision=_decision(wrong, judged, finite),
        worst=share,
        where=at,
        expected=expected,
        got=found,
        error=off,
        bound=allowed,
        ulps=off / (step or 1.0),
        failing=int(wrong.sum()),
        total=int(used.size),
        pattern=pattern(got, exact, wrong, groups),
        overflowing=int((excused & ~same).sum()),
        usual=float(usual.max(initial=0.0)),
        arithmetic=str(how),
    )


def _share(error: Array, allowed: Array) -> Array:
    """error / allowed; 0 of nothing is 0, anything else of nothing is infinite."""
    share = np.where(error == 0, 0.0, error / np.where(allowed > 0, allowed, 1))
    share = np.where((error > 0) & (allowed == 0), np.inf, share)
    return np.where(np.isnan(share), np.inf, share)


def _decision(wrong: Array, judged: Judged, finite: bool) -> str:
    if wrong.any():
        return "wrong"
    if not np.isfinite(judged.bound).all() and finite:
        return "uninformative"
    known = np.isfinite(judged.exact) & (judged.exact != 0)
    blind = np.abs(judged.exact) <= judged.bound
    return "uninformative" if known.any() and blind[known].all() else "right"


def _overflowed(y: Array, exact: Array, size: Array, form: Format) -> Array:
    """Where y is not finite and may be: some order of the sum overflows in that direction."""
    up, down = (size + exact) / 2 > form.largest, (size - exact) / 2 > form.largest
    return np.where(np.isnan(y), up & down, np.where(y > 0, up, down) & np.isinf(y))


def judge_step(
    primitive: str,
    y: Array,
    inputs: Sequence[Array | None],
    params: Mapping[str, object] | None = None,
    functions: str = "relative",
) -> Verdict:
    """Judge y as the first output of one primitive, as a step of a plan has it.

    Parameters
    ----------
    primitive : str
        One of ``minigrad.tensor.PRIMITIVES``.
    y : array of float32 or float64
    inputs : arrays of the same dtype, or None where the primitive takes it
    params : mapping, optional
        The primitive's keyword arguments, such as ``spec`` of conv2d.
    functions : {"relative", "absolute"}
        Whether the logistic function and tanh may be computed from each other.

    Returns
    -------
    Verdict

    Raises
    ------
    ShapeError, DtypeError
        If y does not have the shape of the result, or an input the dtype of y.
    """
    for k, x in enumerate(inputs):
        if x is not None and x.dtype != y.dtype:
            raise DtypeError(f"{primitive}: y is {y.dtype}, but input {k} is {x.dtype}")
    how = arithmetic(y.dtype.name, y.dtype.name, functions)
    wide = [None if x is None else x.astype(np.float64) for x in inputs]
    named = widened(params or {})
    with kernels.backend("numpy"), np.errstate(all="ignore"):
        result = PRIMITIVES[primitive].forward(*wide, **named)
        exact = np.asarray(result[0] if isinstance(result, tuple) else result)
        if y.shape != exact.shape:
            raise ShapeError(f"{primitive} gives an array of shape {exact.shape}, got {y.shape}")
        known = Bounded(how).enclose(primitive, wide, named, exact)
    finite = all(x is None or bool(np.isfinite(x).all()) for x in wide)
    return decide(y, Judged(exact, known.error, known.size, known.typical), how, finite=finite)


def widened(params: Mapping[str, object]) -> dict[str, object]:
    """Parameters whose arrays of floats, such as statistics, are float64."""
    return {
        k: v.astype(np.float64) if isinstance(v, np.ndarray) and v.dtype.kind == "f" else v
        for k, v in params.items()
    }
