"""Adam (Kingma, Ba, arXiv 1412.6980) and AdamW (Loshchilov, Hutter, arXiv 1711.05101).

    m <- b1 m + (1 - b1) g,          v <- b2 v + (1 - b2) g^2
    p <- p - eta m^ / (sqrt(v^) + eps),     m^ = m / (1 - b1^t),  v^ = v / (1 - b2^t)

in step t = 1, 2, ...  Adam adds lambda p to g; AdamW takes eta lambda p off p itself, so
that the decay is not divided by sqrt(v^).
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from minigrad.optim.optimizer import Array, Optimizer, Parameters, State, count, decayed, zeros

__all__ = ["Adam", "AdamW"]


class Adam(Optimizer):
    """Adam: steps of about the rate in each parameter, whatever the size of its gradient.

        m <- b1 m + (1 - b1) g,   v <- b2 v + (1 - b2) g^2,   p <- p - lr m^ / (sqrt(v^) + eps)

    Parameters
    ----------
    params : iterable of Parameter, or of dict
    lr : float
    betas : (float, float)
        b1 and b2, below 1.
    eps : float
    weight_decay : float
        lambda; added to the gradient as lambda p.
    amsgrad : bool
        Divide by the largest v^ so far (Reddi et al. 2018).
    maximize : bool

    Examples
    --------
    >>> import minigrad as mg
    >>> layer = mg.nn.Linear(2, 1)
    >>> optimizer = Adam(layer.parameters(), lr=0.01)
    >>> layer(mg.ones(1, 2)).sum().backward()
    >>> optimizer.step()
    """

    decoupled = False

    def __init__(
        self,
        params: Parameters,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        amsgrad: bool = False,
        maximize: bool = False,
    ) -> None:
        if not all(0 <= beta < 1 for beta in betas):
            raise ValueError(f"{type(self).__name__}: betas must lie in [0, 1), not {betas}")
        super().__init__(params, {
            "lr": lr, "beta1": betas[0], "beta2": betas[1], "eps": eps,
            "weight_decay": weight_decay, "amsgrad": amsgrad, "maximize": maximize,
        })  # fmt: skip

    def update(self, p: Array, g: Array, state: State, group: Mapping[str, float]) -> Array:
        number, t = p.dtype.type, count(state)
        lr, b1, b2 = group["lr"], group["beta1"], group["beta2"]
        if self.decoupled:
            p = p * number(1 - lr * group["weight_decay"])
            group = {**group, "weight_decay": 0.0}
        g = decayed(p, g, group)
        m = zeros(state, "exp_avg", p)
        m = state["exp_avg"] = m + number(1 - b1) * (g - m)
        v = number(b2) * zeros(state, "exp_avg_sq", p) + number(1 - b2) * (g * g)
        state["exp_avg_sq"] = v
        if group["amsgrad"]:
            v = state["max_exp_avg_sq"] = np.maximum(zeros(state, "max_exp_avg_sq", p), v)
        root = np.sqrt(v) / number(math.sqrt(1 - b2**t)) + number(group["eps"])
        new: Array = p - number(lr / (1 - b1**t)) * (m / root)
        return new


class AdamW(Adam):
    """Adam with weight decay apart from the gradient.

        p <- p (1 - lr lambda),   then Adam's step with g alone

    Parameters
    ----------
    params : iterable of Parameter, or of dict
    lr : float
    betas : (float, float)
    eps : float
    weight_decay : float
        lambda.
    amsgrad : bool
    maximize : bool

    Examples
    --------
    >>> import minigrad as mg
    >>> layer = mg.nn.Linear(2, 1)
    >>> optimizer = AdamW(layer.parameters(), lr=0.01, weight_decay=0.1)
    >>> layer(mg.ones(1, 2)).sum().backward()
    >>> optimizer.step()
    """

    decoupled = True

    def __init__(
        self,
        params: Parameters,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
        maximize: bool = False,
    ) -> None:
        super().__init__(params, lr, betas, eps, weight_decay, amsgrad, maximize)
