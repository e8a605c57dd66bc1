"""Arguments that several commands share: a network, the shape of its input, files.

What argparse cannot check by itself (is there such a network, does it have such a switch)
becomes one sentence here.
"""

from __future__ import annotations

import argparse
import ast
import math
from pathlib import Path

import numpy as np

from minigrad.cli.numbers import LARGEST, positive
from minigrad.cli.packages import installed_weights
from minigrad.errors import MinigradError, UnknownNameError
from minigrad.graphs.imported import ImportedGraph, load_graph
from minigrad.models import Network, create, entry, resolve
from minigrad.resources import check_memory

__all__ = [
    "add_input",
    "add_json",
    "add_network",
    "add_output",
    "add_shape",
    "build",
    "dtype_of",
    "file_name",
    "input_shape",
    "is_file",
    "weights_file",
]

GRAPHS = (".onnx", ".tflite")  # files whose networks are read
Switch = tuple[str, object]


def add_network(parser: argparse.ArgumentParser) -> None:
    """MODEL, --weights, --preset, --classes and --set."""
    add = parser.add_argument
    add("model", metavar="MODEL", help="a name that `minigrad models` lists, or timm's of it; "
                                       "or the network of an .onnx or .tflite file")  # fmt: skip
    add("--weights", type=file_name, metavar="FILE",
        help="or a network's name: the weights of an installed package for it "
             "(default: the authors' initialisation, seed 0)")  # fmt: skip
    add("--preset", help="the library the weights come from (default: as their names say)")
    add("--classes", type=positive, metavar="N", help="default: as the weights have, or 1000")
    add("--set", type=_switch, action="append", default=[], metavar="NAME=VALUE", dest="switches",
        help="a switch of the network, such as width=0.5 or output_stride=16")  # fmt: skip


def add_input(parser: argparse.ArgumentParser) -> None:
    """--input."""
    parser.add_argument(
        "--input", type=_shape, metavar="NxCxHxW", help="default: one image of the network's size"
    )


def add_shape(parser: argparse.ArgumentParser, purpose: str) -> None:
    """--shape."""
    parser.add_argument("--shape", type=_shape, metavar="NxCxHxW", help=purpose)


def add_json(parser: argparse.ArgumentParser, what: str) -> None:
    """--json."""
    parser.add_argument("--json", action="store_true", help=f"print {what}")


def add_output(parser: argparse.ArgumentParser) -> None:
    """--force."""
    parser.add_argument("--force", action="store_true", help="replace a file that is there")


def input_shape(args: argparse.Namespace) -> tuple[int, ...]:
    """What --input says, or one colour image of the size that the network is evaluated on."""
    if args.input is not None:
        shape: tuple[int, ...] = args.input
        return shape
    if is_file(args.model):
        return _file_shape(load_graph(args.model))
    size = entry(args.model).input_size
    return 1, 3, size, size


def dtype_of(model: Network | ImportedGraph) -> np.dtype[np.generic]:
    """The dtype of a network's parameters; float32 of one without, such as one in integers."""
    first = next(iter(model.parameters()), None)
    return np.dtype(np.float32) if first is None else first.dtype


def is_file(model: str) -> bool:
    """Whether MODEL is a file of a graph: by its ending."""
    return model.lower().endswith(GRAPHS)


def _file_shape(model: ImportedGraph) -> tuple[int, ...]:
    """The shape of a file's one input for one image."""
    sizes = next(iter(model.inputs.values()))
    if len(model.inputs) != 1 or sizes is None or None in sizes[1:]:
        raise MinigradError(f"{model.name}: the file leaves sizes free; say them with --input")
    fixed = tuple(n for n in sizes[1:] if n)
    return (1, *fixed) if fixed else (sizes[0] or 1,)


def _load(args: argparse.Namespace) -> ImportedGraph:
    """The network of a file, which takes none of the words of our own networks.

    Of one image, whatever number the file says: few networks hold to it.
    """
    for word in ("weights", "preset", "classes", "switches"):
        if getattr(args, word):
            flag = "--set" if word == "switches" else f"--{word}"
            raise MinigradError(f"{flag} is for networks of minigrad, not for a file: {args.model}")
    model = load_graph(args.model, shape=args.input)
    if args.input is not None or len(model.inputs) > 1:
        return model
    (sizes,) = model.inputs.values()
    if sizes is None or len(sizes) < 2 or sizes[0] in (None, 1):
        return model
    return load_graph(args.model, shape=(None, *sizes[1:]))


def build(args: argparse.Namespace, *, draws: bool = True) -> Network | ImportedGraph:
    """The network of ``add_network``, in evaluation mode; no weight is drawn before it is used.

    ``draws`` is whether the command will use them, so that they must fit into the memory.
    """
    if is_file(args.model):
        return _load(args)
    weights = weights_file(args.weights) if args.weights else None
    try:
        model = create(
            args.model,
            weights=weights,
            preset=args.preset,
            num_classes=args.classes,
            in_channels=None if args.input is None else args.input[1],
            rng=0,
            **dict(args.switches),
        )
    except (MinigradError, OSError, MemoryError):
        raise
    except Exception as error:  # whatever a strange value of a switch brings about
        if not (args.switches or isinstance(error, ValueError)):
            raise
        raise MinigradError(f"{args.model}: {_reason(error, args.switches)}") from None
    if draws:
        check_memory(4 * sum(p.size for p in model.parameters()), f"the weights of {args.model}")
    return model.eval()


def _reason(error: Exception, switches: list[Switch]) -> str:
    if type(error) is ValueError:  # a sentence of our own
        return str(error)
    given = ", ".join(f"{name}={value!r}" for name, value in switches)
    return f"it cannot be built with {given} ({type(error).__name__}: {error})"


def weights_file(given: Path) -> Path:
    """The file that is meant: itself, or what an installed package has for a network's name."""
    if given.exists() or given.suffix or given.name != str(given):
        return given
    try:
        name = resolve(str(given))[0]
    except UnknownNameError:
        return given
    return installed_weights(name)


def file_name(text: str) -> Path:
    """The name of a file: not empty, and without the character that no name can hold."""
    if not text or "\0" in text:
        raise argparse.ArgumentTypeError(f"{text!r} is no name of a file")
    return Path(text)


def _shape(text: str) -> tuple[int, ...]:
    parts = text.split("x")
    try:
        shape = tuple(positive(part) for part in parts)
    except argparse.ArgumentTypeError:
        shape = ()
    if len(shape) != 4:
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form 1x3x224x224")
    if math.prod(shape) > LARGEST:
        raise argparse.ArgumentTypeError(f"{text!r} is more than 2^31 numbers")
    return shape


def _switch(text: str) -> Switch:
    name, equals, value = text.partition("=")
    if not (equals and name.isidentifier()):
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form NAME=VALUE")
    try:
        return name, ast.literal_eval(value)
    except (SyntaxError, ValueError, MemoryError, RecursionError, TypeError):
        return name, value  # a word: padding=same
