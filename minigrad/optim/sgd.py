"""Stochastic gradient descent, with momentum (Polyak 1964; Nesterov 1983).

    g <- g + lambda p
    b <- mu b + (1 - tau) g          (b = g in the first step)
    p <- p - eta (g + mu b)          Nesterov
    p <- p - eta b                   else

with the rate eta, momentum mu, dampening tau and weight decay lambda (PyTorch's form, which
keeps the rate outside the buffer; Sutskever et al. 2013 discuss both).
"""

from __future__ import annotations

from collections.abc import Mapping

from minigrad.optim.optimizer import Array, Optimizer, Parameters, State, decayed

__all__ = ["SGD"]


class SGD(Optimizer):
    """Stochastic gradient descent.

        b <- mu b + (1 - tau) (g + lambda p),     p <- p - lr b

    and p <- p - lr (g + lambda p + mu b) with ``nesterov``.

    Parameters
    ----------
    params : iterable of Parameter, or of dict
    lr : float
        The rate.
    momentum : float
        mu.
    dampening : float
        tau.
    weight_decay : float
        lambda.
    nesterov : bool
    maximize : bool
        Climb instead of descending.

    Examples
    --------
    >>> import minigrad as mg
    >>> layer = mg.nn.Linear(2, 1)
    >>> optimizer = SGD(layer.parameters(), lr=0.1, momentum=0.9)
    >>> optimizer.zero_grad()
    >>> layer(mg.Tensor([[1.0, 2.0]], dtype="float32")).sum().backward()
    >>> optimizer.step()
    """

    def __init__(
        self,
        params: Parameters,
        lr: float = 1e-3,
        momentum: float = 0.0,
        dampening: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
        maximize: bool = False,
    ) -> None:
        if nesterov and (momentum <= 0 or dampening != 0):
            raise ValueError("SGD: nesterov needs a momentum above 0 and no dampening")
        super().__init__(params, {
            "lr": lr, "momentum": momentum, "dampening": dampening,
            "weight_decay": weight_decay, "nesterov": nesterov, "maximize": maximize,
        })  # fmt: skip

    def update(self, p: Array, g: Array, state: State, group: Mapping[str, float]) -> Array:
        number = p.dtype.type
        g = decayed(p, g, group)
        if group["momentum"]:
            mu = number(group["momentum"])
            b = state.get("momentum_buffer")
            b = g.copy(order="K") if b is None else mu * b + number(1 - group["dampening"]) * g
            state["momentum_buffer"] = b
            g = g + mu * b if group["nesterov"] else b
        new: Array = p - number(group["lr"]) * g
        return new
