"""``minigrad summary``: what each layer of a network does to an image, and what it costs.

A line stands for an operation and the BatchNorm and activation that follow it.  Where the
terminal is narrow, columns are left out; ``--json`` has them all.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from textwrap import wrap

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
from minigrad.models import Network, memory, summary
from minigrad.models.block_memory import BlockMemory
from minigrad.models.cost_table import times
from minigrad.models.costs import Summary
from minigrad.sizes import kibibytes

__all__ = ["configure", "run"]

SPLITS = (2, 4, None)  # groups of expanded channels; None is one channel at a time
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
    ours = model if isinstance(model, Network) else None
    if ours is None and (args.svg or args.memory):
        raise MinigradError(f"--svg and --memory are for networks of minigrad, not {args.model}")
    if args.svg and ours:
        from minigrad.models import svg

        write_bytes(args.svg, svg(ours, shape).encode())
    found = summary(model, shape)
    blocks = memory(ours, shape) if args.memory and ours else []
    if args.memory and not blocks:
        raise MinigradError(f"{args.model} has no inverted residual block that could be split")
    if args.json:
        table = {"memory": [_memory_row(block) for block in blocks]} if args.memory else {}
        print_json({**found.as_dict(), "preset": ours and ours.preset, **table})
    elif args.memory:
        print_lines(list(_memory_table(found, blocks, width())))
    else:
        print(found.table(width()))
    if args.svg and not args.json:
        print(f"\nwrote {printable(str(args.svg))}")
    return 0


def _memory_row(block: BlockMemory) -> dict[str, object]:
    splits = {f"split_{t or 'all'}": block.split(t) for t in SPLITS}
    return {**block._asdict(), **splits}


def _memory_table(found: Summary, blocks: Sequence[BlockMemory], limit: int) -> Iterator[str]:
    def kib(values: Sequence[float]) -> list[str]:
        return [kibibytes(v) for v in (*values, max(values))]

    gated = {x.name.rpartition(".se")[0] for x in found.layers if ".se" in x.name}
    channels = [f"{b.channels:,}" for b in blocks]
    yield f"{found.name}, {times(found.input_shape[1:])}"
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
