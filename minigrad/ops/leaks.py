"""Activations that leak below 0.

    leaky_relu   y = x for x > 0, else slope x
    prelu        the same, with a slope for each channel, which is learned
    elu          y = x for x > 0, else alpha (e^x - 1)

The slope of leaky_relu and prelu at 0 is the one below it (PyTorch).
"""

from __future__ import annotations

import numpy as np

from minigrad.arguments import number
from minigrad.errors import ShapeError
from minigrad.ops.activation import relu
from minigrad.ops.axes import broadcast_to
from minigrad.ops.powers import exp
from minigrad.ops.selection import where
from minigrad.ops.shaping import reshape
from minigrad.tensor import Array, Shape, Tensor, expect_tensor, primitive, wrap

__all__ = ["elu", "leaky_relu", "prelu"]


def _spread(slope: Array, x: Array) -> Array:
    """The slope of each channel, beside x."""
    return slope.reshape((-1,) + (1,) * (x.ndim - 2))


@primitive(images=("x",), arithmetic=True)
def _prelu(x: Array, slope: Array) -> Array:
    """y[n,c,...] = x where x > 0, else slope[c] x."""
    return np.where(x > 0, x, x * _spread(slope, x))


@_prelu.shape
def _prelu_shape(x: Shape, slope: Shape) -> Shape:
    return x


@_prelu.vjp("x", "x̄ = ȳ where x > 0, else slope ȳ")
def _prelu_x(g: Tensor, x: Tensor, slope: Tensor) -> Tensor:
    return where(x.array > 0, g, g * reshape(slope, (-1,) + (1,) * (x.ndim - 2)))


@_prelu.vjp("slope", "slope̅[c] = Σ ȳ min(x, 0)")
def _prelu_slope(g: Tensor, x: Tensor) -> Tensor:
    return where(x.array > 0, 0.0, g * x).sum(axis=(0, *range(2, x.ndim)))


def prelu(x: Tensor, weight: Tensor) -> Tensor:
    """y = x for x > 0, else weight x, with a weight for each channel or one for all.

    Parameters
    ----------
    x : Tensor, (N, C, ...)
    weight : Tensor, (C,) or (1,)

    Returns
    -------
    Tensor
        Of x's shape and dtype.

    Raises
    ------
    ShapeError
        If there is not one weight for each channel, nor one for all, or x has no channels.
    DtypeError
        If an argument is no Tensor.

    Examples
    --------
    >>> import minigrad as mg
    >>> mg.prelu(mg.Tensor([[1.0, -2.0]]), mg.Tensor([0.5, 0.25])).numpy()
    array([[ 1. , -0.5]], dtype=float32)
    """
    expect_tensor("prelu", "x", x)
    expect_tensor("prelu", "weight", weight)
    channels = x.shape[1] if x.ndim > 1 else 1
    if x.ndim < 2 or weight.shape not in ((1,), (channels,)):
        raise ShapeError(f"prelu: weight {weight.shape} for x (N, C, ...) = {x.shape}")
    return _prelu(x, broadcast_to(weight, (channels,)))


def leaky_relu(x: Tensor, negative_slope: float = 0.01) -> Tensor:
    """y = x for x > 0, else negative_slope x.

    Parameters
    ----------
    x : Tensor
    negative_slope : float

    Returns
    -------
    Tensor
        Of x's shape and dtype.

    Raises
    ------
    DtypeError, ArgumentError
        If x is no Tensor, or the slope no number.

    Examples
    --------
    >>> import minigrad as mg
    >>> mg.leaky_relu(mg.Tensor([1.0, -2.0]), 0.25).numpy()
    array([ 1. , -0.5], dtype=float32)
    """
    expect_tensor("leaky_relu", "x", x)
    slope = number("leaky_relu", "negative_slope", negative_slope)
    if x.ndim < 2:
        return reshape(leaky_relu(reshape(x, 1, x.size), slope), x.shape)
    return _prelu(x, wrap(np.full(x.shape[1], slope, x.dtype)))


def elu(x: Tensor, alpha: float = 1.0) -> Tensor:
    """y = x for x > 0, else alpha (e^x - 1).

    Parameters
    ----------
    x : Tensor
    alpha : float

    Returns
    -------
    Tensor
        Of x's shape and dtype.

    Raises
    ------
    DtypeError, ArgumentError
        If x is no Tensor, or alpha no number.

    Examples
    --------
    >>> import minigrad as mg
    >>> mg.elu(mg.Tensor([1.0, 0.0])).numpy()
    array([1., 0.], dtype=float32)
    """
    expect_tensor("elu", "x", x)
    factor = number("elu", "alpha", alpha)
    return relu(x) + factor * (exp(-relu(-x)) - 1.0)
