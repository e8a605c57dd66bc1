"""The layers: an operation and the parameters it is applied with.

Each is one line of ``ops`` that remembers its weights.  Names, arguments and defaults are
PyTorch's; ``padding`` also takes ``"symmetric"``, d (k - 1) / 2 on every side, which keeps
the size of a map at stride 1, and ``"same"``, TensorFlow's, whose odd pixel lies after.
Layers without weights stand in ``activations``, ``functions`` and ``pools``.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

from minigrad import ops
from minigrad.arguments import flag, integer, number, quoted
from minigrad.errors import ArgumentError, ShapeError
from minigrad.geometry import Padding, Pair, pair, resolve_padding, span
from minigrad.nn import init
from minigrad.nn.activations import activate, activation_name
from minigrad.nn.module import AnyModule, Module
from minigrad.nn.parameter import Buffer, Parameter
from minigrad.tensor import Tensor

__all__ = ["BatchNorm2d", "Conv2d", "ConvBN", "Linear", "Sequential", "symmetric"]


class Sequential(Module):
    """y = f_k(... f_2(f_1(x))); a part is called by its place: "0", "1", ...

    Parameters
    ----------
    *parts : Module
        In the order in which they are applied; or one dict of them, by name.

    Raises
    ------
    ArgumentError
        If a part is no Module, or a name is no attribute's.

    Examples
    --------
    >>> from minigrad import nn
    >>> net = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1))
    >>> len(net), [name for name, _ in net.named_parameters()][-1]
    (3, '2.bias')
    """

    def __init__(self, *parts: AnyModule | Mapping[str, AnyModule]) -> None:
        for i, part in enumerate(parts):
            named = part if isinstance(part, Mapping) and len(parts) == 1 else {str(i): part}
            for name, module in named.items():
                self._add(name, module)

    def _add(self, name: str, part: object) -> None:
        if not isinstance(part, Module):
            raise ArgumentError(f"Sequential takes modules, not a {type(part).__name__}")
        if not isinstance(name, str) or not name or "." in name or hasattr(Sequential, name):
            raise ArgumentError(f"Sequential: a part cannot be called {quoted(name)}")
        setattr(self, name, part)

    def append(self, part: AnyModule) -> Sequential:
        """Apply one more module at the end, and return the whole."""
        self._add(str(len(self)), part)
        return self

    def forward(self, x: Tensor) -> Tensor:
        for part in self:
            x = part(x)
        return x

    def __iter__(self) -> Iterator[AnyModule]:
        return (part for _, part in self.named_children())

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __getitem__(self, index: int | slice) -> AnyModule:
        if isinstance(index, slice):
            return Sequential(dict(list(self.named_children())[index]))
        place = integer("Sequential", "index", index)
        if not -len(self) <= place < len(self):
            raise IndexError(f"Sequential has {len(self)} parts, none at {place}")
        return list(self)[place]


class Conv2d(Module):
    """y = conv2d(x, weight) + bias, with weight (Cout, Cin/groups, kh, kw).

    Parameters
    ----------
    in_channels, out_channels : int
    kernel_size, stride, dilation : int or (int, int)
    padding : int, (h, w), ((top, bottom), (left, right)), "same", "valid" or "symmetric"
        ``"symmetric"`` is d (k - 1) / 2 on every side, ``"same"`` TensorFlow's.
    groups : int
    bias : bool

    Raises
    ------
    ShapeError
        If groups does not divide the channels.
    ArgumentError
        If an argument has a type or value that is not allowed.

    Examples
    --------
    >>> from minigrad import nn, zeros
    >>> nn.Conv2d(3, 8, 3, stride=2, padding=1)(zeros(1, 3, 32, 32)).shape
    (1, 8, 16, 16)
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
        in_channels = integer("Conv2d", "in_channels", in_channels, least=1)
        out_channels = integer("Conv2d", "out_channels", out_channels, least=1)
        groups = integer("Conv2d", "groups", groups, least=1)
        if in_channels % groups or out_channels % groups:
            raise ShapeError(
                f"Conv2d: groups={groups} must divide both in_channels={in_channels} "
                f"and out_channels={out_channels}"
            )
        kernel = pair(kernel_size, "kernel_size")
        self.stride, self.dilation = pair(stride, "stride"), pair(dilation, "dilation")
        self.padding: Padding = padding
        if isinstance(padding, str) and padding == "symmetric":
            self.padding = symmetric(kernel, self.dilation)
        resolve_padding(self.padding, kernel, kernel, self.stride, self.dilation)  # a check
        self.groups = groups
        shape = (out_channels, in_channels // groups, *kernel)
        has_bias = flag("Conv2d", "bias", bias)
        self.weight = Parameter.drawn(shape, init.choose(shape, groups))
        self.bias = Parameter.drawn((out_channels,), init.zeros) if has_bias else None

    def forward(self, x: Tensor) -> Tensor:
        return ops.conv2d(
            x, self.weight, self.bias, self.stride, self.padding, self.dilation, self.groups
        )

    def extra_repr(self) -> str:
        cout, cin, kh, kw = self.weight.shape
        parts = [f"{cin * self.groups}, {cout}, kernel_size={(kh, kw)}, stride={self.stride}"]
        parts += [f"padding={self.padding}"] if str(self.padding) not in ("0", "(0, 0)") else []
        parts += [f"dilation={self.dilation}"] if self.dilation != (1, 1) else []
        parts += [f"groups={self.groups}"] if self.groups != 1 else []
        return ", ".join([*parts, *([] if self.bias is not None else ["bias=False"])])


def symmetric(kernel: Pair, dilation: Pair = (1, 1)) -> Pair:
    """The pads d (k - 1) / 2, the same on both sides, of an odd kernel.

    Parameters
    ----------
    kernel, dilation : (int, int)

    Returns
    -------
    (int, int)

    Examples
    --------
    >>> symmetric((5, 1), (2, 2))
    (4, 0)
    """
    return span(kernel[0], dilation[0]) // 2, span(kernel[1], dilation[1]) // 2


class Linear(Module):
    """y = x weight^T + bias, with weight (out_features, in_features).

    Parameters
    ----------
    in_features : int
    out_features : int
        0 gives an empty output.
    bias : bool

    Raises
    ------
    ArgumentError
        If an argument has a type or value that is not allowed.

    Examples
    --------
    >>> from minigrad import Tensor, nn
    >>> nn.Linear(2, 1)(Tensor([[1.0, 2.0]])).shape
    (1, 1)
    """

    def __init__(self, in_features: int, out_features: int, bias: bool = True) -> None:
        shape = (
            integer("Linear", "out_features", out_features, least=0),
            integer("Linear", "in_features", in_features, least=0),
        )
        has_bias = flag("Linear", "bias", bias)
        self.weight = Parameter.drawn(shape, init.choose(shape))
        self.bias = Parameter.drawn(shape[:1], init.zeros) if has_bias else None

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

    Parameters
    ----------
    num_features : int
        Channels; x is (N, num_features, ...).
    eps : float
        Added to the variance under the root; at least 0.
    momentum : float
        From 0 to 1; PyTorch's None, an average over all batches, is not there.

    Raises
    ------
    ArgumentError
        If an argument has a type or value that is not allowed.

    Examples
    --------
    >>> from minigrad import Tensor, nn
    >>> nn.BatchNorm2d(1, eps=0)(Tensor([[1.0], [3.0]])).tolist()
    [[-1.0], [1.0]]
    """

    def __init__(self, num_features: int, eps: float = 1e-5, momentum: float = 0.1) -> None:
        shape = (integer("BatchNorm2d", "num_features", num_features, least=0),)
        self.eps = number("BatchNorm2d", "eps", eps, least=0, below=math.inf)
        self.momentum = number("BatchNorm2d", "momentum", momentum, least=0, most=1)
        self.weight = Parameter.drawn(shape, init.ones)
        self.bias = Parameter.drawn(shape, init.zeros)
        self.running_mean = Buffer.drawn(shape, init.zeros)
        self.running_var = Buffer.drawn(shape, init.ones)

    def forward(self, x: Tensor) -> Tensor:
        return ops.batch_norm(
            x, self.running_mean, self.running_var, self.weight, self.bias,
            training=self.training, momentum=self.momentum, eps=self.eps,
        )  # fmt: skip

    def extra_repr(self) -> str:
        return f"{self.weight.size}, eps={self.eps:g}, momentum={self.momentum:g}"


class ConvBN(Module):
    """y = activation(batch_norm(conv2d(x))): a convolution with what follows it.

    The unit of which the inverted residual and the SqueezeNeXt block are built.

    Parameters
    ----------
    in_channels, out_channels : int
    kernel_size, stride, dilation : int or (int, int)
    groups : int
        1 mixes all channels; ``in_channels`` keeps each apart (depthwise).
    activation : str or None
        "relu", "relu6", "hardsigmoid", "hardswish", "sigmoid", "silu" or "tanh"; None for a
        linear unit.
    padding : int, (h, w), ((top, bottom), (left, right)), "same", "valid" or "symmetric"
        ``"symmetric"``, the default, is d (k - 1) / 2 on every side: at stride 1 the map keeps
        its size.  ``"same"`` is TensorFlow's.
    bias : bool
        Whether the convolution has a bias of its own, beside the shift of the batch norm.
    bn_eps : float
        Added to the variance under the root of the batch norm; at least 0.
    bn_momentum : float
        From 0 to 1: how far the running mean and variance move to those of a batch.

    Raises
    ------
    ShapeError
        If groups does not divide the channels.
    ArgumentError
        If an argument has a type or value that is not allowed, or the activation is unknown.

    Examples
    --------
    >>> from minigrad import nn, zeros
    >>> nn.ConvBN(3, 8, 3, stride=2)(zeros(2, 3, 8, 8)).shape
    (2, 8, 4, 4)
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
        self.activation = activation_name("ConvBN", activation)

    def forward(self, x: Tensor) -> Tensor:
        return activate(self.bn(self.conv(x)), self.activation)

    def extra_repr(self) -> str:
        return f"activation={self.activation}"
