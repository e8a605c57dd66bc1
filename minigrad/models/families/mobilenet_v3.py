"""MobileNetV3: searched inverted residuals with squeeze and excitation and h-swish.

Howard et al., "Searching for MobileNetV3" (2019), tables 1 and 2.  RE is ReLU, HS h-swish.

Where sources disagree.  The table gives the expanded width itself; at other widths TF slim
and timm scale Cin and keep the ratio, torchvision scales the table's number
(``channel_rule``).  Below width 1 slim and timm keep the last linear layer's 1280 (1024),
torchvision scales it.  The published 0.75 networks are slim's.  The paper's table of Small
ticks squeeze and excitation on the last 1x1 convolution; no code has it, nor do we.
"""

from __future__ import annotations

from itertools import groupby
from operator import attrgetter
from typing import Any

from minigrad.models.family import Entry, Family, entries
from minigrad.models.naming import (
    Names,
    Pairs,
    blocks,
    pytorchcv,
    pytorchcv_places,
    timm_trunk,
    torchvision,
    unit,
)
from minigrad.models.network import Network, Row, mobile
from minigrad.models.preparation import IMAGENET, SIGNED, Preparation
from minigrad.nn.blocks.inverted_residual import make_divisible
from minigrad.nn.module import Module

__all__ = ["NETWORKS", "mobilenet_v3"]

RE, HS = "relu", "hardswish"

LARGE = (
    # k  exp  out  SE     NL  s
    (3,  16,  16, False, RE, 1),
    (3,  64,  24, False, RE, 2),
    (3,  72,  24, False, RE, 1),
    (5,  72,  40, True,  RE, 2),
    (5, 120,  40, True,  RE, 1),
    (5, 120,  40, True,  RE, 1),
    (3, 240,  80, False, HS, 2),
    (3, 200,  80, False, HS, 1),
    (3, 184,  80, False, HS, 1),
    (3, 184,  80, False, HS, 1),
    (3, 480, 112, True,  HS, 1),
    (3, 672, 112, True,  HS, 1),
    (5, 672, 160, True,  HS, 2),
    (5, 960, 160, True,  HS, 1),
    (5, 960, 160, True,  HS, 1),
)  # fmt: skip

SMALL = (
    # k  exp  out  SE     NL  s
    (3,  16,  16, True,  RE, 2),
    (3,  72,  24, False, RE, 2),
    (3,  88,  24, False, RE, 1),
    (5,  96,  40, True,  HS, 2),
    (5, 240,  40, True,  HS, 1),
    (5, 240,  40, True,  HS, 1),
    (5, 120,  48, True,  HS, 1),
    (5, 144,  48, True,  HS, 1),
    (5, 288,  96, True,  HS, 2),
    (5, 576,  96, True,  HS, 1),
    (5, 576,  96, True,  HS, 1),
)  # fmt: skip

RULES = ("slim", "torchvision", "pytorchcv")
TABLES = {"large": (LARGE, 1280), "small": (SMALL, 1024)}

PRESETS: dict[str, dict[str, object]] = {
    "slim": {"padding": "same", "bn_eps": 1e-3, "bn_momentum": 0.01, "init": "slim"},
    "torchvision": {"padding": "symmetric", "bn_eps": 1e-3, "bn_momentum": 0.01,
                    "init": "torchvision", "channel_rule": "torchvision"},
    "timm": {"padding": "symmetric", "bn_eps": 1e-5, "bn_momentum": 0.1, "init": "tensorflow"},
    "timm_tf": {"padding": "same", "bn_eps": 1e-3, "bn_momentum": 0.1, "init": "tensorflow"},
    # pytorchcv's linear layer before the classifier is always 1280 wide and has no bias.
    "pytorchcv": {"padding": "symmetric", "bn_eps": 1e-5, "bn_momentum": 0.1,
                  "init": "pytorchcv", "hidden_bias": False, "channel_rule": "pytorchcv"},
}  # fmt: skip


def mobilenet_v3(
    table: str = "large",
    width: float = 1.0,
    minimalistic: bool = False,
    reduced_tail: bool = False,
    channel_rule: str = "slim",
    **how: Any,
) -> Network:
    """MobileNetV3 Large or Small.

    Parameters
    ----------
    table : {"large", "small"}
    width : float
    minimalistic : bool
        No squeeze and excitation, 3x3 and ReLU only.
    reduced_tail : bool
        Half the channels from the last halving on, as detectors use it (torchvision's).
    channel_rule : {"slim", "torchvision", "pytorchcv"}
        As torchvision's, pytorchcv's scales the table's expanded widths, but neither end.
    how
        As for ``mobile``.
    """
    lines, hidden = TABLES[table]
    stem = make_divisible(16 * width)
    rows = _rows(lines, stem, width, minimalistic, reduced_tail, channel_rule)
    scales = channel_rule == "torchvision" or width > 1
    hidden = 1280 if channel_rule == "pytorchcv" else hidden
    scaled = make_divisible(hidden * width) if scales else hidden
    last = lines[-1][2] if channel_rule == "pytorchcv" and width < 1 else rows[-1].channels
    return mobile(
        [list(stage) for _, stage in groupby(rows, key=attrgetter("channels"))],
        stem=stem,
        head=6 * last,
        hidden=scaled // 2 if reduced_tail else scaled,
        activation=RE if minimalistic else HS,
        se_rule="expanded",
        se_activation="relu",
        se_gate="hardsigmoid",
        **how,
    )


def _rows(
    lines: tuple[tuple[int, int, int, bool, str, int], ...],
    stem: int,
    width: float,
    minimalistic: bool,
    reduced_tail: bool,
    channel_rule: str,
) -> list[Row]:
    if channel_rule not in RULES:
        raise ValueError(f"channel_rule must be one of {', '.join(RULES)}, not {channel_rule!r}")
    rows, cin, table_cin = [], stem, 16
    tail = max(i for i, line in enumerate(lines) if line[-1] == 2)
    for i, (k, exp, out, se, nl, s) in enumerate(lines):
        halved = 2 if reduced_tail and i >= tail else 1
        halved_before = 2 if reduced_tail and i > tail else 1
        slim = make_divisible(exp / table_cin * cin)
        scaled = make_divisible(exp // halved_before * width)
        cout = make_divisible(out // halved * width)
        expanded = slim if channel_rule == "slim" else scaled
        if minimalistic:
            k, se, nl = 3, False, RE
        rows.append(Row(0, k, cout, 1, s, 0.25 if se else 0, nl, expanded))
        cin, table_cin = cout, out
    return rows


def photographs(entry: Entry) -> dict[str, Preparation]:
    """How each library prepared the photographs that its weights were trained on.

    slim's is ``preprocess_for_eval`` of ``inception_preprocessing.py`` (tensorflow/models);
    torchvision's that of ``IMAGENET1K_V1`` (0.29; Large has a V2 with a margin of 8); timm's
    those of ``models/mobilenetv3.py`` (1.0.31); pytorchcv's ``imagenet1k_cls_dataset.py`` of
    osmr/imgclsmob.
    """
    size = entry.input_size
    torch, signed = IMAGENET._replace(size=size), SIGNED._replace(size=size)
    return {
        "slim": signed,
        "torchvision": torch,
        "timm": torch._replace(resample="bicubic"),
        "timm_tf": signed._replace(crop_first=False, squash=False),
        "pytorchcv": torch,
    }


def _timm(model: Module) -> Pairs:
    """The last 1x1 is one more stage, and the linear layer is called conv_head."""
    yield from timm_trunk(model)
    last = 1 + max(stage for stage, _, _ in blocks(model))
    yield from unit("head", f"blocks.{last}.0.conv", f"blocks.{last}.0.bn1")
    yield "hidden", "conv_head"
    yield "classifier", "classifier"


def _torchvision(model: Module) -> Pairs:
    """Blocks have flat places: features.{n}.block.{k}."""
    yield from torchvision(
        model, lambda flat, stage, i: f"features.{flat}", lambda flat, stage: f"features.{flat + 1}"
    )
    yield "hidden", "classifier.0"
    yield "classifier", "classifier.3"


def _pytorchcv(model: Module) -> Pairs:
    places = pytorchcv_places([block for _, _, block in blocks(model)])
    names = ("exp_conv", "conv1", "conv2")
    yield from pytorchcv(model, places, lambda block: names, final=".conv")
    yield "hidden", "output.conv1"
    yield "classifier", "output.conv2"


FAMILY = Family(
    mobilenet_v3,
    PRESETS,
    photographs,
    {
        "torchvision": Names(_torchvision),
        "timm": Names(_timm, convolutions=("hidden",)),
        "pytorchcv": Names(_pytorchcv, convolutions=("hidden", "classifier")),
    },
    {
        "mobilenetv3_large_100": ("mobilenet_v3_large", "timm"),
        "mobilenetv3_large_075": ("mobilenet_v3_large_0_75", "timm"),
        "mobilenetv3_small_100": ("mobilenet_v3_small", "timm"),
        "mobilenetv3_small_075": ("mobilenet_v3_small_0_75", "timm"),
        "tf_mobilenetv3_large_100": ("mobilenet_v3_large", "timm_tf"),
        "tf_mobilenetv3_large_075": ("mobilenet_v3_large_0_75", "timm_tf"),
        "tf_mobilenetv3_large_minimal_100": ("mobilenet_v3_large_minimalistic", "timm_tf"),
        "tf_mobilenetv3_small_100": ("mobilenet_v3_small", "timm_tf"),
        "tf_mobilenetv3_small_075": ("mobilenet_v3_small_0_75", "timm_tf"),
        "tf_mobilenetv3_small_minimal_100": ("mobilenet_v3_small_minimalistic", "timm_tf"),
        "mobilenetv3_large_w1": ("mobilenet_v3_large", "pytorchcv"),
        "mobilenetv3_large_w3d4": ("mobilenet_v3_large_0_75", "pytorchcv"),
        "mobilenetv3_small_w1": ("mobilenet_v3_small", "pytorchcv"),
        "mobilenetv3_small_w3d4": ("mobilenet_v3_small_0_75", "pytorchcv"),
    },
)


NETWORKS: dict[str, Entry] = entries(
    FAMILY, "Howard et al. 2019; top-1 of the slim README",
    # name                              table and switches                  input top-1
    ("mobilenet_v3_large",              {"table": "large"},                  224, 75.2),
    ("mobilenet_v3_large_0_75",         {"table": "large", "width": 0.75},   224, 73.3),
    ("mobilenet_v3_large_minimalistic", {"table": "large", "minimalistic": True}, 224, 72.3),
    ("mobilenet_v3_small",              {"table": "small"},                  224, 67.5),
    ("mobilenet_v3_small_0_75",         {"table": "small", "width": 0.75},   224, 65.4),
    ("mobilenet_v3_small_minimalistic", {"table": "small", "minimalistic": True}, 224, 61.9),
)  # fmt: skip
