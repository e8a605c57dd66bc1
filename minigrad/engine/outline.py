"""The steps of a saved plan whose shapes are known by arithmetic alone.

Loading a plan is part of the start of a process, and most networks have but a few kinds of step.
These are recorded here without a tensor or an operation.  A rule says what a step makes if it
is certain of it, as strictly as the public function would; of all else it says nothing, and the
plan is recorded by the public functions (``loading_calls``), which also say what is wrong.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

from minigrad.arguments import LARGEST
from minigrad.arrays import Shape
from minigrad.engine.graph import (
    ACTIVATION_NAMES,
    CLAMPS,
    Constant,
    Epilogue,
    Ref,
    Step,
    Value,
    is_conv,
)
from minigrad.errors import MinigradError
from minigrad.geometry import PoolWindow, classify, conv_output_shape, conv_spec, pair
from minigrad.kernels.tables import FUNCTIONS_OF_ONE

__all__ = ["MOST_OUTPUTS", "MOST_STEPS", "RULES", "VERSION", "is_name", "outlined", "size"]

VERSION = "4"  # of the format
LONGEST_NAME = 200
MOST_STEPS, MOST_OUTPUTS = 1500, 1000  # of a plan in a file: so that reading any takes little time
MOST_NUMBERS = 1 << 60
ALONE = Epilogue()  # of a step into which nothing was fused
Params: TypeAlias = "dict[str, Any]"  # as JSON has them
Found: TypeAlias = "tuple[Params, Shape] | None"
Rule: TypeAlias = "Callable[[Sequence[Ref], Params], Found]"


def _conv2d(refs: Sequence[Ref], params: Params) -> Found:
    match refs, params:
        case [Value() as x, Constant() as w, b], {"spec": [stride, padding, dilation, groups]}:
            spec = conv_spec(x.shape, w.shape, stride, padding, dilation, groups)
            shape = conv_output_shape(x.shape, w.shape, spec)
            return ({"spec": spec}, shape) if _is_vector(b, w.shape[0]) else None
    return None


def _linear(refs: Sequence[Ref], params: Params) -> Found:
    match refs:
        case [Value(shape=(n, k)), Constant() as w, b] if len(w.shape) == 2 and not params:
            fits = k == w.shape[1] and _is_vector(b, w.shape[0])
            return ({}, (n, w.shape[0])) if fits else None
    return None


def _is_vector(b: Ref, size: int) -> bool:
    """Whether b is left out, or a constant of so many numbers."""
    return b is None or (isinstance(b, Constant) and b.shape == (size,))


def _function(refs: Sequence[Ref], params: Params) -> Found:
    match refs:
        case [Value() as x] if not params:
            return {}, x.shape
    return None


def _pair(refs: Sequence[Ref], params: Params) -> Found:
    match refs:
        case [Value() as a, Value() as b] if a.shape == b.shape and not params:
            return {}, a.shape
    return None


def _global_avg_pool(refs: Sequence[Ref], params: Params) -> Found:
    match refs:
        case [Value(shape=(n, c, h, w))] if h and w and not params:
            return {}, (n, c, 1, 1)
    return None


def _max_pool2d(refs: Sequence[Ref], params: Params) -> Found:
    match refs, params:
        case [Value() as x], {"window": [kernel, stride, [rows, columns], dilation, bool(ceil)]}:
            pads = pair(rows, "padding", 0), pair(columns, "padding", 0)
            sizes = pair(kernel, "kernel"), pair(stride, "stride")
            window = PoolWindow(*sizes, pads, pair(dilation, "dilation"), ceil)
            fits = all(2 * max(pads[axis]) <= window.kernel[axis] for axis in (0, 1))
            if window.dilation == (1, 1) and fits:
                return {"window": window}, window.output_shape(x.shape)
    return None


def _shape(params: Params) -> Shape | None:
    """The only parameter, if it is a shape."""
    match params:
        case {"shape": list(sizes)} if len(params) == 1 and len(sizes) <= 8:
            known = all(type(n) is int and 0 <= n <= LARGEST for n in sizes)
            return tuple(sizes) if known else None
    return None


def _reshape(refs: Sequence[Ref], params: Params) -> Found:
    match refs:
        case [Value() as x] if (shape := _shape(params)) is not None:
            same = math.prod(shape) == math.prod(x.shape)
            return ({"shape": shape}, shape) if same else None
    return None


def _like(others: Sequence[Ref], params: Params) -> Shape | None:
    """The shape of the only other value, or the parameter."""
    match others:
        case [Value() as other] if not params:
            return other.shape
        case []:
            return _shape(params)
    return None


def _broadcast_to(refs: Sequence[Ref], params: Params) -> Found:
    match refs:
        case [Value() as x, *like] if (shape := _like(like, params)) and len(shape) == len(x.shape):
            fits = all(old in (1, new) for old, new in zip(x.shape, shape, strict=True))
            fits = fits and shape != x.shape and math.prod(shape) < MOST_NUMBERS
            return ({"shape": shape}, shape) if fits else None
    return None


RULES: dict[str, Rule] = {
    "conv2d": _conv2d,
    "linear": _linear,
    "add": _pair,
    "mul": _pair,
    "global_avg_pool": _global_avg_pool,
    "max_pool2d": _max_pool2d,
    "reshape": _reshape,
    "broadcast_to": _broadcast_to,
    **{f.name: _function for f in FUNCTIONS_OF_ONE},
}


def is_name(text: str) -> bool:
    """Whether a text can be the name of a layer."""
    return len(text) <= LONGEST_NAME and text.isprintable()


def size(steps: Sequence[object]) -> int:
    """How many steps there are, all that is fused into others counted."""
    fused = [s[5] for s in steps if isinstance(s, list) and len(s) > 5]
    return len(steps) + sum(len(words) for words in fused if isinstance(words, dict))


def outlined(
    steps: Sequence[object], constants: Mapping[str, Constant], start: Value
) -> dict[int, Step] | None:
    """The recorded steps, if each is of a kind that is known here and certainly right.

    Parameters
    ----------
    steps : sequence
        As a plan file describes them.
    constants : mapping
        What they may read beside values, by name.
    start : Value
        The input.
    """
    values: dict[object, Ref] = {None: None, "0": start}
    values.update(constants)
    made: dict[int, Step] = {}
    for number, described in enumerate(steps, 1):
        try:
            step = _outlined(described, values, number, start)
        except (MinigradError, TypeError, ValueError, LookupError, OverflowError):
            return None
        if step is None:
            return None
        made[number] = step
        values[str(number)] = step.output
    return made


def _outlined(
    described: object, values: Mapping[object, Ref], number: int, start: Value
) -> Step | None:
    match described:
        case [str(op), list(names), dict(params), str(layer), str(last), *fused] if op in RULES:
            refs = tuple([values[name] for name in names])
            alike = all(ref is None or ref.dtype == start.dtype for ref in refs)
            found = RULES[op](refs, params) if alike and is_name(layer) and is_name(last) else None
            if found is not None:
                value = Value(number, found[1], start.dtype)
                read = refs[:1] if op == "broadcast_to" else refs  # the other gives its shape
                step = Step(op, read, found[0], layer, value, ALONE, (last,), ())
                return _fused(step, fused, values) if fused else step
    return None


def _fused(step: Step, described: Sequence[object], values: Mapping[object, Ref]) -> Step | None:
    """The step with what was fused into it, if that is a sum, a gate and no prelu."""
    match described:
        case [dict(words)] if is_conv(step):
            read = {name: values[words[name]] for name in ("residual", "gate") if name in words}
            epilogue = Epilogue(**{**words, **read})
            return step._replace(epilogue=epilogue) if _fits(epilogue, step) else None
    return None


def _fits(epilogue: Epilogue, step: Step) -> bool:
    """Whether a convolution can have this epilogue, as the rules of ``fuse`` would make it."""
    first, residual, gate, slope, last, clamp = epilogue
    return (
        (first is None or first in ACTIVATION_NAMES)
        and (residual is None or _is_like(residual, step.output, step.shape))
        and (gate is None or _is_gate(gate, step))
        and slope is None
        and (last is False or (last is True and first is not None and residual is not None))
        and (clamp is None or (clamp in CLAMPS and first in CLAMPS and not last))
        and (clamp is None or residual is not None)
    )


def _is_gate(gate: Ref, step: Step) -> bool:
    """Whether a value has one number for each channel that a pointwise convolution reads."""
    pointwise = classify(step.params["spec"], step.filters.shape) == "pointwise"
    return pointwise and _is_like(gate, step.source, (*step.source.shape[:2], 1, 1))


def _is_like(ref: Ref, other: Value, shape: Shape) -> bool:
    """Whether a reference is a value of this shape and the other's dtype."""
    return isinstance(ref, Value) and ref.shape == shape and ref.dtype == other.dtype
