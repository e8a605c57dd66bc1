"""The networks as a table, and what torchvision calls their layers.

MobileNetV3-Large keeps a sixteenth of the photograph's sides in its last blocks (dilation 2,
torchvision's rule), MobileNetV2 and SqueezeNext a sixteenth or an eighth as ``output_stride``
says (slim's rule).  A segmenter's logits are enlarged to the photograph's size, bilinear:
torchvision and ours with half-pixel centres, TensorFlow with aligned corners.
"""

from __future__ import annotations

from minigrad.models.dense.catalogue import Entry
from minigrad.models.dense.labels import SHAPES, VOC
from minigrad.models.dense.network import Dense, below
from minigrad.models.dense.trunk import Trunk, trimmed
from minigrad.models.families import mobilenet_v2, mobilenet_v3, small, squeezenext
from minigrad.models.naming import Pairs, unit
from minigrad.models.preparation import SIGNED, Framing
from minigrad.models.segmentation.heads import LRASPP, DeepLabV3Head, FCNHead, enlarged
from minigrad.nn.module import AnyModule
from minigrad.tensor import Tensor

__all__ = ["NETWORKS", "Segmenter"]

CLASSES = len(VOC)


class Segmenter(Dense["Tensor | list[Tensor]"]):
    """A backbone and a head that gives logits for every pixel.

    Calling it gives logits (N, K, H, W) for x (N, C, H, W).  In training mode a network with
    an auxiliary head gives the list of both heads' logits.

    Parameters
    ----------
    backbone : Trunk
    classifier : LRASPP or DeepLabV3Head
    aux_classifier : FCNHead, optional
        Of the first map; it only helps training.
    coordinates : str
        How logits are enlarged; see ``minigrad.resize``.

    Examples
    --------
    >>> import minigrad as mg
    >>> model = mg.models.segmentation.create("lraspp_mobilenet_v3_large", rng=0).eval()
    >>> model(mg.zeros(1, 3, 64, 64)).shape
    (1, 21, 64, 64)
    """

    def __init__(
        self,
        backbone: Trunk,
        classifier: LRASPP | DeepLabV3Head,
        aux_classifier: FCNHead | None = None,
        coordinates: str = "half_pixel",
    ) -> None:
        self.backbone: AnyModule = backbone
        self.classifier, self.aux_classifier = classifier, aux_classifier
        self.coordinates = coordinates

    def forward(self, x: Tensor) -> Tensor | list[Tensor]:
        maps = self.backbone(x)
        y = enlarged(self.classifier(maps), x, self.coordinates)
        if self.aux_classifier is None or not self.training:
            return y
        return [y, enlarged(self.aux_classifier(maps), x, self.coordinates)]

    def last_layer(self) -> str:
        lraspp = isinstance(self.classifier, LRASPP)
        return "classifier.low_classifier" if lraspp else "classifier.last"

    def names(self) -> Pairs:
        if self.library != "torchvision":
            return
        theirs = mobilenet_v3.FAMILY.others["torchvision"]
        yield from below("backbone.", theirs.pairs(self.backbone), "features.", "backbone.")
        yield from _lraspp() if isinstance(self.classifier, LRASPP) else _deeplab()

    def extra_repr(self) -> str:
        return self.name


def _lraspp() -> Pairs:
    yield from unit("classifier.cbr", "classifier.cbr.0", "classifier.cbr.1")
    yield "classifier.scale", "classifier.scale.1"
    for name in ("classifier.low_classifier", "classifier.high_classifier"):
        yield name, name


def _deeplab() -> Pairs:
    aspp = "classifier.0"
    for i in range(4):
        yield from unit(
            f"classifier.aspp.branches.{i}", f"{aspp}.convs.{i}.0", f"{aspp}.convs.{i}.1"
        )
    yield from unit("classifier.aspp.pool", f"{aspp}.convs.4.1", f"{aspp}.convs.4.2")
    yield from unit("classifier.aspp.project", f"{aspp}.project.0", f"{aspp}.project.1")
    yield from unit("classifier.conv", "classifier.1", "classifier.2")
    yield "classifier.last", "classifier.4"
    yield from unit("aux_classifier.conv", "aux_classifier.0", "aux_classifier.1")
    yield "aux_classifier.last", "aux_classifier.4"


def _mobilenet_v3(**how: object) -> Trunk:
    """torchvision's: the first map at an eighth, and 960 channels at a sixteenth."""
    network = trimmed(
        mobilenet_v3.NETWORKS["mobilenet_v3_large"], "torchvision",
        **{"output_stride": 16, "dilation_rule": "torchvision", **how},
    )  # fmt: skip
    return Trunk(network, ("2.0", "head"))


def lraspp_mobilenet_v3_large(num_classes: int = CLASSES, **how: object) -> Segmenter:
    """LR-ASPP on MobileNetV3-Large."""
    return Segmenter(_mobilenet_v3(**how), LRASPP(40, 960, num_classes))


def deeplabv3_mobilenet_v3_large(
    num_classes: int = CLASSES, aux: bool = True, **how: object
) -> Segmenter:
    """DeepLabV3 on MobileNetV3-Large, with the auxiliary head unless ``aux`` is False."""
    return Segmenter(
        _mobilenet_v3(**how),
        DeepLabV3Head(960, num_classes),
        FCNHead(40, num_classes) if aux else None,
    )


def deeplabv3_mobilenet_v2(
    num_classes: int = CLASSES, output_stride: int = 16, width: float = 1.0, **how: object
) -> Segmenter:
    """TensorFlow's DeepLabV3 on MobileNetV2: no rates, no decoder."""
    network = trimmed(
        mobilenet_v2.NETWORKS["mobilenet_v2"], "slim",
        output_stride=output_stride, width=width, features_only=True, **how,
    )  # fmt: skip
    trunk = Trunk(network, ("6",))
    (last,) = trunk.channels
    head = DeepLabV3Head(last, num_classes, rates=(), dropout=0.1, bn_momentum=3e-4, conv=False)
    return Segmenter(trunk, head, coordinates="align_corners")


def lraspp_squeezenext(
    num_classes: int = CLASSES, output_stride: int = 16, width: float = 1.0, **how: object
) -> Segmenter:
    """LR-ASPP on SqueezeNext 23v5: ours, nobody published one."""
    network = trimmed(
        squeezenext.NETWORKS["squeezenext_1_0_23v5"], "caffe",
        output_stride=output_stride, width=width, features_only=True, **how,
    )  # fmt: skip
    trunk = Trunk(network, ("1", "3"))
    low, high = trunk.channels
    return Segmenter(trunk, LRASPP(low, high, num_classes))


def lraspp_inverted_residual_small(num_classes: int = len(SHAPES), **how: object) -> Segmenter:
    """LR-ASPP on the first two stages of our small network, on maps half as wide: ours."""
    network = trimmed(
        small.NETWORKS["inverted_residual_small"], "minigrad",
        **{"stem_stride": 2, "features_only": True, **how},
    )  # fmt: skip
    trunk = Trunk(network, ("0", "1"))
    low, high = trunk.channels
    return Segmenter(trunk, LRASPP(low, high, num_classes, 32))


TORCHVISION = Framing(520, "short")
TENSORFLOW = Framing(513, "squash", SIGNED.mean, SIGNED.std)
SMALL = Framing(160, "short", SIGNED.mean, SIGNED.std)
CAFFE = Framing(256, "short", (104.0, 117.0, 123.0), (1.0,) * 3, "BGR")

NETWORKS: dict[str, Entry[Segmenter]] = {
    "lraspp_mobilenet_v3_large": Entry(
        lraspp_mobilenet_v3_large, "torchvision", VOC, TORCHVISION, "torchvision",
        "torchvision 0.29, lraspp.py; mIoU 57.9, pixel accuracy 91.2",
    ),
    "deeplabv3_mobilenet_v3_large": Entry(
        deeplabv3_mobilenet_v3_large, "torchvision", VOC, TORCHVISION,
        "torchvision", "torchvision 0.29, deeplabv3.py; mIoU 60.3, pixel accuracy 91.2",
    ),
    "deeplabv3_mobilenet_v2": Entry(
        deeplabv3_mobilenet_v2, "tensorflow", VOC, TENSORFLOW, "slim",
        "tensorflow/models, research/deeplab, model_variant mobilenet_v2 without rates",
    ),
    "lraspp_squeezenext_1_0_23v5": Entry(
        lraspp_squeezenext, "minigrad", VOC, CAFFE, "caffe",
        "ours: MobileNetV3's head on SqueezeNext; no weights were published",
    ),
    "lraspp_inverted_residual_small": Entry(
        lraspp_inverted_residual_small, "minigrad", SHAPES, SMALL, "torchvision",
        "ours, for drawn shapes: MobileNetV3's head on a small network",
    ),
}  # fmt: skip
