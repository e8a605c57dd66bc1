"""The inverted residual block: widen, look around, narrow, add.

With E the expansion (1x1, Cin -> e), D the depthwise k x k (stride s), P the projection
(1x1, e -> Cout) and a an activation,

    y = x + P' a(D' a(E' x)),         each ' meaning: followed by its BatchNorm,

where the projection has no activation (a linear bottleneck) and the x + is there only when
s = 1 and Cin = Cout.  The thick end is inside, so the shortcut joins the thin ones: the
residual is inverted.

| step    | kernel | channels | stride | groups | BatchNorm | activation |
|---------|--------|----------|--------|--------|-----------|------------|
| expand  | 1x1    | e        | 1      | 1      | yes       | a          |
| dw      | k x k  | e        | s      | e      | yes       | a          |
| se      | gate   | e        |        |        | no        |            |
| project | 1x1    | Cout     | 1      | 1      | yes       | none       |

Sources: Sandler et al., "MobileNetV2" (2018), section 3.3 and table 1; squeeze and
excitation from Hu et al. (2018) as placed by "MobileNetV3" (2019), section 5.3, and MnasNet;
the fused block from "EfficientNetV2" (2021), section 3.2, and its code.

Where the sources disagree: the expansion is left out when it would not widen (t = 1), as
TensorFlow's slim, torchvision and timm do (pytorchcv keeps it: ``expand=True``); stochastic
depth acts on the branch, per sample, before the sum, as in TensorFlow's EfficientNet.
"""

from __future__ import annotations

from typing import TypedDict

from minigrad import ops
from minigrad.arguments import LARGEST, flag, integer, number, one_of
from minigrad.errors import ArgumentError
from minigrad.geometry import Padding
from minigrad.nn.activations import activate, activation_name
from minigrad.nn.functions import StochasticDepth
from minigrad.nn.layers import Conv2d, ConvBN
from minigrad.nn.module import Module
from minigrad.tensor import Tensor

__all__ = ["FusedMBConv", "InvertedResidual", "SqueezeExcite", "make_divisible", "squeezed"]


class Switches(TypedDict):
    """What every unit of a block has in common."""

    bn_eps: float
    bn_momentum: float


def make_divisible(value: float, divisor: int = 8, limit: float = 0.9) -> int:
    """The multiple of ``divisor`` nearest to ``value``, but never more than 10 % below it.

        n = max(d, floor((v + d/2) / d) d);    n + d if n < limit v

    Source: TensorFlow slim's MobileNet; torchvision, timm and EfficientNet's
    ``round_filters`` have the same rule; EfficientNetV2's has no limit (0).

    >>> make_divisible(32 * 0.35), make_divisible(18.0)
    (16, 24)
    """
    n = max(divisor, int(value + divisor / 2) // divisor * divisor)
    return n + divisor if n < limit * value else n


def squeezed(in_channels: int, expanded: int, ratio: float, rule: str = "input") -> int:
    """How many channels squeeze and excitation squeezes to.

    ``"input"``: max(1, floor(ratio Cin)), EfficientNet's and MnasNet's, of what enters the
    block; ``"expanded"``: ratio e rounded to a multiple of 8, MobileNetV3's.
    """
    if one_of("squeezed", "se_rule", rule, ("input", "expanded")) == "input":
        return max(1, int(in_channels * ratio))
    return make_divisible(expanded * ratio)


class SqueezeExcite(Module):
    """Squeeze and excitation: x times a gate per channel that has seen the whole map.

        y = x gate(W2 act(W1 s + b1) + b2),       s = mean of x over its pixels

    Source: Hu et al., "Squeeze-and-Excitation Networks" (2018), section 3.

    Parameters
    ----------
    channels : int
    reduced : int
        How many channels s is squeezed to.
    activation, gate : str
        Names of activations, as for ``nn.Activation``.

    Raises
    ------
    ArgumentError
        If an argument has a type or value that is not allowed.

    Examples
    --------
    >>> from minigrad import nn, ones
    >>> nn.SqueezeExcite(16, 4)(ones(2, 16, 8, 8)).shape
    (2, 16, 8, 8)
    """

    def __init__(
        self, channels: int, reduced: int, activation: str = "relu", gate: str = "sigmoid"
    ) -> None:
        self.reduce = Conv2d(channels, reduced, 1)
        self.expand = Conv2d(reduced, channels, 1)
        self.activation = activation_name("SqueezeExcite", activation)
        self.gate = activation_name("SqueezeExcite", gate)

    def forward(self, x: Tensor) -> Tensor:
        z = activate(self.reduce(ops.global_avg_pool(x)), self.activation)
        return x * activate(self.expand(z), self.gate)

    def extra_repr(self) -> str:
        return f"activation={self.activation}, gate={self.gate}"


class InvertedResidual(Module):
    """MobileNetV2's block, with every switch that its successors added (MBConv).

    Parameters
    ----------
    in_channels, out_channels : int
    expand_ratio : float
        t, so that e = round(t Cin).
    expanded : int, optional
        e itself, where a table gives it (MobileNetV3).
    kernel_size : int
        Odd: 3 or 5 in every network known.
    stride, dilation : int
        Of the depthwise convolution.
    expand : bool, optional
        Whether there is a 1x1 expansion; by default when e differs from Cin.
    se_ratio, se_rule : float, {"input", "expanded"}
        Squeeze and excitation, 0 for none; see ``squeezed``.
    se_activation, se_gate : str
    activation : str
    project_activation : str, optional
        None is the paper's linear bottleneck.
    residual : bool, optional
        By default (None) when stride is 1 and Cin = Cout; False is MnasNet's ``noskip``.
    stochastic_depth : float
        The probability with which training drops the branch, where there is a residual.
    padding : see Conv2d
        ``"symmetric"`` (PyTorch's ports) or ``"same"`` (TensorFlow's own).
    bn_eps, bn_momentum : float

    Examples
    --------
    >>> from minigrad import nn
    >>> block = nn.InvertedResidual(24, 24, expand_ratio=6)
    >>> block.residual, sum(p.size for p in block.parameters())
    (True, 8832)
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        expand_ratio: float = 6,
        kernel_size: int = 3,
        stride: int = 1,
        dilation: int = 1,
        *,
        expanded: int | None = None,
        expand: bool | None = None,
        se_ratio: float = 0.0,
        se_rule: str = "input",
        se_activation: str = "relu",
        se_gate: str = "sigmoid",
        activation: str = "relu6",
        project_activation: str | None = None,
        residual: bool | None = None,
        stochastic_depth: float = 0.0,
        padding: Padding = "symmetric",
        bn_eps: float = 1e-5,
        bn_momentum: float = 0.1,
    ) -> None:
        name = "InvertedResidual"
        in_channels = integer(name, "in_channels", in_channels, least=1)
        e = _expanded(name, in_channels, expand_ratio, expanded)
        stride = integer(name, "stride", stride, least=1)
        expand = expand if expand is None else flag(name, "expand", expand)
        se_ratio = number(name, "se_ratio", se_ratio, least=0, most=LARGEST)
        bn: Switches = {"bn_eps": bn_eps, "bn_momentum": bn_momentum}
        widens = e != in_channels if expand is None else expand
        self.expand = ConvBN(in_channels, e, activation=activation, **bn) if widens else None
        self.dw = ConvBN(e, e, kernel_size, stride, dilation, e, activation, padding, **bn)
        reduced = squeezed(in_channels, e, se_ratio, se_rule)
        self.se = SqueezeExcite(e, reduced, se_activation, se_gate) if se_ratio else None
        self.project = ConvBN(e, out_channels, activation=project_activation, **bn)
        self.residual = _joins(name, residual, in_channels, out_channels, stride)
        self.drop = StochasticDepth(stochastic_depth)

    def forward(self, x: Tensor) -> Tensor:
        return self.narrowed(x, self.widened(x))

    def widened(self, x: Tensor) -> Tensor:
        """The first half of the block: x expanded."""
        return x if self.expand is None else self.expand(x)

    def narrowed(self, x: Tensor, y: Tensor) -> Tensor:
        """The second half of the block: its output, from x and from x expanded."""
        y = self.dw(y)
        y = y if self.se is None else self.se(y)
        y = self.project(y)
        return x + self.drop(y) if self.residual else y

    def extra_repr(self) -> str:
        return f"residual={self.residual}"


class FusedMBConv(Module):
    """EfficientNetV2's fused block: one dense k x k for the expansion and the depthwise.

        y = x + P' a(F' x),          F: k x k, Cin -> e, stride s

    With t = 1 the projection falls away and the k x k leads straight to Cout, keeping its
    activation: y = x + a(F' x).

    Parameters
    ----------
    in_channels, out_channels : int
    expand_ratio : float
        t, so that e = round(t Cin).
    kernel_size, stride, dilation : int
        Of the dense convolution.
    activation, residual, stochastic_depth, padding, bn_eps, bn_momentum
        As for ``InvertedResidual``.

    Raises
    ------
    ArgumentError
        If an argument has a type or value that is not allowed.

    Examples
    --------
    >>> from minigrad import nn, ones
    >>> nn.FusedMBConv(8, 16, stride=2)(ones(1, 8, 8, 8)).shape
    (1, 16, 4, 4)
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        expand_ratio: float = 4,
        kernel_size: int = 3,
        stride: int = 1,
        dilation: int = 1,
        *,
        activation: str = "silu",
        residual: bool | None = None,
        stochastic_depth: float = 0.0,
        padding: Padding = "symmetric",
        bn_eps: float = 1e-3,
        bn_momentum: float = 0.1,
    ) -> None:
        name = "FusedMBConv"
        in_channels = integer(name, "in_channels", in_channels, least=1)
        e = _expanded(name, in_channels, expand_ratio)
        stride = integer(name, "stride", stride, least=1)
        bn: Switches = {"bn_eps": bn_eps, "bn_momentum": bn_momentum}
        widens = expand_ratio != 1
        e = e if widens else out_channels
        self.fused = ConvBN(
            in_channels, e, kernel_size, stride, dilation, 1, activation, padding, **bn
        )
        self.project = ConvBN(e, out_channels, activation=None, **bn) if widens else None
        self.residual = _joins(name, residual, in_channels, out_channels, stride)
        self.drop = StochasticDepth(stochastic_depth)

    def forward(self, x: Tensor) -> Tensor:
        y = self.fused(x)
        y = y if self.project is None else self.project(y)
        return x + self.drop(y) if self.residual else y

    def extra_repr(self) -> str:
        return f"residual={self.residual}"


def _expanded(owner: str, channels: int, ratio: float, given: int | None = None) -> int:
    """How many channels the thick end has."""
    if given is not None:
        return integer(owner, "expanded", given, least=1)
    return max(round(channels * number(owner, "expand_ratio", ratio, above=0, most=LARGEST)), 1)


def _joins(owner: str, residual: bool | None, cin: int, cout: int, stride: int) -> bool:
    """Whether the shortcut is there: by default wherever its shapes allow it."""
    fits = stride == 1 and cin == cout
    residual = fits if residual is None else flag(owner, "residual", residual)
    if residual and not fits:
        raise ArgumentError(
            f"{owner}: residual=True needs stride 1 and equal channels, "
            f"not stride {stride}, {cin} to {cout}"
        )
    return residual
