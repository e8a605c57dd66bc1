"""Networks of a backbone and heads by name, and how one is built."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

import numpy as np
import numpy.typing as npt

from minigrad import formats
from minigrad.errors import StateDictError, UnknownNameError, quote
from minigrad.formats.numbers import Array
from minigrad.formats.state_dict import StateDict
from minigrad.graphs.tensorflow_file import load_frozen
from minigrad.models.checkpoints import State
from minigrad.models.dense.network import Dense
from minigrad.models.metadata import Description
from minigrad.models.preparation import Framing
from minigrad.nn import init
from minigrad.tensor import Tensor

if TYPE_CHECKING:
    from numpy.random import Generator

__all__ = ["Catalogue", "Entry", "read_weights"]

N = TypeVar("N", bound="Dense[object]", covariant=True)


def read_weights(path: str | os.PathLike[str]) -> StateDict:
    """The arrays of a file: one that ``minigrad.load`` reads, or a frozen graph (.pb)."""
    return load_frozen(path) if os.fspath(path).endswith(".pb") else formats.load(path)


@dataclass(frozen=True)  # a NamedTuple is not generic before Python 3.11
class Entry(Generic[N]):
    """A network that a catalogue can build.

    Attributes
    ----------
    build : callable
        From ``num_classes`` and switches to the network.
    library : str
        Whose definition and names it has; "minigrad" for one of ours.
    labels : tuple of str
        The names of the classes of the published weights, the background first.
    framing : Framing
    scheme : str
        How first weights are drawn; see `minigrad.nn.init`.
    source : str
        Where the definition is from.
    """

    build: Callable[..., N]
    library: str
    labels: tuple[str, ...]
    framing: Framing
    scheme: str
    source: str


class Catalogue(Generic[N]):
    """Networks for one job, by name.

    Parameters
    ----------
    job : str
        What they do, for messages.
    entries : mapping
        Name to `Entry`.
    """

    def __init__(self, job: str, entries: Mapping[str, Entry[N]]) -> None:
        self.job, self.entries = job, dict(entries)

    def entry(self, name: str) -> Entry[N]:
        """What the table says of a network.

        Raises
        ------
        UnknownNameError
            With all names, if there is none of this name.
        """
        if name not in self.entries:
            known = ", ".join(self.entries)
            raise UnknownNameError(f"{self.job} has no network {quote(name)}, only {known}")
        return self.entries[name]

    def create(
        self,
        name: str,
        weights: str | os.PathLike[str] | Mapping[str, Array | Tensor] | None,
        num_classes: int | None,
        rng: Generator | int | None,
        dtype: npt.DTypeLike | None,
        switches: Mapping[str, object],
    ) -> N:
        """The network, in evaluation mode if weights were given."""
        found = self.entry(name)
        state = read_weights(weights) if isinstance(weights, (str, os.PathLike)) else weights
        stated = Description.of(getattr(state, "metadata", {}))
        state = state and {k: _widened(v) for k, v in state.items()}
        if stated.network not in ("", name):
            raise StateDictError(f"these are weights of {quote(stated.network)}, not of {name}")
        switches = {**stated.switches, **switches}
        model = self._built(name, num_classes or len(found.labels), switches)
        if state is not None and num_classes is None:
            classes = model.classes_in(state)
            model = model if classes is None else self._built(name, classes, switches)
        labels = stated.labels or found.labels
        known = len(labels) == model.num_classes
        model.labels = labels if known else model.numbered()
        if state is None:
            generator = None if rng is None else np.random.default_rng(rng)
            init.initialize(model, found.scheme, generator)
            model.draw_heads(generator)
            return model if dtype is None else model.to(dtype)
        dtypes = {v.dtype for v in state.values() if np.issubdtype(v.dtype, np.floating)}
        model.to(dtype or (dtypes.pop() if len(dtypes) == 1 else np.float32))
        model.load_state_dict(state)
        return model.eval()

    def _built(self, name: str, num_classes: int, switches: Mapping[str, object]) -> N:
        found = self.entry(name)
        try:
            model = found.build(num_classes=num_classes, **switches)
        except TypeError as error:
            if "unexpected keyword argument" not in str(error):
                raise
            unknown = str(error).rsplit("argument ", 1)[-1]
            raise UnknownNameError(f"{name} has no switch {unknown}") from None
        model.name, model.library, model.framing = name, found.library, found.framing
        model.num_classes, model.switches = num_classes, switches
        return model

    def identify(self, state: State) -> str:
        """The name of the network that a state dict is of: by its metadata, or its names.

        Raises
        ------
        StateDictError
            If it is none of them.
        """
        stated = Description.of(getattr(state, "metadata", {})).network
        if stated in self.entries:
            return stated
        for name, found in self.entries.items():
            model = self._built(name, len(found.labels), {})
            if model.is_mine(state):
                return name
        raise StateDictError(
            f"the names in the file are of no network for {self.job}: {', '.join(self.entries)}"
        )


def _widened(value: Array | Tensor) -> Array | Tensor:
    """Weights that are stored in half precision as float32."""
    half = isinstance(value, np.ndarray) and value.dtype == np.float16
    return value.astype(np.float32) if half else value
