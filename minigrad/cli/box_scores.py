"""``minigrad evaluate --annotations``: how well found objects agree with those that are there.

COCO's average precision of ``minigrad.vision.precision``, of all photographs and of each class.
Classes of the annotations are those of the network that have the same name.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from minigrad.cli.detect import detector, installed
from minigrad.cli.photographs import Framed, framed
from minigrad.cli.terminal import print_json, print_lines, printable, progress, sentence
from minigrad.cli.viewers import Viewer, viewer
from minigrad.columns import Column, fit, width
from minigrad.errors import MinigradError, listing
from minigrad.kernels import current_backend
from minigrad.models.detection import CATALOGUE, Detector
from minigrad.threads import num_threads
from minigrad.vision.annotated import Annotated, read_coco
from minigrad.vision.finding import Detection, found
from minigrad.vision.precision import Found, Precision, Truth, class_precisions, overall
from minigrad.vision.voc import read_voc

__all__ = ["annotations_of", "evaluate_boxes"]

VOC = ("Annotations", "JPEGImages")
Failed = list[tuple[Path, Exception]]


def annotations_of(args: argparse.Namespace) -> list[Annotated] | None:
    """The photographs with objects that the arguments name; None if they name none.

    Raises
    ------
    MinigradError, OSError
        If the annotations cannot be read.
    """
    annotations, photos = args.annotations, args.folder
    if annotations is None:
        annotations, photos = (args.folder / name for name in VOC)
        if not (annotations.is_dir() and photos.is_dir()):
            return None
    return read_voc(annotations, photos) if annotations.is_dir() else read_coco(annotations, photos)


def evaluate_boxes(args: argparse.Namespace, photos: Sequence[Annotated]) -> int:
    """Evaluate; 0 if all photographs could be read, else 2."""
    failed: Failed = []
    start = time.perf_counter()
    with viewer(args, CATALOGUE, installed) as network:
        model = detector(args, network)
        labels = network.named(model.num_classes)
        numbers = class_numbers(photos, labels, args.known)
        frames = framed([p.photo for p in photos], network.framing, num_threads())
        shown = progress(frames, "evaluating", len(photos))
        pairs = list(_pairs(zip(photos, shown, strict=True), network, model, numbers, failed))
        how = {"model": network.name, "backend": current_backend(), "threads": num_threads()}
    classes = class_precisions([t for t, _ in pairs], [f for _, f in pairs])
    objects = {k: sum(int((t.labels == k).sum()) for t, _ in pairs) for k in classes}
    score = overall(list(classes.values()))
    if args.json:
        rows = [
            {"index": k, "label": labels[k], "objects": objects[k]} | _numbers(classes[k])
            for k in classes
        ]
        unreadable = [{"photo": str(p), "error": sentence(error)} for p, error in failed]
        print_json(_numbers(score) | {"classes": rows, "unreadable": unreadable}
                   | {"images": len(pairs)} | how)  # fmt: skip
    else:
        for _, error in failed:
            print(f"minigrad: {sentence(error)}", file=sys.stderr)
        head = "{model} ({backend}, threads: {threads})".format(**how)
        print(f"{head}: {len(pairs)} photographs in {time.perf_counter() - start:.1f} s")
        print_lines(list(_lines(score, classes, objects, labels, width())))
    return 2 if failed else 0


def class_numbers(
    photos: Sequence[Annotated], labels: Sequence[str], known: bool
) -> dict[str, int]:
    """The network's number of each class that objects have.

    Parameters
    ----------
    photos : sequence of Annotated
    labels : sequence of str
        The network's classes, the background first.
    known : bool
        Leave out the classes that the network does not know.

    Returns
    -------
    dict of str to int

    Raises
    ------
    MinigradError
        If the network knows none of them, or not all of them and ``known`` is False.
    """
    numbers = {_plain(label): k for k, label in enumerate(labels) if k}
    names = sorted({thing.name for photo in photos for thing in photo.things})
    made = {name: numbers[_plain(name)] for name in names if _plain(name) in numbers}
    strange = [name for name in names if name not in made]
    if names and not made:
        raise MinigradError(
            f"none of the annotations' classes ({listing(names)}) is one of the network's "
            f"({listing(labels[1:])}): give its names with --labels"
        )
    if strange and not known:
        raise MinigradError(
            f"{len(strange)} of the annotations' {len(names)} classes ({listing(strange)}) are "
            "none of the network's: give its names with --labels, or leave these out with --known"
        )
    return made


def _plain(label: str) -> str:
    """COCO's "dining table" is VOC's "diningtable"."""
    return "".join(c for c in label.casefold() if c.isalnum())


def _pairs(
    photos: Iterable[tuple[Annotated, Framed]],
    network: Viewer,
    model: Detector,
    numbers: Mapping[str, int],
    failed: Failed,
) -> Iterator[tuple[Truth, Found]]:
    """The objects of each photograph that can be read, and what the network finds there."""
    for annotated, (photo, seen) in photos:
        if isinstance(seen, Exception):
            failed.append((photo, seen))
            continue
        output = network.call(seen.x)[0]
        if not np.isfinite(output).all():
            raise MinigradError("the network's output is not finite: are these its weights?")
        yield annotated.truth(numbers), _told(found(model, output, seen, 0.0))


def _told(objects: Sequence[Detection]) -> Found:
    corners = np.array([d[2:6] for d in objects], np.float64).reshape(-1, 4)
    corners[:, 2:] -= corners[:, :2]
    return Found(
        corners,
        np.array([d.category for d in objects], np.int64),
        np.array([d.score for d in objects], np.float64),
    )


def _numbers(score: Precision) -> dict[str, float | None]:
    """JSON has no NaN: what is a mean of nothing is null."""
    return {k: None if v != v else v for k, v in score._asdict().items()}


def _lines(
    score: Precision,
    classes: Mapping[int, Precision],
    objects: Mapping[int, int],
    labels: Sequence[str],
    limit: int,
) -> Iterator[str]:
    if not classes:
        yield "there is no object of the network's classes in them"
        return
    yield f"AP {_share(score.ap)}, AP50 {_share(score.ap50)}, AP75 {_share(score.ap75)}"
    yield (f"small {_share(score.small)}, medium {_share(score.medium)}, "
           f"large {_share(score.large)}, recall {_share(score.recall)}")  # fmt: skip
    yield ""
    yield from fit(
        [
            Column("class", [printable(labels[k]) for k in classes], right=False),
            Column("objects", [f"{objects[k]:,}" for k in classes]),
            Column("AP", [_share(c.ap) for c in classes.values()]),
            Column("AP50", [_share(c.ap50) for c in classes.values()]),
            Column("AP75", [_share(c.ap75) for c in classes.values()]),
        ],
        limit,
    )


def _share(value: float) -> str:
    return "-" if value != value else f"{value:.1%}"
