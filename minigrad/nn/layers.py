"""The layers: an operation and the parameters it is applied with.

Each is one line of ``ops`` that remembers its weights.  Names, arguments and defaults are
PyTorch's; ``padding`` also takes ``"symmetric"``, d (k - 1) / 2 on every side, which keeps
the size of a map at stride 1, and ``"same"``, TensorFlow's, whose odd pixel lies after.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from minigrad import ops
from minigrad.errors import ShapeError
from minigrad.geometry import Padding, Pair, pair, span
from minigrad.nn import init
from minigrad.nn.module import Module
from minigrad.nn.parameter import Buffer, Parameter
from minigrad.tensor import Tensor

if TYPE_CHECKING:
    from numpy.random import Generator

__all__ = [
    "ACTIVATIONS",
    "Activation",
    "AvgPool2d",
    "BatchNorm2d",
    "Conv2d",
    "ConvBN",
    "Dropout",
    "Flatten",
    "GlobalAvgPool",
    "Identity",
    "Linear",
    "MaxPool2d",
    "Sequential",
    "StochasticDepth",
    "activate",
]

ACTIVATIONS = ("relu", "relu6", "hardsigmoid", "hardswish", "sigmoid", "silu", "tanh")


def activate(x: Tensor, name: str | None) -> Tensor:
    """The activation called ``name`` of x; x itself for None."""
    y: Tensor = x if name is None else getattr(ops, name)(x)
    return y


def _checked(name: str | None) -> str | None:
    if name is not None and name not in ACTIVATIONS:
        raise ValueError(f"activation must be one of {', '.join(ACTIVATIONS)}, not {name!r}")
    return name


class Identity(Module):
    """y = x."""

    def forward(self, x: Tensor) -> Tensor:
        return x


class Activation(Module):
    """y = f(x), f being one of ``ACTIVATIONS``."""

    def __init__(self, function: str) -> None:
        self.function = _checked(function)

    def forward(self, x: Tensor) -> Tensor:
        return activate(x, self.function)

    def extra_repr(self) -> str:
        return f"{self.function}"


class Sequential(Module):
    """y = f_k(... f_2(f_1(x))); a part is called by its place: "0", "1", ..."""

    def __init__(self, *parts: Module) -> None:
        for i, part in enumerate(parts):
            setattr(self, str(i), part)

    def forward(self, x: Tensor) -> Tensor:
        for part in self:
            x = part(x)
        return x

    def __iter__(self) -> Iterator[Module]:
        return (part for _, part in self.named_children())

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __getitem__(self, index: int) -> Module:
        return list(self)[index]


class Conv2d(Module):
    """y = conv2d(x, weight) + bias, with weight (Cout, Cin/groups, kh, kw).

    Parameters
    ----------
    in_channels, out_channels : int
    kernel_size, stride, dilation : int or (int, int)
    padding : int, (h, w), ((top, bottom), (left, right)), "same", "valid" or "symmetric"
    groups : int
    bias : bool
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | Sequence[int],
        stride: int | Sequence[int] = 1,
        padding: Padding = 0,
        dilation: int | Sequence[int] = 1,
        groups: int = 1,
        bias: bool = True,
    ) -> None:
        if in_channels % groups or out_channels % groups:
            raise ShapeError(
                f"Conv2d: groups={groups} must divide both in_channels={in_channels} "
                f"and out_channels={out_channels}"
            )
        kernel = pair(kernel_size, "kernel_size")
        self.stride, self.dilation = pair(stride, "stride"), pair(dilation, "dilation")
        self.padding = symmetric(kernel, self.dilation) if padding == "symmetric" else padding
        self.groups = groups
        shape = (out_channels, in_channels // groups, *kernel)
        self.weight = Parameter(shape, init.choose(shape, groups))
        self.bias = Parameter((out_channels,), init.zeros) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        return ops.conv2d(
            x, self.weight, self.bias, self.stride, self.padding, self.dilation, self.groups
        )

    def extra_repr(self) -> str:
        cout, cin, kh, kw = self.weight.shape
        parts = [f"{cin * self.groups}, {cout}, kernel_size={(kh, kw)}, stride={self.stride}"]
        parts += [f"padding={self.padding}"] if self.padding not in (0, (0, 0)) else []
        parts += [f"dilation={self.dilation}"] if self.dilation != (1, 1) else []
        parts += [f"groups={self.groups}"] if self.groups != 1 else []
        return ", ".join([*parts, *([] if self.bias is not None else ["bias=False"])])


def symmetric(kernel: Pair, dilation: Pair = (1, 1)) -> Pair:
    """The pads d (k - 1) / 2, the same on both sides, of an odd kernel.

    >>> symmetric((5, 1), (2, 2))
    (4, 0)
    """
    return span(kernel[0], dilation[0]) // 2, span(kernel[1], dilation[1]) // 2


class Linear(Module):
    """y = x weight^T + bias, with weight (out_features, in_features)."""

    def __init__(self, in_features: int, out_features: int, bias: bool = True) -> None:
        shape = (out_features, in_features)
        self.weight = Parameter(shape, init.choose(shape))
        self.bias = Parameter((out_features,), init.zeros) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        return ops.linear(x, self.weight, self.bias)

    def extra_repr(self) -> str:
        return f"{self.weight.shape[1]}, {self.weight.shape[0]}, bias={self.bias is not None}"


class BatchNorm2d(Module):
    """y = weight (x - mean) / sqrt(var + eps) + bias, per channel.

    In training mode mean and var (biased) are the batch's, and the running ones move to
    them by ``momentum`` (PyTorch's sense: 1 minus TensorFlow's decay; the running variance
    is the unbiased one).  In evaluation mode they are the running ones.

    Source: Ioffe & Szegedy, "Batch Normalization" (2015).
    """

    def __init__(self, num_features: int, eps: float = 1e-5, momentum: float = 0.1) -> None:
        self.eps, self.momentum = eps, momentum
        self.weight = Parameter((num_features,), init.ones)
        self.bias = Parameter((num_features,), init.zeros)
        self.running_mean = Buffer((num_features,), init.zeros)
        self.running_var = Buffer((num_features,), init.ones)

    def forward(self, x: Tensor) -> Tensor:
        return ops.batch_norm(
            x, self.running_mean, self.running_var, self.weight, self.bias,
            training=self.training, momentum=self.momentum, eps=self.eps,
        )  # fmt: skip

    def extra_repr(self) -> str:
        return f"{self.weight.size}, eps={self.eps:g}, momentum={self.momentum:g}"


class ConvBN(Module):
    """y = activation(BatchNorm(conv2d(x))): the unit that both blocks are made of.

    Parameters
    ----------
    in_channels, out_channels, kernel_size, stride, dilation, groups
        Of the convolution, which has no bias unless ``bias`` is set: BatchNorm has one.
    activation : str or None
        One of ``ACTIVATIONS``, or None for a linear unit.
    padding : see Conv2d
    bn_eps, bn_momentum : float
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | Sequence[int] = 1,
        stride: int = 1,
        dilation: int = 1,
        groups: int = 1,
        activation: str | None = "relu",
        padding: Padding = "symmetric",
        bias: bool = False,
        bn_eps: float = 1e-5,
        bn_momentum: float = 0.1,
    ) -> None:
        self.conv = Conv2d(
            in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias
        )
        self.bn = BatchNorm2d(out_channels, bn_eps, bn_momentum)
        self.activation = _checked(activation)

    def forward(self, x: Tensor) -> Tensor:
        return activate(self.bn(self.conv(x)), self.activation)

    def extra_repr(self) -> str:
        return f"activation={self.activation}"


class MaxPool2d(Module):
    """The largest value of each window; the pad is -inf and never wins."""

    def __init__(
        self, kernel_size: int, stride: int | None = None, padding: Padding = 0,
        dilation: int = 1, ceil_mode: bool = False,
    ) -> None:  # fmt: skip
        self.window: dict[str, Any] = {
            "kernel_size": kernel_size, "stride": stride, "padding": padding,
            "dilation": dilation, "ceil_mode": ceil_mode,
        }  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        return ops.max_pool2d(x, **self.window)

    def extra_repr(self) -> str:
        return ", ".join(f"{k}={v}" for k, v in self.window.items())


class AvgPool2d(Module):
    """The mean of each window."""

    def __init__(
        self, kernel_size: int, stride: int | None = None, padding: Padding = 0,
        ceil_mode: bool = False, count_include_pad: bool = True,
    ) -> None:  # fmt: skip
        self.window: dict[str, Any] = {
            "kernel_size": kernel_size, "stride": stride, "padding": padding,
            "ceil_mode": ceil_mode, "count_include_pad": count_include_pad,
        }  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        return ops.avg_pool2d(x, **self.window)

    def extra_repr(self) -> str:
        return ", ".join(f"{k}={v}" for k, v in self.window.items())


class GlobalAvgPool(Module):
    """The mean of each map: (N, C, H, W) to (N, C, 1, 1)."""

    def forward(self, x: Tensor) -> Tensor:
        return ops.global_avg_pool(x)


class Flatten(Module):
    """(N, C, H, W) to (N, C H W)."""

    def forward(self, x: Tensor) -> Tensor:
        return ops.flatten(x, start_dim=1)


class Dropout(Module):
    """In training, each value is 0 with probability p, and divided by 1 - p otherwise."""

    def __init__(self, p: float = 0.5, rng: Generator | None = None) -> None:
        self.p, self.rng = _probability(p), rng

    def forward(self, x: Tensor) -> Tensor:
        return ops.dropout(x, self.p, self.training, self.rng) if self.p else x

    def extra_repr(self) -> str:
        return f"p={self.p:g}"


class StochasticDepth(Module):
    """In training, each sample is 0 with probability p, and divided by 1 - p otherwise.

    Source: Huang et al., "Deep Networks with Stochastic Depth" (2016); divided by the
    survival in training, not multiplied in evaluation, as TensorFlow's EfficientNet does.
    """

    def __init__(self, p: float, rng: Generator | None = None) -> None:
        self.p, self.rng = _probability(p), rng

    def forward(self, x: Tensor) -> Tensor:
        return ops.stochastic_depth(x, self.p, self.training, self.rng) if self.p else x

    def extra_repr(self) -> str:
        return f"p={self.p:g}"


def _probability(p: float) -> float:
    if not 0 <= p < 1:
        raise ValueError(f"a drop probability lies in [0, 1), not {p!r}")
    return p
