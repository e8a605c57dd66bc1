"""What other libraries call the layers of a network: the parts that families share.

A library names a layer after its place in its own code; the layer is the same.  A family
states, beside its table, one `Names` for each library: a function that walks the network in
the order of the computation and pairs our name of each convolution, BatchNorm and linear
layer with the library's.  ``weight``, ``bias``, ``running_mean`` and ``running_var`` keep their
names everywhere.  A pair may name a layer that this network does not have (a block without an
expansion); nobody asks for it then.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol

from minigrad.nn.blocks.inverted_residual import FusedMBConv, InvertedResidual
from minigrad.nn.blocks.squeezenext import SqueezeNeXtBlock
from minigrad.nn.layers import Sequential
from minigrad.nn.module import Module

__all__ = [
    "Block",
    "Known",
    "Names",
    "Pairs",
    "blocks",
    "minigrad",
    "parts",
    "pytorchcv",
    "pytorchcv_places",
    "timm",
    "timm_trunk",
    "torchvision",
    "unit",
]

Pairs = Iterator[tuple[str, str]]
Block = InvertedResidual | FusedMBConv | SqueezeNeXtBlock
Presets = Mapping[str, Mapping[str, object]]


class Names(NamedTuple):
    """What a library calls the layers of a family.

    Attributes
    ----------
    pairs : callable
        From a network to (our name, the library's) of each layer.
    convolutions : tuple of str
        Our linear layers that are 1x1 convolutions there.
    """

    pairs: Callable[[Module], Pairs]
    convolutions: tuple[str, ...] = ()


class Known(Protocol):
    """What a network has to know of its origin in order to read others' weights."""

    @property
    def presets(self) -> Presets:
        """How the authors (the first) and each library pad, normalise and initialise."""
        ...

    @property
    def libraries(self) -> Mapping[str, Names]:
        """The libraries that have this network, and what they call its layers."""
        ...


def blocks(model: Module) -> Iterator[tuple[int, int, Block]]:
    """(stage, index in the stage, block) of every block."""
    stages = getattr(model, "blocks", None)
    assert isinstance(stages, Sequential)
    for s, stage in enumerate(stages):
        assert isinstance(stage, Sequential)
        for i, block in enumerate(stage):
            assert isinstance(block, Block)
            yield s, i, block


def unit(ours: str, conv: str, bn: str) -> Pairs:
    """A convolution and its BatchNorm."""
    yield f"{ours}.conv", conv
    yield f"{ours}.bn", bn


def parts(block: Block) -> list[str]:
    """Our names of the parts of a block, in the order of the computation."""
    if isinstance(block, FusedMBConv):
        names = ["fused", "project"]
    elif isinstance(block, InvertedResidual):
        names = ["expand", "dw", "se", "project"]
    else:
        names = ["reduce1", "reduce2", "spatial1", "spatial2", "expand", "shortcut"]
    return [name for name in names if getattr(block, name) is not None]


def _minigrad(model: Module) -> Pairs:
    for name, _ in model.named_modules():
        yield name, name


minigrad = Names(_minigrad)
"""Our own names, which every family has."""

TIMM = {
    ("expand", "dw", "project"): ("conv_pw", "conv_dw", "conv_pwl"),
    ("dw", "project"): ("conv_dw", "conv_pw"),
    ("fused", "project"): ("conv_exp", "conv_pwl"),
    ("fused",): ("conv",),
}


def timm_trunk(model: Module) -> Pairs:
    """conv_stem, bn1, blocks.{stage}.{i}.{conv_pw, bn1, conv_dw, bn2, se, conv_pwl, bn3}.

    In a block without expansion the same names move up: conv_dw, bn1, conv_pw, bn2.
    """
    yield from unit("stem", "conv_stem", "bn1")
    for s, i, block in blocks(model):
        place = f"blocks.{s}.{i}"
        units = [part for part in parts(block) if part != "se"]
        for n, (part, conv) in enumerate(zip(units, TIMM[tuple(units)], strict=True), 1):
            yield from unit(f"{place}.{part}", f"{place}.{conv}", f"{place}.bn{n}")
        yield f"{place}.se.reduce", f"{place}.se.conv_reduce"
        yield f"{place}.se.expand", f"{place}.se.conv_expand"


def timm(model: Module) -> Pairs:
    """The trunk, conv_head, bn2 and classifier."""
    yield from timm_trunk(model)
    yield from unit("head", "conv_head", "bn2")
    yield "classifier", "classifier"


def torchvision(
    model: Module, place: Callable[[int, int, int], str], head: Callable[[int, int], str]
) -> Pairs:
    """features.0, ``place(flat, stage, i)``.block.{k} for each block, and ``head(flat, stage)``."""
    yield from unit("stem", "features.0.0", "features.0.1")
    flat = s = 0
    for flat, (s, i, block) in enumerate(blocks(model), 1):
        ours, theirs = f"blocks.{s}.{i}", f"{place(flat, s, i)}.block"
        for k, part in enumerate(parts(block)):
            if part == "se":
                yield f"{ours}.se.reduce", f"{theirs}.{k}.fc1"
                yield f"{ours}.se.expand", f"{theirs}.{k}.fc2"
            else:
                yield from unit(f"{ours}.{part}", f"{theirs}.{k}.0", f"{theirs}.{k}.1")
    last = head(flat, s)
    yield from unit("head", f"{last}.0", f"{last}.1")


def pytorchcv(
    model: Module,
    places: Sequence[str],
    names: Callable[[Block], Sequence[str]],
    init: str = "",
    final: str = "",
) -> Pairs:
    """features.init_block, ``places`` for the blocks, whose units have ``names``, final_block.

    A block with fewer units than names has the last of them.
    """
    yield from unit("stem", f"features.init_block{init}.conv", f"features.init_block{init}.bn")
    for (s, i, block), theirs in zip(blocks(model), places, strict=True):
        ours = f"blocks.{s}.{i}"
        units = [part for part in parts(block) if part != "se"]
        for part, name in zip(units, names(block)[-len(units) :], strict=True):
            yield from unit(f"{ours}.{part}", f"{theirs}.{name}.conv", f"{theirs}.{name}.bn")
        yield f"{ours}.se.reduce", f"{theirs}.se.conv1"
        yield f"{ours}.se.expand", f"{theirs}.se.conv2"
    yield from unit("head", f"features.final_block{final}.conv", f"features.final_block{final}.bn")


def pytorchcv_places(
    sequence: Sequence[Block], opens: Callable[[Block], bool] | None = None
) -> list[str]:
    """features.stage{s}.unit{u} of each block: a stage ends where the map is halved."""
    opens = opens or (lambda block: _stride(block) > 1)
    places, stage, number = [], 1, 0
    for n, block in enumerate(sequence):
        stage, number = (stage + 1, 1) if n and opens(block) else (stage, number + 1)
        places.append(f"features.stage{stage}.unit{number}")
    return places


def _stride(block: Block) -> int:
    assert not isinstance(block, SqueezeNeXtBlock)
    first = block.dw if isinstance(block, InvertedResidual) else block.fused
    return int(first.conv.stride[0])
