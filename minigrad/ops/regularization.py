"""Noise on purpose: dropout, and dropout of whole residual branches.

    y = x m / keep,     m = 1 with probability keep = 1 - p, else 0,

so that the mean of y is x.  Dropout draws m for each element (Srivastava et al. 2014);
stochastic depth one m for each image (Huang et al., arXiv 1603.09382).  The mask is a
constant of the graph: x̄ = ȳ m / keep.
"""

from __future__ import annotations

import numpy as np

from minigrad.tensor import Shape, Tensor, from_numpy

__all__ = ["dropout", "stochastic_depth"]


def dropout(
    x: Tensor, p: float = 0.5, training: bool = True, rng: np.random.Generator | None = None
) -> Tensor:
    """Zero each element with probability p and divide the others by 1 - p.

    Without training, or with p = 0, x itself.
    """
    return _dropped(x, x.shape, p, training, rng)


def stochastic_depth(
    x: Tensor, p: float, training: bool = True, rng: np.random.Generator | None = None
) -> Tensor:
    """Zero each image of the batch with probability p and divide the others by 1 - p."""
    return _dropped(x, (x.shape[0], *(1,) * (x.ndim - 1)), p, training, rng)


def _dropped(
    x: Tensor, shape: Shape, p: float, training: bool, rng: np.random.Generator | None
) -> Tensor:
    if not 0 <= p <= 1:
        raise ValueError(f"a probability lies between 0 and 1, not at {p}")
    if not training or p == 0:
        return x
    kept = (rng or np.random.default_rng()).random(shape) >= p
    scale = 0.0 if p == 1 else 1 / (1 - p)
    return x * from_numpy((kept * scale).astype(x.dtype))
