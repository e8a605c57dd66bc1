"""The frame that every network here shares, and the rows its tables are made of.

    logits = classifier(dropout(hidden(pool(head(blocks(stem(x)))))))

stem is one strided convolution (SqueezeNext adds a max pool), blocks are stages of blocks,
head is one 1x1 convolution, pool the mean over the map; hidden is MobileNetV3's extra linear
layer and absent elsewhere.

A network for dense prediction keeps a finer map: ``output_stride`` 16 or 8 takes the
strides out of the last stages and dilates what follows, so that the weights stay the same.
The field has two rules for the block whose stride was taken: TensorFlow slim and timm let
it keep the old dilation, torchvision gives it the new one and no shortcut.  Weights are
interchangeable between the rules, outputs are not.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from minigrad import ops
from minigrad.geometry import Padding
from minigrad.models.checkpoints import Origin
from minigrad.nn import (
    Activation,
    ConvBN,
    Dropout,
    Identity,
    Linear,
    MaxPool2d,
    Sequential,
)
from minigrad.nn.blocks.inverted_residual import FusedMBConv, InvertedResidual
from minigrad.nn.module import Module
from minigrad.tensor import Tensor, scope

__all__ = ["Feature", "Network", "Row", "Step", "Style", "Task", "dilated", "mobile", "taps"]

MOST_BLOCKS = 10_000  # of a depth that was mistyped


class Style(NamedTuple):
    """What every layer of a network has in common, and what each library does its own way.

    Attributes
    ----------
    padding : see `minigrad.nn.Conv2d`
    bn_eps, bn_momentum : float
    se_rule : {"input", "expanded"}
        What squeeze and excitation is a part of; see `minigrad.nn.blocks.inverted_residual`.
    se_activation, se_gate : str
    """

    padding: Padding = "symmetric"
    bn_eps: float = 1e-5
    bn_momentum: float = 0.1
    se_rule: str = "input"
    se_activation: str = "relu"
    se_gate: str = "sigmoid"

    def unit(self, cin: int, cout: int, kernel: int = 1, stride: int = 1, **how: Any) -> ConvBN:
        """A convolution, BatchNorm and activation in this style."""
        return ConvBN(cin, cout, kernel, stride, padding=self.padding, bn_eps=self.bn_eps,
                      bn_momentum=self.bn_momentum, **how)  # fmt: skip


class Task(NamedTuple):
    """What a network is built for, whatever its family.

    Attributes
    ----------
    num_classes : int
        0 leaves out the classifier.
    in_channels : int
    output_stride : {8, 16, 32}
        Input pixels a step of the last map.
    dilation_rule : {"slim", "torchvision"}
        How the last stages are dilated instead of strided; see the module.
    features_only : bool
        End at the last map, and give the maps.
    """

    num_classes: int = 1000
    in_channels: int = 3
    output_stride: int = 32
    dilation_rule: str = "slim"
    features_only: bool = False

    @classmethod
    def split(cls, switches: Mapping[str, Any]) -> tuple[Task, dict[str, Any]]:
        """The task that switches state, and the switches that are no part of it."""
        mine = {k: v for k, v in switches.items() if k in cls._fields}
        return cls(**mine), {k: v for k, v in switches.items() if k not in mine}

    def steps(self, strides: Iterable[int], start: int = 2) -> Iterator[Step]:
        """Stride and dilation of blocks with these strides; see `dilated`."""
        return iter(dilated(strides, self.output_stride, self.dilation_rule, start))

    def classifier(self, features: int, bias: bool = True) -> Linear | None:
        """The last layer, if there is one."""
        return Linear(features, self.num_classes, bias) if self.num_classes else None


class Row(NamedTuple):
    """One line of a table: ``repeats`` blocks; the first of them has the stride.

    Attributes
    ----------
    expand_ratio : float
    kernel_size, channels, repeats, stride : int
    se_ratio : float
    activation, expanded, residual, expand : optional
        See `minigrad.nn.InvertedResidual`; by default as the network has it.
    block : {"inverted_residual", "fused"}
    """

    expand_ratio: float
    kernel_size: int
    channels: int
    repeats: int
    stride: int
    se_ratio: float = 0.0
    activation: str | None = None
    expanded: int | None = None
    residual: bool | None = None
    expand: bool | None = None
    block: str = "inverted_residual"


class Feature(NamedTuple):
    """A map that a backbone gives: its channels, and input pixels a step of it."""

    channels: int
    stride: int


class Step(NamedTuple):
    """Stride, dilation, and whether the shortcut is left to the block (None) or barred."""

    stride: int
    dilation: int
    residual: bool | None


class Network(Origin):
    """stem, blocks, head, hidden and classifier, called in this order.

    Built by ``minigrad.models.create``.  Calling it gives the logits; with ``num_classes=0`` the
    features after the pool (and MobileNetV3's hidden layer); with ``features_only`` the list of
    maps that ``features`` describes, the last before each halving.

    Parameters
    ----------
    stem : Module
        One strided convolution.
    stages : sequence of Sequential
        The blocks.
    features : mapping
        Which stages a backbone shows (-1 is the stem), and what they are.
    pool : MaxPool2d, optional
        After the stem.
    head : ConvBN, optional
        The last 1x1 convolution; without it the network ends at its last map.
    hidden : Linear, optional
        MobileNetV3's extra layer.
    hidden_activation : str, optional
    dropout : float
    classifier : Linear, optional

    Examples
    --------
    >>> import minigrad as mg
    >>> backbone = mg.models.create("mobilenet_v2", features_only=True)
    >>> [tuple(feature) for feature in backbone.features]
    [(16, 2), (24, 4), (32, 8), (96, 16), (320, 32)]
    """

    def __init__(
        self,
        stem: Module,
        stages: Sequence[Sequential],
        features: Mapping[int, Feature],
        *,
        pool: MaxPool2d | None = None,
        head: ConvBN | None = None,
        hidden: Linear | None = None,
        hidden_activation: str | None = None,
        dropout: float = 0.0,
        classifier: Linear | None = None,
    ) -> None:
        self.stem, self.pool = stem, pool
        self.blocks = Sequential(*stages)
        self.head, self.hidden = head, hidden
        self.activation = Activation(hidden_activation) if hidden_activation else Identity()
        self.dropout, self.classifier = Dropout(dropout), classifier
        self.features = tuple(features.values())
        self.features_only = head is None
        self._taps = tuple(features)

    def forward(self, x: Tensor) -> Any:
        return self.feature_maps(x) if self.features_only else self.logits(x)

    def logits(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, num_classes), or to (N, features) without a classifier."""
        x = self.stem(x)
        x = self.blocks(x if self.pool is None else self.pool(x))
        x = x if self.head is None else self.head(x)
        x = ops.flatten(ops.global_avg_pool(x), start_dim=1)
        x = x if self.hidden is None else self.activation(self.hidden(x))
        y: Tensor = x if self.classifier is None else self.classifier(self.dropout(x))
        return y

    def feature_maps(self, x: Tensor) -> list[Tensor]:
        """The maps that ``features`` describes, finest first."""
        maps = {-1: self.stem(x)}
        x = maps[-1] if self.pool is None else self.pool(maps[-1])
        with scope("blocks"):
            for i, stage in enumerate(self.blocks):
                maps[i] = x = stage(x)
        return [maps[i] for i in self._taps]

    def extra_repr(self) -> str:
        return f"{self.name}, preset={self.preset}" if self.name else ""


def dilated(
    strides: Iterable[int], output_stride: int = 32, rule: str = "slim", start: int = 2
) -> list[Step]:
    """The steps that reach ``output_stride`` and no more, of blocks after a stride ``start``.

    >>> [tuple(s) for s in dilated([2, 2, 1, 2, 1], 8)]
    [(2, 1, None), (2, 1, None), (1, 1, None), (1, 1, None), (1, 2, None)]
    >>> [tuple(s) for s in dilated([2, 2, 1, 2, 1], 8, "torchvision")][3:]
    [(1, 2, False), (1, 2, None)]
    """
    if rule not in ("slim", "torchvision"):
        raise ValueError(f"dilation_rule must be 'slim' or 'torchvision', not {rule!r}")
    if output_stride not in (8, 16, 32):
        raise ValueError(f"output_stride must be 8, 16 or 32, not {output_stride!r}")
    steps, reached, dilation = [], start, 1
    for stride in strides:
        if reached * stride <= output_stride:
            reached *= stride
            steps.append(Step(stride, dilation, None))
            continue
        before, dilation = dilation, dilation * stride
        slim = rule == "slim"
        steps.append(Step(1, before if slim else dilation, None if slim else False))
    return steps


def taps(stages: Sequence[tuple[int, int]], stem: int, output_stride: int) -> dict[int, Feature]:
    """Which stages a backbone shows: the last before each halving; -1 is the stem.

    ``stages`` are (channels, stride), the stride of a pool counted to the stage after it.
    """
    shown, channels, reached = {}, stem, 2
    for i, (width, stride) in enumerate(stages):
        if stride > 1:
            shown[i - 1] = Feature(channels, min(reached, output_stride))
        channels, reached = width, reached * stride
    return shown | {len(stages) - 1: Feature(channels, min(reached, output_stride))}


def mobile(
    table: Sequence[Sequence[Row]],
    *,
    stem: int,
    head: int,
    activation: str,
    hidden: int | None = None,
    dropout: float = 0.2,
    stochastic_depth: float = 0.0,
    stem_activation: str | None = None,
    classifier_bias: bool = True,
    hidden_bias: bool = True,
    **switches: Any,
) -> Network:
    """A network of inverted residual blocks.

    Parameters
    ----------
    table : sequence of stages, each a sequence of Row
    stem, head : int
        Channels of the first 3x3 convolution and of the last 1x1.
    activation : str
        Of everything whose row does not say otherwise.
    hidden : int, optional
        Width of MobileNetV3's linear layer before the classifier.
    stochastic_depth : float
        p: block i of N drops its branch with probability p i / N, i from 0.
    switches
        The attributes of `Task` and of `Style`.
    """
    task, style = Task.split(switches)
    look = Style(**style)
    rows = [row for stage in table for row in stage]
    count = sum(row.repeats for row in rows)
    if not 0 < count <= MOST_BLOCKS:
        raise ValueError(f"a network has 1 to {MOST_BLOCKS:,} blocks, not {count:,}")
    strides = [row.stride if i == 0 else 1 for row in rows for i in range(row.repeats)]
    steps = task.steps(strides)
    drops = (stochastic_depth * i / count for i in range(count))
    stages, cin = [], stem
    for stage in table:
        parts = []
        for row in _repeated(stage):
            parts.append(_block(row, cin, next(steps), next(drops), activation, look))
            cin = row.channels
        stages.append(Sequential(*parts))
    shown = taps([(s[0].channels, s[0].stride) for s in table], stem, task.output_stride)
    first = look.unit(task.in_channels, stem, 3, 2, activation=stem_activation or activation)
    if task.features_only:
        return Network(first, stages, shown)
    return Network(
        first,
        stages,
        shown,
        head=look.unit(cin, head, activation=activation),
        hidden=Linear(head, hidden, hidden_bias) if hidden else None,
        hidden_activation=activation if hidden else None,
        dropout=dropout,
        classifier=task.classifier(hidden or head, classifier_bias),
    )


def _repeated(stage: Sequence[Row]) -> Iterator[Row]:
    for row in stage:
        for _ in range(row.repeats):
            yield row


def _block(
    row: Row, cin: int, step: Step, drop: float, activation: str, look: Style
) -> InvertedResidual | FusedMBConv:
    """The block of a row that follows ``cin`` channels."""
    how: dict[str, Any] = {
        "kernel_size": row.kernel_size,
        "stride": step.stride,
        "dilation": step.dilation,
        "activation": row.activation or activation,
        "residual": step.residual if row.residual is None else row.residual,
        "stochastic_depth": drop,
        "padding": look.padding,
        "bn_eps": look.bn_eps,
        "bn_momentum": look.bn_momentum,
    }
    if row.block == "fused":
        return FusedMBConv(cin, row.channels, row.expand_ratio, **how)
    how |= {"se_ratio": row.se_ratio, "expanded": row.expanded, "expand": row.expand}
    how |= {"se_rule": look.se_rule, "se_activation": look.se_activation, "se_gate": look.se_gate}
    return InvertedResidual(cin, row.channels, row.expand_ratio, **how)
