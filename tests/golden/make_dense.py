"""Writes dense.json.gz: what torchvision and effdet compute with weights from a formula.

Needs an environment of its own, never minigrad's, with Python 3.11:

    pip install torch==2.14.1 torchvision==0.29.1 effdet==0.4.1
    python tests/golden/make_dense.py

For each network: the names and shapes of the state dict, and of each output its shape, sum,
norm and 32 numbers spread over it, all in float64.  Where GRADIENTS says so, also for a batch
of 2 in training mode the loss and, for each parameter, the norm and the first number of its
gradient; of effdet's networks where DETECTIONS says so, what they tell, their losses and the
gradient of the batch.  effdet turns numbers to float32 on the way; here it is told not to.
"""

from __future__ import annotations

import gzip
import json
import os
import sys
from importlib.metadata import version
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

os.environ["PYTORCH_JIT"] = "0"  # effdet's code as it is written, for Tensor.float below

import effdet
import numpy as np
import torch
import torchvision
import weights

torch.Tensor.float = torch.Tensor.double

SEGMENTATION = torchvision.models.segmentation
CASES = [
    # our name, the library's network, input size
    ("lraspp_mobilenet_v3_large",
     lambda: SEGMENTATION.lraspp_mobilenet_v3_large(weights_backbone=None), 64),
    ("deeplabv3_mobilenet_v3_large",
     lambda: SEGMENTATION.deeplabv3_mobilenet_v3_large(weights_backbone=None, aux_loss=True), 64),
    ("ssdlite320_mobilenet_v3_large",
     lambda: torchvision.models.detection.ssdlite320_mobilenet_v3_large(
         weights=None, weights_backbone=None), 320),
    ("tf_efficientdet_d0", lambda: efficientdet("tf_efficientdet_d0", 128), 128),
    ("tf_efficientdet_lite0", lambda: efficientdet("tf_efficientdet_lite0", 128), 128),
    ("tf_efficientdet_lite1", lambda: efficientdet("tf_efficientdet_lite1", 72), 72),  # odd maps
    ("tf_efficientdet_lite2", lambda: efficientdet("tf_efficientdet_lite2", 64), 64),
]  # fmt: skip
DETECTIONS = ("tf_efficientdet_d0", "tf_efficientdet_lite0")
GRADIENTS = ("lraspp_mobilenet_v3_large",)
CLASSES, IGNORED = 21, 255
BOXES = [[30.0, 40.0, 130.0, 200.0], [160.0, 20.0, 310.0, 150.0]]


def main() -> None:
    cases = [measured(*case) for case in CASES]
    note = {"torch": torch.__version__, "torchvision": torchvision.__version__,
            "effdet": version("effdet"),
            "script": "tests/golden/make_dense.py"}  # fmt: skip
    path = Path(__file__).with_name("dense.json.gz")
    text = json.dumps({"made_with": note, "cases": cases}, separators=(",", ":"))
    path.write_bytes(gzip.compress(text.encode(), mtime=0))
    print(path, path.stat().st_size, "bytes,", len(cases), "cases")


def measured(name, build, size) -> dict:
    """One case, as JSON."""
    model = build().double()
    given = {k: v for k, v in model.state_dict().items() if "num_batches_tracked" not in k}
    keys = [(k, list(v.shape)) for k, v in given.items()]
    for k, v in weights.state(keys).items():
        given[k].copy_(torch.from_numpy(v))
    with torch.no_grad():
        outputs = raw(model.eval(), torch.from_numpy(weights.image(size)))
    case = {"name": name, "size": size, "keys": keys, "outputs": [told(y) for y in outputs]}
    print(name, [(y["shape"], y["norm"]) for y in case["outputs"]])
    if hasattr(model, "head"):
        return case | detections(model, size)
    if name in DETECTIONS:
        return case | effdet_detections(model, size) | effdet_losses(model, size)
    return case | (gradients(model, size) if name in GRADIENTS else {})


def raw(model, x) -> list:
    """The outputs before any post-processing, as arrays."""
    if hasattr(model, "head"):
        made = model.head(list(model.backbone(x).values()))
        return [made[name].numpy() for name in ("cls_logits", "bbox_regression")]
    if hasattr(model, "fpn"):
        return [
            np.concatenate([y.permute(0, 2, 3, 1).reshape(len(x), -1, k).numpy() for y in made], 1)
            for made, k in zip(model(x), (model.config.num_classes, 4), strict=True)
        ]
    return [y.numpy() for y in model(x).values()]


def efficientdet(name, size):
    """A network of effdet for photographs of this size."""
    config = effdet.get_efficientdet_config(name)
    config.image_size = (size, size)
    return effdet.EfficientDet(config, pretrained_backbone=False)


def effdet_detections(model, size) -> dict:
    """What effdet tells in the end: the 5,000 best numbers, those that overlap dropped."""
    frame = {"img_scale": torch.ones(1).double(), "img_size": torch.full((1, 2), size).double()}
    with torch.no_grad():
        (told,) = effdet.DetBenchPredict(model.eval())(torch.from_numpy(weights.image(size)), frame)
    return {"boxes": told[:, :4].tolist(), "scores": told[:, 4].tolist(),
            "labels": told[:, 5].long().tolist()}  # fmt: skip


def effdet_losses(model, size) -> dict:
    """Of two images of objects, in training mode, and the gradient of the images."""
    for module in model.modules():
        if hasattr(module, "drop_prob"):
            module.drop_prob = 0.0
    bench = effdet.DetBenchTrain(model.train())
    bench.anchors.boxes = bench.anchors.boxes.to(torch.float32)  # its matching takes nothing else
    boxes = torch.tensor(BOXES, dtype=torch.float32)[:, [1, 0, 3, 2]] * size / 320
    objects = {"bbox": [boxes, boxes[1:]], "cls": [torch.tensor([5, 17]), torch.tensor([3])]}
    x = torch.from_numpy(weights.image(size, 2)).requires_grad_()
    losses = bench(x, objects)
    losses["loss"].backward()
    return {"losses": {k: v.item() for k, v in losses.items()}, "image": told(x.grad.numpy())}


def detections(model, size) -> dict:
    """What torchvision tells in the end, and its losses for two images of objects."""
    x = torch.from_numpy((weights.image(size)[0] + 1) / 2)
    with torch.no_grad():
        (told,) = model.eval()([x])
    boxes = torch.tensor(BOXES, dtype=torch.float64)
    objects = [
        {"boxes": boxes, "labels": torch.tensor([5, 17])},
        {"boxes": boxes[1:], "labels": torch.tensor([3])},
    ]
    both = (torch.from_numpy(weights.image(size, 2)) + 1) / 2
    losses = model.train()(list(both), objects)
    torch.stack(list(losses.values())).sum().backward()
    return {
        "boxes": told["boxes"].tolist(), "labels": told["labels"].tolist(),
        "scores": told["scores"].tolist(), "losses": {k: v.item() for k, v in losses.items()},
        "gradients": {k: [p.grad.norm().item(), p.grad.flatten()[0].item()]
                      for k, p in model.named_parameters()},
    }  # fmt: skip


def told(y: np.ndarray) -> dict:
    flat = y.ravel()
    return {
        "shape": list(y.shape), "sum": float(flat.sum()), "norm": float(np.linalg.norm(flat)),
        "some": flat[:: max(1, flat.size // 32)][:32].tolist(),
    }  # fmt: skip


def labels(size: int) -> np.ndarray:
    """A class for each pixel of two images, some of them to be ignored."""
    y = (weights.fractions(7, (2, size, size)) * (CLASSES + 1)).astype(np.int64)
    return np.where(y == CLASSES, IGNORED, y)


def gradients(model, size) -> dict:
    """Of the mean cross-entropy over the pixels of two images, in training mode."""
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    logits = model.train()(torch.from_numpy(weights.image(size, 2)))["out"]
    goal = torch.from_numpy(labels(size))
    loss = torch.nn.functional.cross_entropy(logits, goal, ignore_index=IGNORED)
    loss.backward()
    return {
        "loss": loss.item(),
        "gradients": {k: [p.grad.norm().item(), p.grad.flatten()[0].item()]
                      for k, p in model.named_parameters()},
    }  # fmt: skip


if __name__ == "__main__":
    main()
