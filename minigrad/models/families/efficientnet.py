"""EfficientNet and EfficientNet-Lite: one searched network, scaled in width, depth and size.

Tan & Le, "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks" (2019),
table 1; Lite by the authors' code (2020).  Width w and depth d scale a row's channels and
repeats by

    c' = make_divisible(w c),      n' = ceil(d n).

Lite leaves out squeeze and excitation, takes ReLU6 for SiLU, and scales neither the stem,
the head nor the repeats of the first and last row.  Squeeze and excitation squeezes to a
quarter of the channels that enter the block, not of the expanded ones.

BatchNorm: the authors have eps 1e-3 and decay 0.99; timm's own weights and torchvision's B0
to B4 have eps 1e-5; torchvision's B5 to B7 came from TensorFlow and keep 1e-3.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil
from typing import Any

from minigrad.models.family import Entry, Family, entries
from minigrad.models.naming import (
    Block,
    Names,
    Pairs,
    blocks,
    pytorchcv,
    pytorchcv_places,
    timm,
    torchvision,
    unit,
)
from minigrad.models.network import Network, Row, mobile
from minigrad.models.preparation import IMAGENET, Preparation
from minigrad.nn.blocks.inverted_residual import InvertedResidual, make_divisible
from minigrad.nn.module import Module

__all__ = ["NETWORKS", "efficientnet", "efficientnet_lite"]

TABLE = (
    # t  k  s   c   n
    (1, 3, 1,  16, 1),
    (6, 3, 2,  24, 2),
    (6, 5, 2,  40, 2),
    (6, 3, 2,  80, 3),
    (6, 5, 1, 112, 3),
    (6, 5, 2, 192, 4),
    (6, 3, 1, 320, 1),
)  # fmt: skip

TENSORFLOW = {"padding": "same", "bn_eps": 1e-3, "bn_momentum": 0.01, "init": "tensorflow"}
SYMMETRIC = {"padding": "symmetric", "bn_eps": 1e-5, "bn_momentum": 0.1}
PRESETS: dict[str, dict[str, object]] = {
    "tensorflow": TENSORFLOW,
    "efficientnet_pytorch": TENSORFLOW,
    "torchvision": {**SYMMETRIC, "init": "torchvision_efficientnet"},
    "timm": {**SYMMETRIC, "init": "tensorflow"},
    "timm_tf": {**TENSORFLOW, "bn_momentum": 0.1},
    "pytorchcv": {**SYMMETRIC, "init": "pytorchcv"},
    "pytorchcv_b": {**TENSORFLOW, "bn_momentum": 0.1, "init": "pytorchcv"},
}
LARGE_PRESETS = PRESETS | {
    "torchvision": {**TENSORFLOW, "padding": "symmetric", "init": "torchvision_efficientnet"}
}
LITE_PRESETS = {k: v for k, v in PRESETS.items() if k not in ("torchvision", "pytorchcv",
                                                              "pytorchcv_b")}  # fmt: skip


def efficientnet(
    width: float = 1.0, depth: float = 1.0, stochastic_depth: float = 0.2, **how: Any
) -> Network:
    """EfficientNet of any width and depth; ``how`` as for ``mobile``."""
    table = [
        [Row(t, k, make_divisible(c * width), ceil(n * depth), s, 0.25)] for t, k, s, c, n in TABLE
    ]
    return mobile(
        table,
        stem=make_divisible(32 * width),
        head=make_divisible(1280 * width),
        activation="silu",
        se_activation="silu",
        se_gate="sigmoid",
        stochastic_depth=stochastic_depth,
        **how,
    )


def efficientnet_lite(
    width: float = 1.0, depth: float = 1.0, stochastic_depth: float = 0.2, **how: Any
) -> Network:
    """EfficientNet-Lite of any width and depth; ``how`` as for ``mobile``."""
    ends = (TABLE[0], TABLE[-1])
    table = [
        [Row(t, k, make_divisible(c * width), n if (t, k, s, c, n) in ends else ceil(n * depth), s)]
        for t, k, s, c, n in TABLE
    ]
    how = {"stochastic_depth": stochastic_depth, **how}
    return mobile(table, stem=32, head=1280, activation="relu6", **how)


def _scaled(w: float, d: float, dropout: float) -> dict[str, float]:
    return {"width": w, "depth": d, "dropout": dropout}


# (size, margin) for the authors' size, where it is not (size, 0) and (size, 32).
TORCHVISION_SIZES = {224: (224, 32), 240: (240, 16), 260: (288, 0), 300: (300, 20), 380: (380, 4)}
TIMM_SIZES = {240: (288, 0), 260: (288, 0), 300: (320, 0), 380: (384, 0), 456: (448, 0)}
TIMM_TF_SIZES = {300: (300, 31)}  # floor(300 / 0.904) - 300
HALVES: dict[str, Any] = {"mean": (127.5,) * 3, "std": (127.5,) * 3}  # of B1 and tf_B8 in timm
TIMM_LITE_SIZES = {280: (300, 31), 300: (380, 32)}
LITE = Preparation(crop_first=True, resample="bicubic", mean=(127.0,) * 3, std=(128.0,) * 3)


def photographs(entry: Entry) -> dict[str, Preparation]:
    """How each library prepared the photographs that its weights were trained on.

    The authors' is ``models/official/efficientnet/preprocessing.py`` of tensorflow/tpu, which
    efficientnet_pytorch has a copy of beside the weights that it converted; torchvision's those
    of ``IMAGENET1K_V1`` (0.29); timm's those of ``models/efficientnet.py`` (1.0.31);
    pytorchcv's ``imagenet1k_cls_dataset.py`` of osmr/imgclsmob.
    """
    size = entry.input_size
    cut = IMAGENET._replace(size=size, resample="bicubic")
    tensorflow = cut._replace(crop_first=True)
    pytorchcv = cut._replace(resample="bilinear", margin=ceil(size / 0.875) - size)
    timm = _sized(cut, TIMM_SIZES.get(size, (size, 32)))._replace(squash=size == 456)
    timm_tf = _sized(cut, TIMM_TF_SIZES.get(size, (size, 32)))
    return {
        "tensorflow": tensorflow,
        "efficientnet_pytorch": tensorflow,
        "torchvision": _sized(cut, TORCHVISION_SIZES.get(size, (size, 0))),
        "timm": timm._replace(**HALVES) if size == 240 else timm,
        "timm_tf": timm_tf._replace(**HALVES) if size == 672 else timm_tf,
        "pytorchcv": pytorchcv,
        "pytorchcv_b": pytorchcv,
    }


def lite_photographs(entry: Entry) -> dict[str, Preparation]:
    """The same for EfficientNet-Lite; timm has other sizes for Lite3 and Lite4.

    The authors' mean and deviation are those of ``lite/efficientnet_lite_builder.py``.
    """
    size = entry.input_size
    authors = LITE._replace(size=size)
    timm = IMAGENET._replace(resample="bicubic")
    timm = _sized(timm, TIMM_LITE_SIZES.get(size, (size, 32)))
    converted = timm._replace(**HALVES)
    if size >= 280:
        converted = converted._replace(resample="bilinear", margin=31 if size == 280 else 33)
    return {
        "tensorflow": authors,
        "efficientnet_pytorch": authors,
        "timm": timm,
        "timm_tf": converted,
    }


def _sized(preparation: Preparation, how: tuple[int, int]) -> Preparation:
    return preparation._replace(size=how[0], margin=how[1])


def _torchvision(model: Module) -> Pairs:
    """features.{1 + stage}.{i}.block.{k}."""
    yield from torchvision(
        model,
        lambda flat, stage, i: f"features.{stage + 1}.{i}",
        lambda flat, stage: f"features.{stage + 2}",
    )
    yield "classifier", "classifier.1"


def _efficientnet_pytorch(model: Module) -> Pairs:
    """_conv_stem, _bn0, _blocks.{flat}.{_expand_conv, _bn0, _depthwise_conv, _bn1, ...}."""
    yield from unit("stem", "_conv_stem", "_bn0")
    for flat, (s, i, _) in enumerate(blocks(model)):
        ours, theirs = f"blocks.{s}.{i}", f"_blocks.{flat}"
        yield from unit(f"{ours}.expand", f"{theirs}._expand_conv", f"{theirs}._bn0")
        yield from unit(f"{ours}.dw", f"{theirs}._depthwise_conv", f"{theirs}._bn1")
        yield f"{ours}.se.reduce", f"{theirs}._se_reduce"
        yield f"{ours}.se.expand", f"{theirs}._se_expand"
        yield from unit(f"{ours}.project", f"{theirs}._project_conv", f"{theirs}._bn2")
    yield from unit("head", "_conv_head", "_bn1")
    yield "classifier", "_fc"


def _pytorchcv(model: Module) -> Pairs:
    """A block without expansion has names of its own."""

    def names(block: Block) -> tuple[str, ...]:
        expands = isinstance(block, InvertedResidual) and block.expand is not None
        return ("conv1", "conv2", "conv3") if expands else ("dw_conv", "pw_conv")

    places = pytorchcv_places([block for _, _, block in blocks(model)])
    yield from pytorchcv(model, places, names, init=".conv")
    yield "classifier", "output.fc"


def _aliases(sizes: Sequence[str]) -> dict[str, tuple[str, str]]:
    """timm's, efficientnet_pytorch's and pytorchcv's names."""
    b = {f"efficientnet_{k}b": (f"efficientnet_{k}", "pytorchcv_b") for k in sizes if k[0] == "b"}
    tf = {f"tf_efficientnet_{k}": (f"efficientnet_{k}", "timm_tf") for k in sizes}
    dashed = {f"efficientnet-{k}": (f"efficientnet_{k}", "efficientnet_pytorch") for k in sizes}
    return {**tf, **dashed, **b}


OTHERS = {
    "torchvision": Names(_torchvision),
    "timm": Names(timm),
    "efficientnet_pytorch": Names(_efficientnet_pytorch),
    "pytorchcv": Names(_pytorchcv),
}
FAMILY = Family(
    efficientnet, PRESETS, photographs, OTHERS, _aliases(("b0", "b1", "b2", "b3", "b4"))
)
LARGE_FAMILY = FAMILY._replace(presets=LARGE_PRESETS, aliases=_aliases(("b5", "b6", "b7", "b8")))
LITE_FAMILY = Family(
    efficientnet_lite,
    LITE_PRESETS,
    lite_photographs,
    {library: OTHERS[library] for library in ("timm", "efficientnet_pytorch")},
    _aliases(("lite0", "lite1", "lite2", "lite3", "lite4")),
)


NETWORKS: dict[str, Entry] = {
    **entries(
        FAMILY,
        "Tan & Le 2019; top-1 of the authors' README (AutoAugment)",
        # name                     w    d   dropout  input  top-1
        ("efficientnet_b0", _scaled(1.0, 1.0, 0.2), 224, 77.1),
        ("efficientnet_b1", _scaled(1.0, 1.1, 0.2), 240, 79.1),
        ("efficientnet_b2", _scaled(1.1, 1.2, 0.3), 260, 80.1),
        ("efficientnet_b3", _scaled(1.2, 1.4, 0.3), 300, 81.6),
        ("efficientnet_b4", _scaled(1.4, 1.8, 0.4), 380, 82.9),
    ),
    **entries(
        LARGE_FAMILY,
        "Tan & Le 2019; top-1 of the authors' README (AutoAugment, B8 AdvProp)",
        ("efficientnet_b5", _scaled(1.6, 2.2, 0.4), 456, 83.6),
        ("efficientnet_b6", _scaled(1.8, 2.6, 0.5), 528, 84.0),
        ("efficientnet_b7", _scaled(2.0, 3.1, 0.5), 600, 84.3),
        ("efficientnet_b8", _scaled(2.2, 3.6, 0.5), 672, 85.5),
    ),
    **entries(
        LITE_FAMILY,
        "the authors' code 2020; top-1 of its README",
        # name                        w    d   dropout  input  top-1
        ("efficientnet_lite0", _scaled(1.0, 1.0, 0.2), 224, 75.1),
        ("efficientnet_lite1", _scaled(1.0, 1.1, 0.2), 240, 76.7),
        ("efficientnet_lite2", _scaled(1.1, 1.2, 0.3), 260, 77.6),
        ("efficientnet_lite3", _scaled(1.2, 1.4, 0.3), 280, 79.8),
        ("efficientnet_lite4", _scaled(1.4, 1.8, 0.3), 300, 81.5),
    ),
}  # fmt: skip
