"""A case with its arrays, and the values that are expected of it: computed once, kept.

The same cases are put to many functions (every test of a suite, every planted bug), so the
last few thousand problems are remembered.
"""

from __future__ import annotations

from functools import cached_property

from minigrad.tensor import Array
from minigrad.verify.arithmetic import Arithmetic
from minigrad.verify.normwise import ALGORITHMS, normwise
from minigrad.verify.operations import Judged
from minigrad.verify.trials import Trial

__all__ = ["Problem", "problem"]

KEPT = 4096
LARGEST = 7  # taps of a kernel that Winograd's algorithm is used for
_KEPT: dict[str, Problem] = {}


class Problem:
    """One case in one arithmetic.

    Parameters
    ----------
    trial : Trial
    how : Arithmetic
    algorithm : str or None
        One of ``normwise.ALGORITHMS``: cases that it may serve get its bound.
    arrays : dict, optional
        Instead of the case's own.
    """

    def __init__(
        self,
        trial: Trial,
        how: Arithmetic,
        algorithm: str | None = None,
        arrays: dict[str, Array] | None = None,
    ) -> None:
        self.trial, self.how = trial, how
        self.algorithm = algorithm if _fast(trial, algorithm) else None
        self.arrays = trial.arrays(how) if arrays is None else arrays
        self.call = trial.call(self.arrays)
        self._gradients: dict[str, Judged] = {}

    @cached_property
    def result(self) -> Judged:
        """The exact value; with a bound of 0 where every implementation gives the same bits."""
        if self.algorithm:
            return normwise(self.call, self.how, self.algorithm)
        judged = self.call.evaluate(self.how)
        return judged.rounded(self.how.output) if self.trial.exact else judged

    @cached_property
    def cotangent(self) -> Array:
        """What the gradients are asked for."""
        return self.trial.cotangent(self.result.exact.shape, self.how)

    def gradient(self, name: str) -> Judged:
        """The gradient of <cotangent, result> in one argument."""
        if name not in self._gradients:
            judged = self.call.evaluate(self.how, name, self.cotangent)
            exact = self.trial.exact and not self.algorithm
            self._gradients[name] = judged.rounded(self.how.output) if exact else judged
        return self._gradients[name]


def problem(trial: Trial, how: Arithmetic, algorithm: str | None = None) -> Problem:
    """The Problem of a case, remembered."""
    key = f"{trial!r} {tuple(how)} {algorithm}"
    if key not in _KEPT:
        if len(_KEPT) >= KEPT:
            _KEPT.clear()
        _KEPT[key] = Problem(trial, how, algorithm)
    return _KEPT[key]


def _fast(trial: Trial, algorithm: str | None) -> bool:
    """Whether a fast algorithm may serve the case: convolutions of stride and dilation 1."""
    if algorithm is None or trial.op not in ALGORITHMS[algorithm]:
        return False
    if algorithm == "strassen":
        return True
    kernel = trial.geometry.sizes["kh"], trial.geometry.sizes["kw"]
    if algorithm == "winograd" and max(kernel) > LARGEST:
        return False
    return all(trial.words.get(k, 1) in (1, (1, 1)) for k in ("stride", "dilation"))
