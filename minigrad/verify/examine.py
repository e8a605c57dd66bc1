"""``examine``: somebody's function over all cases, and a report of what was found."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from minigrad.errors import MinigradError
from minigrad.verify.cheats import in_place, name_cheat
from minigrad.verify.conventions import conventions
from minigrad.verify.normwise import check_algorithm
from minigrad.verify.operations import check_operation, images
from minigrad.verify.reduction import reduce, script
from minigrad.verify.runner import Kernel, Outcome, Refusal, Runner
from minigrad.verify.trials import INTEGERS, Trial, trials

__all__ = ["Report", "examine"]


@dataclass(frozen=True)
class Report:
    """What the judge says of a function.

    Attributes
    ----------
    op, arithmetic, layout : str
        What was judged, and as what.
    outcomes : list of Outcome
        Every judged array, in order.
    refused : list of Refusal
        Cases that the function does not take.
    conventions : list of str
        What it does with NaN, infinities, subnormal numbers and signed zeros: reported only.
    smallest : Outcome or None
        The first failing case in its smallest form.
    script : str
        Python that reproduces it.
    seconds : float
        How long the function and the judge took.
    """

    op: str
    arithmetic: str
    layout: str
    outcomes: list[Outcome]
    refused: list[Refusal] = field(default_factory=list)
    conventions: list[str] = field(default_factory=list)
    smallest: Outcome | None = None
    script: str = ""
    seconds: float = 0.0

    @property
    def failures(self) -> list[Outcome]:
        """The outcomes that condemn the function."""
        return [o for o in self.outcomes if o.wrong]

    @property
    def passed(self) -> bool:
        """No failure, and something that was decided: no yes rests on uninformative bounds."""
        return not self.failures and any(self._decided().values())

    def __bool__(self) -> bool:
        return self.passed

    def _decided(self) -> dict[str, int]:
        """How many arrays each kind of evidence has decided."""
        kinds = {"exact integers": 0, "structured values": 0, "the bound": 0}
        for outcome in self.outcomes:
            if outcome.verdict is not None and outcome.verdict.decision != "uninformative":
                kinds[evidence(outcome.trial)] += 1
        return kinds

    @property
    def used(self) -> tuple[float, float]:
        """Median and largest share of the bound, where the bound decided."""
        shares = [
            o.verdict.worst for o in self.outcomes
            if o.verdict is not None and o.verdict.total and evidence(o.trial) == "the bound"
        ]  # fmt: skip
        return (float(np.median(shares)), float(max(shares))) if shares else (0.0, 0.0)

    @property
    def usual(self) -> float:
        """The largest statistical figure: see ``Verdict.usual``."""
        bound = [o.verdict for o in self.outcomes if evidence(o.trial) == "the bound"]
        return max((v.usual for v in bound if v is not None), default=0.0)

    def __str__(self) -> str:
        judged = ", ".join(f"{n} by {kind}" for kind, n in self._decided().items())
        unsure = sum(o.verdict is not None and o.verdict.decision == "uninformative"
                     for o in self.outcomes)  # fmt: skip
        lines = [
            f"{self.op} as {self.arithmetic}, {self.layout}: "
            f"{'right' if self.passed else 'WRONG'} in {self.seconds:.1f} s",
            f"  {len(self.outcomes)} arrays judged: {judged}; {unsure} uninformative; "
            f"{len(self.refused)} cases refused",
            "  bound used: median {:.2g}, largest {:.2g}".format(*self.used)
            + f"; statistical figure {self.usual:.2g}",
            *(f"  {line}" for line in self.conventions),
        ]
        if self.failures:
            lines += ["", f"{len(self.failures)} arrays are wrong, the first in", *self._first()]
        return "\n".join(lines)

    def _first(self) -> list[str]:
        worst = self.smallest or self.failures[0]
        lines = [f"  {self.failures[0].name}", f"  smallest form: {worst.trial.shapes}"]
        if worst.fault:
            lines.append(f"  {worst.fault}")
        if worst.verdict is not None:
            lines += [f"  {line}" for line in str(worst.verdict).splitlines()]
        return [*lines, "", self.script] if self.script else lines


def evidence(trial: Trial) -> str:
    """What a case decides by."""
    if trial.fill == "impulse":
        return "structured values"
    return "exact integers" if trial.exact else "the bound"


def examine(
    fn: Kernel,
    op: str,
    *,
    dtype: str = "float32",
    accumulator: str | None = None,
    layout: str = "NCHW",
    gradients: Kernel | None = None,
    algorithm: str | None = None,
    functions: str = "relative",
    seed: int = 0,
    cases: Callable[[Trial], bool] | None = None,
    first: bool = False,
) -> Report:
    """Judge a function over all cases of an operation.

    Parameters
    ----------
    fn : callable
        ``fn(*arrays, **words) -> array``, in the words of the public function: for "conv2d"
        ``fn(x, w, bias, stride=..., padding=..., ...)``, with only those words that differ
        from their defaults.  It gets NumPy arrays, and may return any array that ``judge``
        reads, rounded to ``dtype``.  A case that it does not take is refused with
        ``NotImplementedError``.
    op : str
        "conv2d", "depthwise_conv2d", "linear", "softmax", "inverted_residual", ...
    dtype : {"float32", "float64", "float16", "bfloat16", "tf32", "int8"}
        "int8" puts integers to a convolution, linear map or matrix product: uint8 and int8
        data, int8 weights, an int32 bias.  The sums must be exact.
    accumulator : str, optional
        What sums are kept in: float32 by default, float64 for float64.
    layout : {"NCHW", "NHWC"}
        Of images; weights are always (Cout, Cin/groups, kh, kw).
    gradients : callable, optional
        ``gradients(cotangent, *arrays, **words) -> arrays``, one for each argument, or None.
    algorithm : {"winograd", "fft", "strassen"}, optional
        Convolutions of stride 1 (Strassen's: linear maps and matrix products) are held to its
        normwise bound alone.
    functions : {"relative", "absolute"}
        "absolute" lets the logistic function and tanh be computed from each other, as ONNX
        Runtime and ncnn do: 1/2 + tanh(x / 2) / 2 has an error of a few u, however small the
        value is.  The verdict then says so.
    seed : int
        Of the values.
    cases : callable, optional
        ``cases(trial) -> bool`` picks some of the cases.
    first : bool
        Stop at the first failure, and do not reduce it.

    Returns
    -------
    Report
        True if the function passed.

    Raises
    ------
    MinigradError
        If there are no cases for the operation, or a setting makes no sense for it.

    Examples
    --------
    >>> import minigrad as mg
    >>> def relu(x):
    ...     return np.maximum(x, 0)
    >>> bool(mg.verify.examine(relu, "relu"))
    True
    >>> print(mg.verify.examine(lambda x: np.clip(x, 0, 6), "relu").smallest.verdict.expected > 6)
    True
    """
    check_operation(op)
    check_algorithm(op, algorithm)
    images(op, layout)
    if not callable(fn):
        raise MinigradError(f"examine takes a function of {op}'s arrays, not {type(fn).__name__}")
    start = time.perf_counter()
    runner = Runner(fn, gradients, dtype=dtype, accumulator=accumulator, layout=layout,
                    algorithm=algorithm, functions=functions)  # fmt: skip
    chosen = [t for t in trials(op, seed, dtype) if cases is None or cases(t)]
    outcomes: list[Outcome] = []
    refused: list[Refusal] = []
    for found in _run(runner, chosen):
        if isinstance(found, Refusal):
            refused.append(found)
            continue
        outcomes.append(found)
        if first and found.wrong:
            break
    report: dict[str, Any] = {"outcomes": outcomes, "refused": refused}
    wrong = next((o for o in outcomes if o.wrong), None)
    if wrong and not first:
        report["smallest"], arrays = reduce(runner, wrong)
        report["script"] = script(runner, report["smallest"], arrays)
    if not wrong and dtype != "int8":
        report["conventions"] = conventions(runner, op)
    seconds = time.perf_counter() - start
    return Report(op, str(runner.how), layout, **report, seconds=seconds)


def _run(runner: Runner, chosen: Iterable[Trial]) -> Iterator[Outcome | Refusal]:
    """Every outcome; a wrong one is compared with the call before it."""
    last: Outcome | None = None
    for trial in chosen:
        for found in runner.run(trial):
            if isinstance(found, Outcome) and found.part == "result":
                if found.wrong:
                    found = name_cheat(runner, found, last)
                last = found
            yield found
        if trial.fill in ("normal", *INTEGERS):
            stale = in_place(runner, trial)
            if stale:
                yield stale
