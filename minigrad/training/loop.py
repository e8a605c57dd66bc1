"""One step, one epoch, all epochs.

    z = f(x; w),   L = loss(z, labels),   w <- update(w, dL/dw)

A step is what a PyTorch user would write.  What is added around it: noise that depends on
(seed, epoch, step) alone, so that a run that was stopped goes on to the same bits; a watch
for numbers that are none; a file after each epoch and, when the user stops the run, after
the running step.
"""

from __future__ import annotations

import math
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from minigrad.data import Batch, Loader, mixup
from minigrad.engine import compile
from minigrad.nn.module import Module
from minigrad.ops import cross_entropy
from minigrad.optim import clip_grad_norm_
from minigrad.tensor import Tensor
from minigrad.training.evaluation import Evaluation, evaluate, evaluating
from minigrad.training.passes import Passes
from minigrad.training.run import EpochRecord, Run, Totals
from minigrad.training.watch import DivergedError, bad_gradient, bad_layer

__all__ = ["Interrupted", "Progress", "Settings", "evaluate_run", "fit", "train_step"]

Images = npt.NDArray[np.float32]
Labels = npt.NDArray[np.int64]
HOPELESS = 100.0  # times the loss of guessing, ln K


@dataclass(frozen=True)
class Settings:
    """What a step does besides the update.

    Attributes
    ----------
    epochs : int
    label_smoothing : float
    mixup : float
        alpha of ``minigrad.data.mixup``; 0 for none.
    clip : float
        The longest gradient; 0 for any.
    accumulate : int
        Batches whose gradients make one update.
    frozen : tuple of str
        Names of modules that stay in evaluation mode: their batch norms keep their
        statistics.
    compile : bool
        Record the step for the shape of the first batch (``compile_training``); batches of
        another shape, as an epoch's last may be, are done in eager mode.  Validation is done by
        a plan.  The bits are the same.
    recompute : bool
        Of ``compile_training``: less memory, a little more time.
    """

    epochs: int = 1
    label_smoothing: float = 0.0
    mixup: float = 0.0
    clip: float = 0.0
    accumulate: int = 1
    frozen: tuple[str, ...] = ()
    compile: bool = False
    recompute: bool = False


@dataclass(frozen=True)
class Progress:
    """How far a run is, after a step.

    Attributes
    ----------
    epoch, step, steps : int
        The epoch, counted from 0; the batches done, and all of it.
    loss, accuracy : float
        Over the epoch so far.
    images_per_second : float
    seconds_left : float
        To the end of the last epoch.
    """

    epoch: int
    step: int
    steps: int
    loss: float
    accuracy: float
    images_per_second: float
    seconds_left: float


class Interrupted(KeyboardInterrupt):
    """The user stopped the run; it was saved first."""


def fit(
    run: Run,
    loader: Loader,
    settings: Settings,
    *,
    validation: Loader | None = None,
    save: Callable[[Run], None] = lambda run: None,
    on_step: Callable[[Progress], None] = lambda progress: None,
    on_epoch: Callable[[EpochRecord, Evaluation | None], None] = lambda record, found: None,
) -> None:
    """Train up to ``settings.epochs``, from wherever the run is.

    Parameters
    ----------
    run : Run
    loader : Loader
        The training batches.
    settings : Settings
    validation : Loader, optional
        What is evaluated after each epoch.
    save : callable
        Called with the run after each epoch, and when the user stops it.
    on_step, on_epoch : callable
        Called with what happened; ``on_epoch`` before the epoch is saved, so that what it
        writes is written again if the process is killed in between.

    Raises
    ------
    DivergedError
        At a loss or gradient that is not finite; the message names step and layer, and
        nothing of that step is saved.
    Interrupted
        After Ctrl-C, when the running step was finished and saved.
    """
    passes = Passes(run, settings.compile, settings.recompute)
    with _stop_asked() as asked:
        while run.epoch < settings.epochs:
            _epoch(run, loader, settings, on_step, asked, save, passes)
            found = evaluate_run(run, validation, settings.compile) if validation else None
            on_epoch(_closed(run, found), found)
            save(run)  # last: who is killed before does the epoch again, and all of it
            if asked:
                raise Interrupted


def _epoch(
    run: Run,
    loader: Loader,
    settings: Settings,
    on_step: Callable[[Progress], None],
    asked: list[int],
    save: Callable[[Run], None],
    passes: Passes,
) -> None:
    prepare(run.model, settings.frozen)
    watch = _Clock(run.totals.images)
    for batch in loader.batches(run.epoch, first=run.step):
        train_step(run, batch, settings, last=run.step + 1 == len(loader), passes=passes)
        on_step(watch.progress(run, len(loader), settings.epochs, len(loader.dataset)))
        if asked and run.step < len(loader) and run.step % settings.accumulate == 0:
            save(run)
            raise Interrupted


def prepare(model: Module, frozen: Sequence[str]) -> None:
    """Training mode, but for the modules named in ``frozen`` and all below them."""
    model.train()
    for name in frozen:
        model.get_submodule(name).eval()


def train_step(
    run: Run, batch: Batch, settings: Settings, last: bool = False, passes: Passes | None = None
) -> float:
    """Forward, loss, backward and, every ``settings.accumulate`` batches, the update.

    Parameters
    ----------
    run : Run
        Its model, optimiser, schedule, average and counts are changed.
    batch : Batch
    settings : Settings
    last : bool
        The epoch ends here, so what was accumulated is used.
    passes : Passes, optional
        Who makes the two passes; without it eager mode.

    Returns
    -------
    float
        The loss.
    """
    rng = np.random.default_rng((run.seed, run.epoch, run.step))
    for module in run.model.modules():
        if "rng" in module.__dict__:
            module.__dict__["rng"] = rng
    passes = passes or Passes(run)
    parts = run.step % settings.accumulate
    if parts == 0:
        run.optimizer.zero_grad()
    images, criterion = _task(batch, settings, rng)
    value = math.nan

    def loss(z: Tensor) -> Tensor:
        nonlocal value
        whole = criterion(z)
        value = whole.item()
        _check_loss(run, value, z.shape[1], batch.images)
        return whole / settings.accumulate

    with np.errstate(all="ignore"):  # what overflows is looked for, and named
        z = passes(images, loss, rng, parts > 0)
    if last or parts == settings.accumulate - 1:
        _update(run, settings, passes)
    run.step += 1
    run.totals.images += len(batch.labels)
    run.totals.loss += value * len(batch.labels)
    run.totals.hits += int((z.argmax(axis=1) == batch.labels).sum())
    return value


def _task(
    batch: Batch, settings: Settings, rng: np.random.Generator
) -> tuple[Images, Callable[[Tensor], Tensor]]:
    """The images of a step, and the loss of what the model makes of them."""
    smoothing, labels = settings.label_smoothing, batch.labels
    if not settings.mixup:
        return batch.images, lambda z: cross_entropy(z, labels, smoothing)
    images, other, share = mixup(batch.images, labels, settings.mixup, rng)

    def loss(z: Tensor) -> Tensor:
        first, second = (cross_entropy(z, each, smoothing) for each in (labels, other))
        return share * first + (1 - share) * second

    return images, loss


def _check_loss(run: Run, value: float, classes: int, images: Images) -> None:
    where = f"epoch {run.epoch + 1}, step {run.step + 1}"
    if not math.isfinite(value):
        layer = bad_layer(run.model, images) or "the loss itself"
        raise DivergedError(f"{where}: the loss is {value}; it began in {layer}; lower the rate")
    limit = HOPELESS * max(math.log(max(classes, 2)), 1.0)
    if value > limit:
        raise DivergedError(
            f"{where}: the loss is {value:.3g}, {HOPELESS:g} times that of guessing; lower the rate"
        )


def _update(run: Run, settings: Settings, passes: Passes) -> None:
    layer = bad_gradient(run.model)
    if layer:
        raise DivergedError(
            f"epoch {run.epoch + 1}, step {run.step + 1}: the gradient of {layer} is not finite; "
            "lower the rate"
        )
    if settings.clip:
        clip_grad_norm_(run.model.parameters(), settings.clip)
    passes.update()
    if run.schedule:
        run.schedule.step()
    if run.average:
        run.average.update()


def evaluate_run(run: Run, validation: Loader, compiles: bool = False) -> Evaluation:
    """Loss, accuracy and confusion of a run's model, with its averaged weights if there are any.

    Parameters
    ----------
    run : Run
    validation : Loader
    compiles : bool
        By a plan of the model as it is now: the same bits, sooner.

    Returns
    -------
    Evaluation
    """
    classes = len(validation.dataset.classes)
    weights = run.average.in_use() if run.average else nullcontext(run.model)
    with weights as model, evaluating(model):
        network = compile(model, fold=False) if compiles else model
        return evaluate(network, validation.batches(0), classes)


def _closed(run: Run, found: Evaluation | None) -> EpochRecord:
    totals, run.totals = run.totals, Totals()
    run.epoch, run.step = run.epoch + 1, 0
    images = max(totals.images, 1)
    record = EpochRecord(
        run.epoch, run.optimizer.rates()[0], totals.loss / images, totals.hits / images,
        found.loss if found else None, found.top1 if found else None,
    )  # fmt: skip
    run.history.append(record)
    return record


class _Clock:
    """Pictures a second since the epoch, or the rest of it, began."""

    def __init__(self, images: int) -> None:
        self.start, self.images = time.perf_counter(), images

    def progress(self, run: Run, steps: int, epochs: int, dataset: int) -> Progress:
        seconds = max(time.perf_counter() - self.start, 1e-9)
        rate = (run.totals.images - self.images) / seconds
        left = (epochs - run.epoch) * dataset - run.totals.images
        images = run.totals.images
        return Progress(
            run.epoch, run.step, steps, run.totals.loss / images, run.totals.hits / images,
            rate, left / rate if rate else math.inf,
        )  # fmt: skip


@contextmanager
def _stop_asked() -> Iterator[list[int]]:
    """A list that is no longer empty once the user has pressed Ctrl-C; twice ends at once."""
    asked: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield asked
        return

    def handler(number: int, frame: object) -> None:
        if asked:
            raise KeyboardInterrupt
        asked.append(number)

    before = signal.signal(signal.SIGINT, handler)
    try:
        yield asked
    finally:
        signal.signal(signal.SIGINT, before)
