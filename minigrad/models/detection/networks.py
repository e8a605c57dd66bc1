"""The networks as a table: builder, library, classes, and the frame that they see."""

from __future__ import annotations

from functools import partial

from minigrad.models.dense.catalogue import Entry
from minigrad.models.dense.labels import COCO
from minigrad.models.detection.detector import Detector
from minigrad.models.detection.efficientdet import efficientdet_d0, efficientdet_lite
from minigrad.models.detection.ssdlite import (
    ssdlite320_mobilenet_v3_large,
    ssdlite_mobilenet_v2,
    ssdlite_squeezenext,
)
from minigrad.models.preparation import SIGNED, Framing

__all__ = ["NETWORKS"]

# TensorFlow's own graph scales without an antialiasing filter, as torchvision does; this network's
# scores of photographs of usual size differ by a hundredth, and thin lines stay whole with it.
TENSORFLOW = Framing(300, "squash", SIGNED.mean, SIGNED.std)
SQUASHED = Framing(320, "squash", SIGNED.mean, SIGNED.std, antialias=False)
PADDED = Framing(512, "letterbox")
SIGNED_PADDED = Framing(fit="letterbox", mean=SIGNED.mean, std=SIGNED.std)

NETWORKS: dict[str, Entry[Detector]] = {
    "ssdlite320_mobilenet_v3_large": Entry(
        ssdlite320_mobilenet_v3_large, "torchvision", COCO, SQUASHED, "torchvision",
        "torchvision 0.29, ssdlite.py; COCO AP 21.3",
    ),
    "ssdlite_mobilenet_v2": Entry(
        ssdlite_mobilenet_v2, "tensorflow", COCO, TENSORFLOW, "slim",
        "tensorflow/models, ssdlite_mobilenet_v2_coco.config; COCO AP 22",
    ),
    "ssdlite_squeezenext_1_0_23v5": Entry(
        ssdlite_squeezenext, "minigrad", COCO,
        Framing(320, "squash", (104.0, 117.0, 123.0), (1.0,) * 3, "BGR", antialias=False), "caffe",
        "ours: SSDLite's heads on SqueezeNext; no weights were published",
    ),
    "tf_efficientdet_d0": Entry(
        efficientdet_d0, "effdet", COCO, PADDED, "tensorflow",
        "effdet 0.4.1; COCO AP 34.6",
    ),
    **{
        f"tf_efficientdet_{name}": Entry(
            partial(efficientdet_lite, name), "effdet", COCO, SIGNED_PADDED._replace(size=size),
            "tensorflow", f"effdet 0.4.1; COCO AP {ap}",
        )
        for name, size, ap in (("lite0", 320, 26.4), ("lite1", 384, 31.5), ("lite2", 448, 35.1))
    },
}  # fmt: skip
