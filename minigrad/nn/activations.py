"""Activations as layers: one by its name, and PyTorch's names for each."""

from __future__ import annotations

from collections.abc import Callable

from minigrad import ops
from minigrad.arguments import flag, integer, one_of
from minigrad.docs import with_sections
from minigrad.kernels import tables
from minigrad.nn.module import Module
from minigrad.tensor import Tensor

__all__ = [
    "ACTIVATIONS",
    "Activation",
    "Hardsigmoid",
    "Hardswish",
    "LogSoftmax",
    "ReLU",
    "ReLU6",
    "SiLU",
    "Sigmoid",
    "Softmax",
    "Tanh",
    "activate",
    "activation_name",
]


ACTIVATIONS = tuple(f.name for f in tables.ACTIVATIONS)


def activate(x: Tensor, name: str | None) -> Tensor:
    """The activation called ``name`` of x; x itself for None."""
    if name is None:
        return x
    function: Callable[[Tensor], Tensor] = getattr(ops, name)
    return function(x)


def activation_name(owner: str, name: str | None) -> str | None:
    """``name``, which must be None or one of ``ACTIVATIONS``."""
    return None if name is None else one_of(owner, "activation", name, ACTIVATIONS)


class Activation(Module):
    """y = f(x), f being an activation.

    Parameters
    ----------
    function : str or None
        "relu", "relu6", "hardsigmoid", "hardswish", "sigmoid", "silu" or "tanh"; None is the
        identity.

    Raises
    ------
    ArgumentError
        For any other name.

    Examples
    --------
    >>> from minigrad import Tensor, nn
    >>> nn.Activation("relu6")(Tensor([-1.0, 7.0])).tolist()
    [0.0, 6.0]
    """

    def __init__(self, function: str | None) -> None:
        self.function = activation_name("Activation", function)

    def forward(self, x: Tensor) -> Tensor:
        return activate(x, self.function)

    def extra_repr(self) -> str:
        return f"{self.function}"


class _Named(Activation):
    """PyTorch's class of an activation."""

    _activation: str

    def __init__(self, inplace: bool = False) -> None:
        flag(type(self).__name__, "inplace", inplace)
        super().__init__(self._activation)


_one_switch = with_sections(
    """Parameters
----------
inplace : bool
    PyTorch's switch, which changes nothing: x keeps its values.
"""
)


@_one_switch
class ReLU(_Named):
    """y = max(x, 0), element by element: PyTorch's name for ``Activation("relu")``.

    Examples
    --------
    >>> from minigrad import Tensor, nn
    >>> nn.ReLU()(Tensor([-1.0, 2.0])).tolist()
    [0.0, 2.0]
    """

    _activation = "relu"


@_one_switch
class ReLU6(_Named):
    """y = min(max(x, 0), 6), element by element: PyTorch's name for ``Activation("relu6")``.

    Examples
    --------
    >>> from minigrad import Tensor, nn
    >>> nn.ReLU6()(Tensor([-1.0, 7.0])).tolist()
    [0.0, 6.0]
    """

    _activation = "relu6"


@_one_switch
class Hardsigmoid(_Named):
    """y = min(max(x + 3, 0), 6) / 6, PyTorch's name for ``Activation("hardsigmoid")``.

    Examples
    --------
    >>> from minigrad import Tensor, nn
    >>> nn.Hardsigmoid()(Tensor([0.0, 3.0])).tolist()
    [0.5, 1.0]
    """

    _activation = "hardsigmoid"


@_one_switch
class Hardswish(_Named):
    """y = x min(max(x + 3, 0), 6) / 6, PyTorch's name for ``Activation("hardswish")``.

    Examples
    --------
    >>> from minigrad import Tensor, nn
    >>> nn.Hardswish()(Tensor([0.0, 3.0])).tolist()
    [0.0, 3.0]
    """

    _activation = "hardswish"


@_one_switch
class Sigmoid(_Named):
    """y = 1 / (1 + e^-x), element by element: PyTorch's name for ``Activation("sigmoid")``.

    Examples
    --------
    >>> from minigrad import Tensor, nn
    >>> nn.Sigmoid()(Tensor([0.0])).tolist()
    [0.5]
    """

    _activation = "sigmoid"


@_one_switch
class SiLU(_Named):
    """y = x / (1 + e^-x), element by element: PyTorch's name for ``Activation("silu")``.

    Examples
    --------
    >>> from minigrad import Tensor, nn
    >>> nn.SiLU()(Tensor([0.0])).tolist()
    [0.0]
    """

    _activation = "silu"


@_one_switch
class Tanh(_Named):
    """y = tanh(x), element by element: PyTorch's name for ``Activation("tanh")``.

    Examples
    --------
    >>> from minigrad import Tensor, nn
    >>> nn.Tanh()(Tensor([0.0])).tolist()
    [0.0]
    """

    _activation = "tanh"


class Softmax(Module):
    """The softmax along an axis; see ``minigrad.softmax``.

    Parameters
    ----------
    dim : int
        The axis, the last by default.

    Raises
    ------
    ArgumentError
        If ``dim`` is no integer.

    Examples
    --------
    >>> from minigrad import nn, zeros
    >>> nn.Softmax()(zeros(3, 1)).tolist()
    [[1.0], [1.0], [1.0]]
    """

    def __init__(self, dim: int = -1) -> None:
        self.dim = integer("Softmax", "dim", dim)

    def forward(self, x: Tensor) -> Tensor:
        return ops.softmax(x, self.dim)

    def extra_repr(self) -> str:
        return f"dim={self.dim}"


class LogSoftmax(Module):
    """The logarithm of the softmax along an axis; see ``minigrad.log_softmax``.

    Parameters
    ----------
    dim : int
        The axis, as for ``Softmax``.

    Raises
    ------
    ArgumentError
        If ``dim`` is no integer.

    Examples
    --------
    >>> from minigrad import nn, zeros
    >>> nn.LogSoftmax()(zeros(3, 1)).tolist()
    [[0.0], [0.0], [0.0]]
    """

    def __init__(self, dim: int = -1) -> None:
        self.dim = integer("LogSoftmax", "dim", dim)

    def forward(self, x: Tensor) -> Tensor:
        return ops.log_softmax(x, self.dim)

    def extra_repr(self) -> str:
        return f"dim={self.dim}"
