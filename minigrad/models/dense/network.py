"""A network of a backbone and heads, which knows its weights' other names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, TypeVar

from minigrad.errors import StateDictError, quote
from minigrad.formats.prefixes import below_prefix
from minigrad.formats.state_dict import StateDict
from minigrad.models.checkpoints import State, without_counters
from minigrad.models.metadata import describe
from minigrad.models.naming import Pairs
from minigrad.models.preparation import Framing
from minigrad.nn.module import Incompatible, Module
from minigrad.tensor import Array, Tensor

if TYPE_CHECKING:
    from numpy.random import Generator

__all__ = ["Dense", "below"]

Output = TypeVar("Output", covariant=True)


class Dense(Module[Output]):
    """A network that says something of every place of a photograph.

    Attributes
    ----------
    name : str
        As it was given to ``create``.
    library : str
        Whose definition it follows, and whose names its weights may have besides our own.
    backbone : Module
        Its layers have the names that the network has as a classifier.
    labels : tuple of str
        The names of the classes; the first is the background's.
    framing : Framing
        How a photograph becomes an input.
    num_classes : int
        With the background.
    """

    name: str = ""
    library: str = ""
    num_classes: int = 0
    labels: tuple[str, ...] = ()
    framing: Framing = Framing()
    switches: Mapping[str, object] = {}

    def names(self) -> Pairs:
        """(our name, the library's) of each layer; nothing for a network of ours."""
        return iter(())

    def last_layer(self) -> str:
        """Our name of a layer whose weight has one row a class."""
        raise NotImplementedError

    def rows(self) -> int:
        """How many rows that weight has for each class."""
        return 1

    def draw_heads(self, rng: Generator | None) -> None:
        """What the paper draws otherwise in the heads; nothing by default."""

    def numbered(self) -> tuple[str, ...]:
        """Names for classes that have none."""
        return ("background", *(f"class {k}" for k in range(1, self.num_classes)))

    def classes_in(self, state: State) -> int | None:
        """How many classes weights have, by the last layer; None if it is not there."""
        last = self._adapted(state).get(f"{self.last_layer()}.weight")
        return None if last is None or last.ndim != 4 else last.shape[0] // self.rows()

    def is_mine(self, state: State) -> bool:
        """Whether the weights' names are this network's, and their shapes but for the classes."""
        try:
            given = self._adapted(state)
        except StateDictError:
            return False
        own = dict(self._named_stored())
        return set(given) == set(own) and all(
            v.shape[1:] == own[k].shape[1:] for k, v in given.items()
        )

    def key_map(self) -> dict[str, str]:
        """Our name to the library's, for every array of the network.

        Raises
        ------
        StateDictError
            If the network is our own, so that no library has names for it.
        """
        layers = dict(self.names())
        pairs = [(name, *name.rpartition(".")[::2]) for name, _ in self._named_stored()]
        if unnamed := next((layer for _, layer, _ in pairs if layer not in layers), None):
            raise StateDictError(f"no library has a name for {unnamed} of {self.name}")
        return {name: f"{layers[layer]}.{leaf}" for name, layer, leaf in pairs}

    def state_dict(self) -> StateDict:
        """Parameters and buffers by name, with metadata that say which network it is."""
        metadata = describe(self.name, self.library, self.switches, self.labels, None)
        return StateDict(super().state_dict(), metadata)

    def load_state_dict(self, state: State, strict: bool = True) -> Incompatible:
        """Adopt weights under minigrad's names or those of the network's library.

        Parameters
        ----------
        state : mapping
            Name to array (or Tensor).
        strict : bool
            Whether every name must be there, and no other.

        Raises
        ------
        StateDictError
            If names or shapes do not fit.
        """
        return super().load_state_dict(self._adapted(state), strict)

    def _adapted(self, state: State) -> dict[str, Array | Tensor]:
        """``state`` under our names, below whatever a trainer put before them."""
        ours = [name for name, _ in self._named_stored()]
        kept = without_counters(below_prefix(state, (ours[0],))[0])
        if ours[0] in kept or not (layers := dict(self.names())):
            return kept
        theirs = {f"{layers[k.rpartition('.')[0]]}.{k.rpartition('.')[2]}": k for k in ours}
        first = next(iter(theirs))
        kept = without_counters(below_prefix(state, (first,))[0])
        if first not in kept:
            some = ", ".join(quote(key) for key in list(state)[:3])
            raise StateDictError(
                f"the names ({some}, ...) are not those that minigrad or {self.library} gives "
                f"the layers of {self.name}"
            )
        return {theirs.get(k, k): v for k, v in kept.items()}


def below(prefix: str, pairs: Pairs, old: str = "", new: str = "") -> Pairs:
    """The names of a backbone's layers inside of a larger network.

    ``old`` at the head of the library's names becomes ``new``.
    """
    for ours, theirs in pairs:
        if theirs.startswith(old):
            yield f"{prefix}{ours}", f"{new}{theirs.removeprefix(old)}"
