"""``minigrad convert``: weights from one file format to another, and from library to library.

The names of a library's layers give it away, and the shapes under them give away the
network, so neither has to be said.  Arrays keep their bits.  What a library does otherwise
than another (padding, the eps of its batch norms) is no part of a file of weights: where
that makes the same weights compute something else, it is said.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from minigrad import formats
from minigrad.cli.terminal import print_json
from minigrad.errors import MinigradError, StateDictError
from minigrad.models import Network, checkpoints, create, entry, names
from minigrad.models.key_maps import LIBRARIES
from minigrad.tensor import Array

__all__ = ["configure", "run"]

State = Mapping[str, Array]
SUFFIXES = (".npz", ".pth", ".pt", ".safetensors")
TRAINING_ONLY = ("init", "bn_momentum")
COUNTER = "num_batches_tracked"


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    add = parser.add_argument
    add("source", metavar="IN", help="a .pth, .npz or .safetensors file")
    add("out", metavar="OUT", type=Path, help=f"the file to write: {', '.join(SUFFIXES)}")
    add("--to", choices=LIBRARIES, help="whose names to write (default: the names as they are)")
    add("--model", help="the network (default: the one that names and shapes fit)")
    add("--json", action="store_true", help="print one object")


def run(args: argparse.Namespace) -> int:
    """Convert, and say what became of the names; 0."""
    if args.out.suffix not in SUFFIXES:  # before the work, not after it
        raise MinigradError(f"{args.out}: OUT must end in one of {', '.join(SUFFIXES)}")
    state: State = formats.load(args.source)
    told: dict[str, Any] = {"in": args.source, "out": str(args.out), "from": None, "to": args.to}
    if args.to or args.model:
        told["from"] = _library(state)
        model = _loaded(state, told["from"], args.model)
        told |= {"to": args.to or "minigrad", "model": model.name, "preset": model.preset}
        kept = len(state)
        state = _renamed(model, told["from"], told["to"])
        told |= {"left_out": kept - len(state), "differences": _differences(model.name, told)}
    formats.save(args.out, state)
    told["arrays"] = len(state)
    if args.json:
        print_json(told)
    else:
        print("\n".join(_lines(told)))
    return 0


def _library(state: State) -> str:
    library = checkpoints.detect(state)
    if library is None:
        some = ", ".join(list(state)[:3])
        raise MinigradError(f"the names ({some}, ...) are of no library of {', '.join(LIBRARIES)}")
    return library


def _loaded(state: State, library: str, name: str | None) -> Network:
    """The network with these weights: the named one, or the only one that they fit."""
    kept = {k: v for k, v in state.items() if not k.endswith(COUNTER)}
    if name is not None:
        _known(name)
        return _network(name, kept, library)
    found = [n for n in names() if _fits(n, kept, library)]
    found = [n for n in found if not n.endswith("_reconstructed")] or found
    if len(found) != 1:
        which = f"several networks: {', '.join(found)}" if found else "no network by itself"
        raise MinigradError(f"these are {library}'s names, and they fit {which}; say --model")
    return _network(found[0], kept, library)


def _known(name: str) -> None:
    try:
        entry(name)
    except ValueError as error:
        raise MinigradError(str(error)) from None


def _presets(name: str, library: str) -> list[str]:
    """The network's presets under which ``library`` keeps weights; its own names fit all."""
    every = list(entry(name).presets)
    return [p for p in every if library in ("minigrad", p) or p.startswith(f"{library}_")]


def _network(name: str, state: State, library: str) -> Network:
    """``name`` as ``library`` builds it, with these weights."""
    tried = [(m, _misfit(m, state, library)) for m in _candidates(name, state, library)]
    if not tried:
        raise MinigradError(f"{library} has no {name}")
    model, misfit = min(tried, key=lambda one: one[1] is not None)
    if misfit:
        raise MinigradError(f"these are not the weights of {name}: {misfit}")
    dtypes = {str(v.dtype) for v in state.values()}
    if len(dtypes) > 1:
        raise MinigradError(f"the weights are of several dtypes: {', '.join(sorted(dtypes))}")
    model.to(dtypes.pop())
    model.load_state_dict(state)
    return model


def _candidates(name: str, state: State, library: str) -> list[Network]:
    """The network under each preset of the library, with the file's classes and channels."""
    try:
        return [_sized(name, preset, state, library) for preset in _presets(name, library)]
    except StateDictError:  # the library has no names for one of its layers
        return []


def _sized(name: str, preset: str, state: State, library: str) -> Network:
    names = checkpoints.key_map(create(name, preset=preset), library)
    first, last = (state.get(names[k]) for k in ("stem.conv.weight", "classifier.weight"))
    sizes = {}
    if first is not None and first.ndim == 4:
        sizes["in_channels"] = first.shape[1]
    if last is not None and last.ndim >= 2:
        sizes["num_classes"] = last.shape[0]
    return create(name, preset=preset, **sizes)


def _fits(name: str, state: State, library: str) -> bool:
    return any(_misfit(m, state, library) is None for m in _candidates(name, state, library))


def _misfit(model: Network, state: State, library: str) -> str | None:
    """Why the state is not this network's; None if it is."""
    theirs = set(checkpoints.key_map(model, library).values())
    for what, keys in (("lacks", theirs - set(state)), ("has besides", set(state) - theirs)):
        if keys:
            return f"the file {what} {len(keys)} arrays, such as {min(keys)}"
    given = checkpoints.adapted(model, state)
    for name, stored in model._named_stored():
        if given[name].shape != stored.shape:
            return f"{name} is {given[name].shape}, not {stored.shape}"
    return None


def _renamed(model: Network, source: str, library: str) -> State:
    """The weights under the names of ``library``, if they are all that its own network has."""
    if not _presets(model.name, library):
        raise MinigradError(f"{library} has no {model.name}")
    state = checkpoints.convert(model, library)
    misfits = [_misfit(m, state, library) for m in _candidates(model.name, state, library)]
    if library != "minigrad" and all(misfits):
        why = f": {misfits[0]}" if misfits else ""
        raise MinigradError(f"{library}'s {model.name} has other layers than {source}'s{why}")
    return state


def _differences(name: str, told: Mapping[str, Any]) -> list[str]:
    """What the target library does otherwise in every one of its presets."""
    presets = entry(name).presets
    sources, targets = (_presets(name, told[end]) for end in ("from", "to"))
    if "minigrad" in (told["from"], told["to"]) or set(sources) & set(targets):
        return []
    pairs = [_unlike(presets[a], presets[b]) for a in sources for b in targets]
    return min(pairs, key=len, default=[])


def _unlike(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[str]:
    keys = [k for k in {**a, **b} if k not in TRAINING_ONLY and a.get(k) != b.get(k)]
    return [f"{k} {a.get(k, 'default')} becomes {b.get(k, 'default')}" for k in keys]


def _lines(told: Mapping[str, Any]) -> Iterator[str]:
    yield f"{told['out']}: {told['arrays']} arrays" + _path(told)
    if told.get("left_out"):
        yield f"left out: {told['left_out']} counters ({COUNTER}), which no network computes with"
    if told["to"] == "minigrad" and told["preset"] != next(iter(entry(told["model"]).presets)):
        yield f"load it with preset={told['preset']!r}, which minigrad's names do not show"
    if told.get("differences"):
        yield (
            f"note: {told['to']} computes otherwise than {told['from']} with the same weights: "
            + "; ".join(told["differences"])
        )


def _path(told: Mapping[str, Any]) -> str:
    if "model" not in told:
        return ", names unchanged"
    return f" of {told['model']}, from {told['from']}'s names to {told['to']}'s"
