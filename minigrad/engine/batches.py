"""What a caller of a plan gives and gets: arrays, checked, with their channels second."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from minigrad.arguments import quoted
from minigrad.arrays import Array
from minigrad.engine.graph import Graph, Value
from minigrad.errors import DtypeError, ShapeError
from minigrad.kernels.cython.layout import has_no_gaps, nchw
from minigrad.records import NamedTuple

if TYPE_CHECKING:
    import numpy.typing as npt

    from minigrad.engine.scaling import Scaling
    from minigrad.tensor import Tensor

__all__ = ["LAYOUTS", "Batches", "as_given"]

LAYOUTS = ("NCHW", "NHWC")


def as_given(x: npt.ArrayLike | Tensor) -> Array:
    """x as an array: itself, or that of a tensor, or what NumPy makes of it."""
    if type(x) is np.ndarray:  # nearly always; the others have use for tensors
        return x
    from minigrad.tensor import Tensor

    return x.array if isinstance(x, Tensor) else np.asarray(x)


class Batches(NamedTuple):
    """The arrays that go in and out of a plan.

    Attributes
    ----------
    graph : Graph
    layout : str
        "NCHW", or "NHWC" if maps come in and go out with their channels last.
    scaling : Scaling or None
        How bytes become numbers, if the plan takes photographs of bytes.
    """

    graph: Graph
    layout: str
    scaling: Scaling | None

    def given(self, x: npt.ArrayLike | Tensor) -> Array:
        """The input as an array of the plan's shape, channels second."""
        try:
            array = as_given(x)
        except (TypeError, ValueError):
            raise ShapeError(
                f"this plan takes a batch of shape {self._lying(self.graph.input)}, got what is "
                f"no array: {quoted(x)}"
            ) from None
        scaling = self.scaling if array.dtype == np.uint8 else None
        self._check(array, self.graph.input, "takes", x, scaling is not None)
        array = nchw(array) if self._turns(array) else array
        return array if scaling is None else scaling.turned(array)

    def numbers(self, x: Array) -> Array:
        """The same in the plan's dtype."""
        if x.dtype == np.uint8 and self.scaling:
            return self.scaling(x)
        return x.astype(self.graph.dtype, copy=False)

    def places(self, out: Sequence[Array]) -> list[Array]:
        """The arrays to write to, channels second."""
        values = self.graph.outputs
        if not isinstance(out, (list, tuple)) or len(out) != len(values):
            raise ShapeError(
                f"out must be {len(values)} arrays, as the model has outputs, not {quoted(out)}"
            )
        for y, value in zip(out, values, strict=True):
            if not isinstance(y, np.ndarray) or not y.flags.writeable:
                raise ShapeError(f"out must be a writeable array, not {quoted(y)}")
            self._check(y, value, "gives", y)
        return [nchw(y) if self._turns(y) else y for y in out]

    def new(self, x: Array) -> list[Array]:
        """Memory for the outputs, channels second: maps lie as those of x do."""
        last = self.layout == "NHWC" or (x.ndim == 4 and x.dtype != np.uint8 and _lies_last(x))
        return [_empty(value, last, x.dtype) for value in self.graph.outputs]

    def facing(self, y: Array) -> Array:
        """An output, channels second, as the layout has it."""
        return y.transpose(0, 2, 3, 1) if self._turns(y) else y

    def _check(
        self, array: Array, value: Value, verb: str, given: object, known: bool = False
    ) -> None:
        """Refuse an array that is not of a value's shape and dtype, unless that is ``known``."""
        if array.dtype != value.dtype and not (known or _halved(array.dtype, value)):
            got = f"{quoted(given)}, of dtype {array.dtype}" if array.ndim == 0 else array.dtype
            raise DtypeError(f"this plan {verb} {value.dtype}, got {got}")
        if array.shape != (shape := self._lying(value)):
            raise ShapeError(f"this plan {verb} a batch of shape {shape}, got {array.shape}")

    def _turns(self, array: Array) -> bool:
        return self.layout == "NHWC" and array.ndim == 4

    def _lying(self, value: Value) -> tuple[int, ...]:
        """A value's shape as the layout has it."""
        shape = value.shape
        if self.layout == "NCHW" or len(shape) != 4:
            return shape
        return shape[0], shape[2], shape[3], shape[1]


def _halved(dtype: np.dtype[np.generic], value: Value) -> bool:
    """Whether float16 stands for the value's float32."""
    return bool(dtype == np.float16 and value.dtype == np.float32)


def _lies_last(x: Array) -> bool:
    """Whether maps lie channels-last in memory, and not channels second."""
    return has_no_gaps(x) and not x.flags.c_contiguous


def _empty(value: Value, last: bool, given: np.dtype[np.generic]) -> Array:
    """Memory for an output, channels second; of float16 where that was given for float32."""
    dtype = given if _halved(given, value) else value.dtype
    if not last or len(value.shape) != 4:
        return np.empty(value.shape, dtype)
    n, c, h, w = value.shape
    return nchw(np.empty((n, h, w, c), dtype))
