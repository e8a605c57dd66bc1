"""``minigrad evaluate --masks``: how well the pixels that a network names agree with masks.

The mIoU and the pixel accuracy of ``minigrad.vision.agreement``, of all photographs together.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from minigrad.cli.photographs import Framed, expand, framed
from minigrad.cli.segment import named_pixels, no_weights
from minigrad.cli.terminal import print_json, print_lines, printable, progress, sentence
from minigrad.cli.viewers import Viewer, viewer
from minigrad.columns import Column, fit, width
from minigrad.errors import FormatError, MinigradError, ShapeError
from minigrad.kernels import current_backend
from minigrad.models.segmentation import CATALOGUE
from minigrad.threads import num_threads
from minigrad.vision.agreement import Agreement, Confusion
from minigrad.vision.photos import open_photo

__all__ = ["evaluate_masks", "read_mask"]


def evaluate_masks(args: argparse.Namespace) -> int:
    """Evaluate; 0 if all photographs and masks could be read, else 2."""
    photos = expand([args.folder])
    failed: list[tuple[Path, Exception]] = []
    start = time.perf_counter()
    with viewer(args, CATALOGUE, no_weights) as network:
        frames = framed(photos, network.framing, num_threads())
        shown = progress(frames, "evaluating", len(photos))
        confusion, names = _confusion(shown, network, args.masks, failed)
        how = {"model": network.name, "backend": current_backend(), "threads": num_threads()}
    agreement, counted = confusion.agreement(), len(photos) - len(failed)
    if args.json:
        print_json(_as_dict(agreement, confusion, names, failed) | {"images": counted} | how)
    else:
        for _, error in failed:
            print(f"minigrad: {sentence(error)}", file=sys.stderr)
        head = "{model} ({backend}, threads: {threads})".format(**how)
        seconds = time.perf_counter() - start
        print(f"{head}: {counted} photographs in {seconds:.1f} s")
        print_lines(list(_lines(agreement, confusion, names, width())))
    return 2 if failed else 0


def _confusion(
    frames: Iterator[Framed],
    network: Viewer,
    masks: Path,
    failed: list[tuple[Path, Exception]],
) -> tuple[Confusion, Sequence[str]]:
    """The counts of all photographs that have a readable mask."""
    confusion, names = Confusion(0), network.labels
    for photo, seen in frames:
        if isinstance(seen, Exception):
            failed.append((photo, seen))
            continue
        labels, classes = named_pixels(network, seen)
        if not confusion.num_classes:
            confusion, names = Confusion(classes), network.named(classes)
        try:
            confusion.add(labels, read_mask(masks / f"{photo.stem}.png"))
        except ShapeError as error:
            failed.append((photo, FormatError(f"{photo}: {error}")))
        except (MinigradError, OSError) as error:
            failed.append((photo, error))
    return confusion, names


def read_mask(file: Path) -> npt.NDArray[np.integer]:
    """The numbers of classes in a mask: the pixels of a palette or of grey, as they are stored.

    Raises
    ------
    FormatError
        If the file is no such picture.
    OSError
        If it cannot be opened.
    """
    with open_photo(file) as opened:
        if opened.image.mode not in ("P", "L"):
            raise FormatError("a mask must have a palette or be grey, with 8 bits a pixel")
        return np.array(opened.image)


def _as_dict(
    agreement: Agreement,
    confusion: Confusion,
    names: Sequence[str],
    failed: Sequence[tuple[Path, Exception]],
) -> dict[str, object]:
    """JSON has no NaN: what is a share of nothing is null."""
    pixels = confusion.counts.sum(1).tolist()
    classes = [
        {"index": k, "label": names[k], "pixels": pixels[k], "iou": _share(iou)}
        for k, iou in enumerate(agreement.iou.tolist())
    ]
    return {
        "mean_iou": _share(agreement.mean_iou),
        "pixel_accuracy": _share(agreement.pixel_accuracy),
        "classes": classes,
        "unreadable": [{"photo": str(p), "error": sentence(error)} for p, error in failed],
    }


def _share(value: float) -> float | None:
    return None if value != value else value


def _lines(
    agreement: Agreement, confusion: Confusion, names: Sequence[str], limit: int
) -> Iterator[str]:
    if not confusion.counts.any():
        return
    yield f"mIoU {agreement.mean_iou:.1%}, pixel accuracy {agreement.pixel_accuracy:.1%}"
    yield ""
    seen = [k for k, iou in enumerate(agreement.iou.tolist()) if iou == iou]
    yield from fit(
        [
            Column("class", [printable(names[k]) for k in seen], right=False),
            Column("pixels", [f"{n:,}" for n in confusion.counts.sum(1)[seen].tolist()]),
            Column("IoU", [f"{iou:.1%}" for iou in agreement.iou[seen].tolist()]),
        ],
        limit,
    )
