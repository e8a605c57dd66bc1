"""SqueezeNext: the SqueezeNeXt block in four stages.

Gholami et al., "SqueezeNext: Hardware-Aware Neural Network Design" (2018), as the
authors' Caffe files define it:

    conv1 (7x7 or 5x5, stride 2, no pad, 64) - max pool 3x3, stride 2, rounded up -
    four stages of 32, 64, 128, 256 channels times width - 1x1 to 128 - mean - linear,

every convolution without bias and followed by BatchNorm and ReLU, the linear layer without
bias.  Width multiplies the four stages alone: 64 and 128 stay.  The first block of a stage
projects, all later ones have an identity shortcut; odd blocks of the whole network look
3x1 first, even ones 1x3 first.  The v5 networks wire their projecting blocks serially (see
``SqueezeNeXtBlock``), which the paper does not describe.

Reconstructions.  Only five networks were published as files.  The others of the paper are
here under names that end in ``_reconstructed``: 1.5 times width by the rule above (1.406 M
parameters, the paper's 1.4 M); 23v2 to 23v4 with the paper's stages and serial wiring,
which fits its parameter counts better than parallel; 44 as 12, 12, 16, 2 blocks, which
fits; 34 as 9, 9, 12, 2, which fits loosely and stays a guess.

pytorchcv's port differs (``preset="pytorchcv"``): 7x7 with a pad of 1 also in v5, 1x3
always first, parallel wiring, both ends scaled, biases everywhere.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import cycle
from typing import Any

from minigrad.models.family import Entry, Family, entries
from minigrad.models.naming import Block, Names, Pairs, blocks, pytorchcv, pytorchcv_places
from minigrad.models.network import Network, Task, taps
from minigrad.models.preparation import IMAGENET, Preparation
from minigrad.nn import ConvBN, MaxPool2d, Sequential
from minigrad.nn.blocks.squeezenext import SqueezeNeXtBlock
from minigrad.nn.module import Module

__all__ = ["NETWORKS", "squeezenext"]

CHANNELS = (32, 64, 128, 256)
STRIDES = (1, 2, 2, 2)

VARIANTS = {
    #        conv1  blocks         wiring
    "23":   (7, (6, 6, 8, 1),    "parallel"),
    "23v2": (5, (6, 6, 8, 1),    "serial"),
    "23v3": (5, (4, 8, 8, 1),    "serial"),
    "23v4": (5, (2, 10, 8, 1),   "serial"),
    "23v5": (5, (2, 4, 14, 1),   "serial"),
    "34":   (7, (9, 9, 12, 2),   "parallel"),
    "44":   (7, (12, 12, 16, 2), "parallel"),
}  # fmt: skip

PRESETS: dict[str, dict[str, Any]] = {
    "caffe": {"init": "caffe"},
    "pytorchcv": {
        "init": "pytorchcv", "conv1": 7, "conv1_padding": 1, "orders": ("1x3",),
        "transition": "parallel", "project": "auto", "scaled_ends": True, "bias": True,
        "bn_momentum": 0.1,
    },
}  # fmt: skip


def squeezenext(
    variant: str = "23",
    width: float = 1.0,
    *,
    groups: int = 1,
    conv1: int | None = None,
    conv1_padding: int = 0,
    transition: str | None = None,
    orders: tuple[str, ...] = ("3x1", "1x3"),
    project: str = "always",
    scaled_ends: bool = False,
    bias: bool = False,
    dropout: float = 0.0,
    **switches: Any,
) -> Network:
    """SqueezeNext of any width.

    Parameters
    ----------
    variant : str
        A key of ``VARIANTS``.
    width : float
        Multiplies the channels of the stages.
    groups : int
        2 in the G network: of reduce1, spatial1 and spatial2.
    conv1, transition : optional
        Instead of the variant's.
    orders : tuple
        What the blocks of the network take in turn.
    project : {"always", "auto"}
        Whether the first block of a stage always projects.
    scaled_ends, bias, conv1_padding
        What pytorchcv has otherwise than the Caffe files.
    switches
        The attributes of `minigrad.models.network.Task`, and ``separable``, ``pre_add_relu``,
        ``bn_eps``, ``bn_momentum`` of SqueezeNeXtBlock.
    """
    task, block = Task.split(switches)
    kernel, repeats, wiring = VARIANTS[variant]
    end = width if scaled_ends else 1.0
    unit = {k: block.get(k, v) for k, v in (("bn_eps", 1e-5), ("bn_momentum", 0.001))}
    how = {"groups": groups, "transition": transition or wiring, "bias": bias, **block, **unit}
    stem = int(64 * end)
    first = ConvBN(
        task.in_channels, stem, conv1 or kernel, 2, padding=conv1_padding, bias=bias, **unit
    )
    pool = MaxPool2d(3, 2, ceil_mode=True)

    widths = [int(c * width) for c in CHANNELS]
    stages = list(_stages(task, stem, widths, repeats, cycle(orders), project, how))
    # The pool halves before the first.
    shown = taps([(c, 2) for c in widths], stem, task.output_stride)
    if task.features_only:
        return Network(first, stages, shown, pool=pool)
    head = int(128 * end)
    return Network(
        first, stages, shown, pool=pool, head=ConvBN(widths[-1], head, bias=bias, **unit),
        dropout=dropout,
        classifier=task.classifier(head, bias),
    )  # fmt: skip


def _stages(
    task: Task,
    cin: int,
    widths: Sequence[int],
    repeats: Sequence[int],
    order: Iterator[str],
    project: str,
    how: Mapping[str, Any],
) -> Iterator[Sequential]:
    """The blocks of each width, the first of which has the stride and may project always."""
    strides = [s if i == 0 else 1 for s, n in zip(STRIDES, repeats, strict=True) for i in range(n)]
    steps = task.steps(strides, start=4)
    for width, n in zip(widths, repeats, strict=True):
        parts = []
        for i in range(n):
            stride, dilation, _ = next(steps)
            parts.append(SqueezeNeXtBlock(
                cin, width, stride, dilation=dilation, order=next(order),
                project=project if i == 0 else "auto", **how,
            ))  # fmt: skip
            cin = width
        yield Sequential(*parts)


def _of(variant: str, width: float, **more: Any) -> dict[str, Any]:
    return {"variant": variant, "width": width, **more}


def photographs(entry: Entry) -> dict[str, Preparation]:
    """Caffe's blue comes first and is not scaled; pytorchcv prepares as torchvision does.

    Size and means are those of ``train_val.prototxt`` in amirgholami/SqueezeNext, which reads
    pictures that were scaled before; 256 is Caffe's usual side.  pytorchcv's are those of
    ``pytorch/datasets/imagenet1k_cls_dataset.py`` in osmr/imgclsmob.
    """
    size = entry.input_size
    return {
        "caffe": Preparation(
            size, 256 - size, mean=(104.0, 117.0, 123.0), std=(1.0,) * 3, order="BGR"
        ),
        "pytorchcv": IMAGENET,
    }


def _pytorchcv(model: Module) -> Pairs:
    """A stage begins with the block that projects."""

    def projects(block: Block) -> bool:
        return isinstance(block, SqueezeNeXtBlock) and block.shortcut is not None

    def names(block: Block) -> tuple[str, ...]:
        body = ("conv1", "conv2", "conv3", "conv4", "conv5")
        return (*body, "identity_conv") if projects(block) else body

    places = pytorchcv_places([block for _, _, block in blocks(model)], projects)
    yield from pytorchcv(model, places, names, init=".conv")
    yield "classifier", "output"


FAMILY = Family(
    squeezenext,
    PRESETS,
    photographs,
    {"pytorchcv": Names(_pytorchcv)},
    {
        f"sqnxt{variant}_w{theirs}": (f"squeezenext_{ours}", "pytorchcv")
        for variant in ("23", "23v5")
        for theirs, ours in (
            ("1", f"1_0_{variant}"),
            ("3d2", f"1_5_{variant}_reconstructed"),
            ("2", f"2_0_{variant}"),
        )
    },
)


NETWORKS: dict[str, Entry] = {
    **entries(
        FAMILY,
        "Gholami et al. 2018; top-1 of the paper, as others quote it",
        # name                  variant  width            input  top-1
        ("squeezenext_1_0_23",   _of("23", 1.0),             227, 59.05),
        ("squeezenext_1_0_g_23", _of("23", 1.0, groups=2),   227, None),
        ("squeezenext_1_0_23v5", _of("23v5", 1.0),           227, 59.24),
        ("squeezenext_2_0_23",   _of("23", 2.0),             227, 67.18),
        ("squeezenext_2_0_23v5", _of("23v5", 2.0),           227, 67.44),
    ),
    **entries(
        FAMILY,
        "Gholami et al. 2018, reconstructed: no definition was published",
        # name                                 variant  width  input  top-1
        ("squeezenext_1_5_23_reconstructed",   _of("23", 1.5),   227, None),
        ("squeezenext_1_5_23v5_reconstructed", _of("23v5", 1.5), 227, None),
        ("squeezenext_1_0_23v2_reconstructed", _of("23v2", 1.0), 227, None),
        ("squeezenext_1_0_23v3_reconstructed", _of("23v3", 1.0), 227, None),
        ("squeezenext_1_0_23v4_reconstructed", _of("23v4", 1.0), 227, None),
        ("squeezenext_1_0_34_reconstructed",   _of("34", 1.0),   227, None),
        ("squeezenext_1_5_34_reconstructed",   _of("34", 1.5),   227, None),
        ("squeezenext_2_0_34_reconstructed",   _of("34", 2.0),   227, None),
        ("squeezenext_1_0_44_reconstructed",   _of("44", 1.0),   227, None),
        ("squeezenext_1_5_44_reconstructed",   _of("44", 1.5),   227, None),
        ("squeezenext_2_0_44_reconstructed",   _of("44", 2.0),   227, None),
    ),
}  # fmt: skip
