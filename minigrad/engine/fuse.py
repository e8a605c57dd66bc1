"""What inference may forget: named rewrites of a recorded model, in a fixed order.

A rule looks at one step, the *reader*, and at the step that made what it reads.  It
answers with the one step that does the work of both, with the reason why it cannot, or
with nothing where it has nothing to say.  The new step stands where the reader stood, so
the order of the steps stays an order of computation.

    fold batch norm     w' = w gamma r,  b' = beta + (b - mu) gamma r       another rounding
    fuse activation     f(conv(x))            -> conv with epilogue f       the same bits
    drop relu           relu(a + b), a, b >= 0 -> a + b                      the same bits
    fuse residual       conv(x) + z           -> conv with epilogue + z     the same bits
    fuse gate           conv(x s)             -> conv that scales its input the same bits

Only folding changes a rounding: it makes another function of the same parameters, equal
in exact arithmetic.  ``compile(..., fold=False)`` leaves it out.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from minigrad.engine.slab import Slab
from minigrad.engine.trace import Graph, Step, is_conv, needed
from minigrad.kernels.contract import classify
from minigrad.tensor import Array

__all__ = ["RULES", "Note", "Rule", "rewrite"]

ACTIVATIONS = ("relu", "relu6", "hardswish", "hardsigmoid", "sigmoid", "silu", "tanh")
NOT_NEGATIVE = ("relu", "relu6", "hardsigmoid", "sigmoid")
LINEAR = ("conv2d", "linear")


class Note(NamedTuple):
    """What a rule did, or why it did not, at one layer."""

    rule: str
    layer: str
    applied: bool
    why: str


class Match(NamedTuple):
    """The step that does the work of both, and the number of the one it makes needless."""

    step: Step
    absorbed: int


Verdict = Match | str | None
Rule = Callable[[Graph, int, dict[int, list[int]]], Verdict]
Room = Callable[[int], Array]  # memory of so many bytes


def _only_reader(number: int, uses: dict[int, list[int]]) -> bool:
    return len(uses[number]) == 1


def _maker(graph: Graph, ref: Any) -> Step | None:
    """The step that made a value; None for the input and for constants."""
    return graph.steps.get(ref) if type(ref) is int else None


def _joined(host: Step, guest: Step, **changes: Any) -> Step:
    """``host`` with some fields changed, knowing whose work it took over."""
    return replace(host, absorbed=(*host.absorbed, guest.layer), shape=guest.shape, **changes)


def fold_batch_norm(
    graph: Graph, number: int, uses: dict[int, list[int]], room: Room | None = None
) -> Verdict:
    """Batch norm after a convolution: scale its filters instead of its output."""
    norm = graph.steps[number]
    if norm.op != "batch_norm_eval":
        return None
    maker = _maker(graph, norm.inputs[0])
    if maker is None or maker.op not in LINEAR or maker.epilogue:
        return "what it normalises is not the plain output of a convolution"
    if not _only_reader(norm.inputs[0], uses):
        return "the convolution's output is also read before the batch norm"
    if any(not isinstance(v, np.ndarray) for v in (*norm.inputs[1:], maker.inputs[1])):
        return "the weights are not constants"
    w, b = maker.inputs[1:]
    w, bias = _folded(w, b, norm.inputs[1:], norm.params["eps"], room)
    return Match(_joined(maker, norm, inputs=(maker.inputs[0], w, bias)), norm.inputs[0])


def _folded(
    w: Array, b: Array | None, norm: tuple[Array, ...], eps: float, room: Room | None
) -> tuple[Array, Array]:
    """(w', b'): computed in float64, rounded once to the dtype of w."""
    mean, var, gamma, beta = (np.asarray(v, np.float64) for v in norm)
    scale = gamma / np.sqrt(var + eps)
    per_filter = scale.reshape(-1, *(1,) * (w.ndim - 1))
    shift = beta + ((0.0 if b is None else b) - mean) * scale
    folded = room(w.nbytes).view(w.dtype).reshape(w.shape) if room else np.empty(w.shape, w.dtype)
    np.multiply(w, per_filter, out=folded, dtype=np.float64, casting="same_kind")
    return folded, shift.astype(w.dtype)


def fuse_activation(graph: Graph, number: int, uses: dict[int, list[int]]) -> Verdict:
    """An activation becomes the epilogue of the convolution it follows."""
    act = graph.steps[number]
    if act.op not in ACTIVATIONS:
        return None
    maker = _maker(graph, act.inputs[0])
    if maker is None or maker.op != "conv2d":
        return "it does not follow a convolution"
    if "activation" in maker.epilogue or "residual" in maker.epilogue:
        return "the convolution already has an activation or a residual"
    if not _only_reader(act.inputs[0], uses):
        return "the convolution's output is also read without the activation"
    epilogue = {**maker.epilogue, "activation": act.op}
    return Match(_joined(maker, act, epilogue=epilogue), act.inputs[0])


def _not_negative(graph: Graph, ref: Any) -> bool:
    """Whether a value is certainly >= 0 or NaN (a sum of such values is, too)."""
    maker = _maker(graph, ref)
    if maker is None:
        return False
    if maker.op in ("add", "max_pool2d", "reshape"):
        return all(_not_negative(graph, r) for r in maker.inputs)
    clipped = maker.epilogue.get("activation", maker.op) in NOT_NEGATIVE
    residual = maker.epilogue.get("residual")
    return clipped and (residual is None or _not_negative(graph, residual))


def drop_relu(graph: Graph, number: int, uses: dict[int, list[int]]) -> Verdict:
    """relu of what cannot be negative: the reader goes, its input takes its place."""
    act = graph.steps[number]
    if act.op != "relu":
        return None
    maker = _maker(graph, act.inputs[0])
    if maker is None or not _not_negative(graph, act.inputs[0]):
        return "its input may be negative"
    if not _only_reader(act.inputs[0], uses):
        return "its input is also read elsewhere"
    return Match(_joined(maker, act), act.inputs[0])


def fuse_residual(graph: Graph, number: int, uses: dict[int, list[int]]) -> Verdict:
    """A sum becomes the epilogue of the later of the two convolutions it adds."""
    add = graph.steps[number]
    if add.op != "add" or not all(type(r) is int for r in add.inputs):
        return None
    for ref in sorted(add.inputs, reverse=True):
        maker = _maker(graph, ref)
        other = add.inputs[0] if ref == add.inputs[1] else add.inputs[1]
        free = maker is not None and maker.op == "conv2d" and "residual" not in maker.epilogue
        if maker is not None and free and _only_reader(ref, uses) and other != ref:
            epilogue = {**maker.epilogue, "residual": other}
            return Match(_joined(maker, add, epilogue=epilogue), ref)
    return "neither summand is a convolution that only the sum reads"


def fuse_gate(graph: Graph, number: int, uses: dict[int, list[int]]) -> Verdict:
    """A convolution of x s, s one number a channel, scales x while it reads it."""
    conv = graph.steps[number]
    if not is_conv(conv):
        return None
    product = _maker(graph, conv.inputs[0])
    if product is None or product.op != "mul":
        return None
    if classify(conv.params["spec"], conv.inputs[1].shape) != "pointwise":
        return "only a pointwise convolution can scale its input"
    if not _only_reader(conv.inputs[0], uses):
        return "the scaled map is also read elsewhere"
    for x, s in (product.inputs, product.inputs[::-1]):
        spread = _maker(graph, s)
        if spread is not None and spread.op == "broadcast_to":
            gate = spread.inputs[0]
            if graph.shape_of(gate) == (*conv_shape(graph, x)[:2], 1, 1):
                epilogue = {**conv.epilogue, "gate": gate}
                step = replace(conv, inputs=(x, *conv.inputs[1:]), epilogue=epilogue)
                return Match(replace(step, absorbed=(*step.absorbed, product.layer)),
                             conv.inputs[0])  # fmt: skip
    return "the factor is not one number a channel"


def conv_shape(graph: Graph, ref: Any) -> tuple[int, ...]:
    """The shape of what a step reads."""
    return graph.shape_of(ref) if type(ref) is int else tuple(ref.shape)


RULES: dict[str, Rule] = {
    "fold batch norm": fold_batch_norm,
    "fuse activation": fuse_activation,
    "fuse residual": fuse_residual,
    "drop relu": drop_relu,
    "fuse gate": fuse_gate,
}


def rewrite(graph: Graph, leave_out: tuple[str, ...] = ()) -> tuple[Graph, list[Note]]:
    """Apply every rule, one after the other, to every step, and say what each did."""
    notes: list[Note] = []
    graph = replace(graph, steps=dict(graph.steps))
    uses = graph.uses()
    fold = partial(fold_batch_norm, room=Slab(_foldable(graph)))
    rules: dict[str, Rule] = {**RULES, "fold batch norm": fold}
    for name, rule in rules.items():
        if name in leave_out:
            continue
        for number in list(graph.steps):
            verdict = rule(graph, number, uses) if number in graph.steps else None
            if verdict is None:
                continue
            applied = isinstance(verdict, Match)
            why = "" if applied else str(verdict)
            notes.append(Note(name, graph.steps[number].layer, applied, why))
            if isinstance(verdict, Match):
                _apply(graph, number, verdict, uses)
    return replace(graph, steps=needed(graph.steps, graph.outputs)), notes


def _foldable(graph: Graph) -> int:
    """The bytes that folded weights may take together."""
    norms = [s.inputs[0] for s in graph.steps.values() if s.op == "batch_norm_eval"]
    makers = [step for ref in norms if (step := _maker(graph, ref)) and step.op in LINEAR]
    return sum(s.inputs[1].nbytes + 64 for s in makers if isinstance(s.inputs[1], np.ndarray))


def _apply(graph: Graph, number: int, match: Match, uses: dict[int, list[int]]) -> None:
    """Put the new step in the reader's place, in the graph and in the table of readers."""
    gone = graph.steps.pop(match.absorbed)
    for ref in (*gone.reads(), *graph.steps[number].reads()):
        uses[ref] = [k for k in uses[ref] if k not in (match.absorbed, number)]
    graph.steps[number] = match.step
    for ref in match.step.reads():
        uses[ref].append(number)
