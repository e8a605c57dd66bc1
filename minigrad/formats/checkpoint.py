"""State dicts inside checkpoints: where trainers put them.

A trainer saves a dict of many things, and the weights are a dict of tensors somewhere in it,
perhaps twice (the second time as a moving average, EMA).
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from minigrad.errors import FormatError, listing, quote
from minigrad.formats.pickle_machine import Opaque
from minigrad.formats.tensors import TensorRecord

__all__ = ["WRAPPERS", "Found", "find_state_dict"]

# Where trainers put the weights, the first of them first; averages come after the weights.
WRAPPERS = (
    "state_dict", "model_state_dict", "model_state", "model", "net", "network", "params",
    "weights", "module", "state", "state_dict_ema", "model_state_dict_ema", "model_ema",
    "ema_state_dict", "ema_model", "ema", "params_ema",
)  # fmt: skip
# What is in the name of a dict with tensors of the trainer, not of the model.
TRAINERS = ("optim", "sched", "rng", "loop", "callback", "scaler", "momentum")
# What makes a tensor.
TENSOR_NAMES = re.compile(r"torch\.(_utils|_tensor)\._rebuild|torch\.(storage\.)?\w*Storage$")
MAX_TENSORS = 100_000
MAX_DICTS = 10_000
MAX_DEPTH = 5
SHOWN = 5


class Found(NamedTuple):
    """A state dict in a checkpoint: its place (dotted), and the other places that have one."""

    tensors: dict[str, TensorRecord]
    key: str
    others: tuple[str, ...]
    attributes: object


class Place(NamedTuple):
    """A dict that has tensors, and the keys that lead to it."""

    path: tuple[str, ...]
    values: dict[object, object]

    @property
    def key(self) -> str:
        """The keys as one."""
        return ".".join(self.path)


def find_state_dict(value: object, key: str | None = None) -> Found:
    """The tensors of a state dict, or of the one within a checkpoint.

    Without ``key`` it is the first of `WRAPPERS` that has tensors, or the dict itself, or the
    only other dict in it with tensors that are not an optimizer's.

    Raises
    ------
    FormatError
        If there is none, if there are several of which none is known by its name, or if the
        one that is wanted has a tensor of a kind that is not read.
    """
    if not isinstance(value, dict):
        raise FormatError(_no_dict(value))
    places = [place for place in _places(value) if _has_tensors(place.values)]
    if not places and key is None:
        if not value:
            return Found({}, "", (), getattr(value, "attributes", None))
        keys = listing([str(k) if isinstance(k, (str, int)) else "?" for k in value], SHOWN)
        raise FormatError(f"the file holds no state dict; its keys are {keys}{_unread(value)}")
    place = _chosen(places) if key is None else _named(places, key)
    others = tuple(other.key for other in places if other is not place and other.path)
    attributes = getattr(place.values, "attributes", None)
    return Found(_tensors_of(place.values), place.key, others, attributes)


def _no_dict(value: object) -> str:
    if isinstance(value, Opaque):
        return (
            f"the file holds {quote(value.name)}, which is not a dict of tensors; nothing of it "
            f"was run (a model is saved by its state_dict() alone)"
        )
    return f"the file holds {quote(value)}, not a dict of tensors"


def _unread(value: Mapping[object, object]) -> str:
    """A hint if the weights may be in a value that is not read, such as a whole model."""
    for key, item in value.items():
        if isinstance(item, Opaque) and key in WRAPPERS:
            return (
                f"; {quote(key)} is {quote(item.name)}, of which nothing was run (a model is saved "
                f"by its state_dict() alone)"
            )
    return ""


def _places(value: dict[object, object]) -> Iterator[Place]:
    """The dicts in a checkpoint, the outer ones first, each once; none of an optimizer."""
    waiting = deque([Place((), value)])
    seen = {id(value)}
    while waiting and len(seen) < MAX_DICTS:
        place = waiting.popleft()
        yield place
        if len(place.path) == MAX_DEPTH:
            continue
        for key, item in place.values.items():
            if not isinstance(item, dict) or not isinstance(key, str) or id(item) in seen:
                continue
            seen.add(id(item))
            if not any(word in key.lower() for word in TRAINERS):
                waiting.append(Place((*place.path, key), item))


def _has_tensors(values: dict[object, object]) -> bool:
    return any(isinstance(i, TensorRecord) or _is_unread_tensor(i) for i in values.values())


def _is_unread_tensor(item: object) -> bool:
    """Whether it is a tensor of a kind that is not read, such as a quantised one."""
    return isinstance(item, Opaque) and bool(TENSOR_NAMES.match(item.name))


def _chosen(places: list[Place]) -> Place:
    """The place that holds the weights, by the names that lead to it."""
    known = [place for place in places if place.path and set(place.path) <= set(WRAPPERS)]
    if known:
        return min(known, key=lambda place: [WRAPPERS.index(key) for key in place.path])
    outer = [place for place in places if not place.path]
    if not outer and len(places) > 1:
        keys = listing([place.key for place in places], SHOWN)
        raise FormatError(f"the file holds several state dicts: say which by key= ({keys})")
    return (outer or places)[0]


def _named(places: list[Place], key: str) -> Place:
    for place in places:
        if place.key == key:
            return place
    keys = listing([place.key for place in places if place.path], SHOWN) or "none"
    raise FormatError(f"the file holds no state dict under the key {quote(key)}; it has: {keys}")


def _tensors_of(values: Mapping[object, object]) -> dict[str, TensorRecord]:
    tensors = {}
    for key, item in values.items():
        if isinstance(item, Opaque) and _is_unread_tensor(item):
            raise FormatError(f"tensor {quote(key)} is of a kind not read here: {quote(item.name)}")
        if isinstance(item, TensorRecord):
            if not isinstance(key, str):
                raise FormatError("the state dict has a tensor whose name is not a string")
            tensors[key] = item
    if len(tensors) > MAX_TENSORS:
        raise FormatError(f"the state dict has {len(tensors):,} tensors, more than any network")
    return tensors
