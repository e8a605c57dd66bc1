"""Integer products and sums: int8 and uint8 data, sums in int32, exact or wrong.

No rounding, so no bound: y must be the sum, element by element.  What is wrong in a known way
is named:

    saturation of 16-bit pairs   the instruction ``vpmaddubsw`` of x86 without VNNI adds two
                                 neighbouring products u8 x s8 in 16 bits, and 255 * 127 * 2
                                 does not fit.  Neighbours are two channels of a tap, or two
                                 terms in the order (taps, channels) or (channels, taps)
    sums wrap, sums saturate     the accumulator has 16 bits
    u8 read as s8, s8 as u8      the bits of an argument have the other sign
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from minigrad.errors import MinigradError, ShapeError
from minigrad.geometry import ConvSpec, conv_spec
from minigrad.tensor import Array
from minigrad.verify.arithmetic import FORMATS, INTEGERS
from minigrad.verify.operations import Call, Judged
from minigrad.verify.verdict import Verdict, decide

__all__ = ["FACTORS", "floats", "judge_integers", "named", "of_integers"]

FACTORS = {
    "conv2d": ("x", "w"),
    "depthwise_conv2d": ("x", "w"),
    "linear": ("x", "w"),
    "matmul": ("a", "b"),
}
LOW, HIGH = -(2**15), 2**15 - 1


def of_integers(call: Call) -> bool:
    """Whether both factors of a sum of products are arrays of integers."""
    return all(call.dtypes.get(name, "")[:1] in ("i", "u") for name in FACTORS.get(call.op, ("",)))


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
        Every bound is 0; ``pattern`` names what is wrong in a known way.

    Raises
    ------
    MinigradError
        If the operation has no sums of products, or an input is not of integers.
    """
    real = [k for k, d in call.dtypes.items() if d in FORMATS]
    if call.op not in FACTORS or real:
        raise MinigradError(
            f"{call.op}: y is {y.dtype}; integers are judged for {', '.join(FACTORS)}, "
            f"with inputs of integers{f', but {real[0]} is not' if real else ''}"
        )
    wide = floats(call)
    judged = wide.evaluate(INTEGERS)
    if y.shape != judged.exact.shape:
        raise ShapeError(f"{call.op} gives an array of shape {judged.exact.shape}, got {y.shape}")
    exact = judged.rounded(INTEGERS.output)
    verdict = replace(decide(y, exact, INTEGERS), arithmetic=f"{y.dtype}, exact")
    return named(wide, call.dtypes, y, exact, verdict)


def floats(call: Call) -> Call:
    """The same call on float64, in which sums of 2^53 / 2^15 products are exact."""
    arrays = {k: np.asarray(v, np.float64) for k, v in call.arguments.items() if k in call.dtypes}
    return call._replace(
        arguments=call.arguments | arrays, dtypes=dict.fromkeys(call.dtypes, "float64")
    )


def named(call: Call, dtypes: dict[str, str], y: Array, exact: Judged, verdict: Verdict) -> Verdict:
    """The verdict with a name for what is wrong, if the wrong values have one.

    Parameters
    ----------
    call : Call
        On float64 arrays of integers.
    dtypes : dict
        What these are the numbers of.
    y : array
    exact : Judged
    verdict : Verdict
    """
    got = np.asarray(y, np.float64)
    wrong = got != exact.exact
    if verdict or not wrong.any():
        return verdict
    for name, values in _known(call, dtypes, exact.exact):
        if np.array_equal(values[wrong], got[wrong]):
            return replace(verdict, pattern=f"{verdict.pattern}; {name}")
    return verdict


def _known(call: Call, dtypes: dict[str, str], exact: Array) -> Iterator[tuple[str, Array]]:
    """What each kind of wrong kernel gives."""
    for pairs in _pairs(call):
        lost = (np.clip(pairs, LOW, HIGH) - pairs).sum(axis=-1)
        yield "saturation of 16-bit pairs", exact + lost.reshape(exact.shape)
    bias = call.arguments.get("bias")
    late = 0.0 if bias is None else bias.reshape((-1,) + (1,) * (exact.ndim - 2))
    for added in (late, 0.0):  # after the sum, or as its first term
        part = exact - added
        yield "sums wrap in 16 bits", (part - LOW) % 2**16 + LOW + added
        yield "sums saturate in 16 bits", np.clip(part, LOW, HIGH) + added
    for name in FACTORS[call.op]:
        other = {"uint8": np.int8, "int8": np.uint8}.get(dtypes[name])
        if other is not None:
            value = call.arguments[name].astype(dtypes[name]).view(other).astype(np.float64)
            seen = call._replace(arguments=call.arguments | {name: value})
            read = "u8 read as s8" if other is np.int8 else "s8 read as u8"
            yield f"{name}: {read}", seen.evaluate(INTEGERS).exact


def _pairs(call: Call) -> Iterator[Array]:
    """The sums of neighbouring products of every output, (outputs, pairs), in three orders."""
    x, w = (call.arguments[name] for name in FACTORS[call.op])
    if call.op in ("linear", "matmul"):
        rows = w.T if call.op == "matmul" else w
        yield _neighbours(x[:, None, :] * rows)
        return
    words = {k: call.arguments[k] for k in ("stride", "padding", "dilation", "groups")
             if k in call.arguments}  # fmt: skip
    if call.op == "depthwise_conv2d":
        words["groups"] = x.shape[1]
    terms = _terms(x, w, conv_spec(x.shape, w.shape, **words))
    taps_first = terms.transpose(0, 1, 2, 4, 5, 3)
    yield _neighbours(taps_first).reshape(*terms.shape[:3], -1).transpose(0, 2, 1, 3)
    for order in (taps_first, terms):
        flat = order.reshape(*terms.shape[:3], -1)
        yield _neighbours(flat).transpose(0, 2, 1, 3)


def _neighbours(terms: Array) -> Array:
    """Sums of two neighbours along the last axis; the last of an odd number stays alone."""
    whole = terms[..., : terms.shape[-1] // 2 * 2]
    pairs = whole[..., ::2] + whole[..., 1::2]
    return np.concatenate([pairs, terms[..., whole.shape[-1] :]], axis=-1)


def _terms(x: Array, w: Array, spec: ConvSpec) -> Array:
    """Every product of a convolution: (n, place, output channel, channel, tap, tap)."""
    big = np.pad(x, ((0, 0), (0, 0), *spec.padding))
    reach = [d * (k - 1) + 1 for d, k in zip(spec.dilation, w.shape[2:], strict=True)]
    seen = np.lib.stride_tricks.sliding_window_view(big, reach, axis=(2, 3))
    (sh, sw), (dh, dw) = spec.stride, spec.dilation
    seen = seen[:, :, ::sh, ::sw, ::dh, ::dw].transpose(0, 2, 3, 1, 4, 5)
    n, ho, wo, _, kh, kw = seen.shape
    o, each = len(w) // spec.groups, w.shape[1]
    patches = seen.reshape(n, ho * wo, spec.groups, 1, each, kh, kw)
    kernels = w.reshape(spec.groups, o, each, kh, kw)
    return np.asarray(patches * kernels).reshape(n, ho * wo, len(w), each, kh, kw)
