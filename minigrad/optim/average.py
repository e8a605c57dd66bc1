"""The exponential moving average of the weights, which often classifies better than they do.

    a <- d a + (1 - d) w        after each step,

and, where ``num_updates`` is on, with d_t = min(d, (1 + t) / (10 + t)) in update t = 1, 2,
..., so that the first weights are forgotten soon (TensorFlow's ExponentialMovingAverage).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import numpy as np

from minigrad.errors import StateDictError
from minigrad.nn.module import Module
from minigrad.optim.optimizer import Array

__all__ = ["WeightAverage"]


class WeightAverage:
    """The average of a module's parameters and running statistics.

    Parameters
    ----------
    module : Module
    decay : float
        d, from 0 to below 1.
    num_updates : bool
        Whether the decay grows from small values.

    Examples
    --------
    >>> import minigrad as mg
    >>> net = mg.nn.Linear(2, 1)
    >>> average = WeightAverage(net, decay=0.999)
    >>> average.update()                # after each step
    >>> with average.in_use():          # the module computes with the average here
    ...     y = net.eval()(mg.Tensor([[1.0, 2.0]], dtype="float32"))
    """

    def __init__(self, module: Module, decay: float = 0.9999, num_updates: bool = True) -> None:
        if not 0 <= decay < 1:
            raise ValueError(f"WeightAverage: decay must lie in [0, 1), not {decay!r}")
        self.module, self.decay, self.num_updates, self.updates = module, decay, num_updates, 0
        self.values = _copy(module.state_dict())

    def update(self) -> None:
        """Move the average towards the module's present values."""
        self.updates += 1
        t = self.updates
        d = min(self.decay, (1 + t) / (10 + t)) if self.num_updates else self.decay
        for name, w in self.module.state_dict().items():
            a = self.values[name]
            a += a.dtype.type(1 - d) * (w - a)

    @contextmanager
    def in_use(self) -> Iterator[Module]:
        """The module with the average as its values, inside the ``with`` block."""
        own = _copy(self.module.state_dict())
        self.module.load_state_dict(_copy(self.values))
        try:
            yield self.module
        finally:
            self.module.load_state_dict(own)

    def state_dict(self) -> dict[str, object]:
        """The average by name, and how many updates it has seen."""
        return {"values": _copy(self.values), "updates": self.updates}

    def load_state_dict(self, state_dict: Mapping[str, object]) -> None:
        """Take over what ``state_dict`` returned.

        Parameters
        ----------
        state_dict : dict

        Raises
        ------
        StateDictError
            If it is of another module; then nothing changes.
        """
        values, updates = state_dict.get("values"), state_dict.get("updates")
        if not isinstance(values, Mapping) or not isinstance(updates, int):
            raise StateDictError("the state of an average has the keys 'values' and 'updates'")
        shapes = {name: np.shape(a) for name, a in values.items()}
        if shapes != {name: a.shape for name, a in self.values.items()}:
            raise StateDictError("the average is of a module with other names or shapes")
        self.values, self.updates = _copy(values), updates


def _copy(values: Mapping[str, Array]) -> dict[str, Array]:
    return {name: a.copy(order="K") for name, a in values.items()}
