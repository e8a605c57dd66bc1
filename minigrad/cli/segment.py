"""``minigrad segment``: what each pixel of a photograph shows.

The network gives logits for every place; a pixel has the class of the largest (see
``minigrad.vision.naming``).  What is printed of a class is its share of the pixels.  With neither
photographs nor weights, a small network of ours names the shapes of a drawn picture.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TypedDict

import numpy as np

from minigrad.cli.answers import Answer, say
from minigrad.cli.photographs import Framed, bundled, expand, framed
from minigrad.cli.terminal import printable, progress, sentence
from minigrad.cli.viewers import Installed, Viewer, add_viewer, check_pictures, viewer
from minigrad.columns import Column, fit
from minigrad.errors import MinigradError
from minigrad.formats.writing import write_bytes
from minigrad.kernels import current_backend
from minigrad.models.segmentation import CATALOGUE
from minigrad.threads import num_threads
from minigrad.vision import read_photo
from minigrad.vision.frames import Frame
from minigrad.vision.naming import Labels, label_map
from minigrad.vision.pictures import overlay, palette_picture, png

__all__ = ["configure", "named_pixels", "no_weights", "png", "run"]

ENDINGS = (".mask.png", ".overlay.png")
SMALL = "lraspp_inverted_residual_small"  # whose weights come with minigrad
SHOWN = ("minigrad: a drawn picture, and a small network of ours that knows discs, squares and "
         "triangles; for photographs give a file with --weights")  # fmt: skip


class Share(TypedDict):
    """How much of a photograph is of a class."""

    index: int
    label: str
    pixels: int
    share: float


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    add_viewer(parser, CATALOGUE)


def run(args: argparse.Namespace) -> int:
    """Name the pixels of each photograph; 0 if all could be read, else 2."""
    shows = not args.photos and args.weights is None and args.model in (None, SMALL)
    photos = [bundled("shapes.png")] if shows else expand(args.photos)
    check_pictures(photos, args, *ENDINGS)
    if shows:
        print(SHOWN, file=sys.stderr)
    with viewer(args, CATALOGUE, _shapes if shows else no_weights) as network:
        frames = progress(framed(photos, network.framing, num_threads()), "naming", len(photos))
        results = [_segment(one, network, args.draw) for one in frames]
    return say(results, network.name, _table, as_json=args.json)


def _shapes(name: str | None) -> Installed:
    return Installed(SMALL, bundled("shapes.safetensors"))


def no_weights(name: str | None) -> Installed:
    """The small network, where its name is given; else say that weights must be given."""
    if name == SMALL:
        return _shapes(name)
    raise MinigradError(
        f"no package is known to carry weights for {name or 'segmentation'}: give a file with "
        "--weights, such as torchvision's lraspp_mobilenet_v3_large or a DeepLabV3 .tflite"
    )


def _segment(one: Framed, network: Viewer, folder: Path | None) -> Answer:
    photo, seen = one
    if isinstance(seen, Exception):
        return {"photo": str(photo), "error": sentence(seen)}
    start = time.perf_counter()
    labels, classes = named_pixels(network, seen)
    elapsed = time.perf_counter() - start
    names = network.named(classes)
    return {
        "photo": str(photo),
        "size": list(seen.photo),
        "classes": _shares(labels, names),
        "time_ms": round(1e3 * elapsed, 3),
        "backend": current_backend(),
        "threads": num_threads(),
        "files": [] if folder is None else _draw(photo, labels, names, folder),
    }


def named_pixels(network: Viewer, seen: Frame) -> tuple[Labels, int]:
    """The class of each pixel of the photograph, and how many classes there are.

    Raises
    ------
    MinigradError
        If the network's output is not finite.
    """
    logits = network.call(seen.x)[0]
    if not np.isfinite(logits).all():
        raise MinigradError("the network's output is not finite: are these its weights?")
    return label_map(logits, seen), max(2, logits.shape[1])


def _shares(labels: Labels, names: Sequence[str]) -> list[Share]:
    """The classes that there are, the largest first."""
    counts = np.bincount(labels.ravel(), minlength=len(names))
    order: list[int] = np.argsort(-counts, kind="stable").tolist()
    return [
        Share(index=k, label=names[k], pixels=int(counts[k]), share=float(counts[k] / labels.size))
        for k in order
        if counts[k]
    ]


def _draw(photo: Path, labels: Labels, names: Sequence[str], folder: Path) -> list[str]:
    folder.mkdir(parents=True, exist_ok=True)
    pictures = (palette_picture(labels), overlay(read_photo(photo), labels, names))
    files = [folder / f"{photo.stem}{ending}" for ending in ENDINGS]
    for file, picture in zip(files, pictures, strict=True):
        write_bytes(file, png(picture))
    return [str(file) for file in files]


def _table(result: Answer, limit: int) -> Iterator[str]:
    classes, files = result["classes"], result["files"]
    assert isinstance(classes, list)
    assert isinstance(files, list)
    yield from fit(
        [
            Column("share", [f"{c['share']:.1%}" for c in classes]),
            Column("", ["█" * round(20 * c["share"]) for c in classes], 1, right=False),
            Column("class", [printable(c["label"]) for c in classes], right=False),
        ],
        limit,
    )
    yield ""
    yield from (f"wrote {printable(file)}" for file in files)
