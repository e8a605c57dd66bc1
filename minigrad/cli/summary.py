"""``minigrad summary``: what each layer of a network does to an image, and what it costs.

A line stands for an operation and the BatchNorm and activation that follow it.  Where the
terminal is narrow, columns are left out; ``--json`` has them all.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from textwrap import wrap
from typing import Any

from minigrad.cli.arguments import (
    add_input,
    add_json,
    add_network,
    add_output,
    build,
    file_name,
    input_shape,
)
from minigrad.cli.files import check_output
from minigrad.cli.terminal import print_json, print_lines, printable
from minigrad.columns import Column, fit, width
from minigrad.errors import MinigradError
from minigrad.formats.writing import write_bytes
from minigrad.models import memory, summary
from minigrad.models.block_memory import BlockMemory
from minigrad.models.costs import COUNTED, Layer, Summary
from minigrad.nn.functions import ACTIVATIONS

__all__ = ["configure", "run"]

FOLLOWERS = ("batch_norm_eval", "reshape", *ACTIVATIONS)
SPLITS = (2, 4, None)  # groups of expanded channels; None is one channel at a time
FIELDS = (
    "A position of a map sees `field` pixels of the image (0 at its edge: the padding counts); "
    "the next one lies `jump` pixels further, and the first one's middle is at `centre`. Two "
    "numbers are vertical x horizontal. The gate of squeeze and excitation sees everything and "
    "is left out."
)
MEMORY = (
    "KiB of float activations that live at once, for one image. whole: each convolution writes "
    "its whole map, and the block's input x is kept where a shortcut needs it. t = 2, 4, e: the "
    "e expanded channels go in t groups, |x| + |y| + (|E| + |D|) / t (MobileNetV2, section 5.1). "
    "With squeeze and excitation (SE) the groups need a pass of their own before."
)


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    add = parser.add_argument
    add_network(parser)
    add_input(parser)
    add("--memory", action="store_true", help="the activation memory of each block, split or not")
    add("--svg", type=file_name, metavar="FILE.svg", help="draw the network block by block")
    add_output(parser)
    add_json(parser, "one object")


def run(args: argparse.Namespace) -> int:
    """Print the table, and write the picture if asked for; 0."""
    if args.svg:
        check_output(args.svg, (".svg",), args.force)
    model, shape = build(args, draws=False), input_shape(args)
    if args.svg:
        from minigrad.models import svg

        write_bytes(args.svg, svg(model, shape).encode())
    found = summary(model, shape)
    blocks = memory(model, shape) if args.memory else []
    if args.memory and not blocks:
        raise MinigradError(f"{args.model} has no inverted residual block that could be split")
    if args.json:
        table = {"memory": [_memory_row(block) for block in blocks]} if args.memory else {}
        print_json({**found.as_dict(), "preset": model.preset, **table})
    elif args.memory:
        print_lines(list(_memory_table(found, blocks, width())))
    else:
        print_lines(list(_table(found, width())))
    if args.svg and not args.json:
        print(f"\nwrote {printable(str(args.svg))}")
    return 0


def _table(found: Summary, limit: int) -> Iterator[str]:
    yield f"{found.name}, {_times(found.input_shape[1:])}"
    yield ""
    yield from fit(_columns(list(_units(found.layers))), limit)
    yield ""
    yield from _totals(found)
    for line in (COUNTED[0].upper() + COUNTED[1:] + ".", FIELDS):
        yield from wrap(line, limit)


def _totals(found: Summary) -> Iterator[str]:
    kib = [layer.activation_bytes / 1024 for layer in found.layers]
    for value, what in (
        (found.parameters, "parameters"),
        (found.macs, "MACs"),
        (found.flops, "FLOPs (2 x MACs)"),
        (round(max(kib)), "KiB, the largest activation"),
    ):
        yield f"{value:15,}  {what}"
    yield ""


def _units(layers: Sequence[Layer]) -> Iterator[list[Layer]]:
    """Each operation with what is done to its result at once."""
    unit: list[Layer] = []
    for layer in layers:
        if layer.operation == "broadcast_to":
            continue
        if unit and layer.operation not in FOLLOWERS:
            yield unit
            unit = []
        unit.append(layer)
    yield unit


def _columns(units: Sequence[Sequence[Layer]]) -> list[Column]:
    firsts = [unit[0] for unit in units]
    rows = [_tracked(layer) for layer in firsts]
    return [
        Column("layer", [_name(layer) for layer in firsts], right=False),
        Column("output", [_times(layer.output_shape[1:]) for layer in firsts], right=False),
        Column("kernel", [_window(layer) for layer in firsts], right=False),
        Column("params", [_number(sum(x.parameters for x in unit)) for unit in units]),
        Column("MACs", [_number(layer.macs) for layer in firsts]),
        Column("FLOPs", [_number(layer.flops) for layer in firsts], rank=5),
        Column("KiB", [f"{layer.activation_bytes / 1024:,.0f}" for layer in firsts], rank=3),
        Column("field", [row[0] for row in rows], rank=1),
        Column("jump", [row[1] for row in rows], rank=2),
        Column("centre", [row[2] for row in rows], rank=4),
        Column("then", [_followers(unit) for unit in units], rank=6, right=False),
    ]


def _name(layer: Layer) -> str:
    """The layer; with what it does where that is neither a convolution nor linear."""
    operation = "mean" if layer.operation == "global_avg_pool" else layer.operation
    plain = operation in ("conv2d", "linear")
    return layer.name.removesuffix(".conv") if plain else f"{layer.name} {operation}".strip()


def _window(layer: Layer) -> str:
    """Kernel and stride: 3x3 /2."""
    if layer.kernel is None or layer.stride is None:
        return ""
    stride = layer.stride
    return f"{_times(layer.kernel)} /{_times(stride) if stride[0] != stride[1] else stride[0]}"


def _tracked(layer: Layer) -> tuple[str, str, str]:
    """Receptive field, jump and centre."""
    if layer.fields is None:
        return "", "", ""
    size, jump, centre = (
        [getattr(field, what) for field in layer.fields] for what in ("size", "jump", "centre")
    )
    return _one_or_two(size), _one_or_two(jump), _one_or_two(centre)


def _one_or_two(values: Sequence[float]) -> str:
    return f"{values[0]:g}" if values[0] == values[1] else "x".join(f"{v:g}" for v in values)


def _followers(unit: Sequence[Layer]) -> str:
    names = (layer.operation.removesuffix("_eval") for layer in unit[1:])
    return " ".join(name for name in names if name != "reshape")


def _times(numbers: Sequence[int]) -> str:
    return "x".join(map(str, numbers))


def _number(n: int) -> str:
    return f"{n:,}" if n else ""


def _memory_row(block: BlockMemory) -> dict[str, Any]:
    splits = {f"split_{t or 'all'}": block.split(t) for t in SPLITS}
    return {**block._asdict(), **splits}


def _memory_table(found: Summary, blocks: Sequence[BlockMemory], limit: int) -> Iterator[str]:
    def kib(values: Sequence[float]) -> list[str]:
        return [f"{v / 1024:,.0f}" for v in (*values, max(values))]

    gated = {x.name.rpartition(".se")[0] for x in found.layers if ".se" in x.name}
    channels = [f"{b.channels:,}" for b in blocks]
    yield f"{found.name}, {_times(found.input_shape[1:])}"
    yield ""
    yield from fit(
        [
            Column("block", [*(b.name for b in blocks), "largest"], right=False),
            Column("e", [*channels, ""]),
            Column("x", kib([b.x for b in blocks]), rank=1),
            Column("y", kib([b.y for b in blocks]), rank=1),
            Column("E", kib([b.expanded for b in blocks]), rank=1),
            Column("D", kib([b.depthwise for b in blocks]), rank=1),
            Column("whole", kib([b.peak for b in blocks])),
            *(Column(f"t = {t or 'e'}", kib([b.split(t) for b in blocks])) for t in SPLITS),
            Column("", [*("SE" if b.name in gated else "" for b in blocks), ""], right=False),
        ],
        limit,
    )
    yield ""
    yield from wrap(MEMORY, limit)
