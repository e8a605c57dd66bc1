"""What is set on a backbone's maps so that every anchor gets logits and a moved box.

SSDLite (Sandler et al., "MobileNetV2" (2018), section 6.2) sets on each map, for the classes
and for the boxes,

    P a(D' x),        D: depthwise 3x3, ' its BatchNorm, P: 1x1 with bias,

and makes the coarser maps by a 1x1, a depthwise 3x3 of stride 2 and a 1x1.
"""

from __future__ import annotations

from collections.abc import Sequence

from minigrad import ops
from minigrad.models.network import Style
from minigrad.nn.layers import Conv2d, ConvBN, Sequential
from minigrad.nn.module import Module
from minigrad.tensor import Tensor

__all__ = ["Extra", "SSDLiteHead", "rows"]


def rows(x: Tensor, width: int) -> Tensor:
    """A map (N, B width, h, w) of B boxes a cell as rows (N, h w B, width)."""
    last = ops.permute(x, 0, 2, 3, 1)
    return ops.reshape(last, x.shape[0], -1, width)


class Extra(Module):
    """The next coarser map: 1x1 to a middle width, depthwise 3x3 of stride 2, 1x1.

    Parameters
    ----------
    in_channels, middle, out_channels : int
    style : Style

    Examples
    --------
    >>> from minigrad import zeros
    >>> Extra(8, 4, 16, Style())(zeros(1, 8, 10, 10)).shape
    (1, 16, 5, 5)
    """

    def __init__(self, in_channels: int, middle: int, out_channels: int, style: Style) -> None:
        self.reduce = style.unit(in_channels, middle, activation="relu6")
        self.dw = style.unit(middle, middle, 3, 2, groups=middle, activation="relu6")
        self.expand = style.unit(middle, out_channels, activation="relu6")

    def forward(self, x: Tensor) -> Tensor:
        return self.expand(self.dw(self.reduce(x)))


class _Predictor(Module):
    """Depthwise 3x3 and 1x1 for one map."""

    def __init__(self, channels: int, out_channels: int, style: Style) -> None:
        self.dw: ConvBN = style.unit(channels, channels, 3, groups=channels, activation="relu6")
        self.out = Conv2d(channels, out_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.dw(x))


class SSDLiteHead(Module):
    """One predictor for each map.

    Parameters
    ----------
    channels : sequence of int
        Of the maps.
    boxes : sequence of int
        How many boxes a cell of each map has.
    width : int
        Numbers for each box.
    style : Style

    Examples
    --------
    >>> from minigrad import zeros
    >>> head = SSDLiteHead((8, 16), (3, 6), 4, Style())
    >>> head([zeros(1, 8, 4, 4), zeros(1, 16, 2, 2)]).shape
    (1, 72, 4)
    """

    def __init__(
        self, channels: Sequence[int], boxes: Sequence[int], width: int, style: Style
    ) -> None:
        self.width = width
        self.levels = Sequential(*(
            _Predictor(c, b * width, style) for c, b in zip(channels, boxes, strict=True)
        ))  # fmt: skip

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        parts = [rows(level(x), self.width) for level, x in zip(self.levels, maps, strict=True)]
        return ops.concat(parts, axis=1)
