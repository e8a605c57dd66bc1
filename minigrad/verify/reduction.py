"""A failing case made small: sizes, words and values, as long as it still fails.

Greedy, in the manner of delta debugging: sizes go to 1, to their half, down by one; words are
dropped; then values become 0, half of them at a time, and what is left becomes 1.  The result
is printed as a script that needs nothing but NumPy, minigrad and the function.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from minigrad.errors import MinigradError
from minigrad.tensor import Array
from minigrad.verify.runner import Outcome, Runner
from minigrad.verify.trials import Trial

__all__ = ["reduce", "script"]

CALLS = 400  # of the judged function, at most
Arrays = dict[str, Array]


def reduce(runner: Runner, failing: Outcome) -> tuple[Outcome, Arrays]:
    """The smallest form of a failing case that was found, with its arrays.

    Parameters
    ----------
    runner : Runner
    failing : Outcome

    Returns
    -------
    Outcome, dict of arrays
    """
    search = _Search(runner, failing)
    search.shrink(_smaller)
    search.simplify()
    return search.best, search.arrays


class _Search:
    """The best case so far, and how many calls are left."""

    def __init__(self, runner: Runner, failing: Outcome) -> None:
        self.runner, self.best, self.left = runner, failing, CALLS
        self.arrays = failing.trial.arrays(runner.how)

    def fails(self, trial: Trial, arrays: Arrays | None = None) -> bool:
        """Try a case; keep it if the same part of it fails in the same way."""
        self.left -= 1
        try:
            values = trial.arrays(self.runner.how) if arrays is None else arrays
            outcomes = self.runner.run(trial, values)
        except (MinigradError, ValueError, ZeroDivisionError):  # no such geometry
            return False
        for outcome in outcomes:
            if isinstance(outcome, Outcome) and outcome.wrong and self._alike(outcome):
                self.best, self.arrays = outcome, values
                return True
        return False

    def _alike(self, outcome: Outcome) -> bool:
        return outcome.part == self.best.part and bool(outcome.fault) == bool(self.best.fault)

    def shrink(self, candidates: Callable[[Trial], Iterator[Trial]]) -> None:
        """Follow the first smaller case that fails, as long as there is one."""
        found = True
        while found and self.left > 0:
            found = any(self.left > 0 and self.fails(t) for t in candidates(self.best.trial))

    def simplify(self) -> None:
        """Set as many values as possible to 0, then the others to 1."""
        for name in list(self.arrays):
            kept = np.flatnonzero(self.arrays[name])
            pieces = 2
            while len(kept) > 1 and pieces <= len(kept) and self.left > 0:
                for piece in np.array_split(kept, pieces):
                    if self._with(name, piece, 0.0):
                        kept, pieces = np.setdiff1d(kept, piece), max(pieces - 1, 2)
                        break
                else:
                    pieces *= 2
            self._with(name, kept, 1.0)

    def _with(self, name: str, where: Array, value: float) -> bool:
        changed = {k: v.copy() for k, v in self.arrays.items()}
        if not len(where) or name == "running_var":
            return False
        changed[name].flat[where] = value
        return self.fails(self.best.trial, changed)


def _smaller(trial: Trial) -> Iterator[Trial]:
    for word, value in trial.words.items():
        rest = {k: v for k, v in trial.words.items() if k != word}
        if word != "kernel_size":
            yield trial.with_words(rest)
        if isinstance(value, int) and value > 2:
            yield trial.with_words({**trial.words, word: value - 1})
    for size, value in trial.geometry.sizes.items():
        for less in sorted({1, value // 2, value - 1}):
            if 0 < less < value:
                yield trial.smaller(**{size: less})


def script(runner: Runner, outcome: Outcome, arrays: Arrays) -> str:
    """Python that shows the failure: the arrays, the call, the verdict."""
    trial, names = outcome.trial, list(arrays)
    kernel = runner.kernel
    module, name = getattr(kernel, "__module__", ""), getattr(kernel, "__qualname__", "kernel")
    lines = ["import numpy as np", "import minigrad as mg"]
    if module and name.isidentifier() and module != "__main__":
        lines.append(f"from {module} import {name} as kernel")
    else:
        lines.append(f"kernel = ...  # the function that was examined: {name}")
    given = runner.given(trial, arrays)
    lines += ["", *(f"{n} = {_literal(a)}" for n, a in zip(names, given, strict=True))]
    words = [f"{k}={v!r}" for k, v in trial.words.items()]
    call = ", ".join(names + words)
    judged = [*names, *words, *_settings(runner)]
    if outcome.part == "result":
        lines.append(f"y = kernel({call})")
        if trial.exact and not trial.integers:
            judged.append("exact=True")
    else:
        which = outcome.part.split()[-1]
        dy = trial.cotangent(trial.call(arrays).evaluate(runner.how).exact.shape, runner.how)
        lines.append(f"dy = {_literal(runner.cast(dy))}")
        if which not in names:  # the function of the gradients itself failed
            return "\n".join([*lines, f"gradients(dy, {call})"])
        lines.append(f"y = gradients(dy, {call})[{names.index(which)}]")
        judged += [f"wrt={which!r}", "cotangent=dy"]
    lines.append(f"print(mg.verify.judge({trial.op!r}, y, {', '.join(judged)}))")
    return "\n".join(lines)


def _settings(runner: Runner) -> list[str]:
    settings: dict[str, object] = {}
    if runner.layout != "NCHW":
        settings["layout"] = runner.layout
    if runner.dtype in ("tf32", "bfloat16"):
        settings["dtype"] = runner.dtype
    return [f"{k}={v!r}" for k, v in settings.items()]


def _literal(array: Array) -> str:
    """An array as Python; a large one by its few values that are not 0."""
    dtype = array.dtype.name
    if dtype == "bfloat16":
        array, dtype = array.astype(np.float32), "float32"
    where = np.flatnonzero(array)
    if array.size > 64 and len(where) * 2 < array.size:
        zeros = f"np.zeros({array.shape}, {dtype!r})"
        values = f"np.put(a, {where.tolist()}, {array.flat[where].tolist()})"
        return f"(lambda a: ({values}, a)[1])({zeros})"
    flat = ", ".join(repr(v) for v in array.ravel().tolist())
    return f"np.array([{flat}], {dtype!r}).reshape({array.shape})"
