"""What wrappers of a model, and modules that contain it, put before the names of its weights."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import TypeVar

__all__ = ["below_prefix", "without_wrappers"]

# What DataParallel, AveragedModel and torch.compile put before the names.
MODULE, COMPILED = "module.", "_orig_mod."
AVERAGED = "n_averaged"  # AveragedModel's counter, beside the weights

V = TypeVar("V")


def without_wrappers(arrays: Mapping[str, V]) -> dict[str, V]:
    """Cut off what DataParallel, AveragedModel and torch.compile put before the names.

    ``_orig_mod.`` goes wherever it stands.  ``module.`` goes from the front if all names have
    it, as often as they do; AveragedModel's counter goes with it.

    Examples
    --------
    >>> list(without_wrappers({"_orig_mod.module.a.weight": 1, "_orig_mod.module.a.bias": 2}))
    ['a.weight', 'a.bias']
    """
    names = {name: _without_compiled(name) for name in arrays}
    while prefixed := [n for n in names if names[n] != AVERAGED]:
        if not all(names[name].startswith(MODULE) for name in prefixed):
            break
        names = {name: names[name].removeprefix(MODULE) for name in prefixed}
    if len(set(names.values())) < len(names):  # two weights would get one name
        return dict(arrays)
    return {short: arrays[name] for name, short in names.items()}


def _without_compiled(name: str) -> str:
    parts = name.split(".")
    return ".".join(part for part in parts if part != COMPILED[:-1])


def below_prefix(
    arrays: Mapping[str, V], anchors: Collection[str]
) -> tuple[dict[str, V], str, tuple[str, ...]]:
    """The arrays of one network among those of a larger module, by a name that it must have.

    Lightning, trainers and detectors keep a network as an attribute, so all its names have
    one prefix: ``model.``, ``net.``, ``backbone.``, ``encoder.`` and any other, nested in any
    way.

    Parameters
    ----------
    arrays : mapping
        All arrays of the file.
    anchors : collection of str
        Names of which the network has one, such as its first convolution's.

    Returns
    -------
    dict
        The arrays below the prefix, which is cut off; all arrays if no anchor is found.
    str
        The prefix, with its dot, or "".
    tuple of str
        Further prefixes that lead to such a network, such as that of a moving average.

    Examples
    --------
    >>> below_prefix({"model.stem.weight": 1, "loss.weight": 2}, ["stem.weight"])
    ({'stem.weight': 1}, 'model.', ())
    """
    prefixes = sorted(_prefixes(arrays, anchors), key=lambda p: ("ema" in p.lower(), len(p), p))
    if not prefixes or prefixes[0] == "":
        return dict(arrays), "", tuple(prefixes[1:])
    first = prefixes[0]
    below = {n.removeprefix(first): array for n, array in arrays.items() if n.startswith(first)}
    return below, first, tuple(prefixes[1:])


def _prefixes(names: Iterable[str], anchors: Collection[str]) -> set[str]:
    return {
        name.removesuffix(anchor)
        for name in names
        for anchor in anchors
        if name == anchor or name.endswith(f".{anchor}")
    }
