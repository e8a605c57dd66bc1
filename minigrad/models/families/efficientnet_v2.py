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

from minigrad.models.family import Entry, Family, entries
from minigrad.models.naming import Names, Pairs, timm, torchvision
from minigrad.models.network import Network, Row, mobile
from minigrad.models.preparation import IMAGENET, Preparation
from minigrad.nn.blocks.inverted_residual import make_divisible
from minigrad.nn.module import Module

__all__ = ["NETWORKS", "efficientnet_v2"]

F, M = "fused", "inverted_residual"

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

PRESETS: dict[str, dict[str, object]] = {
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
        [Row(t, 3, _round(c * width), ceil(n * depth), s, 0 if f == F else 0.25, block=f)]
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


def _table(name: str, dropout: float) -> dict[str, object]:
    return {"table": name, "dropout": dropout}


def _scaled(w: float, d: float, dropout: float) -> dict[str, object]:
    return {"table": "base", "width": w, "depth": d, "dropout": dropout}


def photographs(entry: Entry) -> dict[str, Preparation]:
    """How each library prepared the photographs that its weights were trained on.

    B0 to B3 keep EfficientNet's preparation; S to XL have another scale, and of them the
    authors and torchvision see the whole photograph.  The authors' is ``preprocessing.py`` of
    google/automl's efficientnetv2 (``preprocess_legacy.py`` for B0 to B3); torchvision's those
    of ``IMAGENET1K_V1`` (0.29); timm's those of ``models/efficientnet.py`` (1.0.31).
    """
    size, table = entry.input_size, str(entry.switches["table"])
    cut = IMAGENET._replace(size=size, resample="bicubic")
    if table == "base":
        halves = cut._replace(mean=(127.5,) * 3, std=(127.5,) * 3, margin=33, squash=True)
        return {"tensorflow": cut._replace(crop_first=True), "torchvision": cut, "timm": cut,
                "timm_tf": halves if size == 300 else cut}  # fmt: skip
    whole = cut._replace(margin=0)
    signed = whole._replace(mean=(127.5,) * 3, std=(127.5,) * 3)
    authors = whole._replace(resample="bilinear", mean=(128.0,) * 3, std=(128.0,) * 3)
    return {
        "tensorflow": authors._replace(squash=True),
        "torchvision": signed if table == "l" else whole._replace(resample="bilinear"),
        "timm": whole,
        "timm_tf": signed._replace(squash=table != "s"),
    }


def _torchvision(model: Module) -> Pairs:
    """features.{1 + stage}.{i}.block.{k}."""
    yield from torchvision(
        model,
        lambda flat, stage, i: f"features.{stage + 1}.{i}",
        lambda flat, stage: f"features.{stage + 2}",
    )
    yield "classifier", "classifier.1"


FAMILY = Family(
    efficientnet_v2,
    PRESETS,
    photographs,
    {"torchvision": Names(_torchvision), "timm": Names(timm)},
    {
        **{f"efficientnetv2_{k}": (f"efficientnet_v2_{k}", "timm") for k in ("s", "m", "l")},
        **{
            f"tf_efficientnetv2_{k}": (f"efficientnet_v2_{k}", "timm_tf")
            for k in ("s", "m", "l", "xl", "b0", "b1", "b2", "b3")
        },
    },
)


NETWORKS: dict[str, Entry] = entries(
    FAMILY,
    "Tan & Le 2021; top-1 of the authors' README (XL after 21k classes)",
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
