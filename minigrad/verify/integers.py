"""Integer products and sums: int8 and uint8 data, sums in int32, exact or wrong.

No rounding, so no bound: y must be the sum, element by element.  What is wrong in a known way
is named.  The instruction ``vpmaddubsw`` of x86 without VNNI adds two neighbouring products
u8 x s8 in 16 bits and saturates: 255 * 127 * 2 does not fit.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from minigrad.errors import MinigradError, ShapeError
from minigrad.tensor import Array
from minigrad.verify.arithmetic import FORMATS, Arithmetic
from minigrad.verify.operations import Call, Judged
from minigrad.verify.verdict import Verdict, decide

__all__ = ["judge_integers"]

FACTORS = {
    "conv2d": ("x", "w"),
    "depthwise_conv2d": ("x", "w"),
    "linear": ("x", "w"),
    "matmul": ("a", "b"),
}
EXACT = Arithmetic(None, FORMATS["float64"], FORMATS["float64"])
LOW, HIGH = -(2**15), 2**15 - 1


def judge_integers(call: Call, y: Array) -> Verdict:
    """The verdict on sums of products of integers.

    Parameters
    ----------
    call : Call
        A convolution, linear map or matrix product of integer arrays.
    y : array of integers

    Returns
    -------
    Verdict
        Every bound is 0; ``pattern`` names the saturation of 16-bit pairs.

    Raises
    ------
    MinigradError
        If the operation has no sums of products, or an input is not of integers.
    """
    floats = [k for k, d in call.dtypes.items() if d in FORMATS]
    if call.op not in FACTORS or floats:
        raise MinigradError(
            f"{call.op}: y is {y.dtype}; integers are judged for {', '.join(FACTORS)}, "
            f"with inputs of integers{f', but {floats[0]} is not' if floats else ''}"
        )
    wide = _floats(call)
    judged = wide.evaluate(EXACT)
    if y.shape != judged.exact.shape:
        raise ShapeError(f"{call.op} gives an array of shape {judged.exact.shape}, got {y.shape}")
    zero = np.zeros(y.shape)
    exact = judged._replace(exact=np.rint(judged.exact), bound=zero, typical=zero)
    verdict = replace(decide(y, exact, EXACT), arithmetic=f"{y.dtype}, exact")
    if not verdict and _saturated(wide, y, exact):
        verdict = replace(verdict, pattern=f"{verdict.pattern}; saturation of 16-bit pairs")
    return verdict


def _floats(call: Call) -> Call:
    """The same call on float64, in which sums of 2^53 / 2^15 products are exact."""
    arrays = {k: np.asarray(v, np.float64) for k, v in call.arguments.items() if k in call.dtypes}
    return call._replace(
        arguments=call.arguments | arrays, dtypes=dict.fromkeys(call.dtypes, "float64")
    )


def _saturated(call: Call, y: Array, exact: Judged) -> bool:
    """Whether the wrong values are those of pairs of channels that saturate in 16 bits."""
    x, w = (call.arguments[name] for name in FACTORS[call.op])
    axis_x, axis_w = (-1, -2) if call.op == "matmul" else (1, 1)
    count = x.shape[axis_x]
    if w.shape[axis_w] != count or count < 2:
        return False
    total = exact.exact.copy()
    for tap in _taps(w) if w.ndim == 4 else [w]:
        for k in range(0, count, 2):
            part = _part(call, tap, slice(k, min(k + 2, count)), axis_x, axis_w)
            total += np.clip(part, LOW, HIGH) - part
    wrong = np.asarray(y, np.float64) != exact.exact
    return bool(np.array_equal(total[wrong], np.asarray(y, np.float64)[wrong]))


def _taps(w: Array) -> Iterator[Array]:
    """w with all taps but one set to 0."""
    for a, b in np.ndindex(w.shape[2:]):
        one = np.zeros_like(w)
        one[:, :, a, b] = w[:, :, a, b]
        yield one


def _part(call: Call, tap: Array, which: slice, axis_x: int, axis_w: int) -> Array:
    """The sum over one tap of a pair of channels, without the bias."""
    x, w = FACTORS[call.op]
    cut = {
        name: np.take(array, range(which.start, which.stop), axis=axis)
        for name, array, axis in ((x, call.arguments[x], axis_x), (w, tap, axis_w))
    }
    rest = {"bias": None} if "bias" in call.arguments else {}
    return call._replace(arguments=call.arguments | cut | rest).evaluate(EXACT).exact
