"""Functions that are right for the wrong reason, or wrong in a way that has a name.

cached      what came is the right answer to the call before, or to the arrays before they
            were changed in place
constant    what came does not depend on the inputs
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from unittest.mock import patch

import numpy as np

from minigrad.errors import MinigradError
from minigrad.tensor import Array
from minigrad.verify.operations import as_array
from minigrad.verify.patterns import pattern
from minigrad.verify.problems import Problem
from minigrad.verify.runner import Outcome, Runner
from minigrad.verify.trials import Trial

__all__ = ["in_place", "name_cheat"]

OLD = (1536.0, 1792.0)  # numbers of every format


def name_cheat(runner: Runner, outcome: Outcome, last: Outcome | None) -> Outcome:
    """A wrong outcome with the name of the cheat, if it is one.

    Parameters
    ----------
    runner : Runner
    outcome : Outcome
        A wrong one.
    last : Outcome or None
        The outcome of the call before, whose arrays had the same shapes.

    Returns
    -------
    Outcome
    """
    if outcome.fault or outcome.y is None or not outcome.y.any():
        return outcome
    if last is not None and not last.wrong and _same(last, outcome):
        return replace(outcome, fault="the output is the one of an earlier call")
    if _ignores(runner, outcome):
        return replace(outcome, fault="the output does not depend on the inputs")
    unwritten = _unwritten(runner, outcome)
    if unwritten.any():
        named = pattern(np.where(unwritten, np.nan, outcome.y), outcome.y, unwritten)
        return replace(outcome, fault=f"elements are never written: {named.partition(', NaN')[0]}")
    return outcome


def _ignores(runner: Runner, outcome: Outcome) -> bool:
    """Whether other inputs give the same output: multiples, and some that are new."""
    trial = outcome.trial
    multiples = {k: trial.another(k, v, runner.how) for k, v in trial.arrays(runner.how).items()}
    fill = trial.fill if trial.integers else "normal"
    drawn = (replace(trial, fill=fill, seed=trial.seed + k) for k in range(1, 21))
    new = (other.arrays(runner.how) for other in drawn)
    again = (runner.run(trial, arrays)[0] for arrays in (multiples, *new))
    return all(isinstance(a, Outcome) and _same(a, outcome) for a in again)


def _unwritten(runner: Runner, outcome: Outcome) -> Array:
    """Where the result shows what its memory held before: two numbers, one after the other."""
    found = []
    for old in OLD:
        with _empty_is(old):
            again = runner.run(outcome.trial)[0]
        if not isinstance(again, Outcome) or again.y is None or again.y.dtype.kind not in "fi":
            return np.zeros(0, bool)
        found.append(np.asarray(again.y == old))
    return np.asarray(found[0] & found[1])


@contextmanager
def _empty_is(number: float) -> Iterator[None]:
    """``np.empty`` and ``np.empty_like`` give arrays of that number inside of the block."""
    empty, like = np.empty, np.empty_like

    def filled(a: Array) -> Array:
        if a.dtype.kind == "f" or a.dtype.name in ("int32", "int64"):
            a.fill(number)
        return a

    with (
        patch.object(np, "empty", lambda *args, **how: filled(empty(*args, **how))),
        patch.object(np, "empty_like", lambda *args, **how: filled(like(*args, **how))),
    ):
        yield


def _same(a: Outcome, b: Outcome) -> bool:
    return a.y is not None and b.y is not None and np.array_equal(a.y, b.y)


def in_place(runner: Runner, trial: Trial) -> Outcome | None:
    """Call, change the same arrays in place, call again: the second result must be new."""
    arrays = trial.arrays(runner.how)
    given, other = (runner.given(trial, a) for a in (arrays, _changed(runner, trial, arrays)))
    try:
        first = _values(runner.kernel(*given, **trial.words))
        given[0][...] = other[0]
        second = _values(runner.kernel(*given, **trial.words))
        fresh = _values(runner.kernel(*[a.copy() for a in given], **trial.words))
    except Exception:  # told where the case is judged
        return None
    if not first.any() or not np.array_equal(first, second) or not _depends(runner, trial, arrays):
        return None
    if np.array_equal(first, fresh):
        return Outcome(trial, "result", None, "the output is the one of an earlier call")
    fault = "the output is that of the arrays before they were changed in place"
    return Outcome(trial, "result", None, fault)


def _changed(runner: Runner, trial: Trial, arrays: dict[str, Array]) -> dict[str, Array]:
    """The arrays with another first one."""
    name = next(iter(arrays))
    return arrays | {name: trial.another(name, arrays[name], runner.how)}


def _depends(runner: Runner, trial: Trial, arrays: dict[str, Array]) -> bool:
    """Whether the exact result changes with the first argument."""
    old, new = (
        Problem(trial, runner.how, arrays=a).result.exact
        for a in (arrays, _changed(runner, trial, arrays))
    )
    return not np.array_equal(old, new)


def _values(y: object) -> Array:
    try:
        return np.array(as_array(y, "the result"), np.float64)
    except MinigradError:
        return np.zeros(0)
