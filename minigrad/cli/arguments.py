"""Arguments that several commands share: a network, the shape of its input, numbers.

What argparse cannot check by itself (is there such a network, does it have such a switch)
becomes one sentence here.
"""

from __future__ import annotations

import argparse
import ast
from typing import Any

from minigrad.errors import ArgumentError, MinigradError
from minigrad.models import Network, create, entry
from minigrad.threads import thread_count

__all__ = [
    "add_input",
    "add_network",
    "build",
    "input_shape",
    "positive",
    "seconds",
    "several_threads",
    "threads",
]

LONGEST = 3600.0


def add_network(parser: argparse.ArgumentParser) -> None:
    """MODEL, --weights, --preset, --classes and --set."""
    add = parser.add_argument
    add("model", metavar="MODEL", help="a name that `minigrad models` lists")
    add("--weights", metavar="FILE", help="default: the authors' initialisation, seed 0")
    add("--preset", help="the library the weights come from (default: as their names say)")
    add("--classes", type=positive, default=1000, metavar="N", help="default: %(default)s")
    add("--set", type=_switch, action="append", default=[], metavar="NAME=VALUE", dest="switches",
        help="a switch of the network, such as width=0.5 or output_stride=16")  # fmt: skip


def add_input(parser: argparse.ArgumentParser) -> None:
    """--input."""
    parser.add_argument(
        "--input", type=_shape, metavar="NxCxHxW", help="default: one image of the network's size"
    )


def input_shape(args: argparse.Namespace) -> tuple[int, int, int, int]:
    """What --input says, or one colour image of the size that the network is evaluated on."""
    if args.input is not None:
        shape: tuple[int, int, int, int] = args.input
        return shape
    size = _entry(args.model).input_size
    return 1, 3, size, size


def build(args: argparse.Namespace) -> Network:
    """The network of ``add_network``, in evaluation mode; no weight is drawn before it is used."""
    _entry(args.model)
    try:
        model = create(
            args.model,
            weights=args.weights,
            preset=args.preset,
            num_classes=args.classes,
            in_channels=input_shape(args)[1],
            rng=0,
            **dict(args.switches),
        )
    except (MinigradError, OSError):
        raise
    except (TypeError, ValueError) as error:  # an unknown preset or switch, or a strange value
        raise MinigradError(f"{args.model}: {error}") from None
    return model.eval()


def _entry(name: str) -> Any:
    try:
        return entry(name)
    except ValueError as error:
        raise MinigradError(str(error)) from None


def positive(text: str) -> int:
    """An integer of at least 1."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected an integer of at least 1, got {text!r}")
    return int(text)


def threads(text: str) -> int:
    """A number of threads (``minigrad.threads``)."""
    try:
        return thread_count(text)
    except ArgumentError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def several_threads(text: str) -> list[int]:
    """Such numbers with commas between them."""
    return [threads(part) for part in text.split(",")]


def seconds(text: str) -> float:
    """A time above 0 and of at most an hour."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value <= LONGEST:
        raise argparse.ArgumentTypeError(f"expected seconds above 0, got {text!r}")
    return value


def _shape(text: str) -> tuple[int, ...]:
    parts = text.split("x")
    if len(parts) != 4 or not all(part.isdecimal() and int(part) > 0 for part in parts):
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form 1x3x224x224")
    return tuple(int(part) for part in parts)


def _switch(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not (equals and name.isidentifier()):
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form NAME=VALUE")
    try:
        return name, ast.literal_eval(value)
    except (SyntaxError, ValueError):
        return name, value  # a word: padding=same
