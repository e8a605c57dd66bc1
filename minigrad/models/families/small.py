"""Networks for small pictures, 28 to 64 pixels a side: one of each block.

Ours, to learn with: no paper has their tables and nobody publishes weights for them.  They
keep the picture's full size in the stem alone, which is what makes them quick; both end in
a mean over the map and one linear layer.  A SqueezeNeXt block begins with a 1x1 convolution,
which with a stride of 2 would never see three quarters of the stem's map; so the stem's is
pooled, as in SqueezeNext's networks.

| stage | inverted residual, t, channels, blocks, stride | SqueezeNeXt, channels, blocks, stride |
|-------|------------------------------------------------|---------------------------------------|
| stem  | 3x3, 16 channels, stride 1                     | 3x3, 32 channels, stride 1            |
| pool  |                                                | 3x3, stride 2                         |
| 1     | 3, 24, 2, 2                                    | 64, 3, 1                              |
| 2     | 4, 48, 3, 2                                    | 192, 3, 2                             |
| 3     | 4, 96, 2, 1                                    |                                       |
| head  | 1x1, 256 channels                              | 1x1, 256 channels                     |
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from minigrad.models.family import Entry, Family, entries
from minigrad.models.network import Feature, Network
from minigrad.models.preparation import SIGNED, Preparation
from minigrad.nn.blocks.inverted_residual import InvertedResidual
from minigrad.nn.blocks.squeezenext import SqueezeNeXtBlock
from minigrad.nn.layers import ConvBN, Linear, Sequential
from minigrad.nn.module import Module
from minigrad.nn.pools import MaxPool2d

__all__ = ["NETWORKS", "small"]

HEAD = 256
STEMS = {"inverted residual": 16, "SqueezeNeXt": 32}
TABLES = {
    # expand ratio (0: a SqueezeNeXt block), channels, blocks, stride
    "inverted residual": ((3, 24, 2, 2), (4, 48, 3, 2), (4, 96, 2, 1)),
    "SqueezeNeXt": ((0, 64, 3, 1), (0, 192, 3, 2)),
}
Row = tuple[int, int, int, int]


def small(
    block: str,
    *,
    in_channels: int = 3,
    num_classes: int = 1000,
    dropout: float = 0.1,
    features_only: bool = False,
    stem_stride: int = 1,
    **style: Any,
) -> Network:
    """A network for small pictures.

    Parameters
    ----------
    block : {"inverted residual", "SqueezeNeXt"}
    in_channels, num_classes : int
    dropout : float
    features_only : bool
        End at the last map.
    stem_stride : int
        2 for pictures of 64 pixels and more, whose maps are then half as wide.
    style
        ``bn_eps`` and ``bn_momentum``.
    """
    table, width = TABLES[block], STEMS[block]
    pool = MaxPool2d(3, 2, ceil_mode=True) if block == "SqueezeNeXt" else None
    activation = "relu6" if block == "inverted residual" else "relu"
    stages: list[Sequential] = []
    shown: dict[int, Feature] = {}
    cin, reached = width, stem_stride
    if pool:
        shown[-1], reached = Feature(cin, reached), 2 * reached
    for row in table:
        if row[3] > 1:
            shown[len(stages) - 1] = Feature(cin, reached)
        stages.append(_stage(row, cin, style))
        cin, reached = row[1], reached * row[3]
    shown[len(stages) - 1] = Feature(cin, reached)
    stem = ConvBN(in_channels, width, 3, stem_stride, activation=activation, **style)
    if features_only:
        return Network(stem, stages, shown, pool=pool)
    return Network(
        stem,
        stages,
        shown,
        pool=pool,
        head=ConvBN(cin, HEAD, activation=activation, **style),
        dropout=dropout,
        classifier=Linear(HEAD, num_classes) if num_classes else None,
    )


def _stage(row: Row, cin: int, style: dict[str, object]) -> Sequential:
    ratio, channels, count, stride = row
    make: Callable[..., Module] = InvertedResidual if ratio else SqueezeNeXtBlock
    more = {"expand_ratio": ratio} if ratio else {}
    inputs: Sequence[int] = (cin, *[channels] * (count - 1))
    strides = (stride, *[1] * (count - 1))
    return Sequential(
        *(make(c, channels, stride=s, **more, **style)
          for c, s in zip(inputs, strides, strict=True))
    )  # fmt: skip


def photographs(entry: Entry) -> dict[str, Preparation]:
    """The middle square, to -1..1."""
    ours = SIGNED._replace(size=entry.input_size, margin=0, crop_first=False, squash=False)
    return {"minigrad": ours}


FAMILY = Family(
    small,
    {"minigrad": {"bn_eps": 1e-5, "bn_momentum": 0.1, "init": "torchvision"}},
    photographs,
    {},
)

NETWORKS: dict[str, Entry] = entries(
    FAMILY, "ours, for small pictures",
    ("inverted_residual_small", {"block": "inverted residual"}, 32, None),
    ("squeezenext_small",       {"block": "SqueezeNeXt"},       32, None),
)  # fmt: skip
