"""``minigrad classify``: what is in a photograph.

The network gives logits z of K classes; what is printed is

    p_k = exp(z_k - max z) / sum_j exp(z_j - max z)        (in float64)

for the k of the largest.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Sequence
from typing import TypedDict

import numpy as np

from minigrad.cli.answers import Answer, say
from minigrad.cli.arguments import add_json, file_name
from minigrad.cli.classifiers import Classifier, Logits, add_classifier, classifier
from minigrad.cli.numbers import positive
from minigrad.cli.photographs import Prepared, expand, prepared
from minigrad.cli.terminal import printable, progress, sentence
from minigrad.columns import Column, fit
from minigrad.errors import MinigradError
from minigrad.kernels import current_backend
from minigrad.threads import num_threads

__all__ = ["configure", "run"]


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
    add_classifier(parser)
    add("--top", type=positive, default=5, metavar="K", help="default: %(default)s")
    add_json(parser, "a list, one object a photograph")


def run(args: argparse.Namespace) -> int:
    """Classify each photograph; 0 if all could be read, else 2."""
    photos = expand(args.photos)
    with classifier(args, len(photos)) as network:
        batches = prepared(photos, network.preparation, num_threads())
        results = [
            _classify(one, network, args.top)
            for one in progress(batches, "classifying", len(photos))
        ]
    return say(results, network.name, _table, as_json=args.json)


def _classify(one: Prepared, network: Classifier, k: int) -> Answer:
    photo, batch = one
    if isinstance(batch, Exception):
        return {"photo": str(photo), "error": sentence(batch)}
    start = time.perf_counter()
    logits = network.call(batch)[0]
    elapsed = time.perf_counter() - start
    return {
        "photo": str(photo),
        "top": _top(logits, network.labels, k),
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


def _table(result: Answer, limit: int) -> Iterator[str]:
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
