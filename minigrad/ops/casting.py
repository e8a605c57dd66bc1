"""The one way to another dtype, said out loud.

y = round(x) to the new precision.  The derivative of rounding is taken as 1, so the
rule is the cast back: x̄ = ȳ in x's dtype.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from minigrad.errors import DtypeError
from minigrad.tensor import FLOATS, Array, Tensor, primitive

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["astype"]


@primitive
def _astype(x: Array, *, source: str, target: str) -> Array:
    """y = x in another precision."""
    return x.astype(target)


@_astype.vjp("x", "x̄ = ȳ in x's dtype")
def _astype_x(g: Tensor, source: str, target: str) -> Tensor:
    return _astype(g, source=target, target=source)


def astype(x: Tensor, dtype: npt.DTypeLike) -> Tensor:
    """x in float32 or float64; x itself if it already is.

    Raises
    ------
    DtypeError
        For any other dtype.
    """
    if np.dtype(dtype) not in FLOATS:
        raise DtypeError(f"a Tensor holds float32 or float64, not {np.dtype(dtype)}")
    if np.dtype(dtype) == x.dtype:
        return x
    return _astype(x, source=x.dtype.name, target=np.dtype(dtype).name)
