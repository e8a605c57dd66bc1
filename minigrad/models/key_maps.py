"""What each library calls the layers of the same network.

A library names a layer after its place in its own code; the layer is the same.  For each
library, one function walks our network in the order of the computation and pairs our name
of each convolution, BatchNorm and linear layer with the library's; ``weight``, ``bias``,
``running_mean`` and ``running_var`` keep their names everywhere.  A pair may name a layer
that this network does not have (a block without an expansion); nobody asks for it then.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from minigrad.nn.blocks.inverted_residual import FusedMBConv, InvertedResidual
from minigrad.nn.blocks.squeezenext import SqueezeNeXtBlock
from minigrad.nn.layers import Sequential

if TYPE_CHECKING:
    from minigrad.models.network import Network

__all__ = ["BLOCKS", "LIBRARIES"]

Pairs = Iterator[tuple[str, str]]


def _stages(model: Network) -> Iterator[tuple[int, int, Any]]:
    """(stage, index, block), and the flat index is the count of what came before."""
    for s, stage in enumerate(model.blocks):
        assert isinstance(stage, Sequential)
        for i, block in enumerate(stage):
            yield s, i, block


def _is_v3(model: Network) -> bool:
    return model.name.startswith("mobilenet_v3")


def _unit(ours: str, conv: str, bn: str) -> Pairs:
    yield f"{ours}.conv", conv
    yield f"{ours}.bn", bn


def _parts(block: Any) -> list[str]:
    """Our names of the parts of a block, in the order of the computation."""
    if isinstance(block, FusedMBConv):
        names = ["fused", "project"]
    elif isinstance(block, InvertedResidual):
        names = ["expand", "dw", "se", "project"]
    else:
        names = ["reduce1", "reduce2", "spatial1", "spatial2", "expand", "shortcut"]
    return [name for name in names if getattr(block, name) is not None]


def _minigrad(model: Network) -> Pairs:
    for name, _ in model.named_modules():
        yield name, name


def _timm(model: Network) -> Pairs:
    """conv_stem, bn1, blocks.{stage}.{i}.{conv_pw, bn1, conv_dw, bn2, se, conv_pwl, bn3}.

    In a block without expansion the same names move up: conv_dw, bn1, conv_pw, bn2.
    MobileNetV3's last 1x1 is one more stage, and its linear layer is called conv_head.
    """
    yield from _unit("stem", "conv_stem", "bn1")
    stage = 0
    for stage, i, block in _stages(model):
        ours = theirs = f"blocks.{stage}.{i}"
        yield from _timm_block(block, ours, theirs)
    if not _is_v3(model):
        yield from _unit("head", "conv_head", "bn2")
    else:
        yield from _unit("head", f"blocks.{stage + 1}.0.conv", f"blocks.{stage + 1}.0.bn1")
        yield "hidden", "conv_head"
    yield "classifier", "classifier"


def _timm_block(block: Any, ours: str, theirs: str) -> Pairs:
    parts = [p for p in _parts(block) if p != "se"]
    convs = {
        ("expand", "dw", "project"): ("conv_pw", "conv_dw", "conv_pwl"),
        ("dw", "project"): ("conv_dw", "conv_pw"),
        ("fused", "project"): ("conv_exp", "conv_pwl"),
        ("fused",): ("conv",),
    }[tuple(parts)]
    for n, (part, conv) in enumerate(zip(parts, convs, strict=True), 1):
        yield from _unit(f"{ours}.{part}", f"{theirs}.{conv}", f"{theirs}.bn{n}")
    yield f"{ours}.se.reduce", f"{theirs}.se.conv_reduce"
    yield f"{ours}.se.expand", f"{theirs}.se.conv_expand"


def _efficientnet_pytorch(model: Network) -> Pairs:
    """_conv_stem, _bn0, _blocks.{flat}.{_expand_conv, _bn0, _depthwise_conv, _bn1, ...}."""
    yield from _unit("stem", "_conv_stem", "_bn0")
    for flat, (s, i, _) in enumerate(_stages(model)):
        ours, theirs = f"blocks.{s}.{i}", f"_blocks.{flat}"
        yield from _unit(f"{ours}.expand", f"{theirs}._expand_conv", f"{theirs}._bn0")
        yield from _unit(f"{ours}.dw", f"{theirs}._depthwise_conv", f"{theirs}._bn1")
        yield f"{ours}.se.reduce", f"{theirs}._se_reduce"
        yield f"{ours}.se.expand", f"{theirs}._se_expand"
        yield from _unit(f"{ours}.project", f"{theirs}._project_conv", f"{theirs}._bn2")
    yield from _unit("head", "_conv_head", "_bn1")
    yield "classifier", "_fc"


def _torchvision(model: Network) -> Pairs:
    """Four layouts: MNASNet, MobileNetV2 (conv), MobileNetV3 (block, flat), EfficientNet."""
    if model.name.startswith("mnasnet"):
        return _torchvision_mnasnet(model)
    if model.name.startswith("mobilenet_v2"):
        return _torchvision_mobilenet_v2(model)
    return _torchvision_block(model, flat=_is_v3(model))


def _torchvision_mobilenet_v2(model: Network) -> Pairs:
    """features.{n}.conv.{k}: all but the projection are (conv, bn, activation) triples."""
    yield from _unit("stem", "features.0.0", "features.0.1")
    n = 0
    for n, (s, i, block) in enumerate(_stages(model), 1):
        ours, theirs, k = f"blocks.{s}.{i}", f"features.{n}.conv", 0
        for k, part in enumerate(p for p in _parts(block) if p != "project"):
            yield from _unit(f"{ours}.{part}", f"{theirs}.{k}.0", f"{theirs}.{k}.1")
        yield from _unit(f"{ours}.project", f"{theirs}.{k + 1}", f"{theirs}.{k + 2}")
    yield from _unit("head", f"features.{n + 1}.0", f"features.{n + 1}.1")
    yield "classifier", "classifier.1"


def _torchvision_block(model: Network, flat: bool) -> Pairs:
    """features.{n}.block.{k} (flat: MobileNetV3) or features.{1 + stage}.{i}.block.{k}."""
    yield from _unit("stem", "features.0.0", "features.0.1")
    last = 0
    for n, (s, i, block) in enumerate(_stages(model), 1):
        ours, last = f"blocks.{s}.{i}", n if flat else s + 1
        theirs = f"features.{n}.block" if flat else f"features.{s + 1}.{i}.block"
        for k, part in enumerate(_parts(block)):
            if part == "se":
                yield f"{ours}.se.reduce", f"{theirs}.{k}.fc1"
                yield f"{ours}.se.expand", f"{theirs}.{k}.fc2"
            else:
                yield from _unit(f"{ours}.{part}", f"{theirs}.{k}.0", f"{theirs}.{k}.1")
    yield from _unit("head", f"features.{last + 1}.0", f"features.{last + 1}.1")
    yield "hidden", "classifier.0"
    yield "classifier", "classifier.3" if flat else "classifier.1"


def _torchvision_mnasnet(model: Network) -> Pairs:
    """layers.0, 1 the stem; 3, 4 and 6, 7 the first block; 8..13 stages; 14, 15 the head."""
    yield from _unit("stem", "layers.0", "layers.1")
    yield from _unit("blocks.0.0.dw", "layers.3", "layers.4")
    yield from _unit("blocks.0.0.project", "layers.6", "layers.7")
    for s, i, _ in _stages(model):
        ours, theirs = f"blocks.{s}.{i}", f"layers.{7 + s}.{i}.layers"
        if s:
            yield from _unit(f"{ours}.expand", f"{theirs}.0", f"{theirs}.1")
            yield from _unit(f"{ours}.dw", f"{theirs}.3", f"{theirs}.4")
            yield from _unit(f"{ours}.project", f"{theirs}.6", f"{theirs}.7")
    yield from _unit("head", "layers.14", "layers.15")
    yield "classifier", "classifier.1"


def _pytorchcv(model: Network) -> Pairs:
    """features.init_block, features.stage{s}.unit{u}, features.final_block, output.

    A stage ends where the map is halved.  MnasNet's first and last block belong to
    init_block and final_block.
    """
    family = model.name.split("_")[0]
    nested = family in ("squeezenext", "efficientnet")
    init = {"mnasnet": ".conv1", "mobilenet": ""}.get(family, ".conv")
    final = ".conv2" if family == "mnasnet" else ".conv" if _is_v3(model) else ""
    yield from _unit("stem", f"features.init_block{init}.conv", f"features.init_block{init}.bn")
    for (s, i, block), theirs in zip(_stages(model), _pytorchcv_places(model, family), strict=True):
        names = _pytorchcv_block(block, family, v3=_is_v3(model))
        parts = [p for p in _parts(block) if p != "se"]
        for part, name in zip(parts, names[-len(parts) :], strict=True):
            unit = f"{theirs}.{name}"
            yield from _unit(f"blocks.{s}.{i}.{part}", f"{unit}.conv", f"{unit}.bn")
        yield f"blocks.{s}.{i}.se.reduce", f"{theirs}.se.conv1"
        yield f"blocks.{s}.{i}.se.expand", f"{theirs}.se.conv2"
    yield from _unit("head", f"features.final_block{final}.conv", f"features.final_block{final}.bn")
    yield "hidden", "output.conv1"
    fc = ".conv2" if _is_v3(model) else ".fc" if nested else ""
    yield "classifier", "output" if family == "squeezenext" else f"output{fc}"


def _pytorchcv_places(model: Network, family: str) -> list[str]:
    """What pytorchcv calls each block."""
    blocks = [block for _, _, block in _stages(model)]
    places, stage, unit = [], 1, 0
    for n, block in enumerate(blocks):
        opens = n > 0 and _opens_stage(block)
        stage, unit = (stage + 1, 1) if opens else (stage, unit + 1)
        places.append(f"features.stage{stage}.unit{unit}")
    if family != "mnasnet":
        return places
    shifted = [f"features.stage{int(p[14]) - 1}.{p.split('.')[2]}" for p in places[1:-1]]
    return ["features.init_block.conv2", *shifted, "features.final_block.conv1"]


def _opens_stage(block: Any) -> bool:
    """Whether the block halves the map (SqueezeNext: projects, which its stage 1 does too)."""
    if isinstance(block, SqueezeNeXtBlock):
        return block.shortcut is not None
    return _stride(block) > 1


def _pytorchcv_block(block: Any, family: str, v3: bool) -> list[str]:
    """The names of a block's units; one without expansion has the last two."""
    if isinstance(block, SqueezeNeXtBlock):
        names = ["conv1", "conv2", "conv3", "conv4", "conv5"]
        return names if block.shortcut is None else [*names, "identity_conv"]
    if v3:
        return ["exp_conv", "conv1", "conv2"]
    separable = family == "mnasnet" or (family == "efficientnet" and block.expand is None)
    return ["exp_conv", "dw_conv", "pw_conv"] if separable else ["conv1", "conv2", "conv3"]


def _stride(block: Any) -> int:
    unit = block.dw if isinstance(block, InvertedResidual) else block.fused
    return int(unit.conv.stride[0])


# The blocks that a library has networks of.
BLOCKS: dict[str, tuple[type, ...]] = {
    "minigrad": (InvertedResidual, FusedMBConv, SqueezeNeXtBlock),
    "torchvision": (InvertedResidual, FusedMBConv),
    "timm": (InvertedResidual, FusedMBConv),
    "efficientnet_pytorch": (InvertedResidual,),
    "pytorchcv": (InvertedResidual, SqueezeNeXtBlock),
}
LIBRARIES: dict[str, Callable[[Network], Pairs]] = {
    "minigrad": _minigrad,
    "torchvision": _torchvision,
    "timm": _timm,
    "efficientnet_pytorch": _efficientnet_pytorch,
    "pytorchcv": _pytorchcv,
}
