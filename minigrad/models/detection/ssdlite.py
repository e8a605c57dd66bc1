"""SSDLite on three backbones, and what torchvision and TensorFlow call its layers.

| network                       | channels of the six maps         | boxes |
|-------------------------------|----------------------------------|-------|
| ssdlite320_mobilenet_v3_large | 672, 480, 512, 256, 256, 128     | 3,234 |
| ssdlite_mobilenet_v2          | 576, 1280, 512, 256, 256, 128    | 1,917 |
| ssdlite_squeezenext_1_0_23v5  | 128, 256, 256, 128, 128, 64      | 3,234 |

The first map of the MobileNets is the *expansion* inside the block that halves for the last
time.  torchvision's MobileNetV3 has half the channels from there on (``reduced_tail``).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from minigrad import ops
from minigrad.models.dense.labels import COCO
from minigrad.models.dense.trunk import Trunk, trimmed
from minigrad.models.detection.anchors import (
    Shape,
    grid,
    halved,
    tensorflow_shapes,
    torchvision_shapes,
)
from minigrad.models.detection.boxes import TORCHVISION, Boxes, Coder
from minigrad.models.detection.detector import Detector, Selection
from minigrad.models.detection.heads import Extra, SSDLiteHead
from minigrad.models.families import mobilenet_v2, mobilenet_v3, squeezenext
from minigrad.models.naming import Pairs, blocks, parts, unit
from minigrad.models.network import Style
from minigrad.nn.init import normal
from minigrad.nn.layers import Conv2d, Sequential
from minigrad.nn.module import AnyModule
from minigrad.tensor import Tensor

if TYPE_CHECKING:
    from numpy.random import Generator

__all__ = [
    "SSDLite",
    "ssdlite320_mobilenet_v3_large",
    "ssdlite_mobilenet_v2",
    "ssdlite_squeezenext",
]


class SSDLite(Detector):
    """A backbone, coarser maps, and heads that give every anchor logits and a moved box.

    Calling it gives (N, A, K + 4) for x (N, C, H, W): for each anchor the logits of the K
    classes, the background first, and the four numbers that ``coder`` decodes.

    Parameters
    ----------
    backbone : Trunk
        Gives the first two maps.
    extras : Sequential of Extra
    channels : sequence of int
        Of all maps.
    num_classes : int
    shapes : sequence of sequence of (float, float)
        Of the anchors of each map.
    style : Style
    coder : Coder
    selection : Selection

    Examples
    --------
    >>> import minigrad as mg
    >>> model = mg.models.detection.create("ssdlite320_mobilenet_v3_large", rng=0).eval()
    >>> model(mg.zeros(1, 3, 64, 64)).shape, len(model.anchors(64, 64))
    ((1, 144, 95), 144)
    """

    def __init__(
        self,
        backbone: Trunk,
        extras: Sequential,
        channels: Sequence[int],
        num_classes: int,
        shapes: Sequence[Sequence[Shape]],
        style: Style,
        coder: Coder,
        selection: Selection,
    ) -> None:
        self.backbone: AnyModule = backbone
        self.extras = extras
        counts = [len(sizes) for sizes in shapes]
        self.class_head = SSDLiteHead(channels, counts, num_classes, style)
        self.box_head = SSDLiteHead(channels, counts, 4, style)
        self.shapes, self.coder, self.selection = shapes, coder, selection

    def forward(self, x: Tensor) -> Tensor:
        maps = list(self.backbone(x))
        for extra in self.extras:
            maps.append(extra(maps[-1]))
        return ops.concat([self.class_head(maps), self.box_head(maps)], axis=2)

    def anchors(self, height: int, width: int) -> Boxes:
        """(A, 4) of (cx, cy, w, h) as shares of a frame of this size."""
        return grid(halved((height, width), len(self.shapes)), self.shapes)

    def last_layer(self) -> str:
        return "class_head.levels.0.out"

    def rows(self) -> int:
        return len(self.shapes[0])

    def draw_heads(self, rng: Generator | None) -> None:
        """N(0, 0.03^2) for all that is not the backbone (torchvision's and TensorFlow's)."""
        for part in (self.extras, self.class_head, self.box_head):
            for layer in part.modules():
                if isinstance(layer, Conv2d):
                    seed = None if rng is None else int(rng.integers(1 << 63))
                    layer.weight.redraw(partial(normal, std=0.03), seed)

    def names(self) -> Pairs:
        if self.library == "torchvision":
            yield from _torchvision(self)
        elif self.library == "tensorflow":
            yield from _tensorflow(self)


def _torchvision(model: SSDLite) -> Pairs:
    """backbone.features.0 ends with the expansion of block 13; the rest is features.1."""
    for ours, theirs in mobilenet_v3.FAMILY.others["torchvision"].pairs(model.backbone):
        place, _, rest = theirs.removeprefix("features.").partition(".")
        if not place.isdecimal():
            continue  # of the classifier
        n = int(place)
        if n < 13:
            name = f"0.{n}.{rest}"
        elif rest.startswith("block.0."):
            name = f"0.13.{rest.removeprefix('block.0.')}" if n == 13 else f"1.{n - 13}.{rest}"
        else:
            name = f"1.{n - 13}.{rest.removeprefix('block.') if n == 13 else rest}"
        yield f"backbone.{ours}", f"backbone.features.{name}"
    for i in range(len(model.extras)):
        for k, part in enumerate(("reduce", "dw", "expand")):
            theirs = f"backbone.extra.{i}.{k}"
            yield from unit(f"extras.{i}.{part}", f"{theirs}.0", f"{theirs}.1")
    for ours, theirs in (("class_head", "classification_head"), ("box_head", "regression_head")):
        for i in range(len(model.shapes)):
            level = f"head.{theirs}.module_list.{i}"
            yield from unit(f"{ours}.levels.{i}.dw", f"{level}.0.0", f"{level}.0.1")
            yield f"{ours}.levels.{i}.out", f"{level}.1"


def _tensorflow(model: SSDLite) -> Pairs:
    """FeatureExtractor/MobilenetV2/..., BoxPredictor_{i}/..., as frozen graphs have them."""
    root = "FeatureExtractor/MobilenetV2"
    yield from _normalised("backbone.stem", f"{root}/Conv")
    theirs = {"expand": "expand", "dw": "depthwise", "project": "project"}
    for flat, (s, i, block) in enumerate(blocks(model.backbone)):
        place = f"{root}/expanded_conv" + (f"_{flat}" if flat else "")
        for part in parts(block):
            yield from _normalised(f"backbone.blocks.{s}.{i}.{part}", f"{place}/{theirs[part]}")
    yield from _normalised("backbone.head", f"{root}/Conv_1")
    for i, extra in enumerate(model.extras):
        assert isinstance(extra, Extra)
        middle, out = extra.dw.conv.weight.shape[0], extra.expand.conv.weight.shape[0]
        wide = f"{root}/layer_19_2_Conv2d_{i + 2}_3x3_s2_{out}"
        yield from _normalised(
            f"extras.{i}.reduce", f"{root}/layer_19_1_Conv2d_{i + 2}_1x1_{middle}"
        )
        yield from _normalised(f"extras.{i}.dw", f"{wide}_depthwise")
        yield from _normalised(f"extras.{i}.expand", wide)
    for ours, head in (("class_head", "ClassPredictor"), ("box_head", "BoxEncodingPredictor")):
        for i in range(len(model.shapes)):
            level = f"BoxPredictor_{i}/{head}"
            yield from _normalised(f"{ours}.levels.{i}.dw", f"{level}_depthwise")
            yield f"{ours}.levels.{i}.out", level


def _normalised(ours: str, theirs: str) -> Pairs:
    yield from unit(ours, theirs, f"{theirs}/BatchNorm")


EXTRAS = ((256, 512), (128, 256), (128, 256), (64, 128))  # middle and out


def _ssdlite(
    backbone: Trunk,
    num_classes: int,
    shapes: Sequence[Sequence[Shape]],
    style: Style,
    coder: Coder,
    selection: Selection,
    extras: Sequence[tuple[int, int]] = EXTRAS,
) -> SSDLite:
    """SSDLite's coarser maps and heads on two maps."""
    channels, coarser = list(backbone.channels), Sequential()
    for middle, out in extras:
        coarser.append(Extra(channels[-1], middle, out, style))
        channels.append(out)
    return SSDLite(backbone, coarser, channels, num_classes, shapes, style, coder, selection)


def ssdlite320_mobilenet_v3_large(num_classes: int = len(COCO), **how: object) -> SSDLite:
    """torchvision's SSDLite on MobileNetV3-Large with a reduced tail."""
    style = Style(bn_eps=1e-3, bn_momentum=0.03)
    network = trimmed(
        mobilenet_v3.NETWORKS["mobilenet_v3_large"], "torchvision",
        **{"reduced_tail": True, "bn_momentum": 0.03, **how},
    )  # fmt: skip
    return _ssdlite(
        Trunk(network, ("5.0.expand", "head")), num_classes, torchvision_shapes(), style,
        TORCHVISION, Selection(),
    )  # fmt: skip


def ssdlite_mobilenet_v2(num_classes: int = len(COCO), **how: object) -> SSDLite:
    """TensorFlow's SSDLite on MobileNetV2 (ssdlite_mobilenet_v2_coco.config)."""
    style = Style("same", 1e-3, 3e-4)
    network = trimmed(mobilenet_v2.NETWORKS["mobilenet_v2"], "slim", **{"bn_momentum": 3e-4, **how})
    model = _ssdlite(
        Trunk(network, ("5.0.expand", "head")), num_classes, tensorflow_shapes(), style,
        Coder(rows_first=True), Selection(True, 1e-8, 0.6, 100, 100),
    )  # fmt: skip
    model.earlier = True
    return model


def ssdlite_squeezenext(num_classes: int = len(COCO), **how: object) -> SSDLite:
    """SSDLite on SqueezeNext 23v5: ours, nobody published one."""
    style = Style()
    network = trimmed(
        squeezenext.NETWORKS["squeezenext_1_0_23v5"], "caffe", **{"features_only": True, **how}
    )
    return _ssdlite(
        Trunk(network, ("2", "3")), num_classes, torchvision_shapes(), style, TORCHVISION,
        Selection(), ((128, 256), (64, 128), (64, 128), (32, 64)),
    )  # fmt: skip
