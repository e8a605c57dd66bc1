"""``minigrad classify``: what is in a photograph.

The network gives logits z of K classes; what is printed is

    p_k = exp(z_k - max z) / sum_j exp(z_j - max z)        (in float64)

for the k of the largest.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TypedDict

import numpy as np
import numpy.typing as npt

from minigrad.cli.arguments import add_json, file_name, positive, weights_file
from minigrad.cli.arguments import threads as thread_number
from minigrad.cli.labels import labels_for
from minigrad.cli.packages import installed_weights
from minigrad.cli.photographs import Prepared, expand, prepared
from minigrad.cli.terminal import print_json, print_lines, printable, progress, sentence
from minigrad.columns import Column, fit, width
from minigrad.engine import compile
from minigrad.errors import MinigradError
from minigrad.formats import load
from minigrad.kernels import BACKENDS, backend, current_backend, unavailable
from minigrad.models import Network, Preparation, create, resolve
from minigrad.models.metadata import Description
from minigrad.nn.layers import Linear
from minigrad.tensor import Tensor, no_grad
from minigrad.threads import num_threads, threads
from minigrad.vision import preparation_for

__all__ = ["configure", "run"]

Batch = npt.NDArray[np.float32]
Logits = npt.NDArray[np.float32]
Call = Callable[[Batch], Logits]
MODEL = "efficientnet_lite0"  # whose weights come with the demo
WARM = ("cython", "numba")  # backends whose first call does more than the later ones


class Best(TypedDict):
    """One of the likeliest classes."""

    index: int
    label: str
    probability: float


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    add = parser.add_argument
    add("photos", nargs="*", type=file_name, metavar="PHOTO",
        help="file or folder (default: a photograph that comes with minigrad)")  # fmt: skip
    add("--model", help=f"default: the one that the weights' file names, or {MODEL}")
    add("--weights", type=file_name, metavar="FILE", help="default: those of an installed package")
    add("--labels", type=file_name, metavar="FILE",
        help="the names of the classes: a line each, or JSON (default: ImageNet's)")  # fmt: skip
    add("--preset", help="the library the weights come from (default: as their names say)")
    add("--preparation", "--preprocessing", metavar="NAME",
        help="a network that photographs are prepared for (default: this one)")  # fmt: skip
    add("--backend", choices=BACKENDS, help="default: the fastest there is")
    add("--threads", type=thread_number, metavar="N", help="default: all CPUs this process may use")
    add("--top", type=positive, default=5, metavar="K", help="default: %(default)s")
    add_json(parser, "a list, one object a photograph")


def run(args: argparse.Namespace) -> int:
    """Classify each photograph; 0 if all could be read, else 2."""
    given = weights_file(args.weights) if args.weights else None
    model = _named(given) if args.model is None else args.model
    name = resolve(model)[0]
    if unavailable("cython") and not args.backend:
        print("minigrad: the compiled core is missing, so this takes much longer than it could; "
              "minigrad doctor says more", file=sys.stderr)  # fmt: skip
    photos = expand(args.photos)
    with ExitStack() as stack:
        if args.backend:
            stack.enter_context(backend(args.backend))
        if args.threads:
            stack.enter_context(threads(args.threads))
        network = _load(model, given or installed_weights(name), args.preset)
        preparation = _preparation(args.preparation, network)
        labels = labels_for(_classes(network), args.labels, network.labels)
        call = _call(network, preparation, len(photos))
        batches = prepared(photos, preparation, num_threads())
        results = [
            _classify(one, call, labels, args.top)
            for one in progress(batches, "classifying", len(photos))
        ]
    if args.json:
        print_json(results)
    else:
        for result in results:
            _show(result, name)
    return 2 if any("error" in result for result in results) else 0


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


def _classify(one: Prepared, call: Call, labels: Sequence[str], k: int) -> dict[str, object]:
    photo, batch = one
    if isinstance(batch, Exception):
        return {"photo": str(photo), "error": sentence(batch)}
    start = time.perf_counter()
    logits = call(batch)[0]
    elapsed = time.perf_counter() - start
    return {
        "photo": str(photo),
        "top": _top(logits, labels, k),
        "time_ms": round(1e3 * elapsed, 3),
        "backend": current_backend(),
        "threads": num_threads(),
    }


def _top(logits: Logits, labels: Sequence[str], k: int) -> list[Best]:
    if not np.isfinite(logits).all():
        raise MinigradError("the network's output is not finite: are these its weights?")
    e = np.exp(logits.astype(np.float64) - np.max(logits))
    p = e / e.sum()
    best = np.argsort(-p, kind="stable")[:k]
    return [Best(index=int(i), label=labels[i], probability=float(p[i])) for i in best]


def _show(result: dict[str, object], name: str) -> None:
    if "error" in result:
        print(f"minigrad: {result['error']}", file=sys.stderr)
    else:
        print_lines(list(_table(result, name, width())))


def _table(result: dict[str, object], name: str, limit: int) -> Iterator[str]:
    yield printable(str(result["photo"]))
    yield (f"{name}, {result['time_ms']:.1f} ms ({result['backend']}, "
           f"threads: {result['threads']})")  # fmt: skip
    yield ""
    top = result["top"]
    assert isinstance(top, list)
    yield from fit(
        [
            Column("probability", [f"{best['probability']:.1%}" for best in top]),
            Column("", ["█" * round(20 * best["probability"]) for best in top], 1, right=False),
            Column("class", [printable(best["label"]) for best in top], right=False),
        ],
        limit,
    )
    yield ""
