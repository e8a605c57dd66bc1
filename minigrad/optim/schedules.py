"""How the rate changes from step to step: a function of the step's number alone.

    LinearLR            base (f + (e - f) min(t, T) / T)
    StepLR              base gamma^floor(t / s)
    ExponentialLR       base gamma^t
    CosineAnnealingLR   eta + (base - eta) (1 + cos(pi t / T)) / 2      (Loshchilov, Hutter 2017)
    PolynomialLR        base (1 - min(t, T) / T)^power
    SequentialLR        one after another, each counted from its own beginning

``base`` is each group's rate when the schedule was made.  What a step is, the caller
decides by calling ``step()``: after each update, or after each epoch.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from minigrad.errors import StateDictError
from minigrad.optim.optimizer import Optimizer

__all__ = [
    "CosineAnnealingLR",
    "ExponentialLR",
    "LinearLR",
    "PolynomialLR",
    "Schedule",
    "SequentialLR",
    "StepLR",
]


class Schedule:
    """The base of all schedules.

    Parameters
    ----------
    optimizer : Optimizer
        Its groups' rates are set at once, and at each ``step()``.
    """

    def __init__(self, optimizer: Optimizer) -> None:
        self.optimizer, self.last_epoch = optimizer, 0
        self.base_lrs = optimizer.rates()
        self._set()

    def rate(self, base: float, t: int) -> float:
        """The rate in step ``t`` of a group that began with ``base``."""
        raise NotImplementedError(f"{type(self).__name__} has no rate")

    def step(self) -> None:
        """Go on to the next rate."""
        self.last_epoch += 1
        self._set()

    def get_last_lr(self) -> list[float]:
        """The present rate of each group."""
        return self.optimizer.rates()

    def state_dict(self) -> dict[str, object]:
        """How far the schedule is, and the rates it began with."""
        return {"last_epoch": self.last_epoch, "base_lrs": list(self.base_lrs)}

    def load_state_dict(self, state_dict: Mapping[str, object]) -> None:
        """Go on where another one was.

        Parameters
        ----------
        state_dict : dict
            What ``state_dict`` returned.
        """
        step, bases = state_dict.get("last_epoch"), state_dict.get("base_lrs")
        if not isinstance(step, int) or not isinstance(bases, list):
            raise StateDictError("a schedule's state has the keys 'last_epoch' and 'base_lrs'")
        if len(bases) != len(self.base_lrs):
            raise StateDictError(
                f"the schedule is of {len(bases)} groups, expected {len(self.base_lrs)}"
            )
        self.last_epoch, self.base_lrs = step, bases
        self._set()

    def _set(self) -> None:
        for group, base in zip(self.optimizer.param_groups, self.base_lrs, strict=True):
            group["lr"] = self.rate(base, self.last_epoch)


class LinearLR(Schedule):
    """From one factor to another along a line: a warm-up.

        lr(t) = base (f + (e - f) min(t, T) / T)

    Parameters
    ----------
    optimizer : Optimizer
    start_factor, end_factor : float
        f and e.
    total_iters : int
        T.

    Examples
    --------
    >>> from minigrad import nn, optim
    >>> optimizer = optim.SGD(nn.Linear(2, 1).parameters(), lr=1.0)
    >>> schedule = LinearLR(optimizer, start_factor=0.5, total_iters=4)
    >>> for _ in range(2):
    ...     schedule.step()
    >>> round(schedule.get_last_lr()[0], 4)
    0.75
    """

    def __init__(
        self,
        optimizer: Optimizer,
        start_factor: float = 1 / 3,
        end_factor: float = 1.0,
        total_iters: int = 5,
    ) -> None:
        self.start_factor, self.end_factor = start_factor, end_factor
        self.total_iters = _at_least_one("LinearLR", "total_iters", total_iters)
        super().__init__(optimizer)

    def rate(self, base: float, t: int) -> float:
        share = min(t, self.total_iters) / self.total_iters
        return base * (self.start_factor + (self.end_factor - self.start_factor) * share)


class StepLR(Schedule):
    """A factor every so many steps: lr(t) = base gamma^floor(t / step_size).

    Parameters
    ----------
    optimizer : Optimizer
    step_size : int
    gamma : float

    Examples
    --------
    >>> from minigrad import nn, optim
    >>> optimizer = optim.SGD(nn.Linear(2, 1).parameters(), lr=1.0)
    >>> schedule = StepLR(optimizer, step_size=2)
    >>> for _ in range(3):
    ...     schedule.step()
    >>> round(schedule.get_last_lr()[0], 4)
    0.1
    """

    def __init__(self, optimizer: Optimizer, step_size: int, gamma: float = 0.1) -> None:
        self.step_size, self.gamma = _at_least_one("StepLR", "step_size", step_size), gamma
        super().__init__(optimizer)

    def rate(self, base: float, t: int) -> float:
        return base * self.gamma ** (t // self.step_size)


class ExponentialLR(Schedule):
    """A factor each step: lr(t) = base gamma^t.

    Parameters
    ----------
    optimizer : Optimizer
    gamma : float

    Examples
    --------
    >>> from minigrad import nn, optim
    >>> optimizer = optim.SGD(nn.Linear(2, 1).parameters(), lr=1.0)
    >>> schedule = ExponentialLR(optimizer, gamma=0.9)
    >>> for _ in range(2):
    ...     schedule.step()
    >>> round(schedule.get_last_lr()[0], 4)
    0.81
    """

    def __init__(self, optimizer: Optimizer, gamma: float) -> None:
        self.gamma = gamma
        super().__init__(optimizer)

    def rate(self, base: float, t: int) -> float:
        return base * self.gamma**t


class CosineAnnealingLR(Schedule):
    """Half a cosine down to eta: lr(t) = eta + (base - eta) (1 + cos(pi t / T)) / 2.

    Parameters
    ----------
    optimizer : Optimizer
    T_max : int
        T; after it the rate goes up again, as the cosine does.
    eta_min : float
        eta.

    Examples
    --------
    >>> from minigrad import nn, optim
    >>> optimizer = optim.SGD(nn.Linear(2, 1).parameters(), lr=1.0)
    >>> schedule = CosineAnnealingLR(optimizer, T_max=4)
    >>> for _ in range(2):
    ...     schedule.step()
    >>> round(schedule.get_last_lr()[0], 4)
    0.5
    """

    def __init__(self, optimizer: Optimizer, T_max: int, eta_min: float = 0.0) -> None:
        self.T_max, self.eta_min = _at_least_one("CosineAnnealingLR", "T_max", T_max), eta_min
        super().__init__(optimizer)

    def rate(self, base: float, t: int) -> float:
        return self.eta_min + (base - self.eta_min) * (1 + math.cos(math.pi * t / self.T_max)) / 2


class PolynomialLR(Schedule):
    """A power of what is left: lr(t) = base (1 - min(t, T) / T)^power.

    Parameters
    ----------
    optimizer : Optimizer
    total_iters : int
        T.
    power : float

    Examples
    --------
    >>> from minigrad import nn, optim
    >>> optimizer = optim.SGD(nn.Linear(2, 1).parameters(), lr=1.0)
    >>> schedule = PolynomialLR(optimizer, total_iters=4, power=2.0)
    >>> for _ in range(2):
    ...     schedule.step()
    >>> round(schedule.get_last_lr()[0], 4)
    0.25
    """

    def __init__(self, optimizer: Optimizer, total_iters: int = 5, power: float = 1.0) -> None:
        self.total_iters = _at_least_one("PolynomialLR", "total_iters", total_iters)
        self.power = power
        super().__init__(optimizer)

    def rate(self, base: float, t: int) -> float:
        return float(base * (1 - min(t, self.total_iters) / self.total_iters) ** self.power)


class SequentialLR(Schedule):
    """One schedule after another.

        lr(t) = lr_k(t - m_k),      m_k <= t < m_(k+1),  m_0 = 0

    Parameters
    ----------
    optimizer : Optimizer
        With its full rates: each schedule takes them as its base.
    schedulers : sequence of Schedule
    milestones : sequence of int
        m_1, m_2, ...: where each schedule but the first begins.
    """

    def __init__(
        self, optimizer: Optimizer, schedulers: Sequence[Schedule], milestones: Sequence[int]
    ) -> None:
        ascending = list(milestones) == sorted(set(milestones)) and all(m > 0 for m in milestones)
        if len(milestones) != len(schedulers) - 1 or not ascending:
            raise ValueError(
                f"SequentialLR: {len(schedulers)} schedules need {len(schedulers) - 1} ascending "
                f"milestones above 0, got {list(milestones)}"
            )
        self.schedulers, self.milestones = list(schedulers), list(milestones)
        bases = schedulers[0].base_lrs
        for group, base in zip(optimizer.param_groups, bases, strict=True):
            group["lr"] = base
        super().__init__(optimizer)

    def rate(self, base: float, t: int) -> float:
        k = sum(t >= m for m in self.milestones)
        return self.schedulers[k].rate(base, t - (self.milestones[k - 1] if k else 0))


def _at_least_one(schedule: str, name: str, value: int) -> int:
    if value < 1:
        raise ValueError(f"{schedule}: {name} must be at least 1, not {value!r}")
    return value
