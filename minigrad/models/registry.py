"""Every network by name, and ``create``, which builds one.

The tables are in the families' files; adding a network is adding a row there.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from minigrad import formats
from minigrad.errors import StateDictError
from minigrad.models import (
    checkpoints,
    efficientnet,
    efficientnet_v2,
    mnasnet,
    mobilenet_v2,
    mobilenet_v3,
    squeezenext,
)
from minigrad.models.entry import Entry
from minigrad.models.network import Network
from minigrad.nn import init
from minigrad.tensor import Array, Tensor

if TYPE_CHECKING:
    from numpy.random import Generator

__all__ = ["NETWORKS", "create", "entry", "names"]

NETWORKS: dict[str, Entry] = {
    **squeezenext.NETWORKS,
    **mobilenet_v2.NETWORKS,
    **mobilenet_v3.NETWORKS,
    **mnasnet.NETWORKS,
    **efficientnet.NETWORKS,
    **efficientnet_v2.NETWORKS,
}


def names() -> list[str]:
    """The name of every network, family by family."""
    return list(NETWORKS)


def entry(name: str) -> Entry:
    """What the table says of a network.

    Raises
    ------
    ValueError
        With the nearest names, if there is none of this name.
    """
    if name not in NETWORKS:
        from difflib import get_close_matches  # only an error needs it

        near = get_close_matches(name, NETWORKS, 3) or list(NETWORKS)
        raise ValueError(f"there is no network {name!r}; did you mean {' or '.join(near)}?")
    return NETWORKS[name]


def create(
    name: str,
    *,
    weights: str | os.PathLike[str] | Mapping[str, Array | Tensor] | None = None,
    num_classes: int = 1000,
    in_channels: int = 3,
    preset: str | None = None,
    rng: Generator | int | None = None,
    dtype: npt.DTypeLike | None = None,
    **switches: Any,
) -> Network:
    """Build a network, with given weights or its authors' initialisation.

    Parameters
    ----------
    name : str
        One of ``names()``.
    weights : path or mapping, optional
        A file that ``minigrad.load`` reads, or its arrays, under minigrad's names or those
        of a library that the network's presets name.  The arrays are adopted as they are; a
        file is mapped, so do not overwrite it in place while the network lives.
    num_classes, in_channels : int
    preset : str, optional
        How to pad, normalise and initialise: the authors' way by default, or that of the
        library which the weights come from, so that the network computes what it
        computed there.  Under minigrad's own names weights do not say: whoever built the
        network with a preset or switches gives the same ones again.
    rng : numpy.random.Generator or int, optional
        For the first weights, dropout and stochastic depth; None draws fresh entropy.
    dtype : float32 or float64, optional
        Convert the weights to it, also from float16; by default they keep theirs, and new
        ones are float32.
    switches
        Of the family's builder: ``width``, ``depth``, ``dropout``, ``output_stride``,
        ``dilation_rule``, ``features_only``, ``padding``, ``bn_eps``, ...

    Returns
    -------
    Network
        In evaluation mode if weights were given, in training mode if not.

    Raises
    ------
    ValueError
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
    found = entry(name)
    state = formats.load(weights, mmap=True) if isinstance(weights, (str, os.PathLike)) else weights
    chosen = preset or checkpoints.preset_of(found, state)
    if chosen not in found.presets:
        raise ValueError(f"{name} has the presets {', '.join(found.presets)}, not {chosen!r}")
    how = {**found.switches, **found.presets[chosen], **switches}
    scheme = how.pop("init")
    model = _built(name, found, {"num_classes": num_classes, "in_channels": in_channels, **how})
    model.name, model.preset, model.entry = name, chosen, found
    if state is None:
        init.initialize(model, scheme, None if rng is None else np.random.default_rng(rng))
        return model if dtype is None else model.to(dtype)
    _adopt(model, state if dtype is None else _converted(state, dtype))
    return model


def _built(name: str, found: Entry, how: Mapping[str, Any]) -> Network:
    try:
        return found.build(**how)
    except TypeError as error:
        if "unexpected keyword argument" not in str(error):
            raise
        unknown = str(error).rsplit("argument ", 1)[-1]
        raise ValueError(f"{name} has no switch {unknown}") from None


def _converted(state: Mapping[str, Array | Tensor], dtype: npt.DTypeLike) -> dict[str, Array]:
    """The floating-point arrays of ``state`` in ``dtype``: themselves where they have it."""
    arrays = {k: v.array if isinstance(v, Tensor) else v for k, v in state.items()}
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
