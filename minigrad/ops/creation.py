"""New tensors: filled with one number, or drawn at random from a generator that is given."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from minigrad.arguments import flag, integer, integers, number, quoted
from minigrad.docs import of_one_tensor, with_sections
from minigrad.errors import ArgumentError
from minigrad.tensor import (
    Shape,
    Tensor,
    expect_tensor,
    float_dtype,
    get_default_dtype,
    require_room,
    wrap,
)

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["full", "generator", "ones", "ones_like", "randn", "zeros", "zeros_like"]


_of_one_number = with_sections(
    """Parameters
----------
*shape : int, or one sequence of them
dtype : float32 or float64, optional
    The default dtype if it is not given.
requires_grad : bool

Returns
-------
Tensor

Raises
------
ArgumentError
    If a length is no integer >= 0.
DtypeError
    For any other dtype.
"""
)


def _new(
    function: str, shape: tuple[object, ...], value: float, dtype: object, requires_grad: object
) -> Tensor:
    to = get_default_dtype() if dtype is None else float_dtype(function, dtype)
    lengths = _shape(function, shape)
    require_room(function, lengths, to)
    y = wrap(np.full(lengths, value, to))
    y.requires_grad = flag(function, "requires_grad", requires_grad)
    return y


def _shape(function: str, given: tuple[object, ...]) -> Shape:
    """f(2, 3) and f((2, 3)) alike."""
    several = given[0] if len(given) == 1 else given
    lengths = integers(function, "shape", several)
    return tuple(integer(function, "shape", n, least=0) for n in lengths)


@_of_one_number
def zeros(
    *shape: int | Sequence[int],
    dtype: npt.DTypeLike | None = None,
    requires_grad: bool = False,
) -> Tensor:
    """A new tensor of zeros.

    Examples
    --------
    >>> import minigrad as mg
    >>> mg.zeros(2, 3).shape
    (2, 3)
    """
    return _new("zeros", shape, 0.0, dtype, requires_grad)


@_of_one_number
def ones(
    *shape: int | Sequence[int],
    dtype: npt.DTypeLike | None = None,
    requires_grad: bool = False,
) -> Tensor:
    """A new tensor of ones.

    Examples
    --------
    >>> import minigrad as mg
    >>> mg.ones(3)
    Tensor([1., 1., 1.], dtype=float32)
    """
    return _new("ones", shape, 1.0, dtype, requires_grad)


def full(
    shape: int | Sequence[int],
    value: float,
    dtype: npt.DTypeLike | None = None,
    requires_grad: bool = False,
) -> Tensor:
    """A new tensor filled with one number.

    Parameters
    ----------
    shape : int or sequence of int
    value : float
    dtype : float32 or float64, optional
        The default dtype if it is not given.
    requires_grad : bool

    Returns
    -------
    Tensor

    Raises
    ------
    ArgumentError
        If a length is no integer >= 0, or the value no number.
    DtypeError
        For any other dtype.

    Examples
    --------
    >>> import minigrad as mg
    >>> mg.full((2,), 0.5)
    Tensor([0.5, 0.5], dtype=float32)
    """
    return _new("full", (shape,), number("full", "value", value), dtype, requires_grad)


@of_one_tensor
def zeros_like(x: Tensor) -> Tensor:
    """Zeros of x's shape and dtype.

    Examples
    --------
    >>> import minigrad as mg
    >>> mg.zeros_like(mg.ones(2))
    Tensor([0., 0.], dtype=float32)
    """
    expect_tensor("zeros_like", "x", x)
    return wrap(np.zeros(x.shape, x.dtype))


@of_one_tensor
def ones_like(x: Tensor) -> Tensor:
    """Ones of x's shape and dtype.

    Examples
    --------
    >>> import minigrad as mg
    >>> mg.ones_like(mg.zeros(2))
    Tensor([1., 1.], dtype=float32)
    """
    expect_tensor("ones_like", "x", x)
    return wrap(np.ones(x.shape, x.dtype))


def randn(
    *shape: int | Sequence[int],
    rng: np.random.Generator | int | None = None,
    dtype: npt.DTypeLike | None = None,
    requires_grad: bool = False,
) -> Tensor:
    """Independent numbers drawn from N(0, 1).

    Parameters
    ----------
    *shape : int, or one sequence of them
    rng : numpy.random.Generator or int, optional
        Where the numbers come from, or the seed of a new generator; None draws others
        each time.  There is no global generator.
    dtype : float32 or float64, optional
        The default dtype if it is not given.  They are drawn in float64 and then rounded.
    requires_grad : bool

    Returns
    -------
    Tensor

    Raises
    ------
    ArgumentError
        If a length is no integer >= 0, or ``rng`` is neither a generator nor a seed.
    DtypeError
        For any other dtype.

    Examples
    --------
    >>> import minigrad as mg
    >>> mg.randn(2, rng=0)
    Tensor([ 0.12573022, -0.13210486], dtype=float32)
    """
    y = _new("randn", shape, 0.0, dtype, requires_grad)
    y.array[...] = generator("randn", rng).standard_normal(y.shape)
    return y


def generator(function: str, rng: object) -> np.random.Generator:
    """``rng`` itself if it is a generator, else a new one with this seed."""
    if isinstance(rng, np.random.Generator):
        return rng
    if rng is None:
        return np.random.default_rng()
    if not hasattr(rng, "__index__") or isinstance(rng, bool):
        raise ArgumentError(
            f"{function}: rng must be a numpy.random.Generator or a seed, not {quoted(rng)}"
        )
    return np.random.default_rng(integer(function, "rng", rng, least=0, most=2**63 - 1))
