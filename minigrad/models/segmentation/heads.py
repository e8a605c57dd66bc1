"""What is set on a backbone's maps so that every pixel gets logits.

LR-ASPP (Howard et al., "MobileNetV3" (2019), figure 10), of a fine map l and a coarse map h:

    y = L l + H resize(a(C h) sigmoid(S mean(h))),        C, S, L, H: 1x1

DeepLabV3 (Chen et al., "Rethinking Atrous Convolution" (2017), figure 5), of the last map h:

    ASPP(h) = P [A_1 h, A_r1 h, A_r2 h, A_r3 h, B mean(h)],

where A_1 and B are 1x1, A_r is 3x3 with dilation r, P is 1x1 over all of them side by side, and
each is followed by BatchNorm and ReLU.  torchvision puts one more 3x3 before the last 1x1.
TensorFlow's for MobileNetV2 has neither: no rates, and the logits straight from ASPP.
"""

from __future__ import annotations

from collections.abc import Sequence

from minigrad import ops
from minigrad.nn.functions import Dropout
from minigrad.nn.layers import Conv2d, ConvBN, Sequential
from minigrad.nn.module import Module
from minigrad.tensor import Tensor

__all__ = ["ASPP", "LRASPP", "DeepLabV3Head", "FCNHead", "enlarged"]


def enlarged(x: Tensor, like: Tensor, coordinates: str = "half_pixel") -> Tensor:
    """x with the height and width of another map, bilinear."""
    return ops.resize(x, like.shape[2:], mode="linear", coordinates=coordinates)


class LRASPP(Module):
    """MobileNetV3's head: a fine map, and a coarse one behind a gate; see the module.

    Parameters
    ----------
    low, high : int
        Channels of the fine and of the coarse map.
    num_classes : int
    inner : int
        Channels of C and S.

    Examples
    --------
    >>> from minigrad import zeros
    >>> head = LRASPP(8, 16, 3).eval()
    >>> head([zeros(1, 8, 8, 8), zeros(1, 16, 4, 4)]).shape
    (1, 3, 8, 8)
    """

    def __init__(self, low: int, high: int, num_classes: int, inner: int = 128) -> None:
        self.cbr = ConvBN(high, inner)
        self.scale = Conv2d(high, inner, 1, bias=False)
        self.low_classifier = Conv2d(low, num_classes, 1)
        self.high_classifier = Conv2d(inner, num_classes, 1)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        low, high = maps[0], maps[-1]
        gate = ops.sigmoid(self.scale(ops.global_avg_pool(high)))
        coarse = enlarged(self.cbr(high) * gate, low)
        return self.low_classifier(low) + self.high_classifier(coarse)


class ASPP(Module):
    """Atrous spatial pyramid pooling: the same map seen through several windows.

    Parameters
    ----------
    in_channels : int
    rates : sequence of int
        The dilations of the 3x3 convolutions; there may be none.
    channels : int
        Of every branch and of the output.
    dropout : float
    bn_eps, bn_momentum : float

    Examples
    --------
    >>> from minigrad import zeros
    >>> ASPP(16, (2, 4), 8).eval()(zeros(1, 16, 9, 9)).shape
    (1, 8, 9, 9)
    """

    def __init__(
        self,
        in_channels: int,
        rates: Sequence[int] = (12, 24, 36),
        channels: int = 256,
        dropout: float = 0.5,
        bn_eps: float = 1e-5,
        bn_momentum: float = 0.1,
    ) -> None:
        kernels = [(1, 1), *((3, rate) for rate in rates)]
        self.branches = Sequential(*(
            ConvBN(in_channels, channels, k, dilation=d, bn_eps=bn_eps, bn_momentum=bn_momentum)
            for k, d in kernels
        ))  # fmt: skip
        self.pool = ConvBN(in_channels, channels, bn_eps=bn_eps, bn_momentum=bn_momentum)
        joined = (len(kernels) + 1) * channels
        self.project = ConvBN(joined, channels, bn_eps=bn_eps, bn_momentum=bn_momentum)
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        whole = self.pool(ops.global_avg_pool(x))
        branches = [branch(x) for branch in self.branches]
        branches.append(ops.resize(whole, x.shape[2:]))
        return self.dropout(self.project(ops.concat(branches, axis=1)))


class DeepLabV3Head(Module):
    """ASPP, a 3x3 convolution if there is one, and the logits.

    Parameters
    ----------
    in_channels : int
    num_classes : int
    rates, dropout, bn_eps, bn_momentum
        As for `ASPP`.
    conv : bool
        Whether there is a 3x3 convolution before the logits (torchvision's).

    Examples
    --------
    >>> from minigrad import zeros
    >>> DeepLabV3Head(16, 21).eval()([zeros(1, 16, 5, 5)]).shape
    (1, 21, 5, 5)
    """

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        rates: Sequence[int] = (12, 24, 36),
        dropout: float = 0.5,
        bn_eps: float = 1e-5,
        bn_momentum: float = 0.1,
        conv: bool = True,
    ) -> None:
        self.aspp = ASPP(in_channels, rates, 256, dropout, bn_eps, bn_momentum)
        refined = ConvBN(256, 256, 3, bn_eps=bn_eps, bn_momentum=bn_momentum)
        self.conv = refined if conv else None
        self.last = Conv2d(256, num_classes, 1)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        y = self.aspp(maps[-1])
        return self.last(y if self.conv is None else self.conv(y))


class FCNHead(Module):
    """The auxiliary head: 3x3 to a quarter of the channels, and the logits.

    Parameters
    ----------
    in_channels, num_classes : int
    dropout : float

    Examples
    --------
    >>> from minigrad import zeros
    >>> FCNHead(40, 21).eval()([zeros(1, 40, 5, 5)]).shape
    (1, 21, 5, 5)
    """

    def __init__(self, in_channels: int, num_classes: int, dropout: float = 0.1) -> None:
        self.conv = ConvBN(in_channels, in_channels // 4, 3)
        self.dropout = Dropout(dropout)
        self.last = Conv2d(in_channels // 4, num_classes, 1)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        return self.last(self.dropout(self.conv(maps[0])))
