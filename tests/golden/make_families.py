"""Writes families.json.gz: what the original libraries compute with weights from a formula.

Needs an environment of its own, never minigrad's:

    pip install torch==2.13.0
    pip install --no-deps torchvision==0.29.2 timm==1.0.31 pytorchcv==0.0.74 \\
        efficientnet_pytorch==0.7.1 efficientnet_lite_pytorch==0.1.0 \\
        huggingface_hub safetensors pyyaml pillow
    python tests/golden/make_families.py

torchvision's compiled operators are not needed: their registration is stubbed.  For each
case: the names and shapes of the state dict, 8 logits, the sum and the norm of all 1000,
all in float64; where GRADIENTS says so, also for a batch of 2 in training mode the loss
and, for each parameter, the norm and the first number of its gradient.
"""

from __future__ import annotations

import gzip
import json
import sys
import types
from pathlib import Path

sys.modules["torchvision._meta_registrations"] = types.ModuleType("stub")
sys.path.insert(0, str(Path(__file__).parent))

# ruff: noqa: E402
import numpy as np
import timm
import torch
import torchvision
import weights
from efficientnet_lite_pytorch import EfficientNet as LiteNet
from efficientnet_pytorch import EfficientNet
from pytorchcv.model_provider import get_model

TV = torchvision.models


def lukemelas(name):
    return EfficientNet.from_name(name)


def lite(name):
    return LiteNet.from_name(name)


# our name, preset, switches; library, its model; input size
CASES = [
    ("squeezenext_1_0_23", "pytorchcv", {}, get_model, "sqnxt23_w1", 224),
    ("squeezenext_1_0_23v5", "pytorchcv", {}, get_model, "sqnxt23v5_w1", 224),
    ("squeezenext_2_0_23", "pytorchcv", {}, get_model, "sqnxt23_w2", 224),
    ("mobilenet_v2_0_35", "timm", {}, timm.create_model, "mobilenetv2_035", 64),
    ("mobilenet_v2", "timm", {}, timm.create_model, "mobilenetv2_100", 64),
    ("mobilenet_v2_1_4", "timm", {}, timm.create_model, "mobilenetv2_140", 64),
    ("mobilenet_v2", "torchvision", {}, TV.mobilenet_v2, "mobilenet_v2", 64),
    ("mobilenet_v2", "pytorchcv", {}, get_model, "mobilenetv2_w1", 224),
    ("mobilenet_v2", "pytorchcv_b", {}, get_model, "mobilenetv2b_w1", 224),
    ("mobilenet_v3_large", "torchvision", {}, TV.mobilenet_v3_large, "mobilenet_v3_large", 64),
    ("mobilenet_v3_small", "torchvision", {}, TV.mobilenet_v3_small, "mobilenet_v3_small", 64),
    ("mobilenet_v3_large", "torchvision", {"output_stride": 16, "dilation_rule": "torchvision"},
     lambda _: TV.mobilenet_v3_large(dilated=True), "mobilenet_v3_large, dilated", 64),
    ("mobilenet_v3_large", "torchvision", {"reduced_tail": True},
     lambda _: TV.mobilenet_v3_large(reduced_tail=True), "mobilenet_v3_large, reduced tail", 64),
    ("mobilenet_v3_large", "timm", {}, timm.create_model, "mobilenetv3_large_100", 64),
    ("mobilenet_v3_large_0_75", "timm_tf", {}, timm.create_model, "tf_mobilenetv3_large_075", 64),
    ("mobilenet_v3_small", "timm_tf", {}, timm.create_model, "tf_mobilenetv3_small_100", 64),
    ("mobilenet_v3_large_minimalistic", "timm_tf", {}, timm.create_model,
     "tf_mobilenetv3_large_minimal_100", 64),
    ("mobilenet_v3_large", "pytorchcv", {}, get_model, "mobilenetv3_large_w1", 224),
    ("mnasnet_b1", "torchvision", {}, TV.mnasnet1_0, "mnasnet1_0", 64),
    ("mnasnet_b1_0_5", "torchvision", {}, TV.mnasnet0_5, "mnasnet0_5", 64),
    ("mnasnet_b1", "timm", {}, timm.create_model, "mnasnet_100", 64),
    ("mnasnet_a1", "timm", {}, timm.create_model, "semnasnet_100", 64),
    ("mnasnet_small", "timm", {}, timm.create_model, "mnasnet_small", 64),
    ("mnasnet_a1", "pytorchcv", {}, get_model, "mnasnet_a1", 224),
    ("efficientnet_b0", "torchvision", {}, TV.efficientnet_b0, "efficientnet_b0", 64),
    ("efficientnet_b0", "timm", {}, timm.create_model, "efficientnet_b0", 64),
    ("efficientnet_b0", "timm", {"output_stride": 8},
     lambda _: timm.create_model("efficientnet_b0", output_stride=8), "efficientnet_b0, os 8", 64),
    ("efficientnet_b0", "timm_tf", {}, timm.create_model, "tf_efficientnet_b0", 64),
    ("efficientnet_b0", "efficientnet_pytorch", {}, lukemelas, "efficientnet-b0", 64),
    ("efficientnet_b0", "pytorchcv", {}, get_model, "efficientnet_b0", 64),
    ("efficientnet_b0", "pytorchcv_b", {}, get_model, "efficientnet_b0b", 64),
    ("efficientnet_b4", "torchvision", {}, TV.efficientnet_b4, "efficientnet_b4", 64),
    ("efficientnet_b5", "torchvision", {}, TV.efficientnet_b5, "efficientnet_b5", 64),
    ("efficientnet_lite0", "timm_tf", {}, timm.create_model, "tf_efficientnet_lite0", 64),
    ("efficientnet_lite0", "efficientnet_pytorch", {}, lite, "efficientnet-lite0", 64),
    ("efficientnet_lite4", "timm_tf", {}, timm.create_model, "tf_efficientnet_lite4", 64),
    ("efficientnet_v2_s", "torchvision", {}, TV.efficientnet_v2_s, "efficientnet_v2_s", 64),
    ("efficientnet_v2_b3", "timm_tf", {}, timm.create_model, "tf_efficientnetv2_b3", 64),
]  # fmt: skip

GRADIENTS = ("sqnxt23_w1", "mobilenet_v2", "efficientnet_b0")


def main() -> None:
    rows = [measured(*case) for case in CASES]
    note = {"torch": torch.__version__, "torchvision": torchvision.__version__,
            "timm": timm.__version__, "script": "tests/golden/make_families.py"}  # fmt: skip
    path = Path(__file__).with_name("families.json.gz")
    text = json.dumps({"made_with": note, "cases": rows}, separators=(",", ":"))
    path.write_bytes(gzip.compress(text.encode(), mtime=0))
    print(path, path.stat().st_size, "bytes,", len(rows), "cases")


def measured(name, preset, switches, build, theirs, size) -> dict:
    """One case, as JSON."""
    model = (build() if build.__module__.startswith("torchvision") else build(theirs)).double()
    dropless(model)
    given = {k: v for k, v in model.state_dict().items() if "num_batches_tracked" not in k}
    keys = [(k, list(v.shape)) for k, v in given.items()]
    for k, v in weights.state(keys).items():
        given[k].copy_(torch.from_numpy(v))
    with torch.no_grad():
        y = model.eval()(torch.from_numpy(weights.image(size)))[0].numpy()
    case = {
        "name": name, "preset": preset, "switches": switches, "library_model": theirs,
        "size": size, "keys": keys, "logits": y[:8].tolist(), "sum": float(y.sum()),
        "norm": float(np.linalg.norm(y)),
    }  # fmt: skip
    print(theirs, case["norm"])
    return case | (gradients(model, size) if theirs in GRADIENTS else {})


def gradients(model, size) -> dict:
    """Of the loss of two images with labels 3 and 5, in training mode."""
    logits = model.train()(torch.from_numpy(weights.image(size, 2)))
    loss = torch.nn.functional.cross_entropy(logits, torch.tensor([3, 5]), label_smoothing=0.1)
    loss.backward()
    return {
        "loss": loss.item(),
        "gradients": {k: [p.grad.norm().item(), p.grad.flatten()[0].item()]
                      for k, p in model.named_parameters()},
        "running": {k: [b.norm().item(), b.flatten()[0].item()]
                    for k, b in model.named_buffers() if "running" in k},
    }  # fmt: skip


def dropless(model) -> None:
    """No dropout, no stochastic depth: training that can be repeated."""
    for module in model.modules():
        for attribute in ("p", "drop_prob", "drop_rate"):
            if isinstance(getattr(module, attribute, None), float):
                setattr(module, attribute, 0.0)


if __name__ == "__main__":
    main()
