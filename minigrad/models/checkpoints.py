"""Everybody's names for the same weights.

A library names a layer after its place in its own code; the layer is the same.  For each
library, one function walks our network in the order of the computation and says what the
library calls each convolution, BatchNorm and linear layer; ``weight``, ``bias``,
``running_mean`` and ``running_var`` keep their names everywhere.  The same pairs serve
both ways, so a checkpoint that was read can be written back under its old names.

Which library wrote a checkpoint shows in its keys.  What keys do not show, such as padding
and eps, is in the presets: with torchvision's keys comes torchvision's preset.  timm has
two kinds of weights under the same names (its own, and TensorFlow's as ``tf_*``), so there
the caller must say which.

torchvision, timm and pytorchcv also count batches (``num_batches_tracked``); it is not part
of what a network computes and is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from minigrad.errors import StateDictError
from minigrad.nn.blocks.inverted_residual import FusedMBConv, InvertedResidual
from minigrad.nn.blocks.squeezenext import SqueezeNeXtBlock
from minigrad.nn.layers import Sequential
from minigrad.tensor import Array, Tensor

if TYPE_CHECKING:
    from minigrad.models.entry import Entry
    from minigrad.models.network import Network

__all__ = ["LIBRARIES", "adapted", "convert", "detect", "key_map", "preset_of"]

Pairs = Iterator[tuple[str, str]]
State = Mapping[str, "Array | Tensor"]

# The key that gives a library away: the weight of its very first convolution.
FIRST_KEYS = {
    "stem.conv.weight": "minigrad",
    "features.0.0.weight": "torchvision",
    "layers.0.weight": "torchvision",
    "conv_stem.weight": "timm",
    "_conv_stem.weight": "efficientnet_pytorch",
    "features.init_block.conv.weight": "pytorchcv",
    "features.init_block.conv.conv.weight": "pytorchcv",
}


def detect(state: State) -> str | None:
    """The library whose names ``state`` uses, None if it is not a known one."""
    return next((library for key, library in FIRST_KEYS.items() if key in state), None)


def preset_of(entry: Entry, state: State | None) -> str:
    """The preset that computes what the weights' own library computes.

    Raises
    ------
    StateDictError
        If the keys leave open which it is, or are nobody's.
    """
    authors = next(iter(entry.presets))
    if state is None:
        return authors
    library = detect(state)
    if library is None:
        raise StateDictError(_unknown(state))
    candidates = [p for p in entry.presets if p == library or p.startswith(f"{library}_")]
    if library == "minigrad" or not candidates:
        return authors
    if library == "pytorchcv":
        return _pytorchcv_preset(candidates, state)
    if len(candidates) > 1:
        raise StateDictError(
            f"the names are {library}'s, which has weights of its own and TensorFlow's under the "
            f"same names: say preset={' or preset='.join(map(repr, candidates))}"
        )
    return candidates[0]


def _pytorchcv_preset(candidates: list[str], state: State) -> str:
    """mobilenetv2b_* and efficientnet_b?b differ from mobilenetv2_* and efficientnet_b?."""
    if "output.weight" in state and "pytorchcv_b" in candidates:
        kept = "features.stage1.unit1.conv3.conv.weight" in state
        return "pytorchcv" if kept else "pytorchcv_b"
    if len(candidates) > 1:
        raise StateDictError(
            "the names are pytorchcv's, which has its own weights and TensorFlow's (b, c) under "
            "the same names: say preset='pytorchcv' or preset='pytorchcv_b'"
        )
    return candidates[0]


def _unknown(state: State) -> str:
    some = ", ".join(list(state)[:3])
    return f"the names are of no library known here ({some}, ...); known: {', '.join(LIBRARIES)}"


def adapted(model: Network, state: State) -> dict[str, Any]:
    """``state`` under our names, as far as they are known, and in our layers' shapes."""
    library = detect(state)
    kept = {k: v for k, v in state.items() if not k.endswith("num_batches_tracked")}
    if library in (None, "minigrad"):
        return kept
    _check_preset(model, str(library))
    ours = {theirs: own for own, theirs in key_map(model, str(library)).items()}
    shapes = {k: v.shape for k, v in model._named_stored()}
    return {ours.get(k, k): _reshaped(v, shapes.get(ours.get(k, k))) for k, v in kept.items()}


def _check_preset(model: Network, library: str) -> None:
    """Refuse weights that were trained with another padding or eps than the network has."""
    if not model.preset or model.preset.startswith(library):
        return
    from minigrad.models.registry import entry  # the table lists this file's presets

    presets = entry(model.name).presets
    if any(_same_function(presets[p], presets[model.preset])
           for p in presets if p.startswith(library)):  # fmt: skip
        return
    raise StateDictError(
        f"these are {library}'s weights, but the network pads and normalises as {model.preset!r}: "
        f"create({model.name!r}, weights=...), or preset={library!r}"
    )


def _same_function(a: Mapping[str, Any], b: Mapping[str, Any]) -> bool:
    training_only = ("init", "bn_momentum")
    return {k: v for k, v in a.items() if k not in training_only} == {
        k: v for k, v in b.items() if k not in training_only
    }


def _reshaped(value: Any, shape: tuple[int, ...] | None) -> Any:
    """A 1x1 convolution on a 1x1 map is a linear layer: drop or add the two axes of length 1."""
    v = value.array if isinstance(value, Tensor) else value
    if shape is not None and v.shape != shape and v.shape[:2] == shape[:2]:
        if v.shape[2:] in ((), (1, 1)) and shape[2:] in ((), (1, 1)):
            return v.reshape(shape)
    return v


def key_map(model: Network, library: str) -> dict[str, str]:
    """Our name to the library's, for every array of the network.

    Raises
    ------
    StateDictError
        If the library has no names for such a network.
    """
    if library not in LIBRARIES:
        raise StateDictError(f"library must be one of {', '.join(LIBRARIES)}, not {library!r}")
    layers = dict(LIBRARIES[library](model))
    found = {}
    for name, _ in model._named_stored():
        layer, _, leaf = name.rpartition(".")
        if layer not in layers:
            raise StateDictError(f"{library} has no name for {layer} of {model.name or 'it'}")
        found[name] = f"{layers[layer]}.{leaf}"
    return found


def convert(model: Network, library: str) -> dict[str, Array]:
    """The state dict of ``model`` under the names and in the shapes of ``library``."""
    names = key_map(model, library)
    shapes = {name: _shape_in(library, name) for name in names}
    return {names[k]: v.reshape(v.shape + shapes[k]) for k, v in model.state_dict().items()}


def _shape_in(library: str, name: str) -> tuple[int, ...]:
    """The axes that a library adds where it has a 1x1 convolution for our linear layer."""
    convolutions = {"timm": ("hidden.weight",), "pytorchcv": ("hidden.weight", "classifier.weight")}
    return (1, 1) if name in convolutions.get(library, ()) else ()


def _stages(model: Network) -> Iterator[tuple[int, int, Any]]:
    """(stage, index, block), and the flat index is the count of what came before."""
    for s, stage in enumerate(model.blocks):
        assert isinstance(stage, Sequential)
        for i, block in enumerate(stage):
            yield s, i, block


def _unit(ours: str, conv: str, bn: str) -> Pairs:
    yield f"{ours}.conv", conv
    yield f"{ours}.bn", bn


def _parts(block: Any, ours: str) -> list[str]:
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
    if model.hidden is None:
        yield from _unit("head", "conv_head", "bn2")
    else:
        yield from _unit("head", f"blocks.{stage + 1}.0.conv", f"blocks.{stage + 1}.0.bn1")
        yield "hidden", "conv_head"
    yield "classifier", "classifier"


def _timm_block(block: Any, ours: str, theirs: str) -> Pairs:
    parts = [p for p in _parts(block, ours) if p != "se"]
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
    family = model.name.rsplit("_", 1)[0]
    if model.name.startswith("mnasnet"):
        return _torchvision_mnasnet(model)
    if model.name.startswith("mobilenet_v2"):
        return _torchvision_mobilenet_v2(model)
    del family
    return _torchvision_block(model, flat=model.hidden is not None)


def _torchvision_mobilenet_v2(model: Network) -> Pairs:
    """features.{n}.conv.{k}: all but the projection are (conv, bn, activation) triples."""
    yield from _unit("stem", "features.0.0", "features.0.1")
    n = 0
    for n, (s, i, block) in enumerate(_stages(model), 1):
        ours, theirs, k = f"blocks.{s}.{i}", f"features.{n}.conv", 0
        for k, part in enumerate(p for p in _parts(block, ours) if p != "project"):
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
        for k, part in enumerate(_parts(block, ours)):
            if part == "se":
                yield f"{ours}.se.reduce", f"{theirs}.{k}.fc1"
                yield f"{ours}.se.expand", f"{theirs}.{k}.fc2"
            else:
                yield from _unit(f"{ours}.{part}", f"{theirs}.{k}.0", f"{theirs}.{k}.1")
    yield from _unit("head", f"features.{last + 1}.0", f"features.{last + 1}.1")
    yield "hidden", "classifier.0"
    yield "classifier", "classifier.3" if model.hidden is not None else "classifier.1"


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
    """features.init_block, features.stage{s}.unit{u}, features.final_block, output."""
    first = next(iter(_stages(model)))[2]
    squeezenext = isinstance(first, SqueezeNeXtBlock)
    named = "squeezenext" if squeezenext else model.name
    nested = named.startswith(("squeezenext", "efficientnet"))
    init = "features.init_block.conv" if nested else "features.init_block"
    yield from _unit("stem", f"{init}.conv", f"{init}.bn")
    for (s, i, block), (stage, unit) in zip(_stages(model), _pytorchcv_places(model, named)):
        theirs = f"features.stage{stage}.unit{unit}"
        yield from _pytorchcv_block(block, f"blocks.{s}.{i}", theirs, named)
    final = "features.final_block.conv" if named.startswith("mobilenet_v3") else "features.final_block"
    yield from _unit("head", f"{final}.conv", f"{final}.bn")
    yield "hidden", "output.conv1"
    plain = squeezenext or named.startswith(("mobilenet_v2", "mnasnet"))
    yield "classifier", "output" if plain else f"output.{'fc' if nested else 'conv2'}"


def _pytorchcv_places(model: Network, named: str) -> Iterator[tuple[int, int]]:
    """(stage, unit) of each block, both from 1: a stage ends where the map is halved."""
    stage, unit = (1, 0)
    for n, (_, _, block) in enumerate(_stages(model)):
        halves = named != "squeezenext" and _stride(block) > 1
        opens = (halves and n) or (named == "squeezenext" and n and block.shortcut is not None)
        stage, unit = (stage + 1, 1) if opens else (stage, unit + 1)
        yield stage, unit


def _stride(block: Any) -> int:
    unit = block.dw if isinstance(block, InvertedResidual) else block.fused
    return int(unit.conv.stride[0])


def _pytorchcv_block(block: Any, ours: str, theirs: str, named: str) -> Pairs:
    if isinstance(block, SqueezeNeXtBlock):
        names = ["conv1", "conv2", "conv3", "conv4", "conv5", "identity_conv"]
    elif named.startswith("mobilenet_v3"):
        names = ["exp_conv", "conv1", "conv2"]
    elif block.expand is None and named.startswith(("efficientnet", "mnasnet")):
        names = ["", "dw_conv", "pw_conv"]
    else:
        names = ["conv1", "conv2", "conv3"]
    if not isinstance(block, SqueezeNeXtBlock) and block.expand is None:
        names = names[1:]
    parts = [p for p in _parts(block, ours) if p != "se"]
    for part, name in zip(parts, names):
        yield from _unit(f"{ours}.{part}", f"{theirs}.{name}.conv", f"{theirs}.{name}.bn")
    yield f"{ours}.se.reduce", f"{theirs}.se.conv1"
    yield f"{ours}.se.expand", f"{theirs}.se.conv2"


LIBRARIES: dict[str, Callable[[Network], Pairs]] = {
    "minigrad": _minigrad,
    "torchvision": _torchvision,
    "timm": _timm,
    "efficientnet_pytorch": _efficientnet_pytorch,
    "pytorchcv": _pytorchcv,
}
