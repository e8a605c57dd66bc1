"""What inference may forget: named rewrites of a recorded model, in a fixed order.

A rule looks at one step, the *reader*, and at the step that made what it reads.  It
answers with the one step that does the work of both, with the reason why it cannot, or
with nothing where it has nothing to say.  The new step stands where the reader stood, so
the order of the steps stays an order of computation.

    fold formulas       x sigmoid(x) -> silu(x), and its like (``formulas``)   another rounding
    fold affine         s conv(x) + t         -> conv with other weights      another rounding
    fold batch norm     w' = w gamma r,  b' = beta + (b - mu) gamma r       another rounding
    fold clamp          clamp(conv(x), 0, 1)  -> hardsigmoid(6 conv(x) - 3)   another rounding
    fold flat parts     conv(concat(u, flat(v))) -> two convs (``flat``)    another rounding
    fuse activation     f(conv(x))            -> conv with epilogue f       the same bits
    drop relu           relu(a + b), a, b >= 0 -> a + b                      the same bits
    fuse residual       conv(x) + z           -> conv with epilogue + z     the same bits
    fuse last activation  f(conv(x) + z)      -> the same with f last       the same bits
    fuse gate           conv(x s)             -> conv that scales its input the same bits

An affine map is folded before batch norms and once more after them.  Only folding changes a
rounding: it makes another function of the same parameters, equal in exact arithmetic.
``compile(..., fold=False)`` leaves it out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache, partial
from typing import TYPE_CHECKING

import numpy as np

from minigrad.arrays import Array
from minigrad.engine.graph import (
    ACTIVATION_NAMES,
    CLAMPS,
    Constant,
    Epilogue,
    Graph,
    Note,
    Ref,
    Step,
    Value,
    is_conv,
    needed,
)
from minigrad.engine.lift import lift, wastes_registers
from minigrad.engine.slab import Slab
from minigrad.geometry import classify
from minigrad.kernels.tables import ACTIVATIONS
from minigrad.records import NamedTuple

if TYPE_CHECKING:
    from minigrad.engine.flat import Cut

# ``formulas`` and ``flat`` are imported by who folds: a plan from a file was folded before.

__all__ = ["FOLDS", "RULES", "Folded", "Rule", "folded", "rewrite"]

NOT_NEGATIVE = frozenset(f.name for f in ACTIVATIONS if f.never_negative)
LINEAR = ("conv2d", "linear")


class Match(NamedTuple):
    """The step that does the work of both, and the number of the one it makes needless."""

    step: Step
    absorbed: int


Verdict = Match | str | None
Uses = dict[int, list[int]]
Rule = Callable[[Graph, int, Uses], Verdict]
Folded = tuple[Array, Array]  # w', b'
Fold = Callable[[Array, "Array | None", Sequence[Array], float], Folded]


def _joined(host: Step, guest: Step, epilogue: Epilogue | None = None) -> Step:
    """``host`` with another epilogue, which makes what ``guest`` made and knows its layer."""
    absorbed = (*host.absorbed, guest.layer)
    return host._replace(absorbed=absorbed, output=guest.output, epilogue=epilogue or host.epilogue)


def _read_once(step: Step, uses: Uses) -> bool:
    """Whether one step alone reads what this one makes."""
    return len(uses[step.number]) == 1


def fold_batch_norm(graph: Graph, number: int, uses: Uses, fold: Fold | None = None) -> Verdict:
    """Batch norm after a convolution: scale its filters instead of its output."""
    norm = graph.steps[number]
    if norm.op != "batch_norm_eval":
        return None
    maker = graph.maker(norm.inputs[0])
    if maker is None or maker.op not in LINEAR or maker.epilogue != Epilogue():
        return "what it normalises is not the plain output of a convolution"
    if not _read_once(maker, uses):
        return "the convolution's output is also read before the batch norm"
    if any(not isinstance(v, Constant) for v in (*norm.inputs[1:], maker.inputs[1])):
        return "the weights are not constants"
    arrays = [constant.array for constant in norm.constants()]
    w, bias = (fold or folded)(maker.weights, maker.bias, arrays, norm.params["eps"])
    scaled = maker._replace(inputs=(maker.inputs[0], Constant(w), Constant(bias)))
    return Match(_joined(scaled, norm), maker.number)


def folded(
    w: Array, b: Array | None, norm: Sequence[Array], eps: float, room: Slab | None = None
) -> Folded:
    """(w', b'): computed in float64, rounded once to the dtype of w."""
    mean, var, gamma, beta = (np.asarray(v, np.float64) for v in norm)
    scale = gamma / np.sqrt(var + eps)
    per_filter = scale.reshape(-1, *(1,) * (w.ndim - 1))
    shift = beta + ((0.0 if b is None else b) - mean) * scale
    made = room(w.nbytes).view(w.dtype).reshape(w.shape) if room else np.empty(w.shape, w.dtype)
    np.multiply(w, per_filter, out=made, dtype=np.float64, casting="same_kind")
    return made, shift.astype(w.dtype)


def _plain_maker(graph: Graph, ref: Ref, uses: Uses) -> Step | None:
    """The convolution or linear map, with constant weights, that makes a value for one reader."""
    maker = graph.maker(ref)
    if maker is None or maker.op not in LINEAR or maker.epilogue != Epilogue():
        return None
    constant = all(v is None or isinstance(v, Constant) for v in maker.inputs[1:])
    return maker if constant and _read_once(maker, uses) else None


@lru_cache(maxsize=4096)
def _as_norm(scale: bytes, shift: bytes) -> tuple[Array, ...]:
    """The batch norm that scales and shifts; the same arrays for the same numbers."""
    gamma, beta = np.frombuffer(scale), np.frombuffer(shift)
    return np.zeros(gamma.size), np.ones(gamma.size), gamma, beta


def _scaled(
    maker: Step, guest: Step, scale: Array | float, shift: Array | float, fold: Fold | None
) -> Match:
    """scale times the maker plus shift, as the maker with other weights."""
    vectors = (np.full(maker.filters.shape[0], v, np.float64).tobytes() for v in (scale, shift))
    w, bias = (fold or folded)(maker.weights, maker.bias, _as_norm(*vectors), 0.0)
    other = maker._replace(inputs=(maker.inputs[0], Constant(w), Constant(bias)))
    return Match(_joined(other, guest), maker.number)


def fold_affine(graph: Graph, number: int, uses: Uses, fold: Fold | None = None) -> Verdict:
    """A number for each channel, added to a convolution or multiplied with it."""
    from minigrad.engine.formulas import channel_vector

    step = graph.steps[number]
    if step.op not in ("add", "sub", "mul", "div"):
        return None
    for value, ref in (step.inputs, step.inputs[::-1]):
        maker, vector = _plain_maker(graph, value, uses), channel_vector(ref)
        if maker is None or vector is None or (value is not step.inputs[0] and step.op == "div"):
            continue
        v = vector.astype(np.float64)
        if not np.isfinite(v).all() or (step.op == "div" and not v.all()):
            return "a factor or a summand is no finite number"
        if step.op in ("mul", "div"):
            return _scaled(maker, step, v if step.op == "mul" else 1 / v, 0.0, fold)
        sign = -1.0 if step.op == "sub" and value is not step.inputs[0] else 1.0
        return _scaled(maker, step, sign, -v if step.op == "sub" and sign > 0 else v, fold)
    return None


def fold_clamp(graph: Graph, number: int, uses: Uses, fold: Fold | None = None) -> Verdict:
    """clamp(x, 0, 1) = hardsigmoid(6 x - 3), which a convolution can make itself."""
    step = graph.steps[number]
    limits = step.params.get("low"), step.params.get("high")
    if step.op != "clamp" or limits != (0, 1):
        return None
    maker = _plain_maker(graph, step.inputs[0], uses)
    if maker is None or maker.op != "conv2d":
        return "it does not follow a convolution"
    match = _scaled(maker, step, 6.0, -3.0, fold)
    clamped = match.step._replace(epilogue=Epilogue(activation="hardsigmoid"))
    return match._replace(step=clamped)


def fuse_activation(graph: Graph, number: int, uses: Uses) -> Verdict:
    """An activation becomes the epilogue of the convolution it follows."""
    act = graph.steps[number]
    if not _is_activation(act):
        return None
    maker = graph.maker(act.inputs[0])
    if maker is None or maker.op != "conv2d":
        return "it does not follow a convolution"
    if maker.epilogue.activation or maker.epilogue.residual:
        return "the convolution already has an activation or a residual"
    if wastes_registers(act):
        return "it is computed over whole registers, which so few channels do not fill"
    if not _read_once(maker, uses):
        return "the convolution's output is also read without the activation"
    return Match(_joined(maker, act, _activated(maker.epilogue, act)), maker.number)


def _is_activation(step: Step) -> bool:
    """Whether an epilogue can apply a step: a function of one number, or prelu."""
    known = step.op == "prelu" and isinstance(step.inputs[1], Constant) and len(step.shape) == 4
    return known or step.op in ACTIVATION_NAMES


def _activated(epilogue: Epilogue, act: Step, last: bool = False) -> Epilogue:
    slope = act.inputs[1] if act.op == "prelu" else None
    assert slope is None or isinstance(slope, Constant)
    return epilogue._replace(activation=act.op, slope=slope, last=last)


def fuse_last(graph: Graph, number: int, uses: Uses) -> Verdict:
    """An activation of a sum becomes the last part of the convolution that adds it."""
    act = graph.steps[number]
    maker = graph.maker(act.inputs[0]) if act.inputs and _is_activation(act) else None
    if maker is None or maker.op != "conv2d" or not maker.epilogue.residual:
        return None
    if wastes_registers(act):
        return "it is computed over whole registers, which so few channels do not fill"
    first = maker.epilogue.activation
    if not _read_once(maker, uses):
        return "the sum is also read without it"
    if first and first in CLAMPS and act.op in CLAMPS and not maker.epilogue.last:
        return Match(_joined(maker, act, maker.epilogue._replace(clamp=act.op)), maker.number)
    if first:
        return "the convolution has an activation before the sum"
    return Match(_joined(maker, act, _activated(maker.epilogue, act, last=True)), maker.number)


def _not_negative(graph: Graph, ref: Ref) -> bool:
    """Whether a value is certainly >= 0 or NaN (a sum of such values is, too)."""
    maker = graph.maker(ref)
    if maker is None:
        return False
    if maker.op in ("add", "max_pool2d", "reshape"):
        return all(_not_negative(graph, r) for r in maker.inputs)
    if maker.epilogue.clamp:
        return True
    clipped = (maker.epilogue.activation or maker.op) in NOT_NEGATIVE
    residual = None if maker.epilogue.last else maker.epilogue.residual
    return clipped and (residual is None or _not_negative(graph, residual))


def drop_relu(graph: Graph, number: int, uses: Uses) -> Verdict:
    """relu of what cannot be negative: the reader goes, its input takes its place."""
    act = graph.steps[number]
    if act.op != "relu":
        return None
    maker = graph.maker(act.inputs[0])
    if maker is None or not _not_negative(graph, act.inputs[0]):
        return "its input may be negative"
    if not _read_once(maker, uses):
        return "its input is also read elsewhere"
    return Match(_joined(maker, act), maker.number)


def fuse_residual(graph: Graph, number: int, uses: Uses) -> Verdict:
    """A sum becomes the epilogue of the later of the two convolutions it adds."""
    add = graph.steps[number]
    summands = [v for v in add.inputs if isinstance(v, Value)]
    if add.op != "add" or len(summands) < 2:
        return None
    for value, other in sorted(
        (summands, summands[::-1]), key=lambda pair: pair[0].number, reverse=True
    ):
        maker = graph.maker(value)
        free = maker is not None and maker.op == "conv2d" and maker.epilogue.residual is None
        if maker is not None and free and _read_once(maker, uses) and other != value:
            return Match(_joined(maker, add, maker.epilogue._replace(residual=other)), value.number)
    return "neither summand is a convolution that only the sum reads"


def fuse_gate(graph: Graph, number: int, uses: Uses) -> Verdict:
    """A convolution of x s, s one number a channel, scales x while it reads it."""
    conv = graph.steps[number]
    if not is_conv(conv):
        return None
    product = graph.maker(conv.inputs[0])
    if product is None or product.op != "mul":
        return None
    if classify(conv.params["spec"], conv.filters.shape) != "pointwise":
        return "only a pointwise convolution can scale its input"
    if not _read_once(product, uses):
        return "the scaled map is also read elsewhere"
    for x, s in (product.inputs, product.inputs[::-1]):
        spread = graph.maker(s)
        if spread is None or spread.op != "broadcast_to" or not isinstance(x, Value):
            continue
        if isinstance(spread.inputs[0], Value) and spread.source.shape == (*x.shape[:2], 1, 1):
            step = conv._replace(inputs=(x, *conv.inputs[1:]))
            step = step._replace(epilogue=conv.epilogue._replace(gate=spread.source))
            absorbed = (product.layer, *(step.absorbed or (step.layer,)))  # it works after the gate
            return Match(step._replace(absorbed=absorbed), product.number)
    return "the factor is not one number a channel"


RULES: dict[str, Rule] = {
    "fold affine": fold_affine,
    "fold batch norm": fold_batch_norm,
    "fold clamp": fold_clamp,
    "fuse activation": fuse_activation,
    "fuse residual": fuse_residual,
    "drop relu": drop_relu,
    "fuse last activation": fuse_last,
    "fuse gate": fuse_gate,
}
FOLDS = ("fold formulas", *(name for name in RULES if name.startswith("fold")), "fold flat parts")


def rewrite(
    graph: Graph,
    leave_out: tuple[str, ...] = (),
    fold: Callable[..., Folded] = folded,
    cut: Cut | None = None,
) -> tuple[Graph, list[Note]]:
    """Apply every rule, one after the other, to every step, and say what each did.

    Parameters
    ----------
    graph : Graph
    leave_out : tuple of str
        Names of rules that are not applied.
    fold : callable
        In place of ``folded``.
    cut : callable
        In place of ``flat.columns_of``.

    Returns
    -------
    graph : Graph
    notes : list of Note
    """
    notes: list[Note] = []
    graph = graph.with_steps(graph.steps)
    if "fold formulas" not in leave_out:
        from minigrad.engine.formulas import recognise_formulas

        graph = recognise_formulas(graph)
    graph = lift(graph)
    folding = partial(fold_batch_norm, fold=partial(fold, room=Slab(_foldable(graph))))
    rules: dict[str, Rule] = {
        **RULES,
        "fold batch norm": folding,
        "fold affine": partial(fold_affine, fold=fold),
        "fold clamp": partial(fold_clamp, fold=fold),
    }
    folds = {name: rule for name, rule in rules.items() if name in FOLDS and name not in leave_out}
    _apply_rules(graph, folds, notes)
    if "fold affine" in folds:  # again, behind what was a batch norm
        _apply_rules(graph, {"fold affine": folds["fold affine"]}, notes)
    if "fold flat parts" not in leave_out:
        from minigrad.engine.flat import columns_of, without_flat_parts

        graph, layers = without_flat_parts(graph, cut or columns_of)
        notes += [Note("fold flat parts", layer, True, "") for layer in layers]
    _apply_rules(graph, {k: r for k, r in rules.items() if k not in (*FOLDS, *leave_out)}, notes)
    return graph.with_steps(needed(graph.steps, graph.outputs)), notes


def _apply_rules(graph: Graph, rules: Mapping[str, Rule], notes: list[Note]) -> None:
    """One rule after the other at every step, in place."""
    uses = graph.uses()
    for name, rule in rules.items():
        for number in list(graph.steps):
            verdict = rule(graph, number, uses) if number in graph.steps else None
            if verdict is None:
                continue
            applied = isinstance(verdict, Match)
            why = "" if applied else str(verdict)
            notes.append(Note(name, graph.steps[number].layer, applied, why))
            if isinstance(verdict, Match):
                _apply(graph, number, verdict, uses)


def _foldable(graph: Graph) -> int:
    """The bytes that folded weights may take together."""
    norms = [step.inputs[0] for step in graph.steps.values() if step.op == "batch_norm_eval"]
    makers = [step for ref in norms if (step := graph.maker(ref)) and step.op in LINEAR]
    weights = [step.inputs[1] for step in makers]
    return sum(w.nbytes + 64 for w in weights if isinstance(w, Constant))


def _apply(graph: Graph, number: int, match: Match, uses: Uses) -> None:
    """Put the new step in the reader's place, in the graph and in the table of readers."""
    gone = graph.steps.pop(match.absorbed)
    for value in (*gone.reads(), *graph.steps[number].reads()):
        readers = uses[value.number]
        uses[value.number] = [k for k in readers if k not in (match.absorbed, number)]
    graph.steps[number] = match.step
    for value in match.step.reads():
        uses[value.number].append(number)
