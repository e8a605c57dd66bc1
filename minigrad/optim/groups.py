"""Which parameters decay, and at what rate each layer learns.

Weight decay pulls a parameter to 0.  For the weights of a convolution that is a prior; for
the scale of a batch norm or a bias it only moves the function, so EfficientNet's and most
later code leave those out.  Fine-tuning lets early layers, whose features are general,
learn more slowly than the new head: layer k of K learns at lr d^(K - 1 - k).
"""

from __future__ import annotations

from minigrad.nn.module import Module
from minigrad.nn.parameter import Parameter

__all__ = ["parameter_groups"]


def parameter_groups(
    module: Module, lr: float, weight_decay: float = 0.0, layer_decay: float = 1.0
) -> list[dict[str, object]]:
    """The parameters of a module as groups for an optimiser.

    Parameters
    ----------
    module : Module
    lr : float
        The rate of the last layer.
    weight_decay : float
        Of weights with two axes or more; scales, shifts and biases get 0.
    layer_decay : float
        d above: the factor from a layer to the one before it, a layer being a part of the
        module, or of one of its Sequentials.

    Returns
    -------
    list of dict
        ``{"params": [...], "lr": ..., "weight_decay": ...}`` each; frozen parameters are
        left out.

    Examples
    --------
    >>> import minigrad as mg
    >>> net = mg.nn.Sequential(mg.nn.Linear(2, 3), mg.nn.Linear(3, 1))
    >>> groups = parameter_groups(net, lr=0.1, weight_decay=1e-4, layer_decay=0.5)
    >>> [(g["lr"], g["weight_decay"], len(g["params"])) for g in groups]
    [(0.05, 0.0001, 1), (0.05, 0.0, 1), (0.1, 0.0001, 1), (0.1, 0.0, 1)]
    """
    layers: dict[str, list[Parameter]] = {}
    for name, parameter in module.named_parameters():
        if parameter.requires_grad:
            layers.setdefault(_layer(name), []).append(parameter)
    groups: dict[tuple[float, float], list[Parameter]] = {}
    for k, parameters in enumerate(layers.values()):
        rate = lr * layer_decay ** (len(layers) - 1 - k)
        for p in parameters:
            decay = weight_decay if p.ndim > 1 else 0.0
            groups.setdefault((rate, decay), []).append(p)
    return [{"params": ps, "lr": rate, "weight_decay": wd} for (rate, wd), ps in groups.items()]


def _layer(name: str) -> str:
    """``blocks.3`` of ``blocks.3.expand.conv.weight``, ``stem`` of ``stem.conv.weight``."""
    first, second, *_ = (*name.split("."), "")
    return f"{first}.{second}" if second.isdigit() else first
