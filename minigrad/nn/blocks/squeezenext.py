"""The SqueezeNeXt block: squeeze twice, look along the rows and the columns, expand, add.

With C = out_channels, and every step followed by its BatchNorm and ReLU,

| step     | kernel | channels | stride | groups      |
|----------|--------|----------|--------|-------------|
| reduce1  | 1x1    | C/2      | s      | G           |
| reduce2  | 1x1    | C/4      | 1      | 1           |
| spatial1 | 3x1    | C/2      | 1      | G           |
| spatial2 | 1x3    | C/2      | 1      | G           |
| expand   | 1x1    | C        | 1      | 1           |
| shortcut | 1x1, or the identity | C | s | 1       |

    y = ReLU(expand(spatial2(spatial1(reduce2(reduce1(x))))) + shortcut(x)).

An identity block weighs 2.25 C^2, a quarter of one 3x3 convolution of C channels.  The
3x3 is split in space, not by channel: 3x1 and 1x3 are dense in the channels, and with a
ReLU between them they are not a factorisation of a 3x3 but two layers.  The paper avoids
depthwise convolutions on purpose (section 3).

Source: Gholami et al., "SqueezeNext: Hardware-Aware Neural Network Design" (2018), section
3.1 and figure 2.  Where the text and the ports disagree we follow the authors' Caffe files:
3x1 and 1x3 change order from block to block (the paper's figure and pytorchcv have one
order); a ReLU stands before the sum on both sides and one after it; the first block of a
stage projects even where the shapes would allow an identity; and in the v5 networks the
projection comes first and reduce1 reads its result (``transition="serial"``, which the
paper does not describe).
"""

from __future__ import annotations

from typing import Any

from minigrad import ops
from minigrad.arguments import flag, integer, one_of
from minigrad.errors import ShapeError
from minigrad.nn.layers import ConvBN
from minigrad.nn.module import Module
from minigrad.tensor import Tensor

__all__ = ["SqueezeNeXtBlock"]

KERNELS = {"3x1": (3, 1), "1x3": (1, 3)}


class SqueezeNeXtBlock(Module):
    """The block above, with a switch for each thing that sources disagree on.

    Parameters
    ----------
    in_channels, out_channels : int
        out_channels must be a multiple of 4.
    stride : int
        Of reduce1 and the shortcut (of the shortcut alone if ``transition="serial"``).
    separable : {"spatial", "depthwise"}
        ``"spatial"`` alone is the paper's.  ``"depthwise"`` is another reading of
        "separable", not in the paper and without published figures: a depthwise 3x3 on
        C/4 channels, then a pointwise to C/2; 1.25 C^2 + 2.25 C weights.
    order : {"3x1", "1x3"}
        Which of the two spatial convolutions comes first ((kh, kw) = (3, 1) or (1, 3)).
    transition : {"parallel", "serial"}
        In a projecting block, reduce1 reads the block's input or the projection.
    groups : int
        G of the table, 2 in the 1.0-G network.
    pre_add_relu : bool
        Whether the last unit of each branch has its ReLU.
    project : {"auto", "always"}
        Project where stride or channels change, or in any case.
    dilation : int
        Of the spatial convolutions.
    bias : bool
        Convolutions with a bias before their BatchNorm, as pytorchcv has them.
    bn_eps, bn_momentum : float
        Caffe's moving average fraction 0.999 is a momentum of 0.001.

    Examples
    --------
    >>> from minigrad import nn
    >>> block = nn.SqueezeNeXtBlock(32, 32)
    >>> sum(p.size for p in block.parameters() if p.ndim == 4) / 32**2
    2.25
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        stride: int = 1,
        *,
        separable: str = "spatial",
        order: str = "3x1",
        transition: str = "parallel",
        groups: int = 1,
        pre_add_relu: bool = True,
        project: str = "auto",
        dilation: int = 1,
        bias: bool = False,
        bn_eps: float = 1e-5,
        bn_momentum: float = 0.001,
    ) -> None:
        out_channels = _checked(out_channels, separable, order, transition, project)
        stride = integer("SqueezeNeXtBlock", "stride", stride, least=1)
        in_channels = integer("SqueezeNeXtBlock", "in_channels", in_channels, least=1)
        pre_add_relu = flag("SqueezeNeXtBlock", "pre_add_relu", pre_add_relu)
        unit: dict[str, Any] = {"bias": bias, "bn_eps": bn_eps, "bn_momentum": bn_momentum}
        last = "relu" if pre_add_relu else None
        changes = project == "always" or stride != 1 or in_channels != out_channels
        self.serial = changes and transition == "serial"
        half, quarter = out_channels // 2, out_channels // 4
        source, reduce_stride = (out_channels, 1) if self.serial else (in_channels, stride)

        self.shortcut = (
            ConvBN(in_channels, out_channels, 1, stride, activation=last, **unit)
            if changes else None
        )  # fmt: skip
        self.reduce1 = ConvBN(source, half, 1, reduce_stride, groups=groups, **unit)
        self.reduce2 = ConvBN(half, quarter, **unit)
        if separable == "spatial":
            first, second = KERNELS[order], KERNELS[order][::-1]
            self.spatial1 = ConvBN(quarter, half, first, 1, dilation, groups, **unit)
            self.spatial2 = ConvBN(half, half, second, 1, dilation, groups, **unit)
        else:
            self.spatial1 = ConvBN(quarter, quarter, 3, 1, dilation, quarter, **unit)
            self.spatial2 = ConvBN(quarter, half, **unit)
        self.expand = ConvBN(half, out_channels, activation=last, **unit)

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.shortcut is None else self.shortcut(x)
        y = self.reduce2(self.reduce1(shortcut if self.serial else x))
        y = self.expand(self.spatial2(self.spatial1(y)))
        return ops.relu(y + shortcut)

    def extra_repr(self) -> str:
        return f"transition={'serial' if self.serial else 'parallel'}" if self.shortcut else ""


def _checked(channels: int, separable: str, order: str, transition: str, project: str) -> int:
    """``channels``, after a look at everything else."""
    channels = integer("SqueezeNeXtBlock", "out_channels", channels, least=1)
    if channels % 4:
        raise ShapeError(f"SqueezeNeXtBlock: out_channels must be a multiple of 4, got {channels}")
    for name, value, known in (
        ("separable", separable, ("spatial", "depthwise")),
        ("order", order, tuple(KERNELS)),
        ("transition", transition, ("parallel", "serial")),
        ("project", project, ("auto", "always")),
    ):
        one_of("SqueezeNeXtBlock", name, value, known)
    return channels
