"""``minigrad evaluate``: how often a network is right about a folder of photographs.

With --masks it names every pixel (``minigrad.cli.mask_scores``), with --annotations it finds
objects (``minigrad.cli.box_scores``).  Otherwise a photograph lies in a folder that is named by its
class.  Its rank is the number of classes whose logits are larger
than that of its own, so

    top-k = the share of photographs with a rank below k,    loss = mean of -ln p_label.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import NamedTuple

import numpy as np

from minigrad.cli.arguments import add_json, file_name
from minigrad.cli.box_scores import annotations_of, evaluate_boxes
from minigrad.cli.classifiers import Classifier, add_classifier, classifier
from minigrad.cli.mask_scores import evaluate_masks
from minigrad.cli.photographs import Prepared, prepared
from minigrad.cli.terminal import print_json, print_lines, printable, progress, sentence
from minigrad.cli.viewers import add_framing
from minigrad.columns import Column, fit, width
from minigrad.data import ImageFolder
from minigrad.errors import MinigradError
from minigrad.kernels import current_backend
from minigrad.threads import num_threads
from minigrad.training.evaluation import cross_entropies

__all__ = ["configure", "run"]

OF_CLASSES = ("plan", "preset", "preparation")  # what only a classifier has
OF_FRAMES = ("size", "mean", "std", "known")  # and what it has not
WHOLE = "a network that names a whole photograph"


class Answer(NamedTuple):
    """What the network said of one photograph."""

    label: int
    rank: int
    loss: float
    best: int


class Score(NamedTuple):
    """How often it was right, as shares from 0 to 1."""

    images: int
    top1: float
    top5: float
    loss: float

    @classmethod
    def of(cls, answers: Sequence[Answer]) -> Score:
        """The score of some photographs; NaN of none."""
        if not answers:
            return cls(0, np.nan, np.nan, np.nan)
        ranks = np.array([a.rank for a in answers])
        loss = float(np.mean([a.loss for a in answers]))
        return cls(len(answers), float((ranks < 1).mean()), float((ranks < 5).mean()), loss)


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    parser.add_argument(
        "folder", type=file_name, metavar="DIR",
        help="a folder of folders, each named by the label or the number of its class; "
             "with --masks or --annotations, of photographs; or one with PASCAL VOC's folders "
             "Annotations and JPEGImages",
    )  # fmt: skip
    add_classifier(parser)
    parser.add_argument(
        "--masks", type=file_name, metavar="DIR",
        help="a folder of PNG files with the photographs' names, whose pixels are the numbers of "
             "classes (255: not counted): evaluate a network that names pixels",
    )  # fmt: skip
    parser.add_argument(
        "--annotations", type=file_name, metavar="FILE",
        help="COCO's JSON, or a folder of PASCAL VOC's XML files, of the photographs' objects: "
             "evaluate a network that finds objects",
    )  # fmt: skip
    parser.add_argument(
        "--known",
        action="store_true",
        help="with --annotations: leave out the classes that the network does not know",
    )
    add_framing(parser)
    add_json(parser, "one object")


def run(args: argparse.Namespace) -> int:
    """Evaluate; 0 if all photographs could be read, else 2."""
    if not args.folder.is_dir():
        raise MinigradError(f"{args.folder}: there is no such folder")
    if args.masks is not None:
        _refuse(args, OF_CLASSES, f"{WHOLE}, and --masks is for one that names pixels")
        _refuse(args, ["known"], "--annotations")
        return evaluate_masks(args)
    if args.annotations is not None:
        _refuse(args, OF_CLASSES, f"{WHOLE}, and --annotations is for one that finds objects")
    if (annotated := annotations_of(args)) is not None:
        _refuse(args, OF_CLASSES, f"{WHOLE}, and the folder has annotations for one that finds "
                                  "objects")  # fmt: skip
        return evaluate_boxes(args, annotated)
    _refuse(args, OF_FRAMES, f"one that names pixels or finds objects, and {args.folder} has "
                             "neither masks nor annotations")  # fmt: skip
    photos = ImageFolder(args.folder)
    failed: list[tuple[Path, Exception]] = []
    with classifier(args, len(photos)) as network:
        classes = [class_of(name, network.labels) for name in photos.classes]
        truth = [classes[k] for k in photos.labels]
        batches = prepared(photos.paths, network.preparation, num_threads())
        shown = progress(batches, "evaluating", len(photos))
        start = time.perf_counter()
        answers = list(_answers(zip(shown, truth, strict=True), network, failed))
        seconds = time.perf_counter() - start
        how = {"model": network.name, "backend": current_backend(), "threads": num_threads()}
    if args.json:
        print_json(_as_dict(answers, network.labels, failed) | how)
    else:
        for _, error in failed:
            print(f"minigrad: {sentence(error)}", file=sys.stderr)
        head = "{model} ({backend}, threads: {threads})".format(**how)
        print_lines(list(_lines(head, answers, network.labels, seconds, width())))
    return 2 if failed else 0


def _refuse(args: argparse.Namespace, words: Sequence[str], owner: str) -> None:
    """Refuse arguments that the job would not look at."""
    for word in words:
        value = getattr(args, word)
        if value is not None and value is not False:
            raise MinigradError(f"--{word} is for {owner}")


def class_of(folder: str, labels: Sequence[str]) -> int:
    """The number of the class that a folder is named by.

    Parameters
    ----------
    folder : str
        A label, in any case and with ``_`` or ``-`` for spaces, or a number.
    labels : sequence of str

    Returns
    -------
    int

    Raises
    ------
    MinigradError
        If no class has that name, or several have.

    Examples
    --------
    >>> class_of("Espresso_Maker", ["cup", "espresso maker"]), class_of("0", ["cup"])
    (1, 0)
    """
    names = [_plain(label) for label in labels]
    found = [k for k, name in enumerate(names) if name == _plain(folder)]
    if len(found) == 1:
        return found[0]
    if found:
        listed = ", ".join(map(str, found))
        raise MinigradError(
            f"the folder {folder!r} names {len(found)} classes: call it {listed}, by its number"
        )
    if folder.isdecimal() and int(folder) < len(labels):
        return int(folder)
    near = get_close_matches(_plain(folder), names, 2)
    hint = f"; did you mean {' or '.join(map(repr, near))}?" if near else ""
    raise MinigradError(
        f"the folder {folder[:60]!r} is named by none of the network's {len(labels)} classes{hint} "
        "(--labels gives them names, and a number from 0 is right too)"
    )


def _plain(label: str) -> str:
    return " ".join(label.casefold().replace("_", " ").replace("-", " ").split())


def _answers(
    pairs: Iterable[tuple[Prepared, int]],
    network: Classifier,
    failed: list[tuple[Path, Exception]],
) -> Iterator[Answer]:
    for (photo, batch), label in pairs:
        if isinstance(batch, Exception):
            failed.append((photo, batch))
            continue
        z = network.call(batch)
        if not np.isfinite(z).all():
            raise MinigradError("the network's output is not finite: are these its weights?")
        rank = int((z[0] > z[0, label]).sum())
        yield Answer(
            label, rank, float(cross_entropies(z, np.array([label]))[0]), int(z[0].argmax())
        )


def _by_class(answers: Sequence[Answer]) -> dict[int, list[Answer]]:
    found: dict[int, list[Answer]] = {}
    for answer in answers:
        found.setdefault(answer.label, []).append(answer)
    return dict(sorted(found.items()))


def _mistaken(answers: Sequence[Answer]) -> tuple[int, int] | None:
    """The class that these photographs are most often taken for, and how often."""
    wrong = Counter(a.best for a in answers if a.rank > 0)
    return min(wrong.items(), key=lambda item: (-item[1], item[0])) if wrong else None


def _as_dict(
    answers: Sequence[Answer], labels: Sequence[str], failed: Sequence[tuple[Path, Exception]]
) -> dict[str, object]:
    classes = []
    for label, some in _by_class(answers).items():
        mistaken = _mistaken(some)
        classes.append(
            {"index": label, "label": labels[label]} | _shares(Score.of(some))
            | {"taken_for": labels[mistaken[0]] if mistaken else None}
        )  # fmt: skip
    unreadable = [{"photo": str(photo), "error": sentence(error)} for photo, error in failed]
    return _shares(Score.of(answers)) | {"classes": classes, "unreadable": unreadable}


def _shares(score: Score) -> dict[str, object]:
    """JSON has no NaN: what is a share of nothing is null."""
    return {k: None if v != v else v for k, v in score._asdict().items()}


def _lines(
    head: str, answers: Sequence[Answer], labels: Sequence[str], seconds: float, limit: int
) -> Iterator[str]:
    score, classes = Score.of(answers), _by_class(answers)
    yield f"{head}: {score.images} photographs of {len(classes)} classes in {seconds:.1f} s"
    if not answers:
        return
    yield f"top-1 {score.top1:.1%}, top-5 {score.top5:.1%}, loss {score.loss:.4f}"
    yield ""
    scores = [Score.of(some) for some in classes.values()]
    mistaken = [_mistaken(some) for some in classes.values()]
    taken = [f"{labels[m[0]]} ({m[1]})" if m else "" for m in mistaken]
    yield from fit(
        [
            Column("class", [printable(labels[k]) for k in classes], right=False),
            Column("photographs", [str(s.images) for s in scores]),
            Column("top-1", [f"{s.top1:.1%}" for s in scores]),
            Column("top-5", [f"{s.top5:.1%}" for s in scores]),
            Column("most often taken for", [printable(t) for t in taken], 1, right=False),
        ],
        limit,
    )
