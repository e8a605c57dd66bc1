"""Batch normalisation, channel by channel and value by value, in float64."""

from __future__ import annotations

import math

import numpy as np

from minigrad.kernels.contract import Array
from minigrad.kernels.reference.layout import flat

__all__ = ["batch_norm", "batch_norm_input_grad", "batch_norm_statistics", "batch_norm_sums"]


def batch_norm(x: Array, mean: Array, var: Array, gamma: Array, beta: Array, eps: float) -> Array:
    """y[n,c,...] = (x[n,c,...] - mean[c]) gamma[c] / sqrt(var[c] + eps) + beta[c]."""
    y = np.empty(x.shape)
    for at in np.ndindex(*x.shape):
        mu, v, scale, shift = (float(a[at[1]]) for a in (mean, var, gamma, beta))
        y[at] = (float(x[at]) - mu) * scale * _reciprocal_root(v + eps) + shift
    return y.astype(x.dtype)


def _reciprocal_root(v: float) -> float:
    """1 / sqrt(v): infinite at 0, NaN below."""
    if v == 0:
        return math.inf
    return 1 / math.sqrt(v) if v > 0 else math.nan


def _mean(values: list[float]) -> float:
    """The mean; that of nothing is NaN."""
    return sum(values) / len(values) if values else math.nan


def batch_norm_statistics(x: Array) -> tuple[Array, Array]:
    """mean[c] = sum x / m and var[c] = sum (x - mean)^2 / m over the m values of a channel."""
    mean, var = np.empty(x.shape[1]), np.empty(x.shape[1])
    for c in range(x.shape[1]):
        values = flat(x[:, c])
        mean[c] = _mean(values)
        var[c] = _mean([(v - mean[c]) ** 2 for v in values])
    return mean.astype(x.dtype), var.astype(x.dtype)


def batch_norm_sums(g: Array, x: Array, mean: Array, var: Array, eps: float) -> tuple[Array, Array]:
    """sum g and sum g x^ of each channel, x^ = (x - mean) / sqrt(var + eps)."""
    along, product = np.zeros(x.shape[1]), np.zeros(x.shape[1])
    for c in range(x.shape[1]):
        mu, r = float(mean[c]), _reciprocal_root(float(var[c]) + eps)
        for dy, v in zip(flat(g[:, c]), flat(x[:, c]), strict=True):
            along[c] += dy
            product[c] += dy * (v - mu) * r
    return along.astype(x.dtype), product.astype(x.dtype)


def batch_norm_input_grad(
    g: Array, x: Array, mean: Array, var: Array, gamma: Array, eps: float
) -> Array:
    """dx = gamma r (g - mean(g) - x^ mean(g x^)), the means over the channel."""
    dx = np.empty(x.shape)
    for c in range(x.shape[1]):
        mu, r = float(mean[c]), _reciprocal_root(float(var[c]) + eps)
        dy, xhat = flat(g[:, c]), [(v - mu) * r for v in flat(x[:, c])]
        along = _mean(dy)
        product = _mean([a * b for a, b in zip(dy, xhat, strict=True)])
        values = [float(gamma[c]) * r * (a - along - b * product)
                  for a, b in zip(dy, xhat, strict=True)]  # fmt: skip
        dx[:, c] = np.reshape(values, dx[:, c].shape)
    return dx.astype(x.dtype)
