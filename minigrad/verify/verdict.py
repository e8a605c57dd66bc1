"""Yes or no: may this be the value of that primitive?

    |y - exact| <= bound    in every element,

exact being the primitive in float64 on the NumPy backend, and bound the theorem's for one
evaluation in the dtype of y and one in float64 (``bounds``).  A no is a proof that y was not
computed by the formula in that dtype, in whatever order; a yes leaves room for errors below
the bound only.

The theorem's premise is that nothing overflows, so the premise is part of the verdict.  A
partial sum of the terms t_k, in whatever order, lies between -N and P, where

    P = sum of the positive t_k = (T + exact) / 2,    N = (T - exact) / 2,    T = sum |t_k|.

Where T and its bound stay below the largest number of the dtype, y must be finite.  Elsewhere
a finite y is held to its bound, inf is right if P can overflow, -inf if N can, and NaN if both
can.  Where the exact value of finite inputs is beyond float64, any value passes.  What is not
finite because an input is not must be the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from minigrad import kernels
from minigrad.errors import DtypeError, ShapeError
from minigrad.tensor import PRIMITIVES, Array
from minigrad.verify.bounds import roundings

__all__ = ["Verdict", "judge"]


class Verdict(NamedTuple):
    """What the judge says.

    Attributes
    ----------
    within : every element is within its bound
    worst : the largest error as a part of its bound; infinite where none is allowed
    where : the index of that element
    """

    within: bool
    worst: float
    where: tuple[int, ...]

    def __bool__(self) -> bool:
        return self.within


def judge(
    primitive: str,
    y: Array,
    inputs: Sequence[Array | None],
    params: Mapping[str, Any] | None = None,
) -> Verdict:
    """Judge y, an array that anybody computed, as the first output of a primitive.

    Parameters
    ----------
    primitive : str
        One of ``minigrad.tensor.PRIMITIVES``: conv2d, conv2d_input_grad, silu, ...
    y : array of float32 or float64
    inputs : arrays of the same dtype, or None where the primitive takes it
    params : mapping, optional
        The primitive's keyword arguments, as ``spec`` of conv2d.

    Raises
    ------
    ShapeError, DtypeError
        If y is not of the shape of the primitive, or an input not of the dtype of y.

    Examples
    --------
    A convolution as a matrix product in float32 may differ from ours, and is right; one that
    was summed in float16 is not:

    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(1, 64, 8, 8)).astype(np.float32)
    >>> w = rng.normal(size=(16, 64, 1, 1)).astype(np.float32)
    >>> from minigrad.geometry import ConvSpec
    >>> y = np.einsum("nchw,oc->nohw", x, w[:, :, 0, 0])
    >>> judge("conv2d", y, [x, w], {"spec": ConvSpec()}).within
    True
    >>> half = np.einsum("nchw,oc->nohw", x.astype(np.float16), w[:, :, 0, 0].astype(np.float16))
    >>> judge("conv2d", half.astype(np.float32), [x, w], {"spec": ConvSpec()}).within
    False
    """
    arrays = [None if x is None else np.asarray(x) for x in inputs]
    _check_dtypes(primitive, y, arrays)
    # What overflows is looked at in the verdict.
    with kernels.backend("numpy"), np.errstate(over="ignore", invalid="ignore"):
        exact = _exact(primitive, arrays, params or {})
        if y.shape != exact.shape:
            raise ShapeError(f"{primitive} gives an array of shape {exact.shape}, got {y.shape}")
        steps = roundings(primitive, arrays, params or {}, exact)
        allowed = steps.bound(y.dtype) + steps.bound(np.float64)
    excused = _overflowed(y, exact, np.maximum(np.abs(exact), steps.magnitude) + allowed)
    if all(x is None or np.all(np.isfinite(x)) for x in arrays):
        excused |= ~np.isfinite(exact)
    return _verdict(y, exact, allowed, excused)


def _check_dtypes(primitive: str, y: Array, inputs: Sequence[Array | None]) -> None:
    for k, x in enumerate(inputs):
        if x is not None and x.dtype != y.dtype:
            raise DtypeError(f"{primitive}: y is {y.dtype}, but input {k} is {x.dtype}")


def _exact(primitive: str, inputs: Sequence[Array | None], params: Mapping[str, Any]) -> Array:
    wide = [None if x is None else x.astype(np.float64) for x in inputs]
    result = PRIMITIVES[primitive].forward(*wide, **params)
    return np.asarray(result[0] if isinstance(result, tuple) else result)


def _overflowed(y: Array, exact: Array, size: Array) -> Array:
    """Where y is not finite and may be: some order of the sum overflows in that direction.

    Parameters
    ----------
    y : array
        The judged values.
    exact : array of float64
        The exact values.
    size : array of float64
        The sum of the absolute values of all terms, and the bound.

    Returns
    -------
    array of bool
    """
    largest = float(np.finfo(y.dtype).max)
    with np.errstate(over="ignore", invalid="ignore"):
        up, down = (size + exact) / 2 > largest, (size - exact) / 2 > largest
    return np.where(np.isnan(y), up & down, np.where(y > 0, up, down) & np.isinf(y))


def _verdict(y: Array, exact: Array, allowed: Array, excused: Array) -> Verdict:
    same = (y == exact) | (np.isnan(y) & np.isnan(exact)) | excused
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        used = np.abs(y - exact) / allowed
    used = np.where(same, 0.0, np.where(np.isfinite(used), used, np.inf))
    if not used.size:
        return Verdict(True, 0.0, ())
    where = np.unravel_index(int(np.argmax(used)), used.shape)
    worst = float(used[where])
    return Verdict(worst <= 1, worst, tuple(int(k) for k in where))
