"""Every network by name, and ``create``, which builds one.

The tables are in ``families``; adding a network is adding a row there.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from minigrad import formats
from minigrad.errors import StateDictError, UnknownNameError, quote
from minigrad.models import checkpoints
from minigrad.models.families import (
    efficientnet,
    efficientnet_v2,
    mnasnet,
    mobilenet_v2,
    mobilenet_v3,
    small,
    squeezenext,
)
from minigrad.models.family import Entry
from minigrad.models.metadata import Description
from minigrad.models.network import Network
from minigrad.nn import init
from minigrad.tensor import Array, Tensor

if TYPE_CHECKING:
    from numpy.random import Generator

__all__ = ["ALIASES", "NETWORKS", "create", "entry", "names", "resolve"]

NETWORKS: dict[str, Entry] = {
    **squeezenext.NETWORKS,
    **mobilenet_v2.NETWORKS,
    **mobilenet_v3.NETWORKS,
    **mnasnet.NETWORKS,
    **efficientnet.NETWORKS,
    **efficientnet_v2.NETWORKS,
    **small.NETWORKS,
}
# A library's name of a network: ours, and the preset of its weights.
ALIASES: dict[str, tuple[str, str]] = {
    alias: found
    for family in dict.fromkeys(id(e.family) for e in NETWORKS.values())
    for alias, found in next(
        e.family.aliases for e in NETWORKS.values() if id(e.family) == family
    ).items()
}


def names() -> list[str]:
    """The name of every network, family by family.

    Returns
    -------
    list of str

    Examples
    --------
    >>> "mobilenet_v2" in names()
    True
    """
    return list(NETWORKS)


def entry(name: str) -> Entry:
    """What the table says of a network.

    Parameters
    ----------
    name : str
        One of ``names()``, or timm's, torchvision's, efficientnet_pytorch's or pytorchcv's
        name of such a network.

    Returns
    -------
    Entry

    Raises
    ------
    UnknownNameError
        With the nearest names, if there is none of this name.

    Examples
    --------
    >>> entry("mobilenetv2_100") is entry("mobilenet_v2")
    True
    """
    return NETWORKS[resolve(name)[0]]


def resolve(name: str) -> tuple[str, str | None]:
    """Our name of a network, and the preset that a library's name of it implies.

    Parameters
    ----------
    name : str
        What timm writes after a dot (``mobilenetv2_100.ra_in1k``) is not looked at.

    Returns
    -------
    (str, str or None)

    Raises
    ------
    UnknownNameError
        With the nearest names, if there is none of this name.

    Examples
    --------
    >>> resolve("tf_efficientnet_b0"), resolve("mobilenet_v2")
    (('efficientnet_b0', 'timm_tf'), ('mobilenet_v2', None))
    """
    if name in NETWORKS:
        return name, None
    short = name.partition(".")[0]
    if short in ALIASES:
        return ALIASES[short]
    if short in NETWORKS and short != name:
        return short, "timm" if "timm" in NETWORKS[short].presets else None
    raise UnknownNameError(f"there is no network {quote(name)}{_suggestion(name)}")


def _suggestion(name: str) -> str:
    """The nearest names: the same letters first, then what difflib finds alike."""
    from difflib import get_close_matches  # only an error needs it

    plain: dict[str, str] = {}
    for each in [*NETWORKS, *ALIASES]:
        plain.setdefault(_letters(each), each)
    near = get_close_matches(_letters(name)[:60], plain, 3)
    near = near[:1] if near and near[0] == _letters(name) else near
    if not near:
        return "; `minigrad models` lists them"
    return f"; did you mean {' or '.join(plain[letters] for letters in near)}?"


def _letters(name: str) -> str:
    return re.sub("[^a-z0-9]", "", name.lower())


def create(
    name: str,
    *,
    weights: str | os.PathLike[str] | Mapping[str, Array | Tensor] | None = None,
    num_classes: int | None = None,
    in_channels: int | None = None,
    preset: str | None = None,
    rng: Generator | int | None = None,
    dtype: npt.DTypeLike | None = None,
    **switches: Any,
) -> Network:
    """Build a network, with given weights or its authors' initialisation.

    Parameters
    ----------
    name : str
        One of ``names()``, or a library's name of one; ``tf_efficientnet_b0`` also means the
        preset ``timm_tf``.
    weights : path or mapping, optional
        A file that ``minigrad.load`` reads, or its arrays, under minigrad's names or those
        of a library that the network's presets name; what a trainer or a larger module puts
        before the names does not matter.  The arrays are adopted as they are.
    num_classes, in_channels : int, optional
        By default as the weights have them; without weights 1000 and 3.  With 0 classes, or
        weights without a classifier, the network gives the features after the pool.
    preset : str, optional
        How to pad, normalise and initialise: the authors' way by default, or that of the
        library which the weights come from, so that the network computes what it
        computed there.  Weights that minigrad saved say which it was (`Network.state_dict`).
    rng : numpy.random.Generator or int, optional
        For the first weights, dropout and stochastic depth; None draws fresh entropy.
    dtype : float32 or float64, optional
        Convert the weights to it; by default they keep theirs, except that float16 becomes
        float32.  New ones are float32.
    switches
        Of the family's builder: ``width``, ``depth``, ``dropout``, ``output_stride``,
        ``dilation_rule``, ``features_only``, ``padding``, ``bn_eps``, ...; by default as the
        weights' file states them.

    Returns
    -------
    Network
        In evaluation mode if weights were given, in training mode if not.

    Raises
    ------
    UnknownNameError
        For a name, preset or switch that the network does not have.
    StateDictError
        If the weights do not fit, or do not say which of two presets they need.

    Examples
    --------
    >>> import minigrad as mg
    >>> model = mg.models.create("mobilenet_v2", num_classes=10, rng=0)
    >>> sum(p.size for p in model.parameters())
    2236682
    """
    name, implied = resolve(name)
    found = NETWORKS[name]
    state = formats.load(weights) if isinstance(weights, (str, os.PathLike)) else weights
    stated = Description.of(getattr(state, "metadata", {}))
    _check_network(name, stated)
    state = None if state is None else checkpoints.network_in(state)
    chosen = preset or stated.preset or checkpoints.preset_of(found.presets, state, implied)
    if chosen not in found.presets:
        raise UnknownNameError(f"{name} has the presets {', '.join(found.presets)}, not {chosen!r}")
    switches = {**stated.switches, **switches}
    how = {**found.switches, **found.presets[chosen], **switches}
    scheme = how.pop("init")
    given = {"num_classes": num_classes, "in_channels": in_channels}
    asked = {k: v for k, v in given.items() if v is not None}
    model = _named(name, chosen, {**how, **asked})
    if state is not None and not model.features_only:
        learnt = checkpoints.sizes(model, state) | asked
        if learnt != _sizes(model, learnt):
            model = _named(name, chosen, {**how, **learnt})
    model.switches, model.labels = switches, stated.labels
    model.preparation = stated.preparation or found.preparation(chosen)
    if state is None:
        init.initialize(model, scheme, None if rng is None else np.random.default_rng(rng))
        return model if dtype is None else model.to(dtype)
    _adopt(model, _converted(state, _usual(state) if dtype is None else dtype))
    return model


def _check_network(name: str, stated: Description) -> None:
    if stated.network not in ("", name):
        raise StateDictError(
            f"the file says that these are weights of {quote(stated.network)}, not of {name}"
        )


def _named(name: str, preset: str, how: Mapping[str, object]) -> Network:
    """The network under its name, which says where its weights may come from."""
    found = NETWORKS[name]
    try:
        model = found.family.build(**how)
    except TypeError as error:
        if "unexpected keyword argument" not in str(error):
            raise
        unknown = str(error).rsplit("argument ", 1)[-1]
        raise UnknownNameError(f"{name} has no switch {unknown}") from None
    model.name, model.preset, model.entry = name, preset, found
    return model


def _sizes(model: Network, of: Mapping[str, int]) -> dict[str, int]:
    """The classes and channels that a network was built with."""
    shapes = {k: v.shape for k, v in model.named_parameters()}
    known = {
        "num_classes": shapes.get("classifier.weight", (0,))[0],
        "in_channels": shapes["stem.conv.weight"][1],
    }
    return {k: known[k] for k in of}


def _usual(state: Mapping[str, Array | Tensor]) -> npt.DTypeLike | None:
    """float32 for weights in half precision, which no kernel computes in; else None."""
    dtypes = {v.dtype for v in state.values() if np.issubdtype(v.dtype, np.floating)}
    half, single = np.dtype(np.float16), np.dtype(np.float32)
    return single if half in dtypes and dtypes <= {half, single} else None


def _converted(
    state: Mapping[str, Array | Tensor], dtype: npt.DTypeLike | None
) -> dict[str, Array]:
    """The floating-point arrays of ``state`` in ``dtype``: themselves where they have it."""
    arrays = {k: v.array if isinstance(v, Tensor) else v for k, v in state.items()}
    if dtype is None:
        return arrays
    return {
        k: v.astype(dtype, order="K", copy=False) if np.issubdtype(v.dtype, np.floating) else v
        for k, v in arrays.items()
    }


def _adopt(model: Network, state: Mapping[str, Array | Tensor]) -> None:
    """Load ``state`` in its own dtype, and set evaluation mode."""
    dtypes = {v.dtype for v in state.values() if np.issubdtype(v.dtype, np.floating)}
    if len(dtypes) > 1:
        several = ", ".join(sorted(map(str, dtypes)))
        raise StateDictError(f"the weights are of several dtypes ({several}): say dtype=")
    if dtypes:
        model.to(dtypes.pop())
    model.load_state_dict(state)
    model.eval()
