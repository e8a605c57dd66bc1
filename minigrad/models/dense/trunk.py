"""The maps of a backbone, at named places.

A place is the end of a stage (``"1"``), of a block in it (``"1.0"``: stage 1, block 0), the
expansion inside a block (``"4.2.expand"``), the last convolution (``"head"``) or the first
(``"stem"``).  ``features_only`` of ``minigrad.models.create`` gives the last map before each
halving, as timm does; detectors and segmenters were published with other places.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from minigrad.models.family import Entry
from minigrad.models.network import Network
from minigrad.nn.blocks.inverted_residual import InvertedResidual
from minigrad.nn.blocks.squeezenext import SqueezeNeXtBlock
from minigrad.nn.layers import ConvBN, Sequential
from minigrad.nn.module import AnyModule, Module
from minigrad.tensor import Tensor, scope

__all__ = ["Trunk", "trimmed"]


class Trunk(Module["list[Tensor]"]):
    """The layers of a network up to its last map, giving the maps at some places.

    Parameters
    ----------
    network : Network
        Whose layers they are; they are shared and not copied.
    places : sequence of str
        See the module, in the order of the computation.

    Raises
    ------
    ValueError
        If the network has no such place.

    Examples
    --------
    >>> import minigrad as mg
    >>> trunk = Trunk(mg.models.create("mobilenet_v2", num_classes=0), ("1", "head"))
    >>> [y.shape for y in trunk.eval()(mg.zeros(1, 3, 64, 64))]
    [(1, 24, 16, 16), (1, 1280, 2, 2)]
    """

    def __init__(self, network: Network, places: Sequence[str]) -> None:
        self.stem, self.pool, self.blocks = network.stem, network.pool, network.blocks
        self.head = network.head if "head" in places else None
        if self.head is None:  # stages that no place needs
            stages = [int(place.partition(".")[0]) for place in places if place != "stem"]
            self.blocks = Sequential(*list(network.blocks)[: 1 + max(stages, default=-1)])
        self.places = tuple(places)
        known = set(self._places())
        if missing := [place for place in places if place not in known]:
            raise ValueError(f"the backbone has no place {missing[0]!r}")

    def _places(self) -> Iterator[str]:
        yield from ("stem",) if self.head is None else ("stem", "head")
        for s, stage in enumerate(self.blocks):
            yield str(s)
            for i, block in enumerate(_parts(stage)):
                yield f"{s}.{i}"
                if isinstance(block, InvertedResidual) and block.expand is not None:
                    yield f"{s}.{i}.expand"

    def forward(self, x: Tensor) -> list[Tensor]:
        maps = {"stem": self.stem(x)}
        x = maps["stem"] if self.pool is None else self.pool(maps["stem"])
        for s, stage in enumerate(self.blocks):
            for i, block in enumerate(_parts(stage)):
                x = self._through(block, x, f"{s}.{i}", maps)
            maps[str(s)] = x
        if self.head is not None:
            maps["head"] = self.head(x)
        return [maps[place] for place in self.places]

    def _through(self, block: AnyModule, x: Tensor, place: str, maps: dict[str, Tensor]) -> Tensor:
        """The block's output; what it and its expansion give is noted in ``maps``."""
        if f"{place}.expand" in self.places and isinstance(block, InvertedResidual):
            with scope(f"blocks.{place}"):
                maps[f"{place}.expand"] = y = block.widened(x)
                x = block.narrowed(x, y)
        else:
            x = block(x)
        maps[place] = x
        return x

    @property
    def channels(self) -> tuple[int, ...]:
        """Of the maps."""
        return tuple(self._channels(place) for place in self.places)

    def _channels(self, place: str) -> int:
        if place in ("stem", "head"):
            return _width(getattr(self, place))
        stage, *rest = place.split(".")
        block = _parts(self.blocks[int(stage)])[int(rest[0]) if rest else -1]
        return _width(getattr(block, "expand" if len(rest) > 1 else _last(block)))

    def extra_repr(self) -> str:
        return f"places={self.places}"


def _last(block: AnyModule) -> str:
    """The unit of a block that makes its output."""
    if isinstance(block, SqueezeNeXtBlock):
        return "expand"
    return "project" if getattr(block, "project", None) is not None else "fused"


def _width(unit: ConvBN) -> int:
    return int(unit.conv.weight.shape[0])


def _parts(stage: AnyModule) -> Sequential:
    assert isinstance(stage, Sequential)
    return stage


def trimmed(found: Entry, preset: str, **how: object) -> Network:
    """A network of the table without classifier, as a preset has it."""
    switches = {**found.switches, **found.presets[preset], "num_classes": 0, **how}
    del switches["init"]
    return found.family.build(**switches)
