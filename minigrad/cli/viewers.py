"""The network that ``segment`` and ``detect`` show photographs to, ready to be called."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from minigrad.cli.arguments import add_json, add_output, file_name, is_file
from minigrad.cli.labels import read_labels
from minigrad.cli.numbers import finite, positive
from minigrad.cli.numbers import threads as thread_number
from minigrad.engine import compile
from minigrad.errors import MinigradError
from minigrad.graphs.imported import ImportedGraph, load_graph
from minigrad.kernels import BACKENDS, backend, current_backend
from minigrad.models.dense import Catalogue, Dense
from minigrad.models.dense.catalogue import read_weights
from minigrad.models.dense.labels import COCO, VOC
from minigrad.models.preparation import Framing
from minigrad.nn.module import AnyModule
from minigrad.resources import check_memory
from minigrad.tensor import Array
from minigrad.threads import threads
from minigrad.vision.naming import outputs

__all__ = ["Installed", "Viewer", "add_framing", "add_viewer", "check_pictures", "viewer"]

LARGEST_SIDE = 4096
FREE_SIDE = 512  # of a file whose input may have any size
HALF = 127.5  # pixels from 0 to 255 become -1 to 1


class Installed(NamedTuple):
    """The weights of an installed package; without a name they say themselves what they are of."""

    name: str | None
    weights: Path
    labels: tuple[str, ...] = ()


class Viewer(NamedTuple):
    """A network with its weights.

    Attributes
    ----------
    name : str
    model : Module
    framing : Framing
    labels : tuple of str
        Empty if nothing is known of the classes.
    call : callable
        From a batch of one to the outputs.
    """

    name: str
    model: AnyModule
    framing: Framing
    labels: tuple[str, ...]
    call: Callable[[npt.NDArray[np.float32]], list[Array]]

    def named(self, count: int) -> tuple[str, ...]:
        """A name for each of so many classes: VOC's for 21 and COCO's for 91 without others.

        Raises
        ------
        MinigradError
            If the names that are known are others in number.
        """
        if self.labels and len(self.labels) != count:
            raise MinigradError(
                f"there are {len(self.labels)} names, but the network has {count} classes: "
                "give its names with --labels"
            )
        numbered = ("background", *(f"class {k}" for k in range(1, count)))
        return self.labels or next((n for n in (VOC, COCO) if len(n) == count), numbered)


def add_viewer(parser: argparse.ArgumentParser, catalogue: Catalogue[Dense[object]]) -> None:
    """Declare the arguments that say which network, how it runs, and where pictures go."""
    add = parser.add_argument
    add("photos", nargs="*", type=file_name, metavar="PHOTO",
        help="file or folder (default: a photograph that comes with minigrad)")  # fmt: skip
    add("--model", help=f"{', '.join(catalogue.entries)} (default: as the weights say)")
    add("--weights", type=file_name, metavar="FILE",
        help="of such a network, or the .onnx or .tflite file of any other")  # fmt: skip
    add("--labels", type=file_name, metavar="FILE",
        help="the names of the classes, the background first: a line each, or JSON")  # fmt: skip
    add_framing(parser)
    add("--backend", choices=BACKENDS, help="default: the fastest there is")
    add("--threads", type=thread_number, metavar="N", help="default: all CPUs this process may use")
    add("--draw", type=file_name, metavar="DIR", help="where to write what was found, as pictures")
    add_output(parser)
    add_json(parser, "a list, one object a photograph")


def add_framing(parser: argparse.ArgumentParser) -> None:
    """Declare --size, --mean and --std."""
    add = parser.add_argument
    add("--size", type=positive, metavar="N", help="of the frame that the network sees, in pixels")
    add("--mean", type=finite,
        help=f"for an .onnx or .tflite file: taken from the pixels; default: {HALF}")  # fmt: skip
    add("--std", type=finite, help=f"which then divides them; default: {HALF}")


@contextmanager
def viewer(
    args: argparse.Namespace,
    catalogue: Catalogue[Dense[object]],
    found: Callable[[str | None], Installed],
) -> Iterator[Viewer]:
    """The network that the arguments name; ``found`` gives weights if they give none.

    Its backend and its number of threads hold inside of the block.
    """
    if args.size is not None and args.size > LARGEST_SIDE:
        raise MinigradError(f"--size is at most {LARGEST_SIDE}, not {args.size}")
    if args.std == 0:
        raise MinigradError("--std must not be 0")
    with ExitStack() as stack:
        if args.backend:
            stack.enter_context(backend(args.backend))
        if args.threads:
            stack.enter_context(threads(args.threads))
        if args.weights is not None and is_file(str(args.weights)):
            name, model, framing = _of_file(args)
            known: tuple[str, ...] = ()
        else:
            name, model, framing, known = _of_catalogue(args, catalogue, found)
        labels = tuple(read_labels(args.labels)) if args.labels else known
        yield Viewer(name, model, framing, labels, _call(model))


def _of_catalogue(
    args: argparse.Namespace,
    catalogue: Catalogue[Dense[object]],
    found: Callable[[str | None], Installed],
) -> tuple[str, AnyModule, Framing, tuple[str, ...]]:
    given = Installed(args.model, args.weights) if args.weights else found(args.model)
    name, weights, labels = given
    state = read_weights(weights)
    name = catalogue.identify(state) if name is None else name
    _refuse_scale(args, f"{name} has one of its own")
    model = catalogue.create(name, state, None, None, np.float32, {})
    framing = model.framing if args.size is None else model.framing._replace(size=args.size)
    return name, model, framing, labels or model.labels


def _of_file(args: argparse.Namespace) -> tuple[str, AnyModule, Framing]:
    """The network of an .onnx or .tflite file, with a square input or one of any size."""
    if args.model is not None:
        raise MinigradError(f"--model is for networks of minigrad, not for a file: {args.weights}")
    model = load_graph(args.weights)
    name, sizes = next(iter(model.inputs.items()))
    if len(model.inputs) != 1 or sizes is None or len(sizes) != 4:
        raise MinigradError(f"{args.weights}: its input is no photograph")
    height, width = sizes[2:]
    size = args.size or height or width or FREE_SIDE
    if {height, width} - {None, size}:
        raise MinigradError(
            f"{args.weights}: its input is {height} x {width}, not square or not of --size"
        )
    if None in sizes:
        check_memory(12 * size * size, f"a photograph of {size} x {size}")
        model = load_graph(args.weights, shape=(1, 3, size, size))
    mean, std = _scale(args, model, name)
    return model.name, model, Framing(size, "squash", (mean,) * 3, (std,) * 3)


def _scale(args: argparse.Namespace, model: ImportedGraph, name: str) -> tuple[float, float]:
    """Mean and deviation: of an input in integers, what makes the pixels its integers."""
    if name not in model.quantization:
        return HALF if args.mean is None else args.mean, HALF if args.std is None else args.std
    _refuse_scale(args, f"the integers of {args.weights} have one of their own")
    return (128.0 if model.quantization[name].dtype == "int8" else 0.0), 1.0


def _refuse_scale(args: argparse.Namespace, why: str) -> None:
    """Refuse a mean and a deviation that would not be looked at."""
    if args.mean is not None or args.std is not None:
        raise MinigradError(f"--mean and --std give a file's input its scale: {why}")


def _call(model: AnyModule) -> Callable[[npt.NDArray[np.float32]], list[Array]]:
    """A plan on the compiled core, else the network itself."""
    if current_backend() != "cython":
        return lambda x: outputs(model, x)
    plan = compile(model)
    return lambda x: plan.outputs(x)


def check_pictures(photos: Sequence[Path], args: argparse.Namespace, *endings: str) -> None:
    """Refuse, before the work is done, pictures that could not be written after it.

    Raises
    ------
    MinigradError
        If two photographs would share a picture, or a picture is there already.
    """
    if args.draw is None:
        return
    stems = [photo.stem for photo in photos]
    if doubled := next((s for s in stems if stems.count(s) > 1), None):
        raise MinigradError(
            f"two photographs are called {doubled[:60]!r}, so their pictures cannot share a folder"
        )
    for stem in stems:
        for ending in endings:
            path = args.draw / f"{stem}{ending}"
            if path.exists() and not args.force:
                raise MinigradError(f"{path}: the file is there already; --force replaces it")
