"""Noise on purpose: dropout, and dropout of whole residual branches.

    y = x m / keep,     m = 1 with probability keep = 1 - p, else 0,

so that the mean of y is x.  Dropout draws m for each element (Srivastava et al. 2014);
stochastic depth one m for each image (Huang et al., arXiv 1603.09382).  The mask is a
constant of the graph: x̄ = ȳ m / keep.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from minigrad.arguments import flag, number
from minigrad.errors import ShapeError
from minigrad.ops.creation import generator
from minigrad.tensor import Array, Shape, Tensor, expect_tensor, recorder, wrap

if TYPE_CHECKING:
    import numpy as np

__all__ = ["dropout", "mask_of", "stochastic_depth"]


def dropout(
    x: Tensor, p: float = 0.5, training: bool = True, rng: np.random.Generator | None = None
) -> Tensor:
    """Zero each element with probability p and divide the others by 1 - p.

    Parameters
    ----------
    x : Tensor
    p : float
        From 0 to 1.
    training : bool
        Without training, or with p = 0, the result is x itself.
    rng : numpy.random.Generator or int, optional
        Where the randomness comes from, or its seed; None draws fresh entropy.

    Returns
    -------
    Tensor
        Of x's shape and dtype; its mean over many draws is x.

    Raises
    ------
    ArgumentError
        If p is no number from 0 to 1, or another argument has a wrong type.
    DtypeError
        If x is no Tensor.

    Examples
    --------
    >>> import minigrad as mg
    >>> mg.dropout(mg.ones(4), 0.5, rng=1).numpy()
    array([2., 2., 0., 2.], dtype=float32)
    """
    expect_tensor("dropout", "x", x)
    return _dropped("dropout", x, x.shape, p, training, rng)


def stochastic_depth(
    x: Tensor, p: float, training: bool = True, rng: np.random.Generator | None = None
) -> Tensor:
    """Zero each image of the batch with probability p and divide the others by 1 - p.

    Parameters
    ----------
    x : Tensor, (N, ...)
    p : float
        From 0 to 1.
    training : bool
        Without training, or with p = 0, the result is x itself.
    rng : numpy.random.Generator or int, optional
        As for ``dropout``.

    Returns
    -------
    Tensor
        Of x's shape and dtype.

    Raises
    ------
    ShapeError
        If x has no axis of images.
    ArgumentError, DtypeError
        As ``dropout`` does.

    Examples
    --------
    >>> import minigrad as mg
    >>> mg.stochastic_depth(mg.ones(3, 2), 0.5, rng=0).numpy()
    array([[2., 2.],
           [0., 0.],
           [0., 0.]], dtype=float32)
    """
    if expect_tensor("stochastic_depth", "x", x).ndim == 0:
        raise ShapeError("stochastic_depth: x must be (N, ...), got a 0-d tensor")
    shape = (x.shape[0], *(1,) * (x.ndim - 1))
    return _dropped("stochastic_depth", x, shape, p, training, rng)


def _dropped(
    function: str, x: Tensor, shape: Shape, p: object, training: object, rng: object
) -> Tensor:
    rate = number(function, "p", p, least=0, most=1)
    if not flag(function, "training", training) or rate == 0:
        return x
    listener = recorder()
    if listener is not None:
        return x * listener.noise(shape, rate, rng, x)
    return x * wrap(mask_of(shape, rate, generator(function, rng)).astype(x.dtype))


def mask_of(shape: Shape, rate: float, rng: np.random.Generator) -> Array:
    """m / keep for each element, in float64."""
    kept = rng.random(shape) >= rate
    return kept * (0.0 if rate == 1 else 1 / (1 - rate))
