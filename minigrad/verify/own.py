"""The bound of this package's own compiled kernels: a sum counts by its depth, not its length.

``contract`` fixes where a long sum is cut.  A term meets the additions of its block, then at
most three more, since blocks are added in two words (hi, lo): the one into lo, one of lo's
own, and hi + lo.  So the n of the theorem becomes

    sums of values       1 in float32, whose accumulator is float64; CHAIN + 7 in float64
    weight gradients     PIXELS + 3
    linear, matmul       INNER + 3

or n, where that is less.  Forward convolutions and their input gradients are one chain: n stays.
The judge of other people's kernels must allow any order and keeps n everywhere.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from minigrad.kernels.contract import CHAIN, INNER, PIXELS
from minigrad.tensor import Array
from minigrad.verify.arithmetic import FORMATS, Arithmetic
from minigrad.verify.bounds import roundings

__all__ = ["own_bound"]

ONE_CHAIN = {"conv2d", "conv2d_input_grad", "max_pool2d_input_grad", "scatter"}
ONE_ROUNDING = {"sum", "global_avg_pool", "avg_pool2d"}
BLOCKS = {"conv2d_weight_grad": PIXELS, "linear": INNER, "matmul": INNER}
TWO_WORDS, LANES = 3, 4
WIDE = Arithmetic(None, FORMATS["float64"], FORMATS["float32"])


def own_bound(
    primitive: str,
    inputs: Sequence[Array | None],
    params: Mapping[str, object],
    exact: Array,
    dtype: npt.DTypeLike,
) -> Array:
    """How far a compiled kernel in ``dtype`` may lie from ``exact``, computed in float64.

    Parameters
    ----------
    primitive : str
        One of ``minigrad.tensor.PRIMITIVES``.
    inputs : sequence of arrays or None
    params : mapping
        The primitive's keyword arguments.
    exact : array of float64
        Its result.
    dtype : float32 or float64

    Returns
    -------
    array of float64
    """
    steps = roundings(primitive, inputs, params, exact)
    single = np.dtype(dtype) == np.float32
    again = steps.bound(np.float64)
    if single and (primitive in ONE_ROUNDING or params.get("long")):
        return np.minimum(steps.bound_in(WIDE, exact), steps.bound(dtype)) + again
    if primitive in ONE_CHAIN:
        return steps.bound(dtype) + again
    depth = np.minimum(steps.summed, _depth(primitive, single))
    return replace(steps, count=steps.count - steps.summed + depth).bound(dtype) + again


def _depth(primitive: str, single: bool) -> int:
    """The additions that a term of a long sum meets."""
    if primitive in BLOCKS:
        return BLOCKS[primitive] + TWO_WORDS
    return 1 if single else CHAIN + LANES + TWO_WORDS
