"""Which network a state dict is, and the same weights under another library's names.

The names of a library's layers give it away, and the shapes under them give away the
network, so neither has to be said.  Arrays keep their bits.  What a library does otherwise
than another (padding, the eps of its batch norms) is no part of the names: where that makes
the same weights compute something else, it is reported.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from minigrad.errors import StateDictError, quote
from minigrad.formats import StateDict
from minigrad.models.checkpoints import (
    LIBRARIES,
    State,
    adapted,
    detect,
    differences,
    key_map,
    network_in,
    presets_of,
    same_function,
    sizes,
    without_counters,
)
from minigrad.models.checkpoints import convert as renamed
from minigrad.models.metadata import Description, describe
from minigrad.models.network import Network
from minigrad.models.registry import create, entry, names, resolve
from minigrad.tensor import Array

__all__ = ["Conversion", "Identity", "convert", "identify"]


Switches = Mapping[str, Any]


class Identity(NamedTuple):
    """What weights are.

    Attributes
    ----------
    name : str
        Of the network.
    library : str
        Whose names the weights have.
    presets : tuple of str
        The presets that they may belong to: one, or several under the same names.
    num_classes, in_channels : int
    """

    name: str
    library: str
    presets: tuple[str, ...]
    num_classes: int
    in_channels: int


class Conversion(NamedTuple):
    """Weights under other names.

    Attributes
    ----------
    state : StateDict
        Under minigrad's names its metadata state the preset.
    source : Identity
    library : str
        Whose names they have now.
    left_out : int
        Arrays that no network computes with, such as counters of batches.
    differences : tuple of str
        What the library does otherwise than the source with the same weights.
    """

    state: StateDict
    source: Identity
    library: str
    left_out: int
    differences: tuple[str, ...]


def identify(state: State, name: str | None = None) -> Identity:
    """The network that these weights are of.

    Parameters
    ----------
    state : mapping
        Name to array, as `minigrad.load` gives it.
    name : str, optional
        The network; by default the only one that the names and shapes fit.

    Returns
    -------
    Identity

    Raises
    ------
    StateDictError
        If the names are nobody's, or the weights fit no network, or several.
    UnknownNameError
        If ``name`` is no network.

    Examples
    --------
    >>> import minigrad as mg
    >>> state = mg.models.create("mobilenet_v2", num_classes=5, rng=0).state_dict()
    >>> identity = identify(state)
    >>> identity.name, identity.library, identity.num_classes
    ('mobilenet_v2', 'minigrad', 5)
    """
    stated = Description.of(getattr(state, "metadata", {}))
    state = network_in(state)
    library = detect(state)
    if library is None:
        some = ", ".join(quote(key) for key in list(state)[:3])
        raise StateDictError(f"the names ({some}, ...) are of no library of {', '.join(LIBRARIES)}")
    kept = without_counters(state)
    if name is not None or stated.network:
        found = _identity(resolve(name or stated.network)[0], kept, library, stated.switches)
        return found._replace(presets=(stated.preset,)) if stated.preset in found.presets else found
    fitting = [n for n in names() if not all(_misfits(n, kept, library, {}).values())]
    fitting = [n for n in fitting if not n.endswith("_reconstructed")] or fitting
    if len(fitting) != 1:
        which = f"several networks: {', '.join(fitting)}" if fitting else "no network by itself"
        raise StateDictError(f"these are {library}'s names, and they fit {which}; say which")
    return _identity(fitting[0], kept, library, {})


def convert(state: State, library: str = "minigrad", name: str | None = None) -> Conversion:
    """The same weights under the names of a library.

    Parameters
    ----------
    state : mapping
        Name to array, under the names of any library that is known.
    library : str
        One of minigrad, torchvision, timm, efficientnet_pytorch, pytorchcv,
        pytorch_mobilenet_v2.
    name : str, optional
        The network; by default as `identify` finds it.

    Returns
    -------
    Conversion

    Raises
    ------
    StateDictError
        If the weights are not those of the network, or the library has no such network.

    Examples
    --------
    >>> import minigrad as mg
    >>> state = mg.models.create("mobilenet_v2", rng=0).state_dict()
    >>> next(iter(mg.models.convert(state, "timm").state))
    'conv_stem.weight'
    """
    source = identify(state, name)
    kept = without_counters(network_in(state))
    switches = Description.of(getattr(state, "metadata", {})).switches
    model = loaded(kept, source, switches)
    target = StateDict(_renamed(model, source, library), _metadata(state, source, library))
    return Conversion(
        target, source, library, len(state) - len(kept), tuple(_differences(source, library))
    )


def _metadata(state: State, source: Identity, library: str) -> dict[str, str]:
    """What the new file says beside the arrays: the preset only where names do not show it."""
    stated = Description.of(getattr(state, "metadata", {}))
    ours = library == "minigrad"
    presets = entry(source.name).presets
    known = all(same_function(presets[source.presets[0]], presets[p]) for p in source.presets)
    preset = stated.preset or (source.presets[0] if known else "")
    return describe(
        source.name if ours else "",
        preset if ours else "",
        stated.switches if ours else {},
        stated.labels,
        stated.preparation,
    )


def loaded(state: State, identity: Identity, switches: Switches) -> Network:
    """The network with these weights, under the first preset that they may belong to."""
    model = _sized(identity.name, identity.presets[0], state, identity.library, switches)
    dtypes = {str(v.dtype) for v in state.values()}
    if len(dtypes) > 1:
        raise StateDictError(f"the weights are of several dtypes: {', '.join(sorted(dtypes))}")
    model.to(dtypes.pop())
    model.load_state_dict(state)
    return model


def _identity(name: str, state: State, library: str, switches: Switches) -> Identity:
    misfits = _misfits(name, state, library, switches)
    if not misfits:
        raise StateDictError(f"{library} has no {name}")
    presets = [preset for preset, misfit in misfits.items() if misfit is None]
    if not presets:
        raise StateDictError(f"these are not the weights of {name}: {next(iter(misfits.values()))}")
    size = sizes(_sized(name, presets[0], state, library, switches), state)
    return Identity(name, library, tuple(presets), size["num_classes"], size["in_channels"])


def _misfits(name: str, state: State, library: str, switches: Switches) -> dict[str, str | None]:
    """For each preset of the library, why the state is not this network's; None if it is."""
    if library not in entry(name).libraries:
        return {}
    presets = presets_of(entry(name).presets, library)
    return {p: _misfit(_sized(name, p, state, library, switches), state, library) for p in presets}


def _sized(name: str, preset: str, state: State, library: str, switches: Switches) -> Network:
    """The network with the classes and channels that the state has."""
    model = create(name, preset=preset, **switches)
    size = sizes(model, state) if detect(state) == library else {}
    return create(
        name,
        preset=preset,
        num_classes=size.get("num_classes"),
        in_channels=size.get("in_channels"),
        **switches,
    )


def _misfit(model: Network, state: State, library: str) -> str | None:
    theirs = set(key_map(model, library).values())
    for what, keys in (("lacks", theirs - set(state)), ("has besides", set(state) - theirs)):
        if keys:
            return f"the file {what} {len(keys)} arrays, such as {quote(min(keys))}"
    given = adapted(model, state)
    for name, stored in model._named_stored():
        if given[name].shape != stored.shape:
            return f"{name} is {given[name].shape}, not {stored.shape}"
    return None


def _renamed(model: Network, source: Identity, library: str) -> dict[str, Array]:
    """The weights under the names of ``library``, if they are all that its own network has."""
    if library not in entry(source.name).libraries:
        raise StateDictError(f"{library} has no {source.name}")
    state = renamed(model, library)
    misfits = list(_misfits(source.name, state, library, model.switches).values())
    if library != "minigrad" and all(misfits):
        why = f": {misfits[0]}" if misfits else ""
        raise StateDictError(f"{library}'s {source.name} has other layers than "
                             f"{source.library}'s{why}")  # fmt: skip
    return state


def _differences(source: Identity, library: str) -> list[str]:
    """What the target library does otherwise in every one of its presets."""
    presets = entry(source.name).presets
    targets = presets_of(presets, library)
    if "minigrad" in (source.library, library) or set(source.presets) & set(targets):
        return []
    pairs = [_described(presets[a], presets[b]) for a in source.presets for b in targets]
    return min(pairs, key=len, default=[])


def _described(a: Mapping[str, object], b: Mapping[str, object]) -> list[str]:
    return [f"{k} {a.get(k, 'default')} becomes {b.get(k, 'default')}" for k in differences(a, b)]
