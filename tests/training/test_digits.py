"""Both blocks learn to read: 98 % of the digits they have not seen, in a stated number of epochs.

Weights start from a seed, and bits do not depend on threads or instruction sets with FMA, so
this is the same run everywhere.  What would make it fail: a wrong gradient in a block, in
batch norm or in the loss, an update with a wrong sign or rate, labels that leave their
pictures while shuffling.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import minigrad as mg
from minigrad.data import ArrayDataset, Compose, Loader, Normalize, RandomCrop
from minigrad.optim import SGD, CosineAnnealingLR
from minigrad.training import Run, Settings, fit

NORMALIZE = Normalize((127.5,), (127.5,))


def digits(part):
    """Every fifth picture is for validation; 8x8 pictures of 0 to 16 become 16x16 of 0 to 240."""
    with np.load(Path(__file__).parents[1] / "golden" / "digits.npz") as file:
        images, labels = file["images"] * 15, file["labels"].astype(np.int64)
    chosen = (np.arange(len(labels)) % 5 == 0) == (part == "validation")
    return ArrayDataset(images[chosen].repeat(2, axis=1).repeat(2, axis=2), labels[chosen])


@pytest.mark.newest
@pytest.mark.parametrize(
    ("name", "epochs", "label_smoothing"),
    [("inverted_residual_small", 8, 0.1), ("squeezenext_small", 10, 0.1)],
)
def test_a_small_network_of_each_block_reads_digits(name, epochs, label_smoothing):
    moved = Compose((RandomCrop(16, padding=1), NORMALIZE))
    loader = Loader(digits("training"), 32, moved, shuffle=True, drop_last=True)
    validation = Loader(digits("validation"), 64, NORMALIZE)
    model = mg.models.create(name, in_channels=1, num_classes=10, rng=0)
    optimizer = SGD(model.parameters(), lr=0.05, momentum=0.9, nesterov=True, weight_decay=5e-4)
    run = Run(model, optimizer, CosineAnnealingLR(optimizer, T_max=epochs * len(loader)))
    settings = Settings(epochs=epochs, label_smoothing=label_smoothing, compile=True)
    fit(run, loader, settings, validation=validation)
    assert [record.epoch for record in run.history] == list(range(1, epochs + 1))
    assert run.history[-1].val_accuracy >= 0.98, run.history
