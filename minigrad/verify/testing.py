"""Cases for test suites: what the pytest plugin and the strategies hand to a kernel.

>>> import numpy as np
>>> case = cases("relu")[0]
>>> case.judge(np.maximum(case.inputs[0], 0))
''
>>> case.judge(case.inputs[0] - 1).splitlines()[0]
'wrong as float32: 1 of 1 elements outside of their bounds'
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

from minigrad.tensor import Array
from minigrad.verify.normwise import check_algorithm
from minigrad.verify.operations import images
from minigrad.verify.problems import Problem, problem
from minigrad.verify.runner import Runner, changed
from minigrad.verify.trials import Trial, trials

__all__ = ["Case", "cases"]


class Case:
    """One case, for the caller to compute and to hand back.

    Attributes
    ----------
    name : str
    words : dict
        The keyword arguments of the call.
    inputs : list of arrays
        In the order of the parameters; must not be changed.
    cotangent : array
        For gradients.
    """

    def __init__(self, trial: Trial, runner: Runner) -> None:
        self._trial, self._runner = trial, runner
        self.name, self.words = trial.name, trial.words

    def __repr__(self) -> str:
        return f"<{self.name}>"

    @cached_property
    def _problem(self) -> Problem:
        return problem(self._trial, self._runner.how, self._runner.algorithm)

    @cached_property
    def inputs(self) -> list[Array]:
        """The arrays, in the dtype and layout that were asked for."""
        return self._runner.given(self._trial, self._problem.arrays)

    @cached_property
    def cotangent(self) -> Array:
        """The cotangent of the result."""
        return self._runner.cotangent(self._problem)

    def judge(self, y: object, wrt: str | None = None) -> str:
        """What is wrong with y, in a few lines; "" if nothing is.

        Parameters
        ----------
        y : array
            The result, or the gradient in the argument ``wrt``.
        wrt : str, optional

        Returns
        -------
        str
        """
        put = self._problem
        part = "result" if wrt is None else f"gradient in {wrt}"
        fault = changed(self._runner.given(self._trial, put.arrays), self.inputs)
        outcome = self._runner.judge(put, part, y, fault)
        if not outcome.wrong:
            return ""
        return outcome.fault or str(outcome.verdict)


def _no_kernel(*_: Array) -> Array:
    raise NotImplementedError("the caller computes")


def cases(op: str, *, seed: int = 0, **how: Any) -> list[Case]:
    """All cases of an operation.

    Parameters
    ----------
    op : str
    seed : int
    **how
        dtype, accumulator, layout, algorithm and functions, as in ``examine``.

    Returns
    -------
    list of Case

    Examples
    --------
    >>> len(cases("softmax")), cases("softmax")[0].inputs[0].dtype
    (6, dtype('float32'))
    """
    runner = Runner(_no_kernel, **how)
    check_algorithm(op, runner.algorithm)
    images(op, runner.layout)
    return [Case(trial, runner) for trial in trials(op, seed, runner.dtype)]
