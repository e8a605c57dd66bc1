"""Writes preparations.json: how timm and torchvision prepare photographs, by their own words.

In the environment that make_families.py describes.  timm's is the configuration that it takes
by default, at the size that it is tested at, if there are weights; torchvision's that of
``IMAGENET1K_V1``.
"""

from __future__ import annotations

import json
from math import floor
from pathlib import Path

import timm
import torchvision
from make_keys import TIMM, TIMM_TF

TORCHVISION = {
    "mobilenet_v2": "MobileNet_V2", "mobilenet_v3_large": "MobileNet_V3_Large",
    "mobilenet_v3_small": "MobileNet_V3_Small",
    "mnasnet_b1_0_5": "MNASNet0_5", "mnasnet_b1_0_75": "MNASNet0_75",
    "mnasnet_b1": "MNASNet1_0", "mnasnet_b1_1_3": "MNASNet1_3",
    **{f"efficientnet_b{i}": f"EfficientNet_B{i}" for i in range(8)},
    **{f"efficientnet_v2_{k}": f"EfficientNet_V2_{k.upper()}" for k in "sml"},
}  # fmt: skip


def of_timm(model: str) -> dict[str, object]:
    """``timm.data.transforms_imagenet_eval``: scaled to floor(size / crop_pct), then cut."""
    config = timm.get_pretrained_cfg(model)
    size = (config.test_input_size or config.input_size)[1]
    return {
        "size": size, "scaled": floor(size / (config.test_crop_pct or config.crop_pct)),
        "squash": config.crop_mode == "squash", "resample": config.interpolation,
        "mean": config.mean, "std": config.std,
    }  # fmt: skip


def of_torchvision(model: str) -> dict[str, object]:
    """``torchvision.transforms._presets.ImageClassification``."""
    how = getattr(torchvision.models, f"{model}_Weights").IMAGENET1K_V1.transforms()
    return {
        "size": how.crop_size[0], "scaled": how.resize_size[0], "squash": False,
        "resample": how.interpolation.value, "mean": how.mean, "std": how.std,
    }  # fmt: skip


def main() -> None:
    """A row for each network and library."""
    libraries = (
        ("timm", TIMM, of_timm),
        ("timm_tf", TIMM_TF, of_timm),
        ("torchvision", TORCHVISION, of_torchvision),
    )
    rows = [
        {"name": name, "preset": preset, "model": model, **read(model)}
        for preset, models, read in libraries
        for name, model in models.items()
        if preset == "torchvision" or timm.get_pretrained_cfg(model).tag != "untrained"
    ]
    lines = ",\n".join(json.dumps(row) for row in rows)
    Path(__file__).with_name("preparations.json").write_text(f"[\n{lines}\n]\n")


if __name__ == "__main__":
    main()
