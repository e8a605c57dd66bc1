"""Steps of a saved plan that move, resize, compare or cut numbers, as calls of public functions."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from minigrad import ops
from minigrad.errors import FormatError, quote
from minigrad.ops.resampling import resample
from minigrad.ops.transposed import interleave
from minigrad.sampling import Taps
from minigrad.tensor import Tensor

__all__ = ["MOVES", "Inputs", "Params", "given"]

Inputs: TypeAlias = "Sequence[Tensor | None]"
Params: TypeAlias = "dict[str, Any]"


def given(x: Tensor | None) -> Tensor:
    """An argument that must be there."""
    if x is None:
        raise FormatError("an argument is missing")
    return x


def _index(described: object) -> object:
    """A part of an index: a slice, an Ellipsis, a number or None."""
    match described:
        case {"slice": "..."}:
            return Ellipsis
        case {"slice": [start, stop, step]} if all(
            v is None or type(v) is int for v in (start, stop, step)
        ):
            return slice(start, stop, step)
        case None | int():
            return described
    raise FormatError(f"{quote(str(described))} is no index")


def _getitem(inputs: Inputs, params: Params) -> Tensor:
    index: Any = tuple(map(_index, params["index"]))
    return ops.getitem(given(inputs[0]), index)


def _taps(described: Any) -> Taps:
    """The taps of one axis, each of which reads a pixel that there is."""
    size, pixels, weights = described
    rows, factors = tuple(map(tuple, pixels)), tuple(map(tuple, weights))
    sound = (
        type(size) is int
        and len({len(row) for row in (*rows, *factors)}) <= 1
        and len(rows) == len(factors)
        and all(type(i) is int and 0 <= i < size for row in rows for i in row)
        and all(type(w) is float and math.isfinite(w) for row in factors for w in row)
    )
    if not sound or (rows and not rows[0]):
        raise FormatError("a step of the plan resizes by taps that do not fit")
    return Taps(size, rows, factors)


def _resample(inputs: Inputs, params: Params) -> Tensor:
    return resample(given(inputs[0]), _taps(params["rows"]), _taps(params["columns"]))


def _pair(described: Any) -> tuple[int, int]:
    first, second = described
    if type(first) is not int or type(second) is not int:
        raise FormatError("a step of the plan weaves maps by no integers")
    return first, second


def _interleave(inputs: Inputs, params: Params) -> Tensor:
    return interleave([*map(given, inputs)], _pair(params["stride"]), _pair(params["size"]))


def _pad(inputs: Inputs, params: Params) -> Tensor:
    return ops.pad(given(inputs[0]), params["pads"], params["value"])


def _prelu(inputs: Inputs, params: Params) -> Tensor:
    return ops.prelu(given(inputs[0]), given(inputs[1]))


def _places(inputs: Inputs, params: Params) -> Tensor:
    x, words = given(inputs[0]), (params["k"], params["axis"], params["largest"], params["last"])
    return ops.places(x, *words)


MOVES: dict[str, Callable[[Inputs, Params], Tensor]] = {
    "clamp": lambda inputs, params: ops.clamp(given(inputs[0]), params["low"], params["high"]),
    "compare": lambda inputs, params: ops.compare(
        given(inputs[0]), given(inputs[1]), params["relation"]
    ),
    "choose": lambda inputs, params: ops.choose(*map(given, inputs)),
    "getitem": _getitem,
    "interleave": _interleave,
    "max": lambda inputs, params: ops.max(
        given(inputs[0]), axis=params["axes"], keepdims=params["keepdims"]
    ),
    "pad": _pad,
    "places": _places,
    "prelu": _prelu,
    "resample": _resample,
    "rounded": lambda inputs, params: ops.rounded(given(inputs[0]), params["how"]),
    "take_along": lambda inputs, params: ops.take_along(
        given(inputs[0]), given(inputs[1]), params["axis"]
    ),
}
