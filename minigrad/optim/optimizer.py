"""What every optimiser shares: groups of parameters, their state, saving and loading.

A subclass gives its defaults and one method, ``update(p, g, state, group)``: the new values
of a parameter from its values p, its gradient g, the arrays it keeps and the numbers of its
group.  Weight decay is coupled, as in L2 regularisation: g becomes g + lambda p, unless the
subclass says otherwise.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from minigrad.errors import GraphError, StateDictError
from minigrad.nn.parameter import Parameter
from minigrad.tensor import Tensor, from_numpy, no_grad

__all__ = ["Array", "Group", "Number", "Optimizer", "State"]

Array: TypeAlias = npt.NDArray[np.floating]
Number: TypeAlias = "float | bool"
Group: TypeAlias = "dict[str, Number | list[Parameter]]"
State: TypeAlias = "dict[str, Array | int]"
Parameters: TypeAlias = "Iterable[Parameter] | Iterable[Mapping[str, object]]"


class Optimizer:
    """The base of all optimisers.

    Parameters
    ----------
    params : iterable of Parameter, or of dict
        The parameters, or groups ``{"params": [...], "lr": ..., ...}`` with numbers of
        their own; what a group does not say it takes from ``defaults``.
    defaults : dict
        The numbers of the update by name, ``lr`` among them.

    Attributes
    ----------
    param_groups : list of dict
        The groups; ``group["lr"]`` may be changed between steps, as a schedule does.

    Raises
    ------
    ValueError
        If there is no parameter, one is in two groups, or a number is unknown or no
        finite number of at least 0.
    """

    def __init__(self, params: Parameters, defaults: Mapping[str, Number]) -> None:
        self.defaults = dict(defaults)
        self.param_groups: list[Group] = []
        self.state: dict[int, State] = {}
        given: list[object] = list(params)
        grouped = bool(given) and isinstance(given[0], Mapping)
        for group in given if grouped else [{"params": given}]:
            self.add_param_group(_as_group(group, type(self).__name__))
        if not any(True for _ in self._parameters()):
            raise ValueError(f"{type(self).__name__}: there are no parameters to train")

    def add_param_group(self, group: Mapping[str, object]) -> None:
        """Add parameters, with numbers of their own.

        Parameters
        ----------
        group : dict
            ``params`` (a Parameter or several) and any of the optimiser's numbers.
        """
        name = type(self).__name__
        params = _as_parameters(group.get("params", ()), name)
        known = {id(p) for p in self._parameters()}
        if any(id(p) in known for p in params) or len({id(p) for p in params}) < len(params):
            raise ValueError(f"{name}: a parameter is given more than once")
        unknown = sorted(set(group) - set(self.defaults) - {"params"})
        if unknown:
            raise ValueError(
                f"{name} has no option {', '.join(unknown)}; it has {', '.join(self.defaults)}"
            )
        numbers = {k: _number(name, k, group.get(k, d)) for k, d in self.defaults.items()}
        self.param_groups.append({"params": params, **numbers})

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients of all parameters.

        Parameters
        ----------
        set_to_none : bool
            Leave no gradient; if False, one of zeros where there was one.
        """
        for p in self._parameters():
            p.grad = (
                None if set_to_none or p.grad is None else from_numpy(np.zeros_like(p.grad.array))
            )

    def step(self) -> None:
        """Update every parameter that has a gradient, in place.

        A parameter without a gradient, or that is frozen (``requires_grad`` is False),
        stays as it is.
        """
        for index, (p, group) in enumerate(self._members()):
            if p.grad is None or not p.requires_grad:
                continue
            g = p.grad.numpy()
            if g.dtype != p.dtype:
                raise GraphError(f"a gradient is {g.dtype}, its parameter {p.dtype}")
            numbers = {k: float(v) for k, v in group.items() if not isinstance(v, list)}
            state = self.state.setdefault(index, {})
            with no_grad(), np.errstate(all="ignore"):  # IEEE's answers stand
                p.copy_(self.update(p.numpy(), g, state, numbers))

    def members(self) -> Iterator[tuple[Parameter, State, Group]]:
        """Each parameter, what is kept for it, and its group.

        Returns
        -------
        iterator of (Parameter, dict, dict)
            The second is empty before the parameter's first step.
        """
        for index, (p, group) in enumerate(self._members()):
            yield p, self.state.get(index, {}), group

    def rates(self) -> list[float]:
        """The present rate of each group."""
        rates = (group["lr"] for group in self.param_groups)
        return [float(rate) for rate in rates if not isinstance(rate, list)]

    def update(self, p: Array, g: Array, state: State, group: Mapping[str, float]) -> Array:
        """The new values of a parameter.

        Parameters
        ----------
        p, g : ndarray
            The parameter's values and its gradient; neither may be written to.
        state : dict
            What the optimiser keeps for this parameter; empty before its first step.
        group : dict
            The numbers of its group.

        Returns
        -------
        ndarray
            A new array of p's shape and dtype.
        """
        raise NotImplementedError(f"{type(self).__name__} has no update")

    def state_dict(self) -> dict[str, object]:
        """All that a later ``load_state_dict`` needs to go on to the same bits.

        Returns
        -------
        dict
            ``state``: arrays and counts by the parameter's position; ``param_groups``: the
            numbers of each group, and the positions of its parameters.
        """
        positions = {id(p): k for k, (p, _) in enumerate(self._members())}
        groups = [
            {**group, "params": [positions[id(p)] for p in _listed(group)]}
            for group in self.param_groups
        ]
        state = {
            k: {name: v if isinstance(v, int) else v.copy(order="K") for name, v in kept.items()}
            for k, kept in self.state.items()
        }
        return {"state": state, "param_groups": groups}

    def load_state_dict(self, state_dict: Mapping[str, object]) -> None:
        """Take over what ``state_dict`` of an optimiser over the same parameters returned.

        Parameters
        ----------
        state_dict : dict

        Raises
        ------
        StateDictError
            If its groups or shapes are not those of this optimiser; then nothing changes.
        """
        groups, kept = state_dict.get("param_groups"), state_dict.get("state")
        if not isinstance(groups, Sequence) or not isinstance(kept, Mapping):
            raise StateDictError("an optimiser's state has the keys 'state' and 'param_groups'")
        sizes, own = (
            [len(g["params"]) for g in groups],
            [len(_listed(g)) for g in self.param_groups],
        )
        if sizes != own:
            raise StateDictError(f"the state is of groups of {sizes} parameters, expected {own}")
        shapes = [p.shape for p in self._parameters()]
        new = {int(k): _state(int(k), v, shapes) for k, v in kept.items()}
        numbers = [
            {k: _number(type(self).__name__, k, g.get(k, d)) for k, d in self.defaults.items()}
            for g in groups
        ]
        self.state = new
        for group, values in zip(self.param_groups, numbers, strict=True):
            group.update(values)

    def _members(self) -> Iterator[tuple[Parameter, Group]]:
        for group in self.param_groups:
            for p in _listed(group):
                yield p, group

    def _parameters(self) -> Iterator[Parameter]:
        return (p for p, _ in self._members())

    def __repr__(self) -> str:
        rows = [
            f"  {len(_listed(group))} parameters: "
            + ", ".join(f"{k}={v}" for k, v in group.items() if k != "params")
            for group in self.param_groups
        ]
        return "\n".join((f"{type(self).__name__}(", *rows, ")"))


def zeros(state: State, name: str, like: Array) -> Array:
    """The array ``name`` of a state, zeros when it is asked for first."""
    value = state.setdefault(name, np.zeros_like(like))
    assert isinstance(value, np.ndarray)
    return value


def count(state: State) -> int:
    """The number of this step, counted from 1."""
    steps = state.get("step", 0)
    assert isinstance(steps, int)
    state["step"] = steps + 1
    return steps + 1


def decayed(p: Array, g: Array, group: Mapping[str, float]) -> Array:
    """g + lambda p, the gradient of the loss with lambda/2 |p|^2 added; -g to maximise."""
    if group["maximize"]:
        g = -g
    weight_decay = group["weight_decay"]
    return g + p.dtype.type(weight_decay) * p if weight_decay else g


def _listed(group: Group) -> list[Parameter]:
    params = group["params"]
    assert isinstance(params, list)
    return params


def _as_group(given: object, name: str) -> Mapping[str, object]:
    if not isinstance(given, Mapping):
        raise ValueError(f"{name}: a {type(given).__name__} stands between groups of parameters")
    return given


def _as_parameters(given: object, name: str) -> list[Parameter]:
    several = [given] if isinstance(given, Tensor) or not isinstance(given, Iterable) else given
    params = []
    for p in several:
        if not isinstance(p, Parameter):
            raise ValueError(
                f"{name}: a {type(p).__name__} is no Parameter; pass model.parameters(), or "
                'groups {"params": [...], ...}'
            )
        params.append(p)
    return params


def _number(name: str, key: str, value: object) -> Number:
    if isinstance(value, bool):
        return value
    if isinstance(value, int | float | np.integer | np.floating):
        number = float(value)
        if math.isfinite(number) and number >= 0:
            return number
    raise ValueError(f"{name}: {key} must be a finite number of at least 0, not {value!r}")


def _state(index: int, kept: Mapping[str, object], shapes: Sequence[tuple[int, ...]]) -> State:
    """A copy of one parameter's state, or the error that says what does not fit."""
    if not 0 <= index < len(shapes):
        raise StateDictError(f"the state has a parameter {index}, there are {len(shapes)}")
    state: State = {}
    for name, value in kept.items():
        if isinstance(value, np.ndarray):
            if value.shape != shapes[index]:
                raise StateDictError(
                    f"{name} of parameter {index} is {value.shape}, expected {shapes[index]}"
                )
            state[name] = value.copy(order="K")
        else:
            state[name] = _count(name, value)
    return state


def _count(name: str, value: object) -> int:
    if not isinstance(value, int):
        raise StateDictError(f"{name} must be an array or a count, not a {type(value).__name__}")
    return value
