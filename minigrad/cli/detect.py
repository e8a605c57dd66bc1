"""``minigrad detect``: the objects in a photograph, their boxes in its pixels."""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import ImageDraw

from minigrad.cli.answers import Answer, say
from minigrad.cli.numbers import finite
from minigrad.cli.packages import PACKAGES, installed_weights
from minigrad.cli.photographs import Framed, expand, framed
from minigrad.cli.terminal import printable, progress, sentence
from minigrad.cli.viewers import Installed, Viewer, add_viewer, check_pictures, viewer
from minigrad.columns import Column, fit
from minigrad.errors import MinigradError
from minigrad.formats.writing import write_bytes
from minigrad.kernels import current_backend
from minigrad.models.detection import CATALOGUE, Detector
from minigrad.threads import num_threads
from minigrad.vision import read_photo
from minigrad.vision.finding import Detection, found
from minigrad.vision.pictures import colour, draw_box, png

__all__ = ["configure", "detector", "installed", "run"]

MODEL = "ssdlite_mobilenet_v2"  # whose weights a package carries
PHOTO = "astronaut.jpg"
ENDING = ".boxes.png"


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    add_viewer(parser, CATALOGUE)
    parser.add_argument("--threshold", type=finite, default=0.5, metavar="P",
                        help="objects must score more; default: %(default)s")  # fmt: skip


def run(args: argparse.Namespace) -> int:
    """Find the objects of each photograph; 0 if all could be read, else 2."""
    if not 0 <= args.threshold <= 1:
        raise MinigradError(f"--threshold is from 0 to 1, not {args.threshold:g}")
    photos = expand(args.photos, PHOTO)
    check_pictures(photos, args, ENDING)
    with viewer(args, CATALOGUE, installed) as network:
        model = detector(args, network)
        frames = progress(framed(photos, network.framing, num_threads()), "looking", len(photos))
        results = [_detect(one, network, model, args) for one in frames]
    return say(results, network.name, _table, as_json=args.json)


def detector(args: argparse.Namespace, network: Viewer) -> Detector:
    """The network, if it is one that finds objects.

    Raises
    ------
    MinigradError
        If it is that of a file.
    """
    if isinstance(network.model, Detector):
        return network.model
    raise MinigradError(
        f"{args.weights}: nothing says what the numbers of this file's network mean; "
        "minigrad run writes them as they are"
    )


def installed(name: str | None) -> Installed:
    """The weights that an installed package has for a network.

    Raises
    ------
    MinigradError
        If there are none; it says what to do.
    """
    chosen = MODEL if name is None else name
    CATALOGUE.entry(chosen)
    labels = next((p.labels for p in PACKAGES if p.network == chosen), ())
    return Installed(chosen, installed_weights(chosen), labels)


def _detect(one: Framed, network: Viewer, model: Detector, args: argparse.Namespace) -> Answer:
    photo, seen = one
    if isinstance(seen, Exception):
        return {"photo": str(photo), "error": sentence(seen)}
    start = time.perf_counter()
    output = network.call(seen.x)[0]
    if not np.isfinite(output).all():
        raise MinigradError("the network's output is not finite: are these its weights?")
    names = network.named(model.num_classes)
    objects = [
        d._replace(label=names[d.category]) for d in found(model, output, seen, args.threshold)
    ]
    elapsed = time.perf_counter() - start
    return {
        "photo": str(photo),
        "size": list(seen.photo),
        "objects": [d._asdict() for d in objects],
        "time_ms": round(1e3 * elapsed, 3),
        "backend": current_backend(),
        "threads": num_threads(),
        "files": [] if args.draw is None else [_draw(photo, objects, args.draw)],
    }


def _draw(photo: Path, objects: Sequence[Detection], folder: Path) -> str:
    folder.mkdir(parents=True, exist_ok=True)
    picture = read_photo(photo)
    draw = ImageDraw.Draw(picture)
    for d in reversed(objects):  # the best ones on top
        box = (d.left, d.top, d.right, d.bottom)
        draw_box(draw, picture.size, box, f"{d.label} {d.score:.0%}", colour(d.category))
    file = folder / f"{photo.stem}{ENDING}"
    write_bytes(file, png(picture))
    return str(file)


def _table(result: Answer, limit: int) -> Iterator[str]:
    objects, files = result["objects"], result["files"]
    assert isinstance(objects, list)
    assert isinstance(files, list)
    if objects:
        yield from fit(
            [
                Column("score", [f"{d['score']:.1%}" for d in objects]),
                *(Column(side, [f"{d[side]:.0f}" for d in objects])
                  for side in ("left", "top", "right", "bottom")),
                Column("object", [printable(d["label"]) for d in objects], right=False),
            ],
            limit,
        )  # fmt: skip
    else:
        yield "no object scores more than the threshold"
    yield ""
    yield from (f"wrote {printable(file)}" for file in files)
