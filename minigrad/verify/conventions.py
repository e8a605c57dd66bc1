"""What a function does with numbers that are no numbers: reported by name, never judged.

Correct implementations differ in these on purpose: whether subnormal numbers are flushed to
zero, whether NaN passes a maximum, whether 0 times infinity on a padded border is left out.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from minigrad.tensor import Array
from minigrad.verify.geometries import LETTERS
from minigrad.verify.operations import as_array
from minigrad.verify.problems import Problem
from minigrad.verify.runner import Outcome, Runner
from minigrad.verify.trials import Trial, trials

__all__ = ["conventions"]

CLOSE = 1e-3  # what is asked here is which kind of number comes out


def conventions(runner: Runner, op: str) -> list[str]:
    """One sentence for each kind of special number.

    Parameters
    ----------
    runner : Runner
    op : str

    Returns
    -------
    list of str
    """
    trial = next((t for t in trials(op) if t.geometry.sizes.get("n", 1) > 0
                  and len(set(t.shapes)) and "one" not in t.geometry.name), None)  # fmt: skip
    if trial is None:
        return []
    lines = []
    for name, value in _specials(runner):
        y, exact = _probe(runner, trial, value)
        lines.append(f"{name}: {_compare(y, exact)}")
    if _written_again(runner, trial):
        lines.append("the memory of a result is written again by the next call")
    return lines


def _written_again(runner: Runner, trial: Trial) -> bool:
    """Whether a second call with other inputs changes the result of the first."""
    arrays = trial.arrays(runner.how)
    other = {k: trial.another(k, v, runner.how) for k, v in arrays.items()}
    try:
        first = as_array(runner.kernel(*runner.given(trial, arrays), **trial.words), "the result")
        before = first.copy()
        runner.kernel(*runner.given(trial, other), **trial.words)
    except Exception:  # a function that passed the cases does not fail here, but may
        return False
    return bool(first.tobytes() != before.tobytes())


def _specials(runner: Runner) -> Iterator[tuple[str, float]]:
    yield "NaN", np.nan
    yield "infinity", np.inf
    yield "subnormal numbers", 3 * runner.how.output.eta
    yield "negative zero", -0.0


def _probe(runner: Runner, trial: Trial, value: float) -> tuple[Array | None, Array]:
    """The result for a first argument with one special value in its middle."""
    arrays = {k: np.ones_like(v) for k, v in trial.arrays(runner.how).items()}
    first = next(iter(LETTERS[trial.op]))
    if abs(value) < 1:  # a whole array of them, and nothing that is added to it
        arrays = {k: np.zeros_like(v) if "bias" in k else v for k, v in arrays.items()}
        arrays[first][...] = value
    else:
        arrays[first].flat[arrays[first].size // 2] = value
    outcome = runner.run(trial, arrays)[0]
    exact = Problem(trial, runner.how, arrays=arrays).call.evaluate(runner.how).exact
    return (outcome.y if isinstance(outcome, Outcome) else None), exact


def _compare(y: Array | None, exact: Array) -> str:
    if y is None:
        return "refused"
    close = np.isclose(y, exact, rtol=CLOSE, atol=0) & (np.signbit(y) == np.signbit(exact))
    same = close | (np.isnan(y) & np.isnan(exact))
    if same.all():
        return "as minigrad does"
    if not y.any() and exact.any():
        return "flushed to zero"
    k = int(np.argmin(same))
    return (
        f"{int((~same).sum())} of {same.size} differ, such as {y.flat[k]:g} for {exact.flat[k]:g}"
    )
