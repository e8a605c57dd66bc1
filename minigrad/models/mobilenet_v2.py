"""MobileNetV2: inverted residuals with linear bottlenecks.

Sandler, Howard, Zhu, Zhmoginov & Chen, "MobileNetV2: Inverted Residuals and Linear
Bottlenecks" (2018), table 2.  All widths are rounded to multiples of 8
(``make_divisible``); the last 1x1 convolution keeps its 1280 channels below width 1.
"""

from __future__ import annotations

from typing import Any

from minigrad.models.entry import Entry, entries
from minigrad.models.network import Network, Row, mobile
from minigrad.nn.blocks.inverted_residual import make_divisible

__all__ = ["NETWORKS", "mobilenet_v2"]

TABLE = (
    # t    c  n  s
    (1,  16, 1, 1),
    (6,  24, 2, 2),
    (6,  32, 3, 2),
    (6,  64, 4, 2),
    (6,  96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)  # fmt: skip

PRESETS: dict[str, dict[str, Any]] = {
    "slim": {"padding": "same", "bn_eps": 1e-3, "bn_momentum": 0.003, "init": "slim"},
    "torchvision": {"padding": "symmetric", "bn_eps": 1e-5, "bn_momentum": 0.1,
                    "init": "torchvision"},
    "timm": {"padding": "symmetric", "bn_eps": 1e-5, "bn_momentum": 0.1, "init": "tensorflow"},
    # pytorchcv's classifier has no bias and its widths are not rounded; mobilenetv2_* keep a
    # 1x1 expansion at t = 1, mobilenetv2b_* do not.
    "pytorchcv": {"padding": "symmetric", "bn_eps": 1e-5, "bn_momentum": 0.1,
                  "init": "pytorchcv", "classifier_bias": False, "divisor": 1,
                  "expand_first": True},
    "pytorchcv_b": {"padding": "symmetric", "bn_eps": 1e-5, "bn_momentum": 0.1,
                    "init": "pytorchcv", "classifier_bias": False, "divisor": 1},
}  # fmt: skip


def mobilenet_v2(
    width: float = 1.0, expand_first: bool | None = None, divisor: int = 8, **how: Any
) -> Network:
    """MobileNetV2 of any width; ``how`` as for ``mobile``."""

    def scaled(channels: int, by: float = width) -> int:
        return make_divisible(channels * by, divisor)

    table = [
        [Row(t, 3, scaled(c), n, s, expand=expand_first if t == 1 else None)]
        for t, c, n, s in TABLE
    ]
    head = scaled(1280, max(1.0, width))
    return mobile(table, stem=scaled(32), head=head, activation="relu6", **how)


NETWORKS: dict[str, Entry] = entries(
    mobilenet_v2, PRESETS, "Sandler et al. 2018; top-1 of the slim README",
    # name                width   input  top-1
    ("mobilenet_v2_0_35", {"width": 0.35}, 224, 60.3),
    ("mobilenet_v2_0_5",  {"width": 0.5},  224, 65.4),
    ("mobilenet_v2_0_75", {"width": 0.75}, 224, 69.8),
    ("mobilenet_v2",      {"width": 1.0},  224, 71.8),
    ("mobilenet_v2_1_3",  {"width": 1.3},  224, 74.4),
    ("mobilenet_v2_1_4",  {"width": 1.4},  224, 75.0),
)  # fmt: skip
