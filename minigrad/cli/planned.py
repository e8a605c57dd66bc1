"""A plan file that photographs are shown to: ``--plan``."""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from minigrad.cli.terminal import printable
from minigrad.engine import Plan
from minigrad.engine.loading import load_plan
from minigrad.errors import MinigradError
from minigrad.models import Preparation
from minigrad.models.metadata import Description
from minigrad.tensor import Array
from minigrad.vision import preparation_for

__all__ = ["Planned", "read_plan", "refuse_beside_plan"]

Batch = npt.NDArray[np.float32]


class Planned(NamedTuple):
    """A plan for one photograph, and how it is prepared."""

    plan: Plan
    preparation: Preparation

    def logits(self, batch: Batch) -> Array:
        """The plan's output for a batch of one."""
        return self.plan(self._taken(batch))

    def features(self, batch: Batch) -> Array:
        """What the plan's classifier reads, (1, C)."""
        return self.plan.features(self._taken(batch))

    def _taken(self, batch: Batch) -> Array:
        """The batch in the plan's layout and dtype."""
        x = batch if self.plan.layout == "NCHW" else batch.transpose(0, 2, 3, 1)
        return x.astype(self.plan.graph.dtype, copy=False)


def refuse_beside_plan(args: argparse.Namespace, words: Sequence[str]) -> None:
    """Refuse arguments that a plan file has decided about."""
    for word in words:
        if getattr(args, word):
            raise MinigradError(f"--{word} says how a network is built, and --plan has one built")


def _for_one(path: Path, threads: int) -> Plan:
    """The plan in a file, for one image at a time."""
    plan: object = load_plan(path, threads=threads)
    if not isinstance(plan, Plan):
        raise MinigradError(f"{path} is the plan of several inputs, and photographs are one")
    if plan.graph.shape[:1] in ((), (1,)):
        return plan
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it was told already
        return load_plan(path, threads=threads, any_shape=True).at((1, *plan.graph.shape[1:]))


def read_plan(path: Path, preparation: str | None, threads: int) -> Planned:
    """The plan in a file, for photographs that are prepared as it says, or for another network.

    A warning about its packing becomes a sentence on stderr.

    Raises
    ------
    MinigradError
        If it is no plan for one photograph, or the preparation is not known.
    """
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        plan = _for_one(path, threads)
    for warning in told:
        print(f"minigrad: {printable(str(warning.message), 600)}", file=sys.stderr)
    stated = Description.of(plan.metadata).preparation
    found = preparation_for(preparation) if preparation else stated
    if found is None:
        raise MinigradError(
            f"{path} does not say how photographs are prepared: --preparation takes the name of a "
            "network that does"
        )
    if plan.graph.shape != (1, 3, found.size, found.size):
        raise MinigradError(
            f"{path} takes a batch of {plan.graph.shape}, and one photograph is prepared as "
            f"(1, 3, {found.size}, {found.size}): compile the network for that"
        )
    return Planned(plan, found)
