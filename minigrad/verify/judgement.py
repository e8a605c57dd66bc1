"""``judge``: one array that anybody computed, in the words of the public function."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from minigrad.errors import DtypeError, MinigradError, ShapeError
from minigrad.tensor import Array
from minigrad.verify.arithmetic import FORMATS, Arithmetic, arithmetic
from minigrad.verify.integers import judge_integers, of_integers
from minigrad.verify.normwise import normwise
from minigrad.verify.operations import IMAGES, Call, as_array, bind, check_floats, to_nchw
from minigrad.verify.verdict import Verdict, decide

__all__ = ["judge"]


def judge(
    op: str,
    y: Any,
    *inputs: Any,
    layout: str = "NCHW",
    dtype: str | None = None,
    accumulator: str | None = None,
    wrt: str | None = None,
    cotangent: Any = None,
    algorithm: str | None = None,
    functions: str = "relative",
    exact: bool = False,
    **words: Any,
) -> Verdict:
    """Judge y, an array that anybody computed, as the result of a public operation.

    Parameters
    ----------
    op : str
        A function of ``minigrad`` such as "conv2d" or "softmax", or "depthwise_conv2d",
        "inverted_residual" and "squeezenext_block" of ``minigrad.verify.definitions``.
    y : array
        What was computed.  Arrays may be of any library with DLPack or ``__array__``.
    *inputs : arrays, or None where the function takes it
        What it was computed from, in the order of the function's parameters.
    layout : {"NCHW", "NHWC"}
        Of images, results and cotangents; weights are always (Cout, Cin/groups, kh, kw).
    dtype : {"float64", "float32", "float16", "bfloat16", "tf32"}, optional
        What the kernel computes in; the dtype of y by default.  "tf32" is float32 data that are
        rounded to 11 bits before they are multiplied.
    accumulator : str, optional
        What sums are kept in: float32 by default, float64 for float64.
    wrt : str, optional
        Judge y as the gradient of <cotangent, op(inputs)> in this argument.
    cotangent : array, optional
        The cotangent of the result, needed with ``wrt``.
    algorithm : {"winograd", "fft", "strassen"}, optional
        Judge a stride-1 convolution (Strassen's: a linear map or matrix product) by the
        normwise bound of that algorithm, which is far wider.
    functions : {"relative", "absolute"}
        "absolute" lets the logistic function and tanh be computed from each other, as ONNX
        Runtime and ncnn do: 1/2 + tanh(x / 2) / 2 has an error of a few u, however small the
        value is.  The verdict then says so.
    exact : bool
        Allow no error but the last rounding, as for integers whose every partial sum is exact.
    **words
        The keyword arguments of the function, such as ``stride=2``.

    Returns
    -------
    Verdict

    Raises
    ------
    MinigradError, ShapeError, DtypeError
        If the operation, a word, a shape or a dtype makes no sense.

    Examples
    --------
    A convolution as a matrix product in float32 may differ from ours, and is right; one that
    was summed in float16 is not:

    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(1, 64, 8, 8)).astype(np.float32)
    >>> w = rng.normal(size=(16, 64, 1, 1)).astype(np.float32)
    >>> y = np.einsum("nchw,oc->nohw", x, w[:, :, 0, 0])
    >>> judge("conv2d", y, x, w).within
    True
    >>> half = np.einsum("nchw,oc->nohw", x.astype(np.float16), w[:, :, 0, 0].astype(np.float16))
    >>> judge("conv2d", half.astype(np.float32), x, w).decision
    'wrong'
    """
    call = bind(op, inputs, words, layout)
    got = as_array(y, f"{op}: y")
    if call.dtypes and (got.dtype.kind in "iu" or of_integers(call)):
        return judge_integers(call, _turned(got, call, None, layout))
    check_floats(call)
    how = _arithmetic(call, got, dtype, accumulator, functions)
    if wrt is not None:
        _check_wrt(call, wrt, cotangent)
        cotangent = _turned(as_array(cotangent, f"{op}: cotangent"), call, None, layout)
    values = _turned(got, call, wrt, layout)
    if algorithm is not None:
        judged = normwise(call, how, algorithm, wrt)
    else:
        judged = call.evaluate(how, wrt, cotangent)
    if exact:
        judged = judged.rounded(how.output)
    if values.shape != judged.exact.shape:
        raise ShapeError(f"{op} gives an array of shape {judged.exact.shape}, got {values.shape}")
    finite = all(np.isfinite(v).all() for v in call.arguments.values() if _is_float(v))
    groups = call.arguments.get("groups", 1)
    verdict = decide(values, judged, how, finite=finite, groups=groups)
    return replace(verdict, where=_given(verdict.where, call, wrt, layout))


def _is_float(value: object) -> bool:
    return isinstance(value, np.ndarray) and value.dtype.kind == "f"


def _arithmetic(
    call: Call, y: Array, dtype: str | None, accumulator: str | None, functions: str
) -> Arithmetic:
    """The arithmetic that is judged, after a check that the arrays are of it."""
    floats = {k: d for k, d in call.dtypes.items() if d in FORMATS}
    if dtype is None:
        for name, other in floats.items():
            if other != y.dtype.name:
                raise DtypeError(f"{call.op}: y is {y.dtype}, but {name} is {other}")
    if dtype == "int8":
        raise DtypeError(f"{call.op}: dtype='int8' is for arrays of integers, and y is {y.dtype}")
    how = arithmetic(dtype or y.dtype.name, accumulator, functions)
    if how.inputs is None:
        for name in floats:
            value = call.arguments[name]
            for array in value if isinstance(value, list) else [value]:
                if not np.array_equal(how.output.round(array), array, equal_nan=True):
                    raise DtypeError(
                        f"{call.op}: {name} has values that are no {how.output.name}: "
                        "pass what the kernel read"
                    )
    wide = np.asarray(y, np.float64)
    if how.output.precision < 24 and not np.array_equal(
        how.output.round(wide), wide, equal_nan=True
    ):
        return how._replace(output=how.accumulator)  # the sum was handed out unrounded
    return how


def _check_wrt(call: Call, wrt: str, cotangent: Any) -> None:
    if wrt not in call.differentiable:
        names = ", ".join(call.differentiable)
        raise MinigradError(f"{call.op}: wrt must be one of {names}, not {str(wrt)[:40]!r}")
    if cotangent is None:
        raise MinigradError(f"{call.op}: a gradient is judged with its cotangent=")


def _is_image(call: Call, wrt: str | None) -> bool:
    arguments, result = IMAGES.get(call.op, ((), False))
    return result if wrt is None else wrt in arguments


def _turned(array: Array, call: Call, wrt: str | None, layout: str) -> Array:
    if layout == "NHWC" and _is_image(call, wrt):
        return to_nchw(array, f"{call.op}: y")
    return array


def _given(where: tuple[int, ...], call: Call, wrt: str | None, layout: str) -> tuple[int, ...]:
    """An index of an image in the layout that was given."""
    if layout == "NHWC" and _is_image(call, wrt) and where:
        n, c, h, v = where
        return n, h, v, c
    return where
