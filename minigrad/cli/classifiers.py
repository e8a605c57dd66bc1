"""The network that ``classify`` and ``evaluate`` show photographs to, ready to be called."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from minigrad.cli.arguments import file_name, weights_file
from minigrad.cli.labels import labels_for
from minigrad.cli.numbers import threads as thread_number
from minigrad.cli.packages import installed_weights
from minigrad.cli.planned import Planned, read_plan, refuse_beside_plan
from minigrad.engine import compile
from minigrad.errors import MinigradError
from minigrad.formats import load
from minigrad.kernels import BACKENDS, backend, current_backend, unavailable
from minigrad.models import Network, Preparation, create, resolve
from minigrad.models.metadata import Description
from minigrad.nn.layers import Linear
from minigrad.tensor import Array, Tensor, no_grad
from minigrad.threads import num_threads, threads
from minigrad.vision import preparation_for

__all__ = ["Classifier", "Logits", "add_classifier", "add_network", "classifier", "embedder"]

Batch = npt.NDArray[np.float32]
Logits = npt.NDArray[np.float32]
Call = Callable[[Batch], Array]
MODEL = "efficientnet_lite0"  # whose weights come with the demo
WARM = ("cython", "numba")  # backends whose first call does more than the later ones


class Classifier(NamedTuple):
    """A network with its weights.

    Attributes
    ----------
    name : str
    preparation : Preparation
        What is done to a photograph.
    labels : list of str
        A name for each class.
    call : callable
        From a batch of one to logits, (1, K).
    """

    name: str
    preparation: Preparation
    labels: list[str]
    call: Call


def add_network(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments that say which network photographs are shown to."""
    add = parser.add_argument
    add("--model", help=f"default: the one that the weights' file names, or {MODEL}")
    add("--weights", type=file_name, metavar="FILE", help="default: those of an installed package")
    add("--plan", type=file_name, metavar="FILE",
        help="a file that `minigrad compile` wrote, in place of a model and weights")  # fmt: skip
    add("--preset", help="the library the weights come from (default: as their names say)")
    add("--preparation", "--preprocessing", metavar="NAME",
        help="a network that photographs are prepared for (default: this one)")  # fmt: skip
    add("--threads", type=thread_number, metavar="N", help="default: all CPUs this process may use")


def add_classifier(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments that say which network, how it runs, and what its classes are."""
    add_network(parser)
    add = parser.add_argument
    add("--labels", type=file_name, metavar="FILE",
        help="the names of the classes: a line each, or JSON (default: ImageNet's)")  # fmt: skip
    add("--backend", choices=BACKENDS, help="default: the fastest there is")


@contextmanager
def classifier(args: argparse.Namespace, count: int) -> Iterator[Classifier]:
    """The network that the arguments name, for ``count`` photographs.

    Its backend and its number of threads hold inside of the block.
    """
    if args.plan is not None:
        with threads(args.threads or num_threads()):
            yield _planned(args, 1 if count > 1 else num_threads())
        return
    model, weights = _chosen(args)
    name = resolve(model)[0]
    if unavailable("cython") and not args.backend:
        print("minigrad: the compiled core is missing, so this takes much longer than it could; "
              "minigrad doctor says more", file=sys.stderr)  # fmt: skip
    with ExitStack() as stack:
        if args.backend:
            stack.enter_context(backend(args.backend))
        if args.threads:
            stack.enter_context(threads(args.threads))
        network = _load(model, weights, args.preset)
        preparation = _preparation(args.preparation, network)
        labels = labels_for(_classes(network), args.labels, network.labels)
        yield Classifier(name, preparation, labels, _call(network, preparation, count))


def _chosen(args: argparse.Namespace) -> tuple[str, Path]:
    """The name of the network, and the file of its weights."""
    given = weights_file(args.weights) if args.weights else None
    model = _named(given) if args.model is None else args.model
    return model, given or installed_weights(resolve(model)[0])


def _named(weights: Path | None) -> str:
    """The network that a file of weights names, else the default."""
    if weights is None or not weights.is_file():
        return MODEL
    return Description.of(load(weights).metadata).network or MODEL


def _load(name: str, weights: Path, preset: str | None) -> Network:
    try:
        return create(name, weights=weights, preset=preset)
    except MinigradError:
        raise
    except ValueError as error:
        raise MinigradError(f"{name}: {error}") from None


def _preparation(name: str | None, network: Network) -> Preparation:
    if name:
        return preparation_for(name)
    return network.preparation or preparation_for(network.name)


def _classes(network: Network) -> int:
    """How many classes the network has."""
    if not isinstance(network.classifier, Linear):
        raise MinigradError(
            f"these weights of {network.name} have no classifier, so there are no classes"
        )
    return network.classifier.weight.shape[0]


def _call(network: Network, preparation: Preparation, count: int) -> Call:
    """From a batch of one to logits, compiled before the first photograph.

    With several photographs the threads decode, and the network takes one of its own.
    """
    most = 1 if count > 1 else num_threads()
    first = np.zeros((1, 3, preparation.size, preparation.size), np.float32)
    if current_backend() == "cython":
        plan = compile(network, first.shape, threads=most)
        plan(first)
        return plan

    def logits(batch: Batch) -> Logits:
        with no_grad(), threads(most):
            return np.asarray(network(Tensor(batch)))

    if current_backend() in WARM:
        logits(first)
    return logits


def _planned(args: argparse.Namespace, most: int) -> Classifier:
    """The network of a plan file, run on so many threads."""
    refuse_beside_plan(args, ("model", "weights", "preset", "backend"))
    planned = read_plan(args.plan, args.preparation, most)
    stated, answers = Description.of(planned.plan.metadata), planned.plan.graph.outputs
    if len(answers) != 1 or len(answers[0].shape) != 2:
        raise MinigradError(f"{args.plan} gives no logits of classes")
    labels = labels_for(answers[0].shape[1], args.labels, stated.labels)
    planned.logits(np.zeros(planned.plan.graph.shape, np.float32))
    return Classifier(planned.plan.name, planned.preparation, labels, planned.logits)


def embedder(args: argparse.Namespace, most: int) -> Planned:
    """The plan whose features are the vectors of photographs, run on so many threads."""
    if args.plan is not None:
        refuse_beside_plan(args, ("model", "weights", "preset"))
        return read_plan(args.plan, args.preparation, most)
    name, weights = _chosen(args)
    network = _load(name, weights, args.preset)
    preparation = _preparation(args.preparation, network)
    shape = 1, 3, preparation.size, preparation.size
    return Planned(compile(network, shape, threads=most), preparation)
