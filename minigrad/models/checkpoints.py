"""Everybody's names for the same weights: recognised, translated, and written back.

Which library wrote a checkpoint shows in its keys.  What keys do not show, such as padding
and eps, is in the presets: with torchvision's keys comes torchvision's preset.  timm has
two kinds of weights under the same names (its own, and TensorFlow's as ``tf_*``), so there
the caller must say which.

torchvision, timm and pytorchcv also count batches (``num_batches_tracked``), and profilers
count operations; what no network computes with is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from minigrad.errors import StateDictError, listing
from minigrad.formats.prefixes import below_prefix
from minigrad.formats.state_dict import StateDict
from minigrad.models.metadata import describe
from minigrad.models.naming import Known, Names, Presets, minigrad
from minigrad.models.preparation import Preparation
from minigrad.nn.module import Incompatible, Module
from minigrad.tensor import Array, Tensor

__all__ = [
    "LIBRARIES",
    "Origin",
    "State",
    "adapted",
    "convert",
    "detect",
    "key_map",
    "network_in",
    "preset_of",
    "presets_of",
    "same_function",
    "sizes",
    "without_counters",
]

State = Mapping[str, "Array | Tensor"]
TRAINING_ONLY = ("init", "bn_momentum")
COUNTERS = ("num_batches_tracked", "total_ops", "total_params")
BEHIND = ("head", "hidden", "classifier")

# The keys that give a library away: all of one of these, most often the weight of its very
# first convolution.  The more particular ones come first.
SIGNS: dict[str, tuple[tuple[str, ...], ...]] = {
    "minigrad": (("stem.conv.weight",),),
    "pytorch_mobilenet_v2": (("features.0.0.weight", "features.1.conv.3.weight"),),
    "torchvision": (("features.0.0.weight",), ("layers.0.weight",)),
    "timm": (("conv_stem.weight",),),
    "efficientnet_pytorch": (("_conv_stem.weight",),),
    "pytorchcv": (
        ("features.init_block.conv.weight",),
        ("features.init_block.conv.conv.weight",),
        ("features.init_block.conv1.conv.weight",),
    ),
}
LIBRARIES = tuple(SIGNS)
ANCHORS = tuple(keys[0] for signs in SIGNS.values() for keys in signs)


class Origin(Module):
    """A network that knows where its weights may come from.

    Attributes
    ----------
    name, preset : str
        As they were given to ``minigrad.models.create``.
    entry : Known or None
        The presets, and the names of other libraries; None for a network built by hand.
    features_only : bool
        Whether the network ends at its last map.
    switches : mapping
        What else ``create`` was given.
    labels : tuple of str
        The names of the classes, if they are known: set them before the weights are saved.
    preparation : Preparation or None
        How photographs are prepared for these weights.
    """

    name: str = ""
    preset: str = ""
    entry: Known | None = None
    features_only: bool = False
    classifier: Module | None = None
    switches: Mapping[str, object] = {}
    labels: tuple[str, ...] = ()
    preparation: Preparation | None = None

    def state_dict(self) -> StateDict:
        """Parameters and buffers by name: read-only views of the live values.

        Returns
        -------
        StateDict
            A dict; its ``metadata`` say what no shape does (the preset, switches, labels, the
            preparation of photographs).  ``minigrad.formats.save`` writes them too, and
            ``create`` uses them.
        """
        return StateDict(super().state_dict(), self.minigrad_about())

    @property
    def minigrad_about(self) -> Callable[[], dict[str, str]]:
        """What gives the metadata of the state dict, without holding on to the network."""
        return partial(
            describe, self.name, self.preset, self.switches, self.labels, self.preparation
        )

    def load_state_dict(self, state: State, strict: bool = True) -> Incompatible:
        """Adopt weights under minigrad's names or those of a library it knows.

        Parameters
        ----------
        state : mapping
            Name to array (or Tensor).
        strict : bool
            Whether every name must be there, and no other, as Module's.

        Raises
        ------
        StateDictError
            As Module's; also if the weights come from a library that pads or normalises
            in another way than this network was built to: build it with that ``preset``.
        """
        return super().load_state_dict(adapted(self, state), strict)


def detect(state: State) -> str | None:
    """The library whose names ``state`` uses, None if it is not a known one."""
    for library, signs in SIGNS.items():
        if any(all(key in state for key in keys) for keys in signs):
            return library
    return None


def network_in(state: State) -> State:
    """The arrays of a network among those of a larger module, which has it as an attribute.

    Whatever stands before the network's own names (``model.``, ``backbone.``, ``encoder.``, in
    any nesting) is cut off; what is not below it, such as a loss, is left out.
    """
    return state if detect(state) else below_prefix(state, ANCHORS)[0]


def presets_of(presets: Presets, library: str) -> list[str]:
    """The presets under which a library keeps weights; our own names fit all of them."""
    return [p for p in presets if library in ("minigrad", p) or p.startswith(f"{library}_")]


def preset_of(presets: Presets, state: State | None, implied: str | None = None) -> str:
    """The preset that computes what the weights' own library computes.

    ``implied`` is the preset that a library's name of the network stands for: it decides
    wherever the weights' names leave it open.

    Raises
    ------
    StateDictError
        If the keys leave open which it is, or are nobody's.
    """
    if state is None:
        return implied or next(iter(presets))
    library = detect(state)
    if library is None:
        raise StateDictError(_unknown(state))
    candidates = presets_of(presets, library)
    if implied in candidates:
        return implied
    if library == "minigrad":
        return _only(presets)
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


def _only(presets: Presets) -> str:
    """The authors' preset, if every other one makes the same weights compute the same."""
    authors, *others = presets
    unlike = [p for p in others if not same_function(presets[authors], presets[p])]
    if unlike:
        raise StateDictError(
            "the names are minigrad's, which do not say whose weights these are, and the file "
            f"does not either: say preset={' or preset='.join(map(repr, presets))}"
        )
    return authors


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
    if not state:
        return "there are no tensors in it, so these are no weights of a network"
    return (
        f"the names are of no library known here ({listing(state)}); known: {', '.join(LIBRARIES)}"
    )


def adapted(model: Origin, state: State) -> dict[str, Array | Tensor]:
    """``state`` under our names, as far as they are known, and in our layers' shapes.

    A backbone (``features_only``) leaves out what stands behind its last map, and a network
    without a classifier (``num_classes=0``) the classifier.
    """
    state = network_in(state)
    library = detect(state)
    kept = without_counters(state)
    if library is not None and library != "minigrad" and model.entry is not None:
        _check_preset(model, model.entry, library)
        layers = {theirs: ours for ours, theirs in _names(model, library).pairs(model)}
        shapes = {k: v.shape for k, v in model._named_stored()}
        renamed = ((_renamed(k, layers), v) for k, v in kept.items())
        kept = {k: _reshaped(v, shapes.get(k)) for k, v in renamed}
    if model.classifier is not None:
        return kept
    absent = BEHIND if model.features_only else ("classifier",)
    return {k: v for k, v in kept.items() if k.split(".")[0] not in absent}


def without_counters(state: State) -> dict[str, Array | Tensor]:
    """``state`` without what no network computes with."""
    return {k: v for k, v in state.items() if k.rpartition(".")[2] not in COUNTERS}


def _names(model: Origin, library: str) -> Names:
    if library not in LIBRARIES:
        raise StateDictError(f"library must be one of {', '.join(LIBRARIES)}, not {library!r}")
    libraries = model.entry.libraries if model.entry is not None else {}
    names = {"minigrad": minigrad, **libraries}.get(library)
    if names is None:
        raise StateDictError(f"{library} has no networks of this family: {model.name or model}")
    return names


def _renamed(key: str, layers: Mapping[str, str]) -> str:
    layer, _, leaf = key.rpartition(".")
    return f"{layers[layer]}.{leaf}" if layer in layers else key


def _check_preset(model: Origin, known: Known, library: str) -> None:
    """Refuse weights that were trained with another padding or eps than the network has."""
    presets = known.presets
    if model.preset.startswith(library):
        return
    if any(same_function(presets[p], presets[model.preset]) for p in presets_of(presets, library)):
        return
    raise StateDictError(
        f"these are {library}'s weights, but the network pads and normalises as {model.preset!r}: "
        f"create({model.name!r}, weights=...), or preset={library!r}"
    )


def same_function(a: Mapping[str, object], b: Mapping[str, object]) -> bool:
    """Whether two presets make the same weights compute the same."""
    return not differences(a, b)


def differences(a: Mapping[str, object], b: Mapping[str, object]) -> list[str]:
    """The switches in which two presets compute differently with the same weights."""
    return [k for k in {**a, **b} if k not in TRAINING_ONLY and a.get(k) != b.get(k)]


def _reshaped(value: Array | Tensor, shape: tuple[int, ...] | None) -> Array:
    """A 1x1 convolution on a 1x1 map is a linear layer: drop or add the two axes of length 1."""
    v: Array = value.array if isinstance(value, Tensor) else value
    tails = {v.shape[2:], shape[2:]} if shape is not None and v.shape[:2] == shape[:2] else ()
    return v.reshape(shape) if shape is not None and tails == {(), (1, 1)} else v


def sizes(model: Origin, state: State) -> dict[str, int]:
    """The classes and input channels that the weights have, as arguments of ``create``.

    Without a classifier among the weights, ``num_classes`` is 0.
    """
    library = detect(state)
    if library is None:
        return {}
    layers = dict(_names(model, library).pairs(model))
    first = state.get(f"{layers.get('stem.conv')}.weight")
    last = state.get(f"{layers.get('classifier')}.weight")
    channels = {} if first is None or first.ndim != 4 else {"in_channels": first.shape[1]}
    return {**channels, "num_classes": 0 if last is None or last.ndim < 2 else last.shape[0]}


def key_map(model: Origin, library: str) -> dict[str, str]:
    """Our name to the library's, for every array of the network.

    Raises
    ------
    StateDictError
        If the library has no names for such a network.
    """
    layers = dict(_names(model, library).pairs(model))
    found = {}
    for name, _ in model._named_stored():
        layer, _, leaf = name.rpartition(".")
        if layer not in layers:
            raise StateDictError(f"{library} has no name for {layer} of {model.name or 'it'}")
        found[name] = f"{layers[layer]}.{leaf}"
    return found


def convert(model: Origin, library: str) -> dict[str, Array]:
    """The state dict of ``model`` under the names and in the shapes of ``library``.

    Raises
    ------
    StateDictError
        If the library has no names for such a network.
    """
    names = key_map(model, library)
    grown = {f"{layer}.weight" for layer in _names(model, library).convolutions}
    state = model.state_dict()
    return {names[k]: v.reshape(*v.shape, 1, 1) if k in grown else v for k, v in state.items()}
