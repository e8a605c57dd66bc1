"""A network judged layer by layer, each from the inputs that the judged run itself had.

A run leaves some values of its layers.  Every such value is computed again in float64 from
the values before it that the run left too, and held to the bound of the steps between: so the
first layer that is wrong is named, and not the first that differs because of it.

A run may have fused what we keep apart.  A value with the name of a convolution may be the
convolution, or that and the batch norm behind it, or the activation and the addition behind
those: whichever fits its bound is taken.  If none fits, the layers are tried without one of
the steps in between, to tell a missing activation from a wrong sum.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from minigrad import kernels
from minigrad.autograd import vjp
from minigrad.engine.graph import Graph, Ref, Step, Value
from minigrad.tensor import PRIMITIVES, Array, Tensor, from_numpy, interpreting
from minigrad.verify.alignment import BEHIND
from minigrad.verify.arithmetic import FORMATS, arithmetic
from minigrad.verify.operations import Judged
from minigrad.verify.propagation import Bounded
from minigrad.verify.verdict import USUAL, Verdict, decide

__all__ = ["Layer", "Network", "layer_outputs"]

MAY_BE_MISSING = BEHIND - {"batch_norm_eval", "reshape"}
SUMS = {"conv2d", "linear", "matmul", "batch_norm_eval", "global_avg_pool", "avg_pool2d"}
DISTINCT = 32  # values that all happen to be numbers of 11 bits are no accident from here on


@dataclass(frozen=True)
class Layer:
    """What is said of one value of a run.

    Attributes
    ----------
    name : str
        The layer, by the model's own name.
    steps : str
        The steps that the value covers, as "conv2d batch_norm_eval relu6".
    verdict : Verdict or None
        None if shapes do not fit.
    fault : str
        What is wrong, beyond the verdict: a missing step, a narrow format, a shape.
    """

    name: str
    steps: str
    verdict: Verdict | None
    fault: str = ""
    remarks: list[str] = field(default_factory=list)

    @property
    def wrong(self) -> bool:
        """Whether the layer is wrong."""
        return bool(self.fault) or self.verdict is None or self.verdict.decision == "wrong"


def layer_outputs(graph: Graph) -> dict[str, int]:
    """{name: number} of the value that each layer, and each block of layers, puts out.

    The last step under a name is its output: of "features.3" the last of "features.3.conv",
    "features.3.norm" and so on.
    """
    outputs: dict[str, int] = {}
    for number, step in graph.steps.items():
        parts = step.layer.split(".")
        for k in range(1, len(parts) + 1):
            outputs[".".join(parts[:k])] = number
    outputs.pop("", None)
    return outputs


class Network:
    """The steps of a model, and the values that a judged run had.

    Parameters
    ----------
    graph : Graph
        Recorded from the model, nothing folded or fused.
    x : array
        The input of the run.
    functions : str
        An absolute error that the logistic function and tanh of the run may have.
    """

    def __init__(self, graph: Graph, x: Array, functions: str = "relative") -> None:
        self.graph, self.uses = graph, graph.uses()
        self.known: dict[int, Array] = {0: x.astype(np.float64)}
        self.how = arithmetic(x.dtype.name, x.dtype.name, functions)

    def judge(self, values: Mapping[int, Array]) -> Iterator[Layer]:
        """Judge the values of a run, by the numbers of the steps they stand behind.

        Parameters
        ----------
        values : mapping of int to array

        Yields
        ------
        Layer
            In the order of the steps.
        """
        for number in sorted(values):
            taken = {n for n in values if n != number}
            yield self._layer(number, values[number], taken)

    def _layer(self, number: int, y: Array, taken: set[int]) -> Layer:
        """The verdict on one value, as whichever of the fused forms fits."""
        if number in self.known:  # an earlier value covers it: the run fused them
            return self._repeated(number, y)
        targets = list(self._behind(number, taken))
        judged = self.evaluate(targets, self.segment(targets[-1]))
        tried = [self._try(number, t, y, judged.get(t)) for t in targets]
        _, target, layer = min(
            zip(map(_rank, tried), targets, tried, strict=True), key=lambda t: t[:2]
        )
        if layer.verdict is not None:
            if layer.wrong:
                layer = self._without_a_step(number, target, y) or layer
            self.known[target] = np.asarray(y, np.float64)
        return layer

    def _repeated(self, number: int, y: Array) -> Layer:
        step = self.graph.steps[number]
        exact = self.known[number]
        zero = np.zeros(exact.shape)
        if y.shape != exact.shape:
            return Layer(step.layer, step.op, None, f"shape {y.shape}, expected {exact.shape}")
        return Layer(
            step.layer, step.op, decide(y, Judged(exact, zero, np.abs(exact), zero), self.how)
        )

    def _behind(self, number: int, taken: set[int]) -> Iterator[int]:
        """The value itself, and those that a run may have fused into it."""
        yield number
        chain = {number}
        while len(self.uses[number]) == 1 and self.uses[number][0] in self.graph.steps:
            (number,) = self.uses[number]
            step = self.graph.steps[number]
            chain.add(number)
            if step.op not in BEHIND or number in self.known:
                return
            if not all(v.number in self.known or v.number in chain for v in step.reads()):
                return
            yield number
            if number in taken:  # the run has this value under its own name
                return

    def _try(self, number: int, target: int, y: Array, judged: Judged | None) -> Layer:
        """What is said of y as the value of ``target``."""
        name = self.graph.steps[number].layer
        steps = " ".join(self.graph.steps[n].op for n in self.segment(target))
        if judged is None or judged.exact.shape != y.shape:
            shape = "none" if judged is None else judged.exact.shape
            return Layer(name, steps, None, f"shape {y.shape}, expected {shape}")
        verdict = decide(y, judged, self.how)
        fault = narrow(y, judged.exact) if SUMS & set(steps.split()) else ""
        remarks = []
        if not fault and verdict.within and verdict.usual > USUAL:
            remarks = [f"within its bound, but {verdict.usual:.3g} in the statistical figure"]
        return Layer(name, steps, verdict, fault, remarks)

    def _without_a_step(self, number: int, target: int, y: Array) -> Layer | None:
        """The layer of a step that, left out, explains y."""
        segment = self.segment(target)
        for left_out in segment:
            step = self.graph.steps[left_out]
            if step.op not in MAY_BE_MISSING:
                continue
            judged = self.evaluate([target], segment, left_out).get(target)
            if judged is None or judged.exact.shape != y.shape:
                continue
            verdict = decide(y, judged, self.how)
            if verdict.within:
                fault = f"{step.op} is missing: without it {self.graph.steps[number].layer} fits"
                return Layer(step.layer, step.op, verdict, fault)
        return None

    def segment(self, target: int) -> list[int]:
        """The steps from the known values to ``target``, in order."""
        wanted, found = [target], set()
        while wanted:
            number = wanted.pop()
            if number not in self.known and number not in found:
                found.add(number)
                wanted.extend(v.number for v in self.graph.steps[number].reads())
        return sorted(found)

    def evaluate(
        self, targets: list[int], segment: list[int], left_out: int = -1
    ) -> dict[int, Judged]:
        """Some values of a segment in float64 with their bounds; not those whose shapes fail."""
        bounded, values = Bounded(self.how), dict(self.known)
        found: dict[int, Judged] = {}
        with kernels.backend("numpy"), np.errstate(all="ignore"), interpreting(bounded):
            for number in segment:
                step = self.graph.steps[number]
                try:
                    values[number] = (
                        values[step.source.number] if number == left_out else _apply(step, values)
                    )
                except (ValueError, IndexError):  # the run's maps have other sizes
                    return found
                if number in targets:
                    known = bounded.of(values[number])
                    found[number] = Judged(values[number], known.error, known.size, known.typical)
        return found


def _rank(layer: Layer) -> tuple[bool, float]:
    """Right ones first, then the nearest."""
    worst = np.inf if layer.verdict is None else layer.verdict.usual
    return layer.wrong, worst


def _apply(step: Step, values: Mapping[int, Array]) -> Array:
    inputs = [None if a is None else from_numpy(a) for a in _wide(step.inputs, values)]
    return PRIMITIVES[step.op](*inputs, **step.params).array


def _wide(refs: Sequence[Ref], values: Mapping[int, Array]) -> list[Array | None]:
    """What a step reads, in float64."""
    arrays = [
        values[r.number] if isinstance(r, Value) else None if r is None else r.array for r in refs
    ]
    return [None if a is None else np.asarray(a, np.float64) for a in arrays]


def narrow(y: Array, exact: Array) -> str:
    """A sentence if all of y are numbers of a 16-bit format, and the exact values are not."""
    if y.dtype.itemsize < 4:
        return f"its values are {y.dtype}"
    values = np.unique(np.asarray(y, np.float64)[np.asarray(y) != 0])
    if len(values) < DISTINCT:
        return ""
    for name in ("float16", "bfloat16"):
        form = FORMATS[name]
        whole = np.array_equal(form.round(values), values)
        if whole and not np.array_equal(form.round(exact), exact):
            return f"all of its values are numbers of {name}"
    return ""


def first_order(graph: Graph, x: Array, y: Array) -> dict[str, object]:
    """The error of a network's output, and its first-order bound sum_l |dy/dz_l| bound_l.

    Parameters
    ----------
    graph : Graph
    x, y : array
        The input and the output of the run.

    Returns
    -------
    dict
        index (of the worst element), error, bound and share of the bound.
    """
    bounded = Bounded(arithmetic(x.dtype.name, x.dtype.name))
    values: dict[int, Array] = {0: x.astype(np.float64)}
    bounds: dict[int, Array] = {}
    with kernels.backend("numpy"), np.errstate(all="ignore"):
        for number, step in graph.steps.items():
            values[number] = _apply(step, values)
            wide = _wide(step.inputs, values)
            bounds[number] = bounded.enclose(step.op, wide, dict(step.params), values[number]).error
        last = graph.outputs[0].number
        error = np.abs(np.asarray(y, np.float64) - values[last])
        index = np.unravel_index(int(np.argmax(error)), error.shape)
        seed = np.zeros(error.shape)
        seed[index] = 1
        total = sum(
            float((np.abs(g) * bounds[n]).sum()) for n, g in _cotangents(graph, values, last, seed)
        )
    worst = float(error[index])
    return {
        "index": [int(k) for k in index], "error": worst, "bound": total,
        "share": worst / total if total else 0.0,
    }  # fmt: skip


def _cotangents(
    graph: Graph, values: Mapping[int, Array], last: int, seed: Array
) -> Iterator[tuple[int, Array]]:
    """dy/dz of every step's value z, from the last step to the first: one backward pass."""
    waiting: dict[int, Array] = {last: seed}
    for number in sorted(graph.steps, reverse=True):
        if number not in waiting:
            continue
        g, step = waiting.pop(number), graph.steps[number]
        yield number, g
        places = [k for k, r in enumerate(step.inputs) if isinstance(r, Value)]
        given = _wide(step.inputs, values)

        def f(*variables: Tensor, step: Step = step, places: Sequence[int] = places) -> Tensor:
            inputs = [None if a is None else from_numpy(a) for a in _wide(step.inputs, values)]
            for k, t in zip(places, variables, strict=True):
                inputs[k] = t
            return PRIMITIVES[step.op](*inputs, **step.params)

        found = vjp(f, *(given[k] for k in places))[1](from_numpy(g))
        read = [v.number for v in step.inputs if isinstance(v, Value)]
        for number_read, part in zip(read, found, strict=True):
            waiting[number_read] = waiting.get(number_read, np.zeros(())) + part.array
