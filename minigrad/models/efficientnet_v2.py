"""EfficientNetV2: fused blocks where the maps are large, inverted residuals where small.

Tan & Le, "EfficientNetV2: Smaller Models and Faster Training" (2021), table 4 (S); M, L, XL
and the small B0 to B3 by the authors' code.  F is a fused block, M an inverted residual with
squeeze and excitation to a quarter of what enters it; every kernel is 3x3, every
activation SiLU.  Scaled widths are rounded to the nearest multiple of 8, without the rule of
EfficientNet that keeps them from losing more than a tenth (B3's first stage: 16, not 24).

BatchNorm momentum: the authors' code has decay 0.9 (the paper says 0.99), eps 1e-3.
"""

from __future__ import annotations

from math import ceil
from typing import Any

from minigrad.models.entry import Entry, entries
from minigrad.models.network import Network, Row, mobile
from minigrad.nn.blocks.inverted_residual import make_divisible

__all__ = ["NETWORKS", "efficientnet_v2"]

F, M = True, False

S = (
    #    t  s   c   n
    (F, 1, 1,  24,  2),
    (F, 4, 2,  48,  4),
    (F, 4, 2,  64,  4),
    (M, 4, 2, 128,  6),
    (M, 6, 1, 160,  9),
    (M, 6, 2, 256, 15),
)  # fmt: skip

MEDIUM = (
    #    t  s   c   n
    (F, 1, 1,  24,  3),
    (F, 4, 2,  48,  5),
    (F, 4, 2,  80,  5),
    (M, 4, 2, 160,  7),
    (M, 6, 1, 176, 14),
    (M, 6, 2, 304, 18),
    (M, 6, 1, 512,  5),
)  # fmt: skip

L = (
    #    t  s   c   n
    (F, 1, 1,  32,  4),
    (F, 4, 2,  64,  7),
    (F, 4, 2,  96,  7),
    (M, 4, 2, 192, 10),
    (M, 6, 1, 224, 19),
    (M, 6, 2, 384, 25),
    (M, 6, 1, 640,  7),
)  # fmt: skip

XL = (
    #    t  s   c   n
    (F, 1, 1,  32,  4),
    (F, 4, 2,  64,  8),
    (F, 4, 2,  96,  8),
    (M, 4, 2, 192, 16),
    (M, 6, 1, 256, 24),
    (M, 6, 2, 512, 32),
    (M, 6, 1, 640,  8),
)  # fmt: skip

BASE = (
    #    t  s   c   n
    (F, 1, 1,  16,  1),
    (F, 4, 2,  32,  2),
    (F, 4, 2,  48,  2),
    (M, 4, 2,  96,  3),
    (M, 6, 1, 112,  5),
    (M, 6, 2, 192,  8),
)  # fmt: skip

TABLES = {"s": (S, 24), "m": (MEDIUM, 24), "l": (L, 32), "xl": (XL, 32), "base": (BASE, 32)}

PRESETS: dict[str, dict[str, Any]] = {
    "tensorflow": {"padding": "same", "bn_eps": 1e-3, "bn_momentum": 0.1, "init": "tensorflow"},
    "torchvision": {"padding": "symmetric", "bn_eps": 1e-3, "bn_momentum": 0.1,
                    "init": "torchvision_efficientnet"},
    "timm": {"padding": "symmetric", "bn_eps": 1e-5, "bn_momentum": 0.1, "init": "tensorflow"},
    "timm_tf": {"padding": "same", "bn_eps": 1e-3, "bn_momentum": 0.1, "init": "tensorflow"},
}  # fmt: skip


def efficientnet_v2(
    table: str = "s",
    width: float = 1.0,
    depth: float = 1.0,
    stochastic_depth: float = 0.2,
    **how: Any,
) -> Network:
    """EfficientNetV2; ``how`` as for ``mobile``."""
    lines, stem = TABLES[table]
    stages = [
        [Row(t, 3, _round(c * width), ceil(n * depth), s, 0 if f else 0.25, fused=f)]
        for f, t, s, c, n in lines
    ]
    return mobile(
        stages,
        stem=_round(stem * width),
        head=_round(1280 * width),
        activation="silu",
        se_activation="silu",
        se_gate="sigmoid",
        stochastic_depth=stochastic_depth,
        **how,
    )


def _round(channels: float) -> int:
    return make_divisible(channels, limit=0)


def _table(name: str, dropout: float) -> dict[str, Any]:
    return {"table": name, "dropout": dropout}


def _scaled(w: float, d: float, dropout: float) -> dict[str, Any]:
    return {"table": "base", "width": w, "depth": d, "dropout": dropout}


NETWORKS: dict[str, Entry] = entries(
    efficientnet_v2, PRESETS, "Tan & Le 2021; top-1 of the authors' README (XL after 21k classes)",
    # name               table  dropout    input  top-1
    ("efficientnet_v2_s",  _table("s", 0.2),  384, 83.9),
    ("efficientnet_v2_m",  _table("m", 0.3),  480, 85.2),
    ("efficientnet_v2_l",  _table("l", 0.4),  480, 85.7),
    ("efficientnet_v2_xl", _table("xl", 0.4), 512, 87.2),
    # name                         w    d   dropout  input  top-1
    ("efficientnet_v2_b0", _scaled(1.0, 1.0, 0.2), 224, 78.7),
    ("efficientnet_v2_b1", _scaled(1.0, 1.1, 0.2), 240, 79.8),
    ("efficientnet_v2_b2", _scaled(1.1, 1.2, 0.3), 260, 80.5),
    ("efficientnet_v2_b3", _scaled(1.2, 1.4, 0.3), 300, 82.1),
)  # fmt: skip
