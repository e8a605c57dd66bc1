"""``minigrad train``: a network learns from a folder of pictures.

What it writes to ``--out``:

    model.safetensors     the weights of the best epoch; they know their network, classes and
                          preparation, so ``minigrad classify --weights`` needs nothing else
    run.safetensors       all that a step changes: ``--resume`` goes on to the same bits
    arguments.json        how the run was started
    metrics.jsonl         a line an epoch
    curves.svg, .png      loss and accuracy
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path

import numpy as np

from minigrad import formats
from minigrad.cli.arguments import add_json, file_name
from minigrad.cli.numbers import integer, number, positive
from minigrad.cli.numbers import threads as thread_number
from minigrad.cli.terminal import print_json, print_lines
from minigrad.cli.training_data import (
    LARGEST_SHIFT,
    SHIFT,
    SMALL,
    evaluated,
    read_parts,
    shift_at,
    varied,
)
from minigrad.cli.training_setup import (
    OPTIMIZERS,
    WARMUP,
    WEIGHT_DECAY,
    frozen_parts,
    make_network,
    make_run,
)
from minigrad.columns import Column, fit, width
from minigrad.data import Loader
from minigrad.errors import MinigradError
from minigrad.formats.writing import write_bytes, write_text
from minigrad.optim import RECIPES
from minigrad.threads import threads
from minigrad.training import (
    EpochRecord,
    Evaluation,
    Interrupted,
    Progress,
    Run,
    Settings,
    curves_png,
    curves_svg,
    evaluate_run,
)
from minigrad.training import fit as train

__all__ = ["configure", "run"]

RUN = "run.safetensors"
SHOWN_CLASSES = 12


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the command."""
    add = parser.add_argument
    add("--model", default="inverted_residual_small", help="default: %(default)s")
    add(
        "--data",
        type=file_name,
        metavar="DIR",
        help="class folders of photographs, such folders in train/ and validation/, or IDX files",
    )
    add("--out", type=file_name, metavar="DIR", default=Path("training"), help="default: training")
    add("--resume", type=file_name, metavar="DIR", help="go on with the run in this folder")
    add(
        "--weights",
        type=file_name,
        metavar="FILE",
        help="begin with these, or with an installed package's for this network; the classifier "
        "is new unless its classes are the same",
    )
    add(
        "--freeze",
        action="append",
        default=[],
        metavar="PART",
        help="'features' (all but the classifier), 'norms' (every batch norm) or a module such as "
        "blocks.0; may be repeated",
    )
    _configure_learning(parser)
    add("--size", type=positive, metavar="N", help="pixels a side (default: the network's)")
    add("--shift", type=integer(0, LARGEST_SHIFT), metavar="PIXELS",
        help=f"by how much pictures of at most {SMALL} pixels a side are moved, 0 to "
        f"{LARGEST_SHIFT} (default: {SHIFT})")  # fmt: skip
    add("--no-flip", action="store_true", help="do not mirror pictures: digits and letters")
    add("--seed", type=integer(0), default=0, metavar="N", help="default: 0")
    add("--eager", action="store_true", help="do not record the step for the batches' shape")
    add("--recompute", action="store_true", help="less memory in the recorded step, more time")
    add("--workers", type=positive, default=1, metavar="N", help="threads that prepare batches")
    add("--threads", type=thread_number, metavar="N", help="default: all CPUs this process may use")
    add_json(parser, "the last epoch, accuracy and confusion as JSON")


def _configure_learning(parser: argparse.ArgumentParser) -> None:
    """The arguments that say how the weights change."""
    add = parser.add_argument
    add("--epochs", type=positive, default=10, metavar="N", help="default: %(default)s")
    add("--batch", type=positive, default=64, metavar="N", help="default: %(default)s")
    add("--accumulate", type=positive, default=1, metavar="N", help="batches an update")
    add("--optimizer", choices=tuple(OPTIMIZERS), default="sgd", help="default: %(default)s")
    add("--recipe", choices=tuple(RECIPES), metavar="NAME",
        help=f"a published optimiser and schedule instead: {', '.join(RECIPES)}")  # fmt: skip
    add("--learning-rate", type=number(), metavar="RATE",
        help="default: by the optimiser and the batch")  # fmt: skip
    add(
        "--weight-decay",
        type=number(),
        default=WEIGHT_DECAY,
        metavar="FACTOR",
        help="default: %(default)s",
    )
    add(
        "--layer-decay",
        type=number(),
        default=1.0,
        metavar="FACTOR",
        help="of the rate from a layer to the one before it (default: 1)",
    )
    add("--warmup", type=number(), default=WARMUP, metavar="EPOCHS", help="default: %(default)s")
    add(
        "--label-smoothing",
        type=number(most=1),
        default=0.0,
        metavar="SHARE",
        help="default: 0, none",
    )
    add("--mixup", type=number(), default=0.0, metavar="ALPHA", help="default: 0, none")
    add("--clip", type=number(), default=0.0, metavar="NORM", help="default: 0, none")
    add(
        "--average",
        type=number(below=1),
        default=0.0,
        metavar="DECAY",
        help="evaluate a moving average of the weights, such as 0.999 (default: none)",
    )


def run(args: argparse.Namespace) -> int:
    """Train; 0 when done, 2 for what the user can put right."""
    out = args.resume or args.out
    options = _stored(out) if args.resume else _options(args)
    if not options["data"]:
        raise MinigradError("train: say with --data which pictures to learn from")
    with ExitStack() as stack:
        if args.threads:
            stack.enter_context(threads(args.threads))
        return _Training(out, options, bool(args.resume), args.json).start()


class _Training:
    """One call of the command: everything that its parts share."""

    def __init__(self, out: Path, options: dict[str, object], resumed: bool, as_json: bool) -> None:
        self.out, self.options, self.as_json = out, argparse.Namespace(**options), as_json
        self.parts = read_parts(Path(self.options.data))
        self.network = make_network(self.options, self.parts)
        preparation = self.network.preparation
        assert preparation is not None
        moved = shift_at(preparation.size, self.options.shift)
        seed, batch = self.options.seed, self.options.batch
        self.loader = Loader(
            self.parts.training, batch, varied(preparation, moved, not self.options.no_flip),
            shuffle=True, seed=seed, workers=self.options.workers,
            drop_last=len(self.parts.training) > batch,
        )  # fmt: skip
        self.validation = Loader(
            self.parts.validation, batch, evaluated(preparation), workers=self.options.workers
        )
        self.run = make_run(self.network, self.options, len(self.loader))
        if not resumed:
            (out / RUN).unlink(missing_ok=True)  # an old run's: not to be gone on with
        elif (out / RUN).exists():  # otherwise it was stopped in its first epoch, and begins anew
            self.run.load(out / RUN)
        self.started = time.perf_counter()
        self.last: Evaluation | None = None

    def start(self) -> int:
        """Train, and say how it ended."""
        self.out.mkdir(parents=True, exist_ok=True)
        write_text(self.out / "arguments.json", json.dumps(vars(self.options), indent=1) + "\n")
        if not self.as_json:
            print_lines(self._about())
        frozen = tuple(frozen_parts(self.network, self.options.freeze))
        settings = Settings(
            self.options.epochs, self.options.label_smoothing, self.options.mixup,
            self.options.clip, self.options.accumulate, frozen,
            not self.options.eager, self.options.recompute,
        )  # fmt: skip
        try:
            train(self.run, self.loader, settings, validation=self.validation, save=self._save,
                  on_step=_bar, on_epoch=self._epoch)  # fmt: skip
        except Interrupted:
            _clear_bar()
            print(f"stopped and saved; `minigrad train --resume {self.out}` goes on",
                  file=sys.stderr)  # fmt: skip
            raise
        self._report()
        return 0

    def _about(self) -> list[str]:
        parameters = sum(p.size for p in self.network.parameters() if p.requires_grad)
        classes = len(self.parts.training.classes)
        return [
            f"{self.network.name}: {parameters:,} parameters to train, {classes} classes, "
            f"{len(self.parts.training):,} pictures, {len(self.parts.validation):,} for validation"
        ]

    def _save(self, run: Run) -> None:
        run.save(self.out / RUN)

    def _epoch(self, record: EpochRecord, found: Evaluation | None) -> None:
        _clear_bar()
        self.last = found
        history = self.run.history
        write_text(
            self.out / "metrics.jsonl", "".join(json.dumps(asdict(r)) + "\n" for r in history)
        )
        write_text(self.out / "curves.svg", curves_svg(history))
        write_bytes(self.out / "curves.png", curves_png(history))
        if record is _best(history):
            self._save_model()
        if not self.as_json:
            print(self._line(record), flush=True)

    def _save_model(self) -> None:
        path = self.out / "model.safetensors"
        if self.run.average is None:
            formats.save(path, self.network.state_dict())
            return
        with self.run.average.in_use() as model:
            formats.save(path, model.state_dict())

    def _line(self, record: EpochRecord) -> str:
        done = len(self.run.history)
        seconds = time.perf_counter() - self.started
        return (
            f"epoch {record.epoch:3}/{self.options.epochs}   loss {record.loss:.4f}   "
            f"accuracy {record.accuracy:6.1%}   validation {record.val_loss:.4f} "
            f"{record.val_accuracy:6.1%}   {seconds / max(done, 1):.0f} s an epoch"
        )

    def _report(self) -> None:
        best = _best(self.run.history)
        path = self.out / "model.safetensors"
        last = self.last
        if last is None:  # resumed after its end
            last = evaluate_run(self.run, self.validation, compiles=True)
        if self.as_json:
            print_json({"best": asdict(best), "last": asdict(self.run.history[-1]),
                        "classes": list(self.parts.training.classes),
                        "confusion": last.confusion.tolist(), "model": str(path)})  # fmt: skip
            return
        print(f"\nbest: epoch {best.epoch}, {best.val_accuracy:.1%} of the validation pictures")
        print_lines(_confusion(last, self.parts.training.classes))
        print(f"wrote {path}; name photographs with")
        print(f"  minigrad classify --weights {path} PHOTO")


def _best(history: Sequence[EpochRecord]) -> EpochRecord:
    """The epoch whose weights are written: most right in validation, then the smallest loss."""
    return max(history, key=lambda r: (r.val_accuracy or 0.0, -(r.val_loss or 0.0)))


def _options(args: argparse.Namespace) -> dict[str, object]:
    """The arguments that make the run what it is, as JSON can hold them."""
    left_out = ("run", "resume", "out", "threads", "json")
    return {
        k: str(v) if isinstance(v, Path) else v for k, v in vars(args).items() if k not in left_out
    }


def _stored(folder: Path) -> dict[str, object]:
    path = folder / "arguments.json"
    try:
        options = json.loads(path.read_text("utf-8"))
        known = set(_options(_defaults()))
    except (ValueError, RecursionError):
        raise MinigradError(f"{path}: this is not what a training run wrote") from None
    if not isinstance(options, dict) or set(options) != known:
        raise MinigradError(f"{path}: these are not the arguments of a training run")
    return options


def _defaults() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    configure(parser)
    return parser.parse_args([])


def _bar(progress: Progress) -> None:
    """One line on stderr that is written over, if that is a terminal."""
    if sys.stderr.isatty():
        left = f"{progress.seconds_left / 60:.0f} min" if progress.seconds_left >= 90 else (
            f"{progress.seconds_left:.0f} s")  # fmt: skip
        print(
            f"\repoch {progress.epoch + 1}  {progress.step}/{progress.steps}  "
            f"loss {progress.loss:.3f}  {progress.accuracy:.1%}  "
            f"{progress.images_per_second:.0f} pictures/s  {left} left ",
            end="", file=sys.stderr, flush=True,
        )  # fmt: skip


def _clear_bar() -> None:
    if sys.stderr.isatty():
        print("\r\x1b[K", end="", file=sys.stderr, flush=True)


def _confusion(found: Evaluation, classes: tuple[str, ...]) -> list[str]:
    """The table of labels and answers; of many classes, the pairs mistaken most often."""
    if len(classes) > SHOWN_CLASSES:
        wrong = found.confusion - np.diag(np.diag(found.confusion))
        order = np.argsort(-wrong, axis=None, kind="stable")[:SHOWN_CLASSES]
        pairs = [divmod(int(k), len(classes)) for k in order if wrong.flat[k]]
        columns = [
            Column("label", [classes[i] for i, _ in pairs], right=False),
            Column("taken for", [classes[j] for _, j in pairs], right=False),
            Column("times", [str(wrong[pair]) for pair in pairs]),
        ]
        return fit(columns, width())
    answers = found.confusion.T.tolist()
    columns = [
        Column("label", list(classes), right=False),
        *(Column(n[:6], list(map(str, a))) for n, a in zip(classes, answers, strict=True)),
    ]
    return fit(columns, width())
