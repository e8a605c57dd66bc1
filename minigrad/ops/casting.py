"""The one way to another dtype, said out loud.

y = round(x) to the new precision.  The derivative of rounding is taken as 1, so the
rule is the cast back: x̄ = ȳ in x's dtype.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from minigrad.tensor import Array, Tensor, expect_tensor, float_dtype, primitive

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["astype"]


@primitive(images=("x",), arithmetic=True)
def _astype(x: Array, *, source: str, target: str) -> Array:
    """y = x in another precision."""
    return x.astype(target)


@_astype.vjp("x", "x̄ = ȳ in x's dtype")
def _astype_x(g: Tensor, source: str, target: str) -> Tensor:
    return _astype(g, source=target, target=source)


def astype(x: Tensor, dtype: npt.DTypeLike) -> Tensor:
    """x in float32 or float64; x itself if it already is.

    Parameters
    ----------
    x : Tensor
    dtype : float32 or float64

    Returns
    -------
    Tensor
        Of x's shape.  The cotangent is cast back.

    Raises
    ------
    DtypeError
        For any other dtype, or if x is no Tensor.

    Examples
    --------
    >>> import minigrad as mg
    >>> mg.astype(mg.zeros(2), "float64").dtype
    dtype('float64')
    """
    expect_tensor("astype", "x", x)
    to = float_dtype("astype", dtype)
    return x if to == x.dtype else _astype(x, source=x.dtype.name, target=to.name)
