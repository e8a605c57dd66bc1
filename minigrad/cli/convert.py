"""``minigrad convert``: weights from one file format to another, and from library to library."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

from minigrad import formats
from minigrad.cli.arguments import add_json, add_output, file_name, weights_file
from minigrad.cli.files import check_output
from minigrad.cli.terminal import print_json, print_lines, printable
from minigrad.models import convert
from minigrad.models.checkpoints import LIBRARIES
from minigrad.models.identity import Conversion
from minigrad.models.metadata import Description

__all__ = ["configure", "run"]

SUFFIXES = (".npz", ".pth", ".pt", ".safetensors")


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    add = parser.add_argument
    add("source", metavar="IN", type=file_name,
        help="a .pth, .npz or .safetensors file, or a network's name")  # fmt: skip
    add("out", metavar="OUT", type=file_name, help=f"the file to write: {', '.join(SUFFIXES)}")
    add("--to", choices=LIBRARIES, metavar="LIBRARY",
        help=f"whose names to write: {', '.join(LIBRARIES)} (default: as they are)")  # fmt: skip
    add("--model", help="the network (default: the one that names and shapes fit)")
    add_output(parser)
    add_json(parser, "one object")


def run(args: argparse.Namespace) -> int:
    """Convert, and report what became of the names; 0."""
    check_output(args.out, SUFFIXES, args.force)
    state = formats.load(weights_file(args.source))
    converted = convert(state, args.to or "minigrad", args.model) if args.to or args.model else None
    arrays = state if converted is None else converted.state
    formats.save(args.out, arrays)
    ends = {"in": str(args.source), "out": str(args.out), "arrays": len(arrays)}
    if args.json:
        print_json(ends | _report(converted, args.to))
    else:
        print_lines([_first(ends, converted), *(_notes(converted) if converted else ())])
    return 0


def _report(converted: Conversion | None, to: str | None) -> dict[str, object]:
    if converted is None:
        return {"from": None, "to": to}
    source = converted.source
    return {
        "from": source.library,
        "to": converted.library,
        "model": source.name,
        "preset": source.presets[0],
        "left_out": converted.left_out,
        "differences": list(converted.differences),
    }


def _first(ends: dict[str, object], converted: Conversion | None) -> str:
    line = f"wrote {printable(str(ends['out']))}: {ends['arrays']} arrays"
    if converted is None:
        return f"{line}, names unchanged"
    source = converted.source
    return f"{line} of {source.name}, from {source.library}'s names to {converted.library}'s"


def _notes(converted: Conversion) -> Iterator[str]:
    source = converted.source
    if converted.left_out:
        yield f"left out: {converted.left_out} counters, which no network computes with"
    preset = Description.of(converted.state.metadata).preset
    if preset:
        yield f"the file says that its preset is {preset}, and `create` uses that"
    elif converted.library == "minigrad" and len(source.presets) > 1:
        yield (
            f"{source.library} has several kinds of weights under these names: load the file with "
            f"preset={' or preset='.join(map(repr, source.presets))}"
        )
    if converted.differences:
        yield (
            f"note: {converted.library} computes otherwise than {source.library} with the same "
            f"weights: {'; '.join(converted.differences)}"
        )
