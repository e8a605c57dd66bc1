"""Layers without weights: activations, dropout, and what gives x another shape."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from minigrad import ops
from minigrad.arguments import flag, integer, number, one_of
from minigrad.nn.module import Module
from minigrad.tensor import Tensor

if TYPE_CHECKING:
    from numpy.random import Generator

__all__ = [
    "ACTIVATIONS",
    "Activation",
    "Dropout",
    "Flatten",
    "GlobalAvgPool",
    "Hardsigmoid",
    "Hardswish",
    "Identity",
    "LogSoftmax",
    "ReLU",
    "ReLU6",
    "SiLU",
    "Sigmoid",
    "Softmax",
    "StochasticDepth",
    "Tanh",
    "activate",
    "activation_name",
]

ACTIVATIONS = ("relu", "relu6", "hardsigmoid", "hardswish", "sigmoid", "silu", "tanh")


def activate(x: Tensor, name: str | None) -> Tensor:
    """The activation called ``name`` of x; x itself for None."""
    if name is None:
        return x
    function: Callable[[Tensor], Tensor] = getattr(ops, name)
    return function(x)


def activation_name(owner: str, name: str | None) -> str | None:
    """``name``, which must be None or one of ``ACTIVATIONS``."""
    return None if name is None else one_of(owner, "activation", name, ACTIVATIONS)


class Identity(Module):
    """y = x.

    Examples
    --------
    >>> import minigrad as mg
    >>> from minigrad import nn
    >>> nn.Identity()(mg.ones(2)).tolist()
    [1.0, 1.0]
    """

    def forward(self, x: Tensor) -> Tensor:
        return x


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
    >>> import minigrad as mg
    >>> from minigrad import nn
    >>> nn.Activation("relu6")(mg.Tensor([-1.0, 7.0])).tolist()
    [0.0, 6.0]
    """

    def __init__(self, function: str | None) -> None:
        self.function = activation_name("Activation", function)

    def forward(self, x: Tensor) -> Tensor:
        return activate(x, self.function)

    def extra_repr(self) -> str:
        return f"{self.function}"


class ReLU(Activation):
    """y = max(x, 0), element by element: PyTorch's name for ``Activation("relu")``.

    Parameters
    ----------
    inplace : bool
        PyTorch's switch, which changes nothing: x keeps its values.

    Examples
    --------
    >>> import minigrad as mg
    >>> from minigrad import nn
    >>> nn.ReLU()(mg.Tensor([-1.0, 2.0])).tolist()
    [0.0, 2.0]
    """

    def __init__(self, inplace: bool = False) -> None:
        flag("ReLU", "inplace", inplace)
        super().__init__("relu")


class ReLU6(Activation):
    """y = min(max(x, 0), 6), element by element: PyTorch's name for ``Activation("relu6")``.

    Parameters
    ----------
    inplace : bool
        PyTorch's switch, which changes nothing: x keeps its values.

    Examples
    --------
    >>> import minigrad as mg
    >>> from minigrad import nn
    >>> nn.ReLU6()(mg.Tensor([-1.0, 7.0])).tolist()
    [0.0, 6.0]
    """

    def __init__(self, inplace: bool = False) -> None:
        flag("ReLU6", "inplace", inplace)
        super().__init__("relu6")


class Hardsigmoid(Activation):
    """y = min(max(x + 3, 0), 6) / 6, PyTorch's name for ``Activation("hardsigmoid")``.

    Parameters
    ----------
    inplace : bool
        PyTorch's switch, which changes nothing: x keeps its values.

    Examples
    --------
    >>> import minigrad as mg
    >>> from minigrad import nn
    >>> nn.Hardsigmoid()(mg.Tensor([0.0, 3.0])).tolist()
    [0.5, 1.0]
    """

    def __init__(self, inplace: bool = False) -> None:
        flag("Hardsigmoid", "inplace", inplace)
        super().__init__("hardsigmoid")


class Hardswish(Activation):
    """y = x min(max(x + 3, 0), 6) / 6, PyTorch's name for ``Activation("hardswish")``.

    Parameters
    ----------
    inplace : bool
        PyTorch's switch, which changes nothing: x keeps its values.

    Examples
    --------
    >>> import minigrad as mg
    >>> from minigrad import nn
    >>> nn.Hardswish()(mg.Tensor([0.0, 3.0])).tolist()
    [0.0, 3.0]
    """

    def __init__(self, inplace: bool = False) -> None:
        flag("Hardswish", "inplace", inplace)
        super().__init__("hardswish")


class Sigmoid(Activation):
    """y = 1 / (1 + e^-x), element by element: PyTorch's name for ``Activation("sigmoid")``.

    Parameters
    ----------
    inplace : bool
        PyTorch's switch, which changes nothing: x keeps its values.

    Examples
    --------
    >>> import minigrad as mg
    >>> from minigrad import nn
    >>> nn.Sigmoid()(mg.Tensor([0.0])).tolist()
    [0.5]
    """

    def __init__(self, inplace: bool = False) -> None:
        flag("Sigmoid", "inplace", inplace)
        super().__init__("sigmoid")


class SiLU(Activation):
    """y = x / (1 + e^-x), element by element: PyTorch's name for ``Activation("silu")``.

    Parameters
    ----------
    inplace : bool
        PyTorch's switch, which changes nothing: x keeps its values.

    Examples
    --------
    >>> import minigrad as mg
    >>> from minigrad import nn
    >>> nn.SiLU()(mg.Tensor([0.0])).tolist()
    [0.0]
    """

    def __init__(self, inplace: bool = False) -> None:
        flag("SiLU", "inplace", inplace)
        super().__init__("silu")


class Tanh(Activation):
    """y = tanh(x), element by element: PyTorch's name for ``Activation("tanh")``.

    Parameters
    ----------
    inplace : bool
        PyTorch's switch, which changes nothing: x keeps its values.

    Examples
    --------
    >>> import minigrad as mg
    >>> from minigrad import nn
    >>> nn.Tanh()(mg.Tensor([0.0])).tolist()
    [0.0]
    """

    def __init__(self, inplace: bool = False) -> None:
        flag("Tanh", "inplace", inplace)
        super().__init__("tanh")


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
    >>> import minigrad as mg
    >>> from minigrad import nn
    >>> nn.Softmax()(mg.zeros(3, 1)).tolist()
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
        The axis, the last by default.

    Raises
    ------
    ArgumentError
        If ``dim`` is no integer.

    Examples
    --------
    >>> import minigrad as mg
    >>> from minigrad import nn
    >>> nn.LogSoftmax()(mg.zeros(3, 1)).tolist()
    [[0.0], [0.0], [0.0]]
    """

    def __init__(self, dim: int = -1) -> None:
        self.dim = integer("LogSoftmax", "dim", dim)

    def forward(self, x: Tensor) -> Tensor:
        return ops.log_softmax(x, self.dim)

    def extra_repr(self) -> str:
        return f"dim={self.dim}"


class GlobalAvgPool(Module):
    """The mean of each map: (N, C, H, W) to (N, C, 1, 1).

    Examples
    --------
    >>> import minigrad as mg
    >>> from minigrad import nn
    >>> nn.GlobalAvgPool()(mg.ones(2, 3, 4, 4)).shape
    (2, 3, 1, 1)
    """

    def forward(self, x: Tensor) -> Tensor:
        return ops.global_avg_pool(x)


class Flatten(Module):
    """Several axes become one: by default (N, C, H, W) to (N, C H W).

    Parameters
    ----------
    start_dim, end_dim : int
        The first and the last of them.

    Raises
    ------
    ArgumentError
        If an axis is no integer.

    Examples
    --------
    >>> import minigrad as mg
    >>> from minigrad import nn
    >>> nn.Flatten()(mg.ones(2, 3, 4, 4)).shape
    (2, 48)
    """

    def __init__(self, start_dim: int = 1, end_dim: int = -1) -> None:
        self.start_dim = integer("Flatten", "start_dim", start_dim)
        self.end_dim = integer("Flatten", "end_dim", end_dim)

    def forward(self, x: Tensor) -> Tensor:
        return ops.flatten(x, self.start_dim, self.end_dim)


class Dropout(Module):
    """In training, each value is 0 with probability p, and divided by 1 - p otherwise.

    Parameters
    ----------
    p : float
        At least 0 and below 1.
    rng : numpy.random.Generator or int, optional
        Where the randomness comes from, or its seed; None draws fresh entropy.

    Raises
    ------
    ArgumentError
        If p lies outside.

    Examples
    --------
    >>> import minigrad as mg
    >>> from minigrad import nn
    >>> nn.Dropout(0.5).eval()(mg.ones(2)).tolist()
    [1.0, 1.0]
    """

    def __init__(self, p: float = 0.5, rng: Generator | None = None) -> None:
        self.p, self.rng = number("Dropout", "p", p, least=0, below=1), rng

    def forward(self, x: Tensor) -> Tensor:
        return ops.dropout(x, self.p, self.training, self.rng) if self.p else x

    def extra_repr(self) -> str:
        return f"p={self.p:g}"


class StochasticDepth(Module):
    """In training, each sample is 0 with probability p, and divided by 1 - p otherwise.

    Source: Huang et al., "Deep Networks with Stochastic Depth" (2016); divided by the
    survival in training, not multiplied in evaluation, as TensorFlow's EfficientNet does.

    Parameters
    ----------
    p : float
        At least 0 and below 1.
    rng : numpy.random.Generator or int, optional
        As for ``Dropout``.

    Raises
    ------
    ArgumentError
        If p lies outside.

    Examples
    --------
    >>> import minigrad as mg
    >>> from minigrad import nn
    >>> nn.StochasticDepth(0.5).eval()(mg.ones(2, 1)).tolist()
    [[1.0], [1.0]]
    """

    def __init__(self, p: float, rng: Generator | None = None) -> None:
        self.p, self.rng = number("StochasticDepth", "p", p, least=0, below=1), rng

    def forward(self, x: Tensor) -> Tensor:
        return ops.stochastic_depth(x, self.p, self.training, self.rng) if self.p else x

    def extra_repr(self) -> str:
        return f"p={self.p:g}"
