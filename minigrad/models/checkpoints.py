"""Everybody's names for the same weights.

``key_maps`` says what each library calls a layer; here a checkpoint is recognised, translated
and written back under its old names.

Which library wrote a checkpoint shows in its keys.  What keys do not show, such as padding
and eps, is in the presets: with torchvision's keys comes torchvision's preset.  timm has
two kinds of weights under the same names (its own, and TensorFlow's as ``tf_*``), so there
the caller must say which.

torchvision, timm and pytorchcv also count batches (``num_batches_tracked``); it is not part
of what a network computes and is left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from minigrad.errors import StateDictError
from minigrad.models.key_maps import BLOCKS, LIBRARIES
from minigrad.tensor import Array, Tensor

if TYPE_CHECKING:
    from minigrad.models.entry import Entry
    from minigrad.models.network import Network

__all__ = ["adapted", "convert", "detect", "key_map", "preset_of"]

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
    "features.init_block.conv1.conv.weight": "pytorchcv",
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
    if library == "minigrad":
        return authors
    if not candidates:
        raise StateDictError(f"the names are {library}'s, which has no such network")
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
    """``state`` under our names, as far as they are known, and in our layers' shapes.

    A backbone (``features_only``) leaves out what stands behind its last map.
    """
    library = detect(state)
    kept = {k: v for k, v in state.items() if not k.endswith("num_batches_tracked")}
    if library not in (None, "minigrad"):
        _check_preset(model, str(library))
        layers = {theirs: ours for ours, theirs in LIBRARIES[str(library)](model)}
        shapes = {k: v.shape for k, v in model._named_stored()}
        renamed = ((_renamed(k, layers), v) for k, v in kept.items())
        kept = {k: _reshaped(v, shapes.get(k)) for k, v in renamed}
    if model.classifier is None:
        return {k: v for k, v in kept.items() if k.split(".")[0] not in BEHIND}
    return kept


BEHIND = ("head", "hidden", "classifier")


def _renamed(key: str, layers: Mapping[str, str]) -> str:
    layer, _, leaf = key.rpartition(".")
    return f"{layers[layer]}.{leaf}" if layer in layers else key


def _check_preset(model: Network, library: str) -> None:
    """Refuse weights that were trained with another padding or eps than the network has."""
    if model.entry is None or model.preset.startswith(library):
        return
    presets = model.entry.presets
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
    tails = {v.shape[2:], shape[2:]} if shape is not None and v.shape[:2] == shape[:2] else ()
    return v.reshape(shape) if tails == {(), (1, 1)} else v


def key_map(model: Network, library: str) -> dict[str, str]:
    """Our name to the library's, for every array of the network.

    Raises
    ------
    StateDictError
        If the library has no names for such a network.
    """
    if library not in LIBRARIES:
        raise StateDictError(f"library must be one of {', '.join(LIBRARIES)}, not {library!r}")
    _check_blocks(model, library)
    layers = dict(LIBRARIES[library](model))
    found = {}
    for name, _ in model._named_stored():
        layer, _, leaf = name.rpartition(".")
        if layer not in layers:
            raise StateDictError(f"{library} has no name for {layer} of {model.name or 'it'}")
        found[name] = f"{layers[layer]}.{leaf}"
    return found


def _check_blocks(model: Network, library: str) -> None:
    for block in model.modules():
        if isinstance(block, BLOCKS["minigrad"]) and not isinstance(block, BLOCKS[library]):
            raise StateDictError(f"{library} has no networks of {type(block).__name__}")


def convert(model: Network, library: str) -> dict[str, Array]:
    """The state dict of ``model`` under the names and in the shapes of ``library``."""
    names = key_map(model, library)
    shapes = {name: _extra_axes(library, model, name) for name in names}
    return {names[k]: v.reshape(v.shape + shapes[k]) for k, v in model.state_dict().items()}


def _extra_axes(library: str, model: Network, name: str) -> tuple[int, ...]:
    """The axes that a library adds where it has a 1x1 convolution for our linear layer."""
    convolutions = ["hidden.weight"] if library in ("timm", "pytorchcv") else []
    if library == "pytorchcv" and model.name.startswith("mobilenet"):
        convolutions.append("classifier.weight")
    return (1, 1) if name in convolutions else ()
