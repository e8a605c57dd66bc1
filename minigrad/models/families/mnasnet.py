"""MnasNet: inverted residuals chosen by a search that measured latency on a phone.

Tan et al., "MnasNet: Platform-Aware Neural Architecture Search for Mobile" (2019); A1 is
figure 7, B1 (no squeeze and excitation) and small are defined by the authors' code.

The first block has no expansion (t = 1) and, but for small, no shortcut at any width.
BatchNorm: the authors' code uses decay 0.99; torchvision uses 0.9997 and says the paper
suggests it.
"""

from __future__ import annotations

from typing import Any

from minigrad.models.family import Entry, Family, entries
from minigrad.models.naming import Names, Pairs, blocks, pytorchcv, pytorchcv_places, timm, unit
from minigrad.models.network import Network, Row, mobile
from minigrad.models.preparation import IMAGENET, Preparation
from minigrad.nn.blocks.inverted_residual import make_divisible
from minigrad.nn.module import Module

__all__ = ["NETWORKS", "mnasnet"]

B1 = (
    # t  k   c   n  s  SE
    (1, 3,  16, 1, 1, 0),
    (3, 3,  24, 3, 2, 0),
    (3, 5,  40, 3, 2, 0),
    (6, 5,  80, 3, 2, 0),
    (6, 3,  96, 2, 1, 0),
    (6, 5, 192, 4, 2, 0),
    (6, 3, 320, 1, 1, 0),
)  # fmt: skip

A1 = (
    # t  k   c   n  s  SE
    (1, 3,  16, 1, 1, 0),
    (6, 3,  24, 2, 2, 0),
    (3, 5,  40, 3, 2, 0.25),
    (6, 3,  80, 4, 2, 0),
    (6, 3, 112, 2, 1, 0.25),
    (6, 5, 160, 3, 2, 0.25),
    (6, 3, 320, 1, 1, 0),
)  # fmt: skip

SMALL = (
    # t  k   c   n  s  SE
    (1, 3,   8, 1, 1, 0),
    (3, 3,  16, 1, 2, 0),
    (6, 3,  16, 2, 2, 0),
    (6, 5,  32, 4, 2, 0.25),
    (6, 3,  32, 3, 1, 0.25),
    (6, 5,  88, 3, 2, 0.25),
    (6, 3, 144, 1, 1, 0),
)  # fmt: skip

TABLES = {"a1": (A1, 32), "b1": (B1, 32), "small": (SMALL, 8)}

PRESETS: dict[str, dict[str, object]] = {
    "tensorflow": {"padding": "same", "bn_eps": 1e-3, "bn_momentum": 0.01, "init": "tensorflow"},
    "torchvision": {"padding": "symmetric", "bn_eps": 1e-5, "bn_momentum": 3e-4,
                    "init": "torchvision_mnasnet"},
    "timm": {"padding": "symmetric", "bn_eps": 1e-5, "bn_momentum": 0.1, "init": "tensorflow"},
    "pytorchcv": {"padding": "symmetric", "bn_eps": 1e-5, "bn_momentum": 0.1,
                  "init": "pytorchcv"},
}  # fmt: skip
WIDE = (0.75, 1.3)  # the widths that torchvision added later, with another scale
# torchvision has none with squeeze and excitation.
WITH_SE = {name: how for name, how in PRESETS.items() if name != "torchvision"}


def mnasnet(table: str = "a1", width: float = 1.0, **how: Any) -> Network:
    """MnasNet A1, B1 or small, of any width; ``how`` as for ``mobile``."""
    lines, stem = TABLES[table]
    skip = None if table == "small" else False
    stages = [
        [Row(t, k, make_divisible(c * width), n, s, se, residual=skip if i == 0 else None)]
        for i, (t, k, c, n, s, se) in enumerate(lines)
    ]
    return mobile(
        stages,
        stem=make_divisible(stem * width),
        head=1280,
        activation="relu",
        se_activation="relu",
        se_gate="sigmoid",
        **how,
    )


def photographs(entry: Entry) -> dict[str, Preparation]:
    """How each library prepared the photographs that its weights were trained on.

    TensorFlow's is ``models/official/mnasnet/preprocessing.py`` of tensorflow/tpu (bilinear,
    by default of ``tf.image.resize``); torchvision's those of 0.29, which scales to 232 for two
    widths; timm's the default of ``models/efficientnet.py`` (1.0.31); pytorchcv's
    ``imagenet1k_cls_dataset.py`` of osmr/imgclsmob.
    """
    torch = IMAGENET._replace(size=entry.input_size)
    return {
        "tensorflow": torch._replace(crop_first=True),
        "torchvision": torch._replace(margin=8 if entry.switches.get("width") in WIDE else 32),
        "timm": torch._replace(resample="bicubic"),
        "pytorchcv": torch,
    }


def _torchvision(model: Module) -> Pairs:
    """layers.0, 1 the stem; 3, 4 and 6, 7 the first block; 8..13 stages; 14, 15 the head."""
    yield from unit("stem", "layers.0", "layers.1")
    yield from unit("blocks.0.0.dw", "layers.3", "layers.4")
    yield from unit("blocks.0.0.project", "layers.6", "layers.7")
    for s, i, _ in blocks(model):
        ours, theirs = f"blocks.{s}.{i}", f"layers.{7 + s}.{i}.layers"
        if s:
            yield from unit(f"{ours}.expand", f"{theirs}.0", f"{theirs}.1")
            yield from unit(f"{ours}.dw", f"{theirs}.3", f"{theirs}.4")
            yield from unit(f"{ours}.project", f"{theirs}.6", f"{theirs}.7")
    yield from unit("head", "layers.14", "layers.15")
    yield "classifier", "classifier.1"


def _pytorchcv(model: Module) -> Pairs:
    """The first block belongs to init_block, the last to final_block."""
    inner = [block for _, _, block in blocks(model)][1:-1]
    stages = pytorchcv_places(inner)
    places = ["features.init_block.conv2", *stages, "features.final_block.conv1"]
    names = ("exp_conv", "dw_conv", "pw_conv")
    yield from pytorchcv(model, places, lambda block: names, init=".conv1", final=".conv2")
    yield "classifier", "output"


OTHERS = {"torchvision": Names(_torchvision), "timm": Names(timm), "pytorchcv": Names(_pytorchcv)}
FAMILY = Family(
    mnasnet,
    PRESETS,
    photographs,
    OTHERS,
    {
        "mnasnet_050": ("mnasnet_b1_0_5", "timm"),
        "mnasnet_075": ("mnasnet_b1_0_75", "timm"),
        "mnasnet_100": ("mnasnet_b1", "timm"),
        "mnasnet0_5": ("mnasnet_b1_0_5", "torchvision"),
        "mnasnet0_75": ("mnasnet_b1_0_75", "torchvision"),
        "mnasnet1_0": ("mnasnet_b1", "torchvision"),
        "mnasnet1_3": ("mnasnet_b1_1_3", "torchvision"),
    },
)
SE_FAMILY = Family(
    mnasnet,
    WITH_SE,
    photographs,
    {library: names for library, names in OTHERS.items() if library != "torchvision"},
    {
        "semnasnet_050": ("mnasnet_a1_0_5", "timm"),
        "semnasnet_075": ("mnasnet_a1_0_75", "timm"),
        "semnasnet_100": ("mnasnet_a1", "timm"),
        "semnasnet_140": ("mnasnet_a1_1_4", "timm"),
    },
)


NETWORKS: dict[str, Entry] = {
    **entries(
        FAMILY, "Tan et al. 2019; top-1 of torchvision's weights",
        # name             table and width                input  top-1
        ("mnasnet_b1_0_5",  {"table": "b1", "width": 0.5},  224, 67.734),
        ("mnasnet_b1_0_75", {"table": "b1", "width": 0.75}, 224, 71.180),
        ("mnasnet_b1",      {"table": "b1", "width": 1.0},  224, 73.456),
        ("mnasnet_b1_1_3",  {"table": "b1", "width": 1.3},  224, 76.506),
    ),
    **entries(
        SE_FAMILY, "Tan et al. 2019; top-1 of the authors' README",
        # name             table and width                input  top-1
        ("mnasnet_a1_0_5",  {"table": "a1", "width": 0.5},  224, 68.9),
        ("mnasnet_a1_0_75", {"table": "a1", "width": 0.75}, 224, 73.3),
        ("mnasnet_a1",      {"table": "a1", "width": 1.0},  224, 75.2),
        ("mnasnet_a1_1_4",  {"table": "a1", "width": 1.4},  224, 77.2),
        ("mnasnet_small",   {"table": "small"},             224, 66.0),
    ),
}  # fmt: skip
