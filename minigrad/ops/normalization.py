"""Batch normalization (Ioffe & Szegedy, arXiv 1502.03167), per channel c of axis 1.

    y = gamma x̂ + beta,    x̂ = (x - mu) r,    r = 1 / sqrt(var + eps)

Evaluation: mu and var are given, and y is linear in x.  Training: they are the mean and
the *biased* variance of the batch, m = N H W values a channel, and so depend on x:

    β̄ = Σ ȳ        γ̄ = Σ ȳ x̂        x̄ = gamma r (ȳ - mean(ȳ) - x̂ mean(ȳ x̂))

The running variance keeps the unbiased one, m/(m-1) var, as PyTorch does (TensorFlow's
unfused form and Flax keep the biased).  ``momentum`` is PyTorch's: the weight of the new.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from minigrad.arguments import flag, number
from minigrad.autograd import gradients, variable
from minigrad.errors import ShapeError
from minigrad.kernels import find, run
from minigrad.kernels.contract import ieee
from minigrad.ops.powers import sqrt
from minigrad.ops.shaping import reshape
from minigrad.tensor import (
    Array,
    Shape,
    Tensor,
    enable_grad,
    expect_tensor,
    primitive,
    recorder,
    wrap,
)

__all__ = ["batch_norm", "running_value"]


def _axes(shape: Shape) -> tuple[int, ...]:
    """All axes but the channels'."""
    return (0, *range(2, len(shape)))


def _channels(v: Tensor, like: Shape) -> Tensor:
    """(C,) as (1, C, 1, ...): one value a channel."""
    return reshape(v, 1, -1, *(1,) * (len(like) - 2))


@primitive(images=("x",))
def _batch_norm_eval(
    x: Array, mean: Array, var: Array, gamma: Array, beta: Array, *, eps: float
) -> Array:
    """y = (x - mean) gamma / sqrt(var + eps) + beta."""
    return run("batch_norm", x, mean, var, gamma, beta, eps)


@_batch_norm_eval.shape
def _eval_shape(x: Shape, *_: Shape, eps: float) -> Shape:
    return x


@_batch_norm_eval.vjp("x", "x̄ = gamma r ȳ")
def _eval_x(g: Tensor, gamma: Tensor, var: Tensor, eps: float) -> Tensor:
    return g * _channels(gamma / sqrt(var + eps), g.shape)


@_batch_norm_eval.vjp("mean", "mean̄ = -Σ gamma r ȳ")
def _eval_mean(g: Tensor, gamma: Tensor, var: Tensor, eps: float) -> Tensor:
    return -(g.sum(axis=_axes(g.shape)) * gamma / sqrt(var + eps))


@_batch_norm_eval.vjp("gamma", "γ̄ = Σ ȳ (x - mean) r")
def _eval_gamma(g: Tensor, x: Tensor, mean: Tensor, var: Tensor, eps: float) -> Tensor:
    centred = x - _channels(mean, x.shape)
    return (g * centred).sum(axis=_axes(x.shape)) / sqrt(var + eps)


@_batch_norm_eval.vjp("var", "var̄ = -1/2 Σ ȳ gamma (x - mean) r³")
def _eval_var(g: Tensor, x: Tensor, mean: Tensor, var: Tensor, gamma: Tensor, eps: float) -> Tensor:
    return _eval_gamma(g, x, mean, var, eps) * gamma / (var + eps) * -0.5


@_batch_norm_eval.vjp("beta", "β̄ = Σ ȳ")
def _eval_beta(g: Tensor) -> Tensor:
    return g.sum(axis=_axes(g.shape))


def _normalized(x: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """x̂ and r of the batch, as compositions: what the fused primitives below stand for."""
    axes = _axes(x.shape)
    centred = x - x.mean(axis=axes, keepdims=True)
    r = 1 / sqrt((centred * centred).mean(axis=axes, keepdims=True) + eps)
    return centred * r, r


def _x_cotangent(dy: Tensor, x: Tensor, gamma: Tensor, eps: float) -> Tensor:
    """The definition of ``batch_norm_train_dx`` as a composition, for its own rules."""
    axes = _axes(x.shape)
    xhat, r = _normalized(x, eps)
    along = (dy * xhat).mean(axis=axes, keepdims=True)
    return _channels(gamma, x.shape) * r * (dy - dy.mean(axis=axes, keepdims=True) - xhat * along)


@primitive
def _batch_norm_train(
    x: Array, gamma: Array, beta: Array, *, mean: Array, var: Array, eps: float
) -> Array:
    """y = gamma x̂ + beta; ``mean`` and ``var`` are x's own, handed in as they are needed twice."""
    return run("batch_norm", x, mean, var, gamma, beta, eps)


@_batch_norm_train.shape
def _train_shape(x: Shape, *_: Shape, mean: Array, var: Array, eps: float) -> Shape:
    return x


@_batch_norm_train.vjp("x", "x̄ = gamma r (ȳ - mean(ȳ) - x̂ mean(ȳ x̂))")
def _train_x(g: Tensor, x: Tensor, gamma: Tensor, mean: Array, var: Array, eps: float) -> Tensor:
    return _batch_norm_train_dx(g, x, gamma, mean=mean, var=var, eps=eps)


@_batch_norm_train.vjp("gamma", "γ̄ = Σ ȳ x̂")
def _train_gamma(g: Tensor, x: Tensor, mean: Array, var: Array, eps: float) -> Tensor:
    return _batch_norm_train_dgamma(g, x, mean=mean, var=var, eps=eps)


@_batch_norm_train.vjp("beta", "β̄ = Σ ȳ")
def _train_beta(g: Tensor) -> Tensor:
    return g.sum(axis=_axes(g.shape))


@primitive
def _batch_norm_train_dx(
    dy: Array, x: Array, gamma: Array, *, mean: Array, var: Array, eps: float
) -> Array:
    """y = gamma r (dy - mean(dy) - x̂ mean(dy x̂)): two passes over the batch."""
    return run("batch_norm_input_grad", dy, x, mean, var, gamma, eps)


@_batch_norm_train_dx.shape
def _train_dx_shape(dy: Shape, x: Shape, *_: Shape, mean: Array, var: Array, eps: float) -> Shape:
    return x


@primitive
def _batch_norm_train_dgamma(dy: Array, x: Array, *, mean: Array, var: Array, eps: float) -> Array:
    """y = the sum of dy x̂ over the batch: one pass."""
    along: Array = find("batch_norm_sums").call(dy, x, mean, var, eps)[1]
    return along


@_batch_norm_train_dgamma.shape
def _train_dgamma_shape(dy: Shape, x: Shape, *, mean: Array, var: Array, eps: float) -> Shape:
    return x[1:2]


def _gamma_cotangent(dy: Tensor, x: Tensor, eps: float) -> Tensor:
    """The definition of ``batch_norm_train_dgamma`` as a composition, for its own rules."""
    return (dy * _normalized(x, eps)[0]).sum(axis=_axes(x.shape))


def _derivative(definition: Callable[..., Tensor], argument: str, **given: Any) -> Tensor:
    """The rule of a fused primitive: the derivative of the composition it stands for."""
    g, eps = given.pop("g"), given.pop("eps")
    variables = {name: variable(x) for name, x in given.items()}
    with enable_grad():
        y = definition(**variables, eps=eps)
    return gradients(y, [variables[argument]], g, create_graph=True)[0]


@_batch_norm_train_dx.vjp("dy", "the derivative of the formula in ȳ")
def _dx_dy(g: Tensor, dy: Tensor, x: Tensor, gamma: Tensor, eps: float) -> Tensor:
    return _derivative(_x_cotangent, "dy", g=g, dy=dy, x=x, gamma=gamma, eps=eps)


@_batch_norm_train_dx.vjp("x", "the derivative of the formula in x")
def _dx_x(g: Tensor, dy: Tensor, x: Tensor, gamma: Tensor, eps: float) -> Tensor:
    return _derivative(_x_cotangent, "x", g=g, dy=dy, x=x, gamma=gamma, eps=eps)


@_batch_norm_train_dx.vjp("gamma", "the derivative of the formula in gamma")
def _dx_gamma(g: Tensor, dy: Tensor, x: Tensor, gamma: Tensor, eps: float) -> Tensor:
    return _derivative(_x_cotangent, "gamma", g=g, dy=dy, x=x, gamma=gamma, eps=eps)


@_batch_norm_train_dgamma.vjp("dy", "the derivative of Σ ȳ x̂ in ȳ")
def _dgamma_dy(g: Tensor, dy: Tensor, x: Tensor, eps: float) -> Tensor:
    return _derivative(_gamma_cotangent, "dy", g=g, dy=dy, x=x, eps=eps)


@_batch_norm_train_dgamma.vjp("x", "the derivative of Σ ȳ x̂ in x")
def _dgamma_x(g: Tensor, dy: Tensor, x: Tensor, eps: float) -> Tensor:
    return _derivative(_gamma_cotangent, "x", g=g, dy=dy, x=x, eps=eps)


@ieee
def running_value(kept: Array, batch: Array, momentum: float, factor: float) -> Array:
    """(1 - momentum) kept + momentum (batch factor), what a running statistic becomes."""
    number = kept.dtype.type
    moved: Array = kept * number(1 - momentum) + batch * number(factor) * number(momentum)
    return moved


def _move(running: Tensor, batch: Array | Tensor, momentum: float, factor: float = 1.0) -> None:
    listener = recorder()
    if listener is not None and isinstance(batch, Tensor):
        listener.running(running, batch, momentum, factor)
    else:
        running.copy_(running_value(running.array, np.asarray(batch), momentum, factor))


def _statistics(x: Tensor) -> tuple[Any, Any]:
    """The mean and the variance of each channel, or what stands for them while recording."""
    listener = recorder()
    if listener is not None:
        return listener.statistics(x)
    mean, var = find("batch_norm_statistics").call(x.array)
    return mean, var


def _constant(value: float, x: Tensor) -> Tensor:
    return wrap(np.full(x.shape[1], value, x.dtype))


def _checked(x: Tensor, **vectors: Tensor | None) -> None:
    expect_tensor("batch_norm", "x", x)
    if x.ndim < 2:
        raise ShapeError(f"batch_norm: x must be (N, C, ...), got shape {x.shape}")
    for name, v in vectors.items():
        if v is not None and expect_tensor("batch_norm", name, v).shape != (x.shape[1],):
            raise ShapeError(f"batch_norm: {name} must be ({x.shape[1]},), got {v.shape}")


def batch_norm(
    x: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """y = weight (x - mu) / sqrt(var + eps) + bias for each channel.

    In training, mu and var are the mean and the biased variance of the batch, over N and all
    pixels; else they are the running ones.

    Parameters
    ----------
    x : Tensor, (N, C, ...)
    running_mean, running_var : Tensor, (C,), or None
        Used as mu and var in evaluation; in training moved towards the batch's, in place:
        running = (1 - momentum) running + momentum batch, with the unbiased variance.
    weight, bias : Tensor, (C,), optional
        1 and 0 by default.
    training : bool
        Take mu and var from the batch.
    momentum : float
        The weight of the new value, from 0 to 1.
    eps : float
        Added to var under the root; at least 0.

    Returns
    -------
    Tensor
        Of x's shape and dtype.

    Raises
    ------
    ShapeError
        If a vector is not (C,), or training on fewer than two values a channel.
    DtypeError
        If the arguments are not Tensors of one dtype.
    ArgumentError
        If ``momentum`` or ``eps`` lie outside, or ``training`` is neither true nor false.

    Examples
    --------
    >>> import minigrad as mg
    >>> x = mg.Tensor([[1.0], [3.0]])
    >>> mg.batch_norm(x, None, None, training=True, eps=0).numpy()
    array([[-1.],
           [ 1.]], dtype=float32)
    """
    _checked(x, running_mean=running_mean, running_var=running_var, weight=weight, bias=bias)
    momentum = number("batch_norm", "momentum", momentum, least=0, most=1)
    eps = number("batch_norm", "eps", eps, least=0, below=math.inf)
    gamma = _constant(1, x) if weight is None else weight
    beta = _constant(0, x) if bias is None else bias
    if flag("batch_norm", "training", training):
        return _train(x, running_mean, running_var, gamma, beta, momentum, eps)
    return _evaluate(x, running_mean, running_var, gamma, beta, eps)


def _evaluate(
    x: Tensor, mean: Tensor | None, var: Tensor | None, gamma: Tensor, beta: Tensor, eps: float
) -> Tensor:
    if mean is None or var is None:
        raise ShapeError("batch_norm: evaluation needs running_mean and running_var")
    return _batch_norm_eval(x, mean, var, gamma, beta, eps=eps)


def _train(
    x: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    gamma: Tensor,
    beta: Tensor,
    momentum: float,
    eps: float,
) -> Tensor:
    count = x.shape[0] * math.prod(x.shape[2:])
    if count < 2:
        raise ShapeError(
            f"batch_norm: training needs at least 2 values a channel, but x {x.shape} has {count}"
        )
    mean, var = _statistics(x)
    y = _batch_norm_train(x, gamma, beta, mean=mean, var=var, eps=eps)
    if running_mean is not None:
        _move(running_mean, mean, momentum)
    if running_var is not None:
        _move(running_var, var, momentum, count / (count - 1))
    return y
