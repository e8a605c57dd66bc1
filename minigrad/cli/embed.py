"""``minigrad embed``: what a network sees in photographs, as vectors.

The vector of a photograph is what the network's classifier reads (``Plan.features``).  They are
written to an .npz file, which ``numpy.load`` reads:

    names     (N,)     the path of each photograph, as text
    vectors   (N, C)   float32
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from minigrad.cli.arguments import add_json, add_output, file_name
from minigrad.cli.classifiers import add_network, embedder
from minigrad.cli.files import check_output
from minigrad.cli.photographs import Prepared, expand, prepared
from minigrad.cli.planned import Batch, Planned
from minigrad.cli.terminal import print_json, printable, progress, sentence
from minigrad.errors import MinigradError
from minigrad.formats.writing import replacing
from minigrad.threads import num_threads, threads

__all__ = ["configure", "run"]


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    add = parser.add_argument
    add("photos", nargs="+", type=file_name, metavar="FOLDER", help="or a photograph")
    add("-o", "--out", type=file_name, metavar="OUT.npz", required=True, help="the file to write")
    add_network(parser)
    add_output(parser)
    add_json(parser, "one object")


def run(args: argparse.Namespace) -> int:
    """Write the vectors; 0 if all photographs could be read, else 2."""
    check_output(args.out, (".npz",), args.force)
    photos = expand(args.photos)
    failed: list[tuple[Path, Exception]] = []
    with threads(args.threads or num_threads()):
        network = embedder(args, 1 if len(photos) > 1 else num_threads())
        batches = prepared(photos, network.preparation, num_threads())
        made = [*_vectors(progress(batches, "embedding", len(photos)), network, failed)]
    for _, error in failed:
        print(f"minigrad: {sentence(error)}", file=sys.stderr)
    if not made:
        raise MinigradError("no photograph could be read, so there are no vectors")
    vectors = np.concatenate([vector for _, vector in made])
    with replacing(args.out) as file:
        np.savez(file, names=np.array([str(photo) for photo, _ in made]), vectors=vectors)
    _tell(args, network.plan.name, vectors.shape, failed)
    return 2 if failed else 0


def _vectors(
    batches: Iterable[Prepared], network: Planned, failed: list[tuple[Path, Exception]]
) -> Iterator[tuple[Path, Batch]]:
    """(photograph, its vector of shape (1, C)) of those that can be read."""
    for photo, batch in batches:
        if isinstance(batch, Exception):
            failed.append((photo, batch))
        else:
            yield photo, network.features(batch).astype(np.float32, copy=False)


def _tell(
    args: argparse.Namespace,
    name: str,
    shape: tuple[int, ...],
    failed: list[tuple[Path, Exception]],
) -> None:
    """What was written."""
    if args.json:
        unreadable = [{"photo": str(photo), "error": sentence(error)} for photo, error in failed]
        print_json({"model": name, "out": str(args.out), "shape": shape, "unreadable": unreadable})
    else:
        print(f"wrote {printable(str(args.out))}: {shape[0]} vectors of {shape[1]} from {name}")
