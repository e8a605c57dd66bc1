"""Everything that a training step changes, in one place and in one file.

A run is the model, the optimiser with its buffers, the schedule, the average of the weights,
and how far it is.  ``save`` writes all of it atomically, so a process that is killed at any
moment leaves the last complete file; ``load`` goes on to the same bits.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

import numpy as np
import numpy.typing as npt

from minigrad import formats
from minigrad.errors import FormatError
from minigrad.nn.module import Module
from minigrad.optim import Optimizer, Schedule, WeightAverage

__all__ = ["EpochRecord", "Run", "Totals"]

Array = npt.NDArray[np.generic]
KEY = "minigrad.training"
VERSION = 1


@dataclass
class Totals:
    """Sums over the pictures of the running epoch."""

    images: int = 0
    loss: float = 0.0
    hits: int = 0


@dataclass(frozen=True)
class EpochRecord:
    """One epoch in figures.

    Attributes
    ----------
    epoch : int
        Counted from 1.
    lr : float
        The first group's rate at the end.
    loss, accuracy : float
        Over the training batches, as they were trained on.
    val_loss, val_accuracy : float or None
        Over the validation set, of the averaged weights if there are any.
    """

    epoch: int
    lr: float
    loss: float
    accuracy: float
    val_loss: float | None = None
    val_accuracy: float | None = None


@dataclass
class Run:
    """A model in training.

    Attributes
    ----------
    model : Module
    optimizer : Optimizer
    schedule : Schedule, optional
        Stepped after each update.
    average : WeightAverage, optional
        Updated after each update.
    seed : int
        Of the noise in dropout and stochastic depth.
    epoch, step : int
        The next epoch, and the next batch in it.
    history : list of EpochRecord
    """

    model: Module
    optimizer: Optimizer
    schedule: Schedule | None = None
    average: WeightAverage | None = None
    seed: int = 0
    epoch: int = 0
    step: int = 0
    totals: Totals = field(default_factory=Totals)
    history: list[EpochRecord] = field(default_factory=list)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the run to a ``.safetensors`` file, whole or not at all.

        Parameters
        ----------
        path : str or path
        """
        optimizer = self.optimizer.state_dict()
        arrays: dict[str, Array] = {f"model/{k}": v for k, v in self.model.state_dict().items()}
        counts: dict[str, int] = {}
        for index, kept in _mapping(optimizer["state"]).items():
            for name, value in _mapping(kept).items():
                if isinstance(value, np.ndarray):
                    arrays[f"optimizer/{index}/{name}"] = value
                else:
                    counts[f"{index}/{name}"] = _count(value)
        about: dict[str, object] = {
            "version": VERSION,
            "optimizer": type(self.optimizer).__name__,
            "counts": counts,
            "param_groups": optimizer["param_groups"],
            "seed": self.seed,
            "epoch": self.epoch,
            "step": self.step,
            "totals": asdict(self.totals),
            "history": [asdict(record) for record in self.history],
        }
        if self.schedule:
            about["schedule"] = self.schedule.state_dict()
        if self.average:
            arrays |= {f"average/{k}": v for k, v in self.average.values.items()}
            about["updates"] = self.average.updates
        formats.save(path, arrays, metadata={KEY: json.dumps(about)})

    def load(self, path: str | os.PathLike[str]) -> None:
        """Go on where the run in a file was.

        Parameters
        ----------
        path : str or path
            What ``save`` wrote, of the same model and optimiser.

        Raises
        ------
        FormatError
            If the file holds no run of this kind.
        StateDictError
            If its model or optimiser has other names or shapes.
        """
        state = formats.load(path)
        about = _about(state.metadata.get(KEY), os.fspath(path))
        kind = type(self.optimizer).__name__
        if about["optimizer"] != kind:
            raise FormatError(f"{path}: the run is of {about['optimizer']!r}, not of {kind}")
        self.model.load_state_dict(_below(state, "model/"))
        self.optimizer.load_state_dict(
            {"state": _optimizer_state(state, about), "param_groups": about["param_groups"]}
        )
        if self.schedule:
            self.schedule.load_state_dict(_mapping(about.get("schedule", {})))
        if self.average:
            values = _below(state, "average/")
            self.average.load_state_dict({"values": values, "updates": about.get("updates")})
        self.seed, self.epoch, self.step = (_count(about[k]) for k in ("seed", "epoch", "step"))
        self.totals = _totals(about["totals"])
        self.history = [_record(record) for record in _list(about["history"])]


def _about(text: str | None, path: str) -> dict[str, object]:
    try:
        about = json.loads(text or "")
        missing = {"optimizer", "counts", "param_groups", "seed", "epoch", "step", "totals",
                   "history"} - set(about)  # fmt: skip
    except (ValueError, TypeError, RecursionError):
        raise FormatError(f"{path}: this is not a training run that minigrad saved") from None
    if missing or about.get("version") != VERSION:
        raise FormatError(f"{path}: this is not a training run of version {VERSION}")
    checked: dict[str, object] = about
    return checked


def _optimizer_state(
    state: Mapping[str, Array], about: Mapping[str, object]
) -> dict[int, dict[str, object]]:
    kept: dict[int, dict[str, object]] = {}
    values: dict[str, object] = {**_mapping(about["counts"]), **_below(state, "optimizer/")}
    for key, value in values.items():
        index, _, name = key.partition("/")
        if not index.isdecimal():
            raise FormatError(f"an optimiser's state has the name {key[:40]!r}")
        kept.setdefault(int(index), {})[name] = value
    return kept


def _below(state: Mapping[str, Array], prefix: str) -> dict[str, Array]:
    return {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}


def _mapping(value: object) -> dict[str, object]:
    if not isinstance(value, Mapping):
        raise FormatError(f"a training run has a {type(value).__name__} where a table belongs")
    return dict(value)


def _list(value: object) -> list[object]:
    if not isinstance(value, list):
        raise FormatError("a training run's history is not a list")
    return value


def _totals(value: object) -> Totals:
    found = _mapping(value)
    return Totals(_count(found.get("images")), _float(found, "loss"), _count(found.get("hits")))


def _record(value: object) -> EpochRecord:
    found = _mapping(value)
    shares = {k: _float(found, k) for k in ("lr", "loss", "accuracy")}
    optional = {
        k: _float(found, k) for k in ("val_loss", "val_accuracy") if found.get(k) is not None
    }
    return EpochRecord(_count(found.get("epoch")), **shares, **optional)


def _float(found: Mapping[str, object], name: str) -> float:
    value = found.get(name)
    if not isinstance(value, int | float):
        raise FormatError(f"a training run has no number {name}")
    return float(value)


def _count(value: object) -> int:
    if not isinstance(value, int) or value < 0:
        raise FormatError(f"a training run counts with {value!r}")
    return value
