"""MnasNet: inverted residuals chosen by a search that measured latency on a phone.

Tan et al., "MnasNet: Platform-Aware Neural Architecture Search for Mobile" (2019); A1 is
figure 7, B1 (no squeeze and excitation) and small are defined by the authors' code.

The first block has no expansion (t = 1) and, but for small, no shortcut at any width.
BatchNorm: the authors' code uses decay 0.99; torchvision uses 0.9997 and says the paper
suggests it.
"""

from __future__ import annotations

from typing import Any

from minigrad.models.entry import Entry, entries
from minigrad.models.network import Network, Row, mobile
from minigrad.nn.blocks.inverted_residual import make_divisible

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

PRESETS: dict[str, dict[str, Any]] = {
    "tensorflow": {"padding": "same", "bn_eps": 1e-3, "bn_momentum": 0.01, "init": "tensorflow"},
    "torchvision": {"padding": "symmetric", "bn_eps": 1e-5, "bn_momentum": 3e-4,
                    "init": "torchvision_mnasnet"},
    "timm": {"padding": "symmetric", "bn_eps": 1e-5, "bn_momentum": 0.1, "init": "tensorflow"},
    "pytorchcv": {"padding": "symmetric", "bn_eps": 1e-5, "bn_momentum": 0.1,
                  "init": "pytorchcv"},
}  # fmt: skip
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


NETWORKS: dict[str, Entry] = {
    **entries(
        mnasnet, PRESETS, "Tan et al. 2019; top-1 of torchvision's weights",
        # name             table and width                input  top-1
        ("mnasnet_b1_0_5",  {"table": "b1", "width": 0.5},  224, 67.734),
        ("mnasnet_b1_0_75", {"table": "b1", "width": 0.75}, 224, 71.180),
        ("mnasnet_b1",      {"table": "b1", "width": 1.0},  224, 73.456),
        ("mnasnet_b1_1_3",  {"table": "b1", "width": 1.3},  224, 76.506),
    ),
    **entries(
        mnasnet, WITH_SE, "Tan et al. 2019; top-1 of the authors' README",
        # name             table and width                input  top-1
        ("mnasnet_a1_0_5",  {"table": "a1", "width": 0.5},  224, 68.9),
        ("mnasnet_a1_0_75", {"table": "a1", "width": 0.75}, 224, 73.3),
        ("mnasnet_a1",      {"table": "a1", "width": 1.0},  224, 75.2),
        ("mnasnet_a1_1_4",  {"table": "a1", "width": 1.4},  224, 77.2),
        ("mnasnet_small",   {"table": "small"},             224, 66.0),
    ),
}  # fmt: skip
