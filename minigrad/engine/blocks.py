"""Whole blocks as single steps, where streaming them through cache pays.

After the rewrites of ``fuse`` a network is a row of convolutions.  Four patterns among
them are worth one call, in which each stage hands rows to the next and no map between them
is ever written out (``ext/blocks.pyx.tp``):

    inverted residual    [expand 1x1, or a stem k x k,] depthwise, project 1x1 [+ residual]
    expand, depthwise    the same up to a squeeze-and-excitation, which must see the whole map
    SqueezeNeXt          1x1, 1x1, 3x1 and 1x3, 1x1 + residual [, the shortcut's 1x1]
    stem and pool        k x k, the maximum of windows

The new step is a ``Block``, which keeps the old ones as its parts: running them one after the
other is its meaning, and gives the same bits.

The mode is chosen here, from shapes alone.  Streaming saves the traffic of the maps in
between and the fork-joins, and reads the weights once for every few rows instead of once.
So a block streams ("rows") if its weights stay in cache beside the rows, or are at least
smaller than the maps inside it together.  A dense expansion and its projection (EfficientNetV2)
gain nothing: their arithmetic hides the traffic.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import takewhile

import numpy as np

from minigrad.arrays import Array
from minigrad.engine.graph import Block, Constant, Graph, Note, Ref, Step, Value, is_conv
from minigrad.engine.schedule import has_numbers
from minigrad.geometry import ConvSpec, classify
from minigrad.kernels.cython.blocks import Stage, block_bytes, ghost
from minigrad.kernels.tables import CACHES
from minigrad.records import NamedTuple

__all__ = ["BLOCKS", "gated_stages", "recognise", "scratch_bytes", "stages_of"]

WEIGHTS_BESIDE_ROWS = CACHES["WEIGHTS_BESIDE_ROWS"]


class Known(NamedTuple):
    """What the rules look at: a graph, who reads its values, what sort of stage each step is."""

    graph: Graph
    uses: dict[int, list[int]]
    kinds: dict[int, str]


class Pattern(NamedTuple):
    """A block's name, and the rule that finds the steps of one that ends with a given step."""

    name: str
    find: Callable[[Known, int], list[int] | None]


def kind(step: Step) -> str:
    """What sort of stage a step can be: pointwise, depthwise, dense, general, pool, or ""."""
    if step.op == "max_pool2d":
        return "pool"
    if not is_conv(step) or step.epilogue.gate is not None:
        return ""
    return classify(step.params["spec"], step.filters.shape)


def _made_for(known: Known, number: int) -> int | None:
    """The step whose output this step reads, if nothing else reads it."""
    ref = known.graph.steps[number].inputs[0]
    only = isinstance(ref, Value) and known.uses[ref.number] == [number]
    return ref.number if isinstance(ref, Value) and only else None


def _chain(known: Known, last: int, kinds: Sequence[Sequence[str]]) -> list[int] | None:
    """The chain of single-reader steps of the given kinds, first to last, that ends here."""
    chain, at = [last], last
    if known.kinds[last] not in kinds[-1]:
        return None
    for allowed in reversed(kinds[:-1]):
        made = _made_for(known, at)
        if made is None or known.kinds.get(made) not in allowed:
            return None
        chain.append(made)
        at = made
    return chain[::-1]


def _widened(known: Known, depthwise: int) -> list[int]:
    """The depthwise step, and before it the expansion or the stem, if there is one."""
    return _chain(known, depthwise, [("pointwise", "dense"), ("depthwise",)]) or [depthwise]


def inverted_residual(known: Known, number: int) -> list[int] | None:
    """[expand,] depthwise, project."""
    chain = _chain(known, number, [("depthwise",), ("pointwise",)])
    return [*_widened(known, chain[0]), number] if chain else None


def expand_depthwise(known: Known, number: int) -> list[int] | None:
    """Expand and depthwise, of a block whose projection cannot begin before they end."""
    if known.kinds[number] != "depthwise" or len(known.uses[number]) < 2:
        return None
    chain = _widened(known, number)
    return chain if len(chain) == 2 else None


def squeezenext(known: Known, number: int) -> list[int] | None:
    """The shortcut's convolution, reduce, reduce, 3x1 and 1x3 in either order, expand."""
    last = known.graph.steps[number]
    one, window = ("pointwise", "general"), ("dense", "general")
    chain = _chain(known, number, [one, one, window, window, one])
    if chain is None or last.epilogue.residual is None:
        return None
    shortcut = known.graph.maker(last.epilogue.residual)
    if shortcut is None or known.kinds[shortcut.number] != "pointwise":
        return chain  # the identity: what it adds is the block's input
    if shortcut.epilogue.residual:
        return chain
    readers = set(known.uses[shortcut.number])
    return [shortcut.number, *chain] if readers <= {number, chain[0]} else chain


def stem_pool(known: Known, number: int) -> list[int] | None:
    """A dense convolution, and the pool that alone reads its map."""
    return _chain(known, number, [("dense",), ("pool",)])


BLOCKS = (
    Pattern("squeezenext", squeezenext),
    Pattern("inverted_residual", inverted_residual),
    Pattern("expand_depthwise", expand_depthwise),
    Pattern("stem_pool", stem_pool),
)


def recognise(graph: Graph) -> tuple[Graph, list[Note]]:
    """The graph in which blocks that gain from streaming are single steps, and what was done."""
    notes: list[Note] = []
    steps = dict(graph.steps)
    known = Known(graph, graph.uses(), {number: kind(step) for number, step in steps.items()})
    for pattern in BLOCKS:
        for number in graph.steps:
            chain = pattern.find(known, number) if number in steps else None
            if chain is None or not all(_is_free(k, steps) for k in chain):
                continue
            parts = [graph.steps[k] for k in sorted(chain)]
            block = Block.of(pattern.name, parts, _layer(parts))
            streams, why = verdict(block)
            notes.append(Note(pattern.name.replace("_", " "), block.layer, streams, why))
            if streams:
                for k in chain:
                    del steps[k]
                steps[number] = block
    return graph.with_steps(dict(sorted(steps.items()))), notes


def _is_free(number: int, steps: dict[int, Step]) -> bool:
    """Whether no block has taken a step yet, and there are numbers to work on."""
    step = steps.get(number)
    return step is not None and not isinstance(step, Block) and has_numbers(step)


def _layer(parts: Sequence[Step]) -> str:
    """The layer that holds all parts; a stem stands before the block that it begins."""
    layers = [part.layer.split(".") for part in parts]
    whole, rest = _shared(layers), _shared(layers[1:])
    return ".".join(whole) or f"{layers[0][0]} + {'.'.join(rest)}".rstrip(" +")


def _shared(paths: Sequence[Sequence[str]]) -> list[str]:
    """The longest common beginning."""
    return [names[0] for names in takewhile(lambda n: len(set(n)) == 1, zip(*paths, strict=False))]


def verdict(block: Block) -> tuple[bool, str]:
    """Whether a block is better streamed by rows than run as separate steps, and why."""
    inner = sum(part.output.nbytes for part in block.parts[:-1])
    weights = sum(part.filters.nbytes for part in block.parts if part.op == "conv2d")
    if weights <= WEIGHTS_BESIDE_ROWS:
        return True, "by rows, for its weights stay in cache beside them"
    if weights <= inner:
        return True, "by rows, for its weights are smaller than the maps inside it"
    return False, (
        "its weights are larger than the maps inside it, and would be read for every few rows"
    )


def slope_of(step: Step) -> Array | None:
    """The slopes of a step's prelu, side by side."""
    slope = step.epilogue.slope
    return None if slope is None else np.ascontiguousarray(slope.array)


Get = Callable[[Ref], "Array | None"]
Pack = Callable[[Constant, ConvSpec], object]


def as_given(w: Constant, spec: ConvSpec) -> object:
    """Weights that are not packed, known by shape and dtype."""
    return w.key


def stages_of(block: Step, get: Get, packed: Pack = as_given) -> list[Stage]:
    """The stages of a block; ``get`` gives the array that a reference outside stands for."""
    place = {part.number: k for k, part in enumerate(block.parts)}

    def source(ref: Ref) -> Array | int | None:
        return place[ref.number] if isinstance(ref, Value) and ref.number in place else get(ref)

    def stage(part: Step) -> Stage:
        x = source(part.inputs[0])
        if part.op == "max_pool2d":
            return Stage(x, None, part.params["window"])
        w, spec, epilogue = part.filters, part.params["spec"], part.epilogue
        residual = source(epilogue.residual)
        return Stage(x, packed(w, spec), spec, part.bias, residual, epilogue.activation,
                     slope_of(part), epilogue.last, epilogue.clamp)  # fmt: skip

    return [stage(part) for part in block.parts]


def gated_stages(
    step: Step, get: Get, packed: Pack = as_given, spends: bool = False
) -> list[Stage]:
    """The two stages of a convolution with a gate: multiply, convolve; x may be spent on it."""
    x, gate, spec = get(step.inputs[0]), get(step.epilogue.gate), step.params["spec"]
    assert x is not None
    assert gate is not None
    residual, epilogue = get(step.epilogue.residual), step.epilogue
    conv = Stage(0, packed(step.filters, spec), spec, step.bias, residual, epilogue.activation,
                 slope_of(step), epilogue.last, epilogue.clamp)  # fmt: skip
    return [Stage(x, gate.reshape(x.shape[:2]), None, spends=spends), conv]


def scratch_bytes(graph: Graph) -> int:
    """What each thread needs for the rows of the largest streamed block."""

    def get(ref: Ref) -> Array | None:
        if isinstance(ref, Constant):
            return ref.array
        return None if ref is None else ghost(ref.shape, ref.dtype)

    sizes = [0]
    for step in graph.steps.values():
        if isinstance(step, Block):
            sizes.append(block_bytes(stages_of(step, get), step.output.dtype))
        elif step.epilogue.gate is not None:
            sizes.append(block_bytes(gated_stages(step, get), step.output.dtype))
    return max(sizes)
