"""What is told of a detector's output, beside the network: ``... --told PHOTO``.

The milliseconds of a plan on one thread, and of ``vision.finding.found`` on its output for a
photograph, at four thresholds, of which 0 is that of ``minigrad evaluate``.  Outputs are of
three kinds:

    real     of an installed package's weights, where there is one
    lowered  of weights as they were drawn, all classes made less probable by one number, so that
             one anchor in a hundred has a score over 0.05, as in a trained network
    drawn    of weights as they were drawn: nearly every anchor is an object of some class
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

import minigrad as mg
from benchmarks import machine
from benchmarks.recorded import ordinary
from benchmarks.timing import interleave
from minigrad.cli.packages import PACKAGES, located
from minigrad.engine.plan import Plan
from minigrad.models import detection
from minigrad.models.detection.detector import Detector
from minigrad.tensor import Array
from minigrad.vision.finding import Detection, found
from minigrad.vision.frames import Frame, frame

__all__ = ["lowered", "main"]

NAMES = (
    "ssdlite320_mobilenet_v3_large", "ssdlite_mobilenet_v2", "ssdlite_squeezenext_1_0_23v5",
    "tf_efficientdet_d0", "tf_efficientdet_lite0",
)  # fmt: skip
THRESHOLDS = (0.5, 0.2, 0.05, 0.0)
SHARE, OVER = 0.01, 0.05  # of the anchors, this score


def lowered(output: Array, model: Detector) -> Array:
    """The output (1, A, K + 4) with so much less for every class that few anchors are left."""
    made, first = output.copy(), int(model.background)
    z = output[0, :, :-4].astype(np.float64)
    best = z[:, first:].max(axis=1)
    if model.selection.sigmoid:
        made[0, :, first:-4] -= np.quantile(best, 1 - SHARE) - np.log(OVER / (1 - OVER))
        return made
    # The background's logit at which the best class has the score.
    rest = np.exp(best) / OVER - np.exp(z[:, first:]).sum(axis=1)
    limits = np.log(np.maximum(rest, 1e-300)) - z[:, 0]
    made[0, :, 0] += np.quantile(limits, 1 - SHARE)
    return made


def main(photo: Path) -> int:
    """Measure and print; 0."""
    print(machine.describe(["numpy"]))
    print("\nMilliseconds on one thread, and what telling takes of the network's time\n")
    print(f"{'':30}{'':9}{'network':>8}" + "".join(f"{f'over {t:g}':>22}" for t in THRESHOLDS))
    for name in NAMES:
        for line in _lines(name, photo):
            print(line, flush=True)
    return 0


def _models(name: str) -> Iterator[tuple[str, Detector]]:
    for package in PACKAGES:
        if package.network == name and (file := located(package)):
            yield "real", detection.create(name, weights=file)
    model = detection.create(name, rng=0)
    size = model.framing.size
    ordinary(model, (2, 3, size, size))
    yield "lowered", model
    yield "drawn", model


def _telling(
    model: Detector, output: Array, seen: Frame, threshold: float
) -> Callable[[], list[Detection]]:
    return lambda: found(model, output, seen, threshold)


def _medians(plan: Plan, model: Detector, output: Array, seen: Frame) -> list[float]:
    """Microseconds of the network, and of telling at each threshold."""
    jobs: dict[str, Callable[[], object]] = {"network": lambda: plan(seen.x)}
    for t in THRESHOLDS:
        jobs[f"{t}"] = _telling(model, output, seen, t)
    return [timing.median_us for timing in interleave(jobs, 1.0).values()]


def _lines(name: str, photo: Path) -> Iterator[str]:
    for kind, model in _models(name):
        seen = frame(photo, model.framing)
        plan = mg.compile(model, seen.x.shape, threads=1)
        output = lowered(plan(seen.x), model) if kind == "lowered" else plan(seen.x)
        with mg.threads(1):
            network, *times = _medians(plan, model, output, seen)
        cells = []
        for t, us in zip(THRESHOLDS, times, strict=True):
            told = len(found(model, output, seen, t))
            cells.append(f"{f'{us / 1e3:.2f} = {us / network:.1%} ({told})':>22}")
        yield f"{name:30}{kind:9}{network / 1e3:8.1f}{''.join(cells)}"
