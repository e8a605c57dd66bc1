"""RMSProp (Hinton, lecture 6e of "Neural Networks for Machine Learning", 2012), in two forms.

PyTorch's:

    v <- a v + (1 - a) g^2,              v = 0 at first
    b <- mu b + g / (sqrt(v) + eps)
    p <- p - eta b

TensorFlow's, with which the MobileNets, MnasNets and EfficientNets were trained:

    v <- a v + (1 - a) g^2,              v = 1 at first
    b <- mu b + eta g / sqrt(v + eps)
    p <- p - b

The second has eps inside the root and the rate inside the buffer, so a change of the rate
reaches the weights only as fast as the buffer forgets.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from minigrad.optim.optimizer import Array, Optimizer, Parameters, State, decayed, zeros

__all__ = ["RMSprop", "RMSpropTF"]


class RMSprop(Optimizer):
    """RMSProp as PyTorch defines it.

        v <- a v + (1 - a) g^2,   b <- mu b + g / (sqrt(v - m^2) + eps),   p <- p - lr b

    where m is the running mean of g if ``centered`` and 0 else.

    Parameters
    ----------
    params : iterable of Parameter, or of dict
    lr : float
    alpha : float
        a.
    eps : float
        Outside the root.
    weight_decay : float
    momentum : float
        mu.
    centered : bool
    maximize : bool

    Examples
    --------
    >>> import minigrad as mg
    >>> layer = mg.nn.Linear(2, 1)
    >>> optimizer = RMSprop(layer.parameters(), lr=0.01, momentum=0.9)
    >>> layer(mg.ones(1, 2)).sum().backward()
    >>> optimizer.step()
    """

    def __init__(
        self,
        params: Parameters,
        lr: float = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum: float = 0.0,
        centered: bool = False,
        maximize: bool = False,
    ) -> None:
        super().__init__(params, {
            "lr": lr, "alpha": alpha, "eps": eps, "weight_decay": weight_decay,
            "momentum": momentum, "centered": centered, "maximize": maximize,
        })  # fmt: skip

    def update(self, p: Array, g: Array, state: State, group: Mapping[str, float]) -> Array:
        number = p.dtype.type
        alpha, new = number(group["alpha"]), number(1 - group["alpha"])
        g = decayed(p, g, group)
        v = state["square_avg"] = alpha * zeros(state, "square_avg", p) + new * (g * g)
        if group["centered"]:
            m = zeros(state, "grad_avg", p)
            m = state["grad_avg"] = m + new * (g - m)
            v = v - m * m
        d = g / (np.sqrt(v) + number(group["eps"]))
        if group["momentum"]:
            b = zeros(state, "momentum_buffer", p)
            d = state["momentum_buffer"] = number(group["momentum"]) * b + d
        new_p: Array = p - number(group["lr"]) * d
        return new_p


class RMSpropTF(Optimizer):
    """RMSProp as TensorFlow defines it.

        v <- v + (1 - a) (g^2 - v),   b <- mu b + lr g / sqrt(v + eps),   p <- p - b

    with v = 1 before the first step.

    Parameters
    ----------
    params : iterable of Parameter, or of dict
    lr : float
    alpha : float
        a, TensorFlow's ``decay``.
    eps : float
        Inside the root.
    weight_decay : float
    momentum : float
        mu.
    maximize : bool

    Examples
    --------
    >>> import minigrad as mg
    >>> layer = mg.nn.Linear(2, 1)
    >>> optimizer = RMSpropTF(layer.parameters(), lr=0.01, momentum=0.9)
    >>> layer(mg.ones(1, 2)).sum().backward()
    >>> optimizer.step()
    """

    def __init__(
        self,
        params: Parameters,
        lr: float = 1e-2,
        alpha: float = 0.9,
        eps: float = 1e-10,
        weight_decay: float = 0.0,
        momentum: float = 0.0,
        maximize: bool = False,
    ) -> None:
        super().__init__(params, {
            "lr": lr, "alpha": alpha, "eps": eps, "weight_decay": weight_decay,
            "momentum": momentum, "maximize": maximize,
        })  # fmt: skip

    def update(self, p: Array, g: Array, state: State, group: Mapping[str, float]) -> Array:
        number = p.dtype.type
        g = decayed(p, g, group)
        v = state.setdefault("square_avg", np.ones_like(p))
        v = state["square_avg"] = v + number(1 - group["alpha"]) * (g * g - v)
        d = number(group["lr"]) * g / np.sqrt(v + number(group["eps"]))
        if group["momentum"]:
            b = zeros(state, "momentum_buffer", p)
            d = state["momentum_buffer"] = number(group["momentum"]) * b + d
        new_p: Array = p - d
        return new_p
