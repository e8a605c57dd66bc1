"""What is set on a backbone's maps so that every anchor gets logits and a moved box.

SSDLite (Sandler et al., "MobileNetV2" (2018), section 6.2) sets on each map, for the classes
and for the boxes,

    P a(D' x),        D: depthwise 3x3, ' its BatchNorm, P: 1x1 with bias,

and makes the coarser maps by a 1x1, a depthwise 3x3 of stride 2 and a 1x1.

EfficientDet (Tan, Pang & Le (2020), section 4.1) has the same convolutions on all maps; on map l
of R repeats

    y = S_(R+1) z_R,    z_r = a(N_rl(S_r z_(r-1))),    S x = P D x

with a BatchNorm N_rl of its own for each repeat and each map.
"""

from __future__ import annotations

from collections.abc import Sequence

from minigrad import ops
from minigrad.models.network import Style
from minigrad.nn.activations import activate
from minigrad.nn.layers import BatchNorm2d, Conv2d, ConvBN, Sequential
from minigrad.nn.module import Module
from minigrad.tensor import Tensor

__all__ = ["Extra", "SSDLiteHead", "SharedHead", "rows"]


def rows(x: Tensor, width: int) -> Tensor:
    """A map (N, B width, h, w) of B boxes a cell as rows (N, h w B, width).

    The pixels are put in one row first: so a plan moves no number of a channels-last map.
    """
    n, c, h, w = x.shape
    last = ops.permute(ops.reshape(x, n, c, 1, h * w), 0, 2, 3, 1)
    return ops.reshape(last, n, h * w * c // width, width)


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


class _Separable(Module):
    """Depthwise 3x3 and 1x1 with bias."""

    def __init__(self, channels: int, out_channels: int, style: Style) -> None:
        self.dw = Conv2d(channels, channels, 3, padding=style.padding, groups=channels, bias=False)
        self.pw = Conv2d(channels, out_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.pw(self.dw(x))


class SharedHead(Module):
    """One predictor for all maps, with BatchNorms of each.

    Parameters
    ----------
    channels : int
        Of every map.
    repeats, maps : int
    boxes : int
        How many boxes a cell has.
    width : int
        Numbers for each box.
    style : Style
    activation : str

    Examples
    --------
    >>> from minigrad import zeros
    >>> head = SharedHead(8, 3, 2, 9, 4, Style("same"), "silu")
    >>> head([zeros(1, 8, 4, 4), zeros(1, 8, 2, 2)]).shape
    (1, 180, 4)
    """

    def __init__(
        self,
        channels: int,
        repeats: int,
        maps: int,
        boxes: int,
        width: int,
        style: Style,
        activation: str,
    ) -> None:
        self.width, self.activation = width, activation
        self.repeats = Sequential(*(_Separable(channels, channels, style) for _ in range(repeats)))
        self.norms = Sequential(*(
            Sequential(*(BatchNorm2d(channels, style.bn_eps, style.bn_momentum)
                         for _ in range(maps)))
            for _ in range(repeats)
        ))  # fmt: skip
        self.predict = _Separable(channels, boxes * width, style)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        return ops.concat([rows(self._on(level, x), self.width) for level, x in enumerate(maps)], 1)

    def _on(self, level: int, x: Tensor) -> Tensor:
        for separable, norms in zip(self.repeats, self.norms, strict=True):
            assert isinstance(norms, Sequential)
            x = activate(norms[level](separable(x)), self.activation)
        return self.predict(x)
