"""EfficientDet on EfficientNet-B0 and on EfficientNet-Lite, and what effdet calls its layers.

Tan, Pang & Le, "EfficientDet: Scalable and Efficient Object Detection" (2020), table 1; Lite by
the authors' code (google/automl).  effdet's names and numbers.

| network               | backbone | width | cells | maps are | activation | anchors' scale |
|-----------------------|----------|-------|-------|----------|------------|----------------|
| tf_efficientdet_d0    | B0       | 64    | 3     | weighed  | SiLU       | 4              |
| tf_efficientdet_lite0 | Lite0    | 64    | 3     | added    | ReLU6      | 3              |
| tf_efficientdet_lite1 | Lite1    | 88    | 4     | added    | ReLU6      | 3              |
| tf_efficientdet_lite2 | Lite2    | 112   | 5     | added    | ReLU6      | 3              |

No class is the background's: a network of 91 classes has 90 logits for each anchor.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from math import log, prod, sqrt
from typing import TYPE_CHECKING

import numpy as np

from minigrad import ops
from minigrad.models.checkpoints import State
from minigrad.models.dense.labels import COCO
from minigrad.models.dense.network import below
from minigrad.models.dense.trunk import Trunk, trimmed
from minigrad.models.detection.anchors import grid, halved, octave_shapes
from minigrad.models.detection.bifpn import LEVELS, NODES, BiFPN
from minigrad.models.detection.boxes import PLAIN, Boxes
from minigrad.models.detection.detector import Detector, Selection
from minigrad.models.detection.heads import SharedHead
from minigrad.models.families import efficientnet
from minigrad.models.naming import Pairs, timm_trunk, unit
from minigrad.models.network import Style
from minigrad.nn.init import normal, uniform
from minigrad.nn.layers import Conv2d
from minigrad.nn.module import AnyModule
from minigrad.nn.parameter import Parameter
from minigrad.tensor import Tensor

if TYPE_CHECKING:
    from numpy.random import Generator

__all__ = ["EfficientDet", "efficientdet_d0", "efficientdet_lite"]

BOXES = 9  # for each cell: three octaves by three shapes
REPEATS = 3  # of the heads
STYLE = Style("same", 1e-3, 0.01)
PLACES = ("2", "4", "6")  # of the backbone's maps: an eighth, a sixteenth and a 32nd of the sides
RARE = 0.01  # what a new network takes the probability of each class to be


class EfficientDet(Detector):
    """A backbone, a BiFPN, and two heads that all of its maps share.

    Parameters
    ----------
    backbone : Trunk
        Gives the maps P3, P4 and P5.
    width, cells : int
        Of the BiFPN.
    num_classes : int
        With the background, which has no logit.
    activation : str
    attention : bool
        Whether the BiFPN weighs the maps that it adds.
    scale : float
        The side of the smallest anchor, in cells.

    Examples
    --------
    >>> import minigrad as mg
    >>> model = mg.models.detection.create("tf_efficientdet_lite0", rng=0).eval()
    >>> model(mg.zeros(1, 3, 64, 64)).shape, len(model.anchors(64, 64))
    ((1, 774, 94), 774)
    """

    background = False
    earlier = True
    coder = PLAIN
    selection = Selection(True, 0.0, 0.5, 5000, 100, together=5000)

    def __init__(
        self,
        backbone: Trunk,
        width: int,
        cells: int,
        num_classes: int,
        activation: str,
        attention: bool,
        scale: float,
    ) -> None:
        self.backbone: AnyModule = backbone
        self.fpn = BiFPN(backbone.channels, width, cells, STYLE, activation, attention)
        how = (width, REPEATS, len(LEVELS), BOXES)
        self.class_net = SharedHead(*how, num_classes - 1, STYLE, activation)
        self.box_net = SharedHead(*how, 4, STYLE, activation)
        self.scale = scale

    def forward(self, x: Tensor) -> Tensor:
        maps = self.fpn(self.backbone(x))
        return ops.concat([self.class_net(maps), self.box_net(maps)], axis=2)

    def anchors(self, height: int, width: int) -> Boxes:
        """(A, 4) of (cx, cy, w, h) as shares of a frame of this size."""
        maps = halved((height, width), len(LEVELS), 8)
        return grid(maps, [octave_shapes(size, self.scale) for size in maps])

    def last_layer(self) -> str:
        return "class_net.predict.pw"

    def rows(self) -> int:
        return BOXES

    def classes_in(self, state: State) -> int | None:
        logits = super().classes_in(state)
        return None if logits is None else logits + 1

    def draw_heads(self, rng: Generator | None) -> None:
        """BiFPN: U(+-sqrt(6 / (fan_in + fan_out))); heads: N(0, 1 / fan_in); classes are rare.

        A depthwise convolution has the fans of one channel.
        """
        for part in (self.fpn, self.class_net, self.box_net):
            for layer in part.modules():
                if isinstance(layer, Conv2d):
                    cout, cin, *window = layer.weight.shape
                    fan_in, fan_out = (n * prod(window) for n in (cin, cout // layer.groups))
                    draw = (
                        partial(uniform, bound=sqrt(6 / (fan_in + fan_out)))
                        if part is self.fpn
                        else partial(normal, std=sqrt(1 / fan_in))
                    )
                    seed = None if rng is None else int(rng.integers(1 << 63))
                    layer.weight.redraw(draw, seed)
        last = self.class_net.predict.pw
        last.bias = Parameter(np.full(last.weight.shape[0], -log((1 - RARE) / RARE), np.float32))

    def names(self) -> Pairs:
        yield from below("backbone.", timm_trunk(self.backbone), "", "backbone.")
        yield from unit("fpn.coarser", "fpn.resample.3.conv.conv", "fpn.resample.3.conv.bn")
        for c in range(len(self.fpn.cells)):
            for k, (_, names) in enumerate(NODES):
                yield from _node(f"fpn.cells.{c}.nodes.{k}", f"fpn.cell.{c}.fnode.{k}", names)
        for head in ("class_net", "box_net"):
            for r in range(REPEATS):
                yield from _separable(f"{head}.repeats.{r}", f"{head}.conv_rep.{r}")
                for i in range(len(LEVELS)):
                    yield f"{head}.norms.{r}.{i}", f"{head}.bn_rep.{r}.{i}.bn"
            yield from _separable(f"{head}.predict", f"{head}.predict")


def _separable(ours: str, theirs: str) -> Pairs:
    yield f"{ours}.dw", f"{theirs}.conv_dw"
    yield f"{ours}.pw", f"{theirs}.conv_pw"


def _node(ours: str, theirs: str, names: Sequence[str]) -> Pairs:
    """effdet numbers the maps of a cell: 0 to 4 come in, the nodes' follow."""
    known = [f"P{level}in" for level in LEVELS] + [made for made, _ in NODES]
    yield ours, f"{theirs}.combine"
    for i, name in enumerate(names):
        lateral = f"{theirs}.combine.resample.{known.index(name)}.conv"
        yield from unit(f"{ours}.laterals.{i}", f"{lateral}.conv", f"{lateral}.bn")
    conv = f"{theirs}.after_combine.conv"
    yield f"{ours}.dw", f"{conv}.conv_dw"
    yield from unit(f"{ours}.pw", f"{conv}.conv_pw", f"{conv}.bn")


def _trunk(name: str, **how: object) -> Trunk:
    """The maps of the backbone as timm converted it."""
    found = efficientnet.NETWORKS[name]
    return Trunk(trimmed(found, "timm_tf", **{"features_only": True, **how}), PLACES)


def efficientdet_d0(num_classes: int = len(COCO), **how: object) -> EfficientDet:
    """EfficientDet-D0."""
    return EfficientDet(_trunk("efficientnet_b0", **how), 64, 3, num_classes, "silu", True, 4.0)


LITE = {
    # name   width, cells, stochastic depth of the backbone
    "lite0": (64, 3, 0.0),
    "lite1": (88, 4, 0.2),
    "lite2": (112, 5, 0.2),
}


def efficientdet_lite(name: str, num_classes: int = len(COCO), **how: object) -> EfficientDet:
    """EfficientDet-Lite0, -Lite1 or -Lite2."""
    width, cells, depth = LITE[name]
    trunk = _trunk(f"efficientnet_{name}", **{"stochastic_depth": depth, **how})
    return EfficientDet(trunk, width, cells, num_classes, "relu6", False, 3.0)
