"""One case run through somebody's function: arrays made, the function called, results judged.

The memory that the result may get is filled with NaN before each call, so that a place that is
never written shows; the inputs are compared with copies afterwards.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, NamedTuple

import numpy as np

from minigrad.errors import MinigradError
from minigrad.tensor import Array
from minigrad.verify.arithmetic import arithmetic
from minigrad.verify.integers import named
from minigrad.verify.operations import IMAGES, as_array, to_nchw, to_nhwc
from minigrad.verify.problems import Problem, problem
from minigrad.verify.trials import Trial
from minigrad.verify.verdict import Verdict, decide

__all__ = ["Kernel", "Outcome", "Refusal", "Runner"]

Kernel = Callable[..., Any]


class Refusal(NamedTuple):
    """A case that the function does not take (it raised NotImplementedError)."""

    trial: Trial
    reason: str


@dataclass(frozen=True)
class Outcome:
    """One judged array.

    Attributes
    ----------
    trial : Trial
    part : str
        "result", or "gradient in NAME".
    verdict : Verdict or None
        None if the function failed.
    fault : str
        An exception, a wrong shape, a changed input; "" if there is none.
    y : array or None
        What came, images as (N, C, H, W).
    """

    trial: Trial
    part: str
    verdict: Verdict | None
    fault: str = ""
    y: Array | None = None

    @property
    def wrong(self) -> bool:
        """Whether this outcome condemns the function."""
        return bool(self.fault) or self.verdict is None or self.verdict.decision == "wrong"

    @property
    def name(self) -> str:
        """The case and the part."""
        return self.trial.name if self.part == "result" else f"{self.trial.name}, {self.part}"


class Runner:
    """Calls a function with the arrays of cases, in its dtype and layout, and judges.

    Parameters
    ----------
    kernel : callable
        ``kernel(*arrays, **words) -> array``.
    gradients : callable, optional
        ``gradients(cotangent, *arrays, **words) -> arrays``, one for each argument, or None.
    dtype, accumulator, layout : str
        As in ``judge``.
    functions : str
        As in ``judge``.
    algorithm : str, optional
        Results of stride-1 convolutions are held to its normwise bound.
    """

    def __init__(
        self,
        kernel: Kernel,
        gradients: Kernel | None = None,
        *,
        dtype: str = "float32",
        accumulator: str | None = None,
        layout: str = "NCHW",
        algorithm: str | None = None,
        functions: str = "relative",
    ) -> None:
        if dtype == "int8" and (gradients or algorithm):
            raise MinigradError("int8 has neither gradients= nor algorithm=: its sums are exact")
        self.kernel, self.gradients = kernel, gradients
        self.how = arithmetic(dtype, accumulator, functions)
        self.dtype, self.layout, self.algorithm = dtype, layout, algorithm

    def given(self, trial: Trial, arrays: dict[str, Array]) -> list[Array]:
        """The arrays as the function gets them: fresh copies, in its dtype and layout."""
        turned = IMAGES.get(trial.op, ((), False))[0] if self.layout == "NHWC" else ()
        laid = {k: to_nhwc(a) if k in turned else a for k, a in arrays.items()}
        if trial.integers:
            return [np.array(a, trial.integers[k], order="C") for k, a in laid.items()]
        return [self.cast(np.ascontiguousarray(a)) for a in laid.values()]

    def cotangent(self, put: Problem) -> Array:
        """The cotangent of the result as the function gets it."""
        turned = self.layout == "NHWC" and IMAGES.get(put.trial.op, ((), False))[1]
        return self.cast(to_nhwc(put.cotangent) if turned else put.cotangent)

    def cast(self, array: Array) -> Array:
        """A copy in the dtype of results; bfloat16 and TF32 travel as float32 where need be."""
        name = {"tf32": "float32", "int8": "int32"}.get(self.dtype, self.dtype)
        if name == "bfloat16":
            if not find_spec("ml_dtypes"):
                return array.astype(np.float32)
            import ml_dtypes

            return array.astype(ml_dtypes.bfloat16)
        return array.astype(name)

    def run(self, trial: Trial, arrays: dict[str, Array] | None = None) -> list[Outcome | Refusal]:
        """The result, and every gradient if there is a function for them."""
        if arrays is None:
            put = problem(trial, self.how, self.algorithm)
        else:
            put = Problem(trial, self.how, self.algorithm, arrays)
        first = self._forward(put)
        if self.gradients and isinstance(first, Outcome) and not first.wrong:
            return [first, *self._backward(put)]
        return [first]

    def _forward(self, put: Problem) -> Outcome | Refusal:
        trial = put.trial
        given = self.given(trial, put.arrays)
        before = [a.copy() for a in given]
        self.poison(put.result.exact.shape)
        try:
            with np.errstate(all="ignore"):
                y = self.kernel(*given, **trial.words)
        except NotImplementedError as error:
            return Refusal(trial, str(error))
        except Exception as error:  # whatever a stranger's function raises is its fault
            return Outcome(trial, "result", None, _told(error))
        return self.judge(put, "result", y, changed(before, given))

    def _backward(self, put: Problem) -> list[Outcome | Refusal]:
        assert self.gradients is not None
        trial = put.trial
        given = self.given(trial, put.arrays)
        try:
            with np.errstate(all="ignore"):
                found = self.gradients(self.cotangent(put), *given, **trial.words)
        except NotImplementedError as error:
            return [Refusal(trial, str(error))]
        except Exception as error:
            return [Outcome(trial, "gradients", None, _told(error))]
        return [
            self.judge(put, f"gradient in {name}", y, "")
            for name, y in zip(put.arrays, found, strict=False)
            if y is not None
        ]

    def judge(self, put: Problem, part: str, y: object, fault: str) -> Outcome:
        """The outcome for an array that came back."""
        trial = put.trial
        judged = put.result if part == "result" else put.gradient(part.split()[-1])
        try:
            array = as_array(y, "the result")
            image = IMAGES.get(trial.op, ((), False))
            is_image = image[1] if part == "result" else part.split()[-1] in image[0]
            if self.layout == "NHWC" and is_image:
                array = to_nchw(array, "the result")
        except MinigradError as error:
            return Outcome(trial, part, None, str(error))
        if array.shape != judged.exact.shape:
            expected = f"expected shape {judged.exact.shape}, got {array.shape}"
            return Outcome(trial, part, None, expected)
        groups = trial.words.get("groups", 1)
        verdict = decide(array, judged, self.how, groups=groups)
        if trial.integers:
            verdict = named(put.call, trial.integers, array, judged, verdict)
        return Outcome(trial, part, verdict, fault, np.array(array, np.float64))

    def poison(self, shape: Sequence[int]) -> None:
        """Leave NaN (all bits set) in freed memory of the size of the result."""
        size = math.prod(shape) * self.cast(np.zeros(1)).itemsize
        blocks = [np.full(size, 0xFF, np.uint8) for _ in range(8)]
        del blocks


def _told(error: Exception) -> str:
    """An exception in one line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"


def changed(before: Sequence[Array], after: Sequence[Array]) -> str:
    """A sentence if an input is no longer what it was."""
    for k, (a, b) in enumerate(zip(before, after, strict=True)):
        if a.tobytes() != np.ascontiguousarray(b).tobytes():
            return f"argument {k} was changed by the call"
    return ""
