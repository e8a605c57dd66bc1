"""Writes keys.json: a digest of the names and shapes in the state dict of every network.

In the environment that make_families.py describes.  For each of our (name, preset): the
library's model, the SHA-256 of its sorted "name shape" lines without num_batches_tracked,
and the eps of its BatchNorms.
"""

from __future__ import annotations

import hashlib
import json
import sys
import types
from pathlib import Path

sys.modules["torchvision._meta_registrations"] = types.ModuleType("stub")

# ruff: noqa: E402
import timm
import torch
import torchvision
from efficientnet_lite_pytorch import EfficientNet as LiteNet
from efficientnet_pytorch import EfficientNet
from pytorchcv.model_provider import get_model

TV = torchvision.models

TIMM = {
    "mobilenet_v2_0_35": "mobilenetv2_035", "mobilenet_v2_0_5": "mobilenetv2_050",
    "mobilenet_v2_0_75": "mobilenetv2_075", "mobilenet_v2": "mobilenetv2_100",
    "mobilenet_v2_1_4": "mobilenetv2_140", "mobilenet_v3_large": "mobilenetv3_large_100",
    "mobilenet_v3_large_0_75": "mobilenetv3_large_075",
    "mobilenet_v3_small": "mobilenetv3_small_100",
    "mobilenet_v3_small_0_75": "mobilenetv3_small_075",
    "mnasnet_b1_0_5": "mnasnet_050", "mnasnet_b1_0_75": "mnasnet_075",
    "mnasnet_b1": "mnasnet_100", "mnasnet_small": "mnasnet_small",
    "mnasnet_a1_0_5": "semnasnet_050", "mnasnet_a1_0_75": "semnasnet_075",
    "mnasnet_a1": "semnasnet_100", "mnasnet_a1_1_4": "semnasnet_140",
    **{f"efficientnet_b{i}": f"efficientnet_b{i}" for i in range(6)},
    **{f"efficientnet_lite{i}": f"efficientnet_lite{i}" for i in range(5)},
    **{f"efficientnet_v2_{k}": f"efficientnetv2_{k}" for k in "sml"},
}  # fmt: skip
TIMM_TF = {
    "mobilenet_v3_large": "tf_mobilenetv3_large_100",
    "mobilenet_v3_large_0_75": "tf_mobilenetv3_large_075",
    "mobilenet_v3_large_minimalistic": "tf_mobilenetv3_large_minimal_100",
    "mobilenet_v3_small": "tf_mobilenetv3_small_100",
    "mobilenet_v3_small_0_75": "tf_mobilenetv3_small_075",
    "mobilenet_v3_small_minimalistic": "tf_mobilenetv3_small_minimal_100",
    **{f"efficientnet_b{i}": f"tf_efficientnet_b{i}" for i in range(9)},
    **{f"efficientnet_lite{i}": f"tf_efficientnet_lite{i}" for i in range(5)},
    **{f"efficientnet_v2_{k}": f"tf_efficientnetv2_{k}"
       for k in ("s", "m", "l", "xl", "b0", "b1", "b2", "b3")},
}  # fmt: skip
TORCHVISION = {
    "mobilenet_v2_0_35": ("mobilenet_v2", 0.35), "mobilenet_v2_0_5": ("mobilenet_v2", 0.5),
    "mobilenet_v2_0_75": ("mobilenet_v2", 0.75), "mobilenet_v2": ("mobilenet_v2", 1.0),
    "mobilenet_v2_1_3": ("mobilenet_v2", 1.3), "mobilenet_v2_1_4": ("mobilenet_v2", 1.4),
    "mobilenet_v3_large": ("mobilenet_v3_large", 1.0),
    "mobilenet_v3_large_0_75": ("mobilenet_v3_large", 0.75),
    "mobilenet_v3_small": ("mobilenet_v3_small", 1.0),
    "mobilenet_v3_small_0_75": ("mobilenet_v3_small", 0.75),
    "mnasnet_b1_0_5": ("mnasnet0_5", None), "mnasnet_b1_0_75": ("mnasnet0_75", None),
    "mnasnet_b1": ("mnasnet1_0", None), "mnasnet_b1_1_3": ("mnasnet1_3", None),
    **{f"efficientnet_b{i}": (f"efficientnet_b{i}", None) for i in range(8)},
    **{f"efficientnet_v2_{k}": (f"efficientnet_v2_{k}", None) for k in "sml"},
}  # fmt: skip
PYTORCHCV = {
    "mobilenet_v2": "mobilenetv2_w1", "mobilenet_v2_0_75": "mobilenetv2_w3d4",
    "mobilenet_v2_0_5": "mobilenetv2_wd2", "mobilenet_v3_large": "mobilenetv3_large_w1",
    "mobilenet_v3_small": "mobilenetv3_small_w1",
    "mobilenet_v3_large_0_75": "mobilenetv3_large_w3d4",
    "mobilenet_v3_small_0_75": "mobilenetv3_small_w3d4",
    "mnasnet_b1": "mnasnet_b1", "mnasnet_a1": "mnasnet_a1", "mnasnet_small": "mnasnet_small",
    "efficientnet_b0": "efficientnet_b0", "efficientnet_b1": "efficientnet_b1",
    "squeezenext_1_0_23": "sqnxt23_w1", "squeezenext_2_0_23": "sqnxt23_w2",
    "squeezenext_1_5_23_reconstructed": "sqnxt23_w3d2",
    "squeezenext_1_0_23v5": "sqnxt23v5_w1", "squeezenext_2_0_23v5": "sqnxt23v5_w2",
    "squeezenext_1_5_23v5_reconstructed": "sqnxt23v5_w3d2",
}  # fmt: skip
PYTORCHCV_B = {
    "mobilenet_v2": "mobilenetv2b_w1", "mobilenet_v2_0_75": "mobilenetv2b_w3d4",
    "mobilenet_v2_0_5": "mobilenetv2b_wd2",
    **{f"efficientnet_b{i}": f"efficientnet_b{i}b" for i in range(8)},
}  # fmt: skip
LUKEMELAS = {f"efficientnet_b{i}": f"efficientnet-b{i}" for i in range(9)}
LITE = {f"efficientnet_lite{i}": f"efficientnet-lite{i}" for i in range(5)}


def torchvision_model(spec):
    name, width = spec
    return getattr(TV, name)(**({} if width is None else {"width_mult": width}))


LIBRARIES = [
    ("timm", TIMM, timm.create_model),
    ("timm_tf", TIMM_TF, timm.create_model),
    ("torchvision", TORCHVISION, torchvision_model),
    ("pytorchcv", PYTORCHCV, get_model),
    ("pytorchcv_b", PYTORCHCV_B, get_model),
    ("efficientnet_pytorch", LUKEMELAS, EfficientNet.from_name),
    ("efficientnet_pytorch", LITE, LiteNet.from_name),
]


def digest(model) -> str:
    lines = sorted(
        f"{k} {tuple(v.shape)}" for k, v in model.state_dict().items() if "num_batches" not in k
    )
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def row(preset, name, build, spec) -> dict:
    model = build(spec)
    eps = {m.eps for m in model.modules() if isinstance(m, torch.nn.BatchNorm2d)}
    model_name = spec if isinstance(spec, str) else " ".join(map(str, spec))
    return {"name": name, "preset": preset, "model": model_name, "keys": digest(model),
            "eps": sorted(eps)}  # fmt: skip


if __name__ == "__main__":
    rows = [row(p, name, build, spec) for p, table, build in LIBRARIES
            for name, spec in table.items()]  # fmt: skip
    path = Path(__file__).with_name("keys.json")
    path.write_text("[\n" + ",\n".join(json.dumps(r) for r in rows) + "\n]\n")
    print(path, len(rows), "rows")
