"""Gradients that are too long are made shorter before the step (Pascanu et al. 2013)."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from minigrad.tensor import Tensor, from_numpy

__all__ = ["clip_grad_norm_", "clip_grad_value_"]


def clip_grad_norm_(parameters: Iterable[Tensor], max_norm: float, norm_type: float = 2.0) -> float:
    """Scale all gradients by one factor, so that together they are no longer than a bound.

        g <- g min(1, max_norm / (|g| + 1e-6)),     |g| = (sum_i |g_i|^p)^(1/p)

    over all elements i of all gradients, in float64.

    Parameters
    ----------
    parameters : iterable of Tensor
        Those without a gradient do not count.
    max_norm : float
    norm_type : float
        p; ``inf`` for the largest element.

    Returns
    -------
    float
        |g| before.

    Raises
    ------
    ValueError
        If a bound is not above 0.

    Examples
    --------
    >>> import minigrad as mg
    >>> p = mg.tensor([3.0, 4.0], requires_grad=True)
    >>> (p * p / 2).sum().backward()
    >>> clip_grad_norm_([p], 1.0)
    5.0
    >>> p.grad.numpy().round(3)
    array([0.6, 0.8], dtype=float32)
    """
    _positive("clip_grad_norm_", "max_norm", max_norm)
    _positive("clip_grad_norm_", "norm_type", norm_type)
    graded = [(p, p.grad) for p in parameters if p.grad is not None]
    total = _norm([g.numpy() for _, g in graded], norm_type)
    factor = max_norm / (total + 1e-6)
    if factor < 1:
        for p, g in graded:
            p.grad = from_numpy(g.numpy() * g.dtype.type(factor))
    return total


def clip_grad_value_(parameters: Iterable[Tensor], clip_value: float) -> None:
    """Clip each element of each gradient to [-clip_value, clip_value].

    Parameters
    ----------
    parameters : iterable of Tensor
    clip_value : float

    Raises
    ------
    ValueError
        If the bound is not above 0.

    Examples
    --------
    >>> import minigrad as mg
    >>> p = mg.tensor([3.0, 0.5], requires_grad=True)
    >>> (p * p / 2).sum().backward()
    >>> clip_grad_value_([p], 1.0)
    >>> p.grad.tolist()
    [1.0, 0.5]
    """
    _positive("clip_grad_value_", "clip_value", clip_value)
    for p in parameters:
        if p.grad is not None:
            p.grad = from_numpy(np.clip(p.grad.numpy(), -clip_value, clip_value))


def _norm(gradients: list[np.ndarray], p: float) -> float:
    sizes = [np.abs(g.astype(np.float64)) for g in gradients]
    if math.isinf(p):
        return max((float(s.max(initial=0.0)) for s in sizes), default=0.0)
    return float(math.fsum(float((s**p).sum()) for s in sizes) ** (1 / p))


def _positive(function: str, name: str, value: float) -> None:
    if not value > 0:
        raise ValueError(f"{function}: {name} must be above 0, not {value!r}")
