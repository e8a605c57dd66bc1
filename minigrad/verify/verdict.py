"""Yes or no: may this be the value of that primitive?

    |y - exact| <= bound    in every element,

exact being the primitive in float64 on the NumPy backend, and bound the theorem's for one
evaluation in the dtype of y and one in float64 (``bounds``).  A no is a proof that y was not
computed by the formula in that dtype, in whatever order; a yes leaves room for errors below
the bound only.  What is not finite must be the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from minigrad import kernels
from minigrad.errors import DtypeError, ShapeError
from minigrad.tensor import PRIMITIVES, Array
from minigrad.verify.bounds import step_bound

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
    with kernels.backend("numpy"):
        exact = _exact(primitive, arrays, params or {})
        if y.shape != exact.shape:
            raise ShapeError(f"{primitive} gives an array of shape {exact.shape}, got {y.shape}")
        allowed = step_bound(primitive, arrays, params or {}, exact, y.dtype)
    return _verdict(y, exact, allowed)


def _check_dtypes(primitive: str, y: Array, inputs: Sequence[Array | None]) -> None:
    for k, x in enumerate(inputs):
        if x is not None and x.dtype != y.dtype:
            raise DtypeError(f"{primitive}: y is {y.dtype}, but input {k} is {x.dtype}")


def _exact(primitive: str, inputs: Sequence[Array | None], params: Mapping[str, Any]) -> Array:
    wide = [None if x is None else x.astype(np.float64) for x in inputs]
    result = PRIMITIVES[primitive].forward(*wide, **params)
    return np.asarray(result[0] if isinstance(result, tuple) else result)


def _verdict(y: Array, exact: Array, allowed: Array) -> Verdict:
    same = (y == exact) | (np.isnan(y) & np.isnan(exact))
    with np.errstate(divide="ignore", invalid="ignore"):
        used = np.abs(y - exact) / allowed
    used = np.where(same, 0.0, np.where(np.isfinite(used), used, np.inf))
    if not used.size:
        return Verdict(True, 0.0, ())
    where = np.unravel_index(int(np.argmax(used)), used.shape)
    worst = float(used[where])
    return Verdict(worst <= 1, worst, tuple(int(k) for k in where))
